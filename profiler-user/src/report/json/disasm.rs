//! `profiler disasm --json`.

use serde::Serialize;

use super::write;
use crate::report::disasm::{DisasmReport, Look, Routine, routines};
use crate::report::header::Header;
use crate::report::measure::percent;

#[derive(Serialize)]
struct Disasm<'a> {
    #[serde(flatten)]
    header: &'a Header,
    routines: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    function: String,
    path: String,
    flat: i64,
    cum: i64,
    cum_percent: f64,
    /// Why there are no instructions; null where there are.
    no_code: Option<String>,
    instructions: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    /// Hexadecimal: JSON's numbers end at 2^53 in many readers.
    address: String,
    text: String,
    place: String,
    flat: i64,
    cum: i64,
}

/// The functions of [`crate::report::disasm::disasm`] as one JSON object.
///
/// # Errors
/// What the serializer reports, which for this data is nothing that has been seen.
pub fn disasm(report: &DisasmReport, look: Look<'_>) -> serde_json::Result<String> {
    let DisasmReport { header, numbers, .. } = report;
    let listed = |routine: Routine| Listed {
        flat: numbers.divided(routine.flat),
        cum: numbers.divided(routine.cum),
        cum_percent: percent(routine.cum, header.total),
        instructions: routine
            .instructions
            .into_iter()
            .map(|one| Line {
                address: format!("{:#x}", one.address),
                text: one.text,
                place: one.place,
                flat: numbers.divided(one.flat),
                cum: numbers.divided(one.cum),
            })
            .collect(),
        function: routine.function,
        path: routine.path,
        no_code: routine.no_code,
    };
    write(&Disasm { header, routines: routines(report, look).into_iter().map(listed).collect() })
}
