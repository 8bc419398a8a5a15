//! Processes: who they are, what they have mapped, and which files that is.
//!
//! What processes map is told by the kernel (see [`Sideband`](crate::capture::Sideband)) and kept for all of them as
//! numbers and names; files are opened when a process is first sampled. They are kept open, because they may be deleted,
//! or lie in a mount namespace that goes away with the process. Of processes older than the agent /proc tells.

pub(crate) mod debug_file;
mod identity;
mod mapping;
mod maps;
mod object;
mod opening;
mod overlay;
mod ranges;
mod stat;
mod table;
mod tracker;
mod vdso;

pub(crate) use debug_file::debug_link;
pub use identity::{Apis, Identity, Methods, Rule, Rules, RulesError};
pub use mapping::{Area, Mapping, Process};
pub use maps::{MapsLine, parse_line};
pub(crate) use object::hex;
pub use object::{Mark, Object, Segment};
pub(crate) use opening::may_pass;
pub use stat::start_ns;
pub use table::Table;
