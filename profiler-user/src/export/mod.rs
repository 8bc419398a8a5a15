//! Where finished profiles go.

pub mod directory;
pub mod file;
