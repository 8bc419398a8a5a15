//! How soon profiling begins: the first complete stack of a large binary, and the first window of a busy host.

pub mod binary;
pub mod host;
pub mod log;
pub mod report;
