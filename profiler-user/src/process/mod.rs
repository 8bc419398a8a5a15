//! Processes: who they are, what they have mapped, and which files that is.
//!
//! A process is looked at when it is first sampled, because it may be gone a moment later; its files are kept open,
//! because they may be deleted, or lie in a mount namespace that goes away with it.

mod maps;
mod object;
mod table;
mod vdso;

pub use maps::{MapsLine, parse_line};
pub(crate) use object::hex;
pub use object::{Object, Segment};
pub use table::{Area, Mapping, Process, Table, start_ns};
