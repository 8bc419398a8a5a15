//! Reports as JSON for programs: raw numbers in the profile's unit, never rounded or scaled.

mod diff;
mod disasm;
mod flame;
mod labels;
mod list;
mod raw;
mod stacks;
mod top;
mod tree;

use serde::Serialize;

pub use diff::diff;
pub use disasm::disasm;
pub use flame::{flame, sandwich};
pub use labels::labels;
pub use list::{Lines, list, listing};
pub use raw::raw;
pub use stacks::{folded, traces};
pub use top::top;
pub use tree::tree;

use super::node::Place;

/// A place as JSON has it.
#[derive(Serialize)]
struct Named<'a> {
    /// As the text shows it.
    name: String,
    function: &'a str,
    file: &'a str,
    line: i64,
    column: i64,
    /// Hexadecimal: JSON's numbers end at 2^53 in many readers.
    address: String,
    mapping: &'a str,
}

impl<'a> Named<'a> {
    fn of(place: &'a Place<'_>) -> Named<'a> {
        Named {
            name: place.name(),
            function: &place.function,
            file: &place.file,
            line: place.line,
            column: place.column,
            address: format!("{:#x}", place.address),
            mapping: &place.mapping,
        }
    }
}

/// One object, with a line feed at its end.
fn write(object: &impl Serialize) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(object)?;
    text.push('\n');
    Ok(text)
}
