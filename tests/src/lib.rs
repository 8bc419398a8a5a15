//! Harness of the end-to-end tests: it builds programs with known stacks, runs the `profiler` binary over them as root
//! and asks questions of the profiles that come out.
//!
//! A test of the harness's users reads: take [`Session::begin`], start a [`Target`], run [`Profiler`], [`Pprof::read`]
//! what it wrote, compare with [`stats`]. Nothing here knows how the profiler works; what it may rely on is what users
//! may rely on: the command line, the files and the JSON.
//!
//! The harness fails by panicking, with the command, its folder, its stdout and its stderr in the message.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test harness fails by panicking, and its message is the test's"
)]

pub mod agent;
pub mod api;
pub mod bpf;
pub mod brief;
pub mod browser;
pub mod bucket;
pub mod busy;
pub mod cgroup;
pub mod chain;
pub mod chart;
pub mod cold;
pub mod compare;
pub mod corpus;
pub mod cpu;
pub mod dist;
pub mod elf;
pub mod emulated;
pub mod family;
pub mod faults;
pub mod folder;
pub mod fuzz;
pub mod golden;
pub mod grpc;
pub mod held;
pub mod outcomes;
pub mod overhead;
pub mod pages;
pub mod plot;
pub mod pprof;
pub mod pprof_tool;
pub mod profiler;
pub mod programs;
pub mod receiver;
pub mod recording;
pub mod scale;
pub mod screen;
pub mod server;
pub mod session;
pub mod shape;
pub mod soak;
pub mod split;
pub mod stats;
pub mod swarm;
pub mod target;
pub mod tools;
pub mod uploads;
pub mod viewer;

pub use agent::Agent;
pub use corpus::Bare;
pub use outcomes::Summary;
pub use pprof::{Frame, Pprof, Stack};
pub use profiler::{Finished, Profiler, Running};
pub use programs::Program;
pub use screen::Screen;
pub use session::Session;
pub use shape::Shape;
pub use target::Target;
pub use viewer::Viewer;
