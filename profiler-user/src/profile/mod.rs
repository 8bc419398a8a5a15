//! The profile model: pprof's own, as plain data. No clock, no file and no kernel is touched in here.

pub mod proto;
