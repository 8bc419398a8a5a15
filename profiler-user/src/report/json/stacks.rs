//! `profiler traces --json` and `profiler folded --json`.

use serde::Serialize;

use super::{Named, write};
use crate::report::folded::FoldedReport;
use crate::report::header::Header;
use crate::report::traces::{TraceLabel, TracesReport};

#[derive(Serialize)]
struct Traces<'a> {
    #[serde(flatten)]
    header: &'a Header,
    /// Frames of the samples are indices into these.
    places: Vec<Named<'a>>,
    samples: Vec<Sample<'a>>,
}

#[derive(Serialize)]
struct Sample<'a> {
    value: i64,
    labels: &'a [TraceLabel],
    /// The leaf first.
    stack: Vec<usize>,
    /// For each frame whether it was inlined into the next.
    inlined: Vec<bool>,
}

/// The samples of [`crate::report::traces::traces`] as one JSON object.
///
/// # Errors
/// What the serializer reports, which for this data is nothing that has been seen.
pub fn traces(report: &TracesReport) -> serde_json::Result<String> {
    let TracesReport { header, unmatched: _, numbers, places, traces } = report;
    let samples = traces.iter().map(|trace| Sample {
        value: numbers.divided(trace.value),
        labels: &trace.labels,
        stack: trace.frames.iter().map(|frame| frame.place).collect(),
        inlined: trace.frames.iter().map(|frame| frame.inlined).collect(),
    });
    let samples = samples.collect();
    write(&Traces { header, places: places.iter().map(Named::of).collect(), samples })
}

#[derive(Serialize)]
struct Folded {
    stacks: Vec<Stack>,
}

#[derive(Serialize)]
struct Stack {
    value: i64,
    /// Names, the outermost first.
    stack: Vec<String>,
}

/// The stacks of [`crate::report::folded::folded`] as one JSON object.
///
/// # Errors
/// What the serializer reports, which for this data is nothing that has been seen.
pub fn folded(report: &FoldedReport) -> serde_json::Result<String> {
    let FoldedReport { unmatched: _, places, stacks } = report;
    let name = |&node: &usize| places.get(node).map(|place| place.name());
    let stack = |(stack, value): &(Vec<usize>, i64)| Stack {
        value: *value,
        stack: stack.iter().filter_map(name).collect(),
    };
    write(&Folded { stacks: stacks.iter().map(stack).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::subject::Lens;

    #[test]
    fn stacks_are_lists() {
        let profile = fixture::two_threads();
        let parse = |text: String| -> serde_json::Value { serde_json::from_str(&text).unwrap() };
        let report = crate::report::traces::traces(&profile, &Lens::default()).unwrap();
        let value = parse(traces(&report).unwrap());
        let leaf = value["samples"][0]["stack"][0].as_u64().unwrap();
        assert_eq!(value["places"][usize::try_from(leaf).unwrap()]["name"], "inlined");
        assert_eq!(value["samples"][0]["labels"][0]["values"][0], "a");
        let report = crate::report::folded::folded(&profile, &Lens::default()).unwrap();
        let value = parse(folded(&report).unwrap());
        assert_eq!(value["stacks"][0]["stack"], serde_json::json!(["main", "work"]));
    }
}
