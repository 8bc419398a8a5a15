//! Where finished profiles and reports go.

pub mod directory;
pub mod file;
pub mod graphviz;
mod kept;
