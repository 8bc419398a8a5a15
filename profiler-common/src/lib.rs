//! What both sides of the kernel boundary agree on, and the pure unwinder step.
//!
//! The BPF program and the agent compile the very same types: a map key written in the kernel is read back through
//! the same definition. Everything here is `no_std`, allocates nothing and touches no kernel interface, so tests run
//! it over recorded memory.
#![cfg_attr(not(test), no_std)]

pub mod goroutine;
pub mod hash;
pub mod late;
pub mod layout;
pub mod outcome;
pub mod stack;
pub mod unwind;
