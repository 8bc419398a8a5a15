//! Capturing: load, attach, drain. The only place that knows aya and the BPF maps.
//!
//! Data flows out of here in two streams: [`Message`]s at the moment something is first sampled, and one [`Window`] of
//! counted stacks at the end of each window. What flows in is the selection of processes and the unwind tables.

mod btf;
mod clocks;
mod drain;
mod error;
mod fill;
mod hotplug;
mod load;
mod loader;
mod measure;
mod message;
mod per_cpu;
mod programs;
pub mod sideband;
mod sizes;
mod tables;
mod thread;
mod window;

pub use error::Error;
pub use load::{Session, check_load};
pub use message::{DeferredSample, Message, StackPart, Strings};
pub use sideband::Sideband;
pub use sizes::{Options, Sizes};
pub use tables::KernelTables;
pub use thread::{Capture, Cutter};
pub use window::{CountedStack, Stacks, Window};
