//! Capturing: load, attach, drain. The only place that knows aya and the BPF maps.
//!
//! Data flows out of here in two streams: announcements of processes at the moment they are first sampled, and one
//! [`Window`] of counted stacks at the end of each window. Nothing flows in but the selection of processes.

mod btf;
mod clocks;
mod drain;
mod error;
mod hotplug;
mod load;
mod measure;
mod sizes;
mod thread;
mod window;

pub use error::Error;
pub use load::{Session, check_load};
pub use sizes::{Options, Sizes};
pub use thread::Capture;
pub use window::{CountedStack, Stacks, Window};
