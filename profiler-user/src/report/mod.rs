//! Reports over a profile: pure data first ([`top`]), then [`text`] and [`json`] of it.

pub mod header;
pub mod json;
pub mod measure;
pub mod node;
pub mod text;
pub mod top;
