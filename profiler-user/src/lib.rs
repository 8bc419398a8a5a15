//! The user side of the profiler: everything from the drained window to the written profile and the reports.
//!
//! `docs/ARCHITECTURE.md` draws the way of a sample through these modules.

pub mod budget;
pub mod capture;
pub mod cli;
pub mod confine;
pub mod doctor;
pub mod export;
pub mod fleet;
pub mod http;
pub mod pipeline;
pub mod process;
pub mod profile;
pub mod report;
pub mod secret;
pub mod source;
pub mod status;
pub mod symbol;
pub mod sys;
pub mod units;
pub mod unwind;
pub mod upload;
