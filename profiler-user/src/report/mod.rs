//! Reports over a profile: pure data first, then [`text`] and [`json`] of it.
//!
//! A [`subject::Lens`] says how a profile is looked at, [`subject::Subject`] is what it leaves; [`node`] tells the
//! places apart. On these stand the reports: [`top`], [`tree`] over a [`graph`] that [`trim`] has cut, [`list`],
//! [`traces`], [`labels`], [`folded`] and [`raw`]; and pictures: [`dot`] of a graph, [`flame`] graphs.

pub mod boxes;
pub mod colour;
pub mod diff;
pub mod disasm;
pub mod dot;
pub mod flame;
pub mod folded;
pub mod graph;
pub mod header;
pub mod json;
pub mod labels;
pub mod list;
pub mod measure;
pub mod node;
pub mod numbers;
pub mod order;
pub mod paths;
#[cfg(test)]
mod properties;
pub mod raw;
pub mod subject;
pub mod tag_frames;
pub mod tags;
pub mod text;
pub mod top;
pub mod traces;
pub mod tree;
pub mod trim;
