//! What OpenTelemetry's eBPF profiler sends: a receiver that keeps it, and how complete the stacks in it are.

mod messages;
pub mod read;
pub mod sink;
