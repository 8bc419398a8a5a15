//! The stacks for the Firefox profiler (<https://profiler.firefox.com>), in version 46 of its processed format, which
//! later ones read. A profile has no order of time; so stacks follow each other by their place in the tree, each as
//! long as its value.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::FlameReport;
use super::svg::title;
use crate::report::measure::{float, scale};

/// Columns of the tables, one entry for each row.
#[derive(Default)]
struct Tables {
    strings: Vec<String>,
    known: HashMap<String, usize>,
    /// By place, its row in the tables of functions and of frames, which are the same.
    functions: Vec<(usize, Option<usize>, i64, i64)>,
    stack_prefix: Vec<Option<usize>>,
    stack_frame: Vec<usize>,
}

impl Tables {
    fn string(&mut self, string: &str) -> usize {
        if let Some(&known) = self.known.get(string) {
            return known;
        }
        self.strings.push(string.to_owned());
        self.known.insert(string.to_owned(), self.strings.len() - 1);
        self.strings.len() - 1
    }
}

/// A file for the Firefox profiler, one line.
///
/// # Errors
/// What the serializer reports, which for this data is nothing that has been seen.
pub fn firefox(report: &FlameReport) -> serde_json::Result<String> {
    let mut tables = Tables::default();
    for place in &report.places {
        let name = tables.string(&place.name());
        let file = (!place.file.is_empty()).then(|| tables.string(&place.file));
        tables.functions.push((name, file, place.line, place.column));
    }
    let unit = report.header.unit.as_str();
    let is_time = scale(1, unit, "nanoseconds").1 == "ns";
    let (mut stacks, mut times, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    // By depth, the row of the stack that leads there.
    let mut way: Vec<usize> = Vec::new();
    let mut now = 0.0;
    for frame in &report.frames {
        let Some(place) = frame.place else { continue };
        way.truncate(frame.depth.saturating_sub(1));
        let row = tables.stack_frame.len();
        tables.stack_prefix.push(way.last().copied());
        tables.stack_frame.push(place);
        way.push(row);
        if frame.own > 0 {
            let value = report.numbers.divided(frame.own);
            let weight = if is_time { scale(value, unit, "ms").0 } else { float(value) };
            stacks.push(row);
            times.push(now);
            weights.push(weight);
            now += weight;
        }
    }
    let thread = thread(&tables, &stacks, &times, &weights, if is_time { "tracing-ms" } else { "samples" });
    let start = float(report.header.time_nanos) / 1e6;
    let file = json!({
        "meta": {
            "categories": [{"name": "Other", "color": "grey", "subcategories": ["Other"]}],
            "debug": false,
            "doesNotUseFrameImplementation": true,
            "extensions": {"length": 0, "baseURL": [], "id": [], "name": []},
            "importedFrom": concat!("profiler ", env!("CARGO_PKG_VERSION")),
            "interval": 1.0,
            "markerSchema": [],
            "pausedRanges": [],
            "preprocessedProfileVersion": 46,
            "processType": 0,
            "product": title(report),
            "sampleUnits": {"time": "ms", "eventDelay": "ms", "threadCPUDelta": "µs"},
            "sourceCodeIsNotOnSearchfox": true,
            "startTime": start,
            "symbolicated": true,
            "usesOnlyOneStackType": true,
            "version": 24,
        },
        "libs": [],
        "pages": [],
        "profilerOverhead": [],
        "counters": [],
        "threads": [thread],
    });
    Ok(serde_json::to_string(&file)? + "\n")
}

fn thread(tables: &Tables, stacks: &[usize], times: &[f64], weights: &[f64], weight_type: &str) -> Value {
    let functions = tables.functions.len();
    let all = |value: Value| vec![value; functions];
    let line = |line: i64| if line == 0 { Value::Null } else { json!(line) };
    let names: Vec<_> = tables.functions.iter().map(|function| function.0).collect();
    let files: Vec<_> = tables.functions.iter().map(|function| function.1).collect();
    let lines: Vec<_> = tables.functions.iter().map(|function| line(function.2)).collect();
    let columns: Vec<_> = tables.functions.iter().map(|function| line(function.3)).collect();
    let zeros = vec![0; tables.stack_frame.len()];
    json!({
        "frameTable": {
            "length": functions,
            "address": all(json!(-1)),
            "inlineDepth": all(json!(0)),
            "category": all(json!(0)),
            "subcategory": all(json!(0)),
            "func": (0..functions).collect::<Vec<_>>(),
            "nativeSymbol": all(Value::Null),
            "innerWindowID": all(Value::Null),
            "implementation": all(Value::Null),
            "line": lines,
            "column": columns,
            "optimizations": all(Value::Null),
        },
        "funcTable": {
            "length": functions,
            "name": names,
            "isJS": all(json!(false)),
            "relevantForJS": all(json!(false)),
            "resource": all(json!(-1)),
            "fileName": files,
            "lineNumber": all(Value::Null),
            "columnNumber": all(Value::Null),
        },
        "markers": {
            "length": 0, "category": [], "data": [], "endTime": [], "name": [], "phase": [], "startTime": [],
        },
        "name": "All samples",
        "isMainThread": true,
        "nativeSymbols": {"length": 0, "address": [], "functionSize": [], "libIndex": [], "name": []},
        "pausedRanges": [],
        "pid": "0",
        "processName": "profile",
        "processShutdownTime": null,
        "processStartupTime": 0,
        "processType": "default",
        "registerTime": 0,
        "resourceTable": {"length": 0, "lib": [], "name": [], "host": [], "type": []},
        "samples": {
            "length": stacks.len(),
            "stack": stacks,
            "time": times,
            "weight": weights,
            "weightType": weight_type,
        },
        "stackTable": {
            "length": tables.stack_frame.len(),
            "prefix": tables.stack_prefix,
            "frame": tables.stack_frame,
            "category": zeros,
            "subcategory": zeros,
        },
        "stringArray": tables.strings,
        "tid": 0,
        "unregisterTime": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::flame::flame;
    use crate::report::subject::Lens;

    #[test]
    fn tables_are_whole_and_stacks_lead_to_their_root() {
        let file = firefox(&flame(&fixture::two_threads(), &Lens::default()).unwrap()).unwrap();
        let file: Value = serde_json::from_str(&file).unwrap();
        let thread = &file["threads"][0];
        for table in ["frameTable", "funcTable", "stackTable", "samples"] {
            let length = thread[table]["length"].as_u64().unwrap();
            for (name, column) in thread[table].as_object().unwrap() {
                if let Some(column) = column.as_array() {
                    assert_eq!(column.len() as u64, length, "{table}.{name}");
                }
            }
        }
        let index = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
        let mut at = Some(index(&thread["samples"]["stack"][2]));
        let mut names = Vec::new();
        while let Some(row) = at {
            let function = index(&thread["stackTable"]["frame"][row]);
            let name = index(&thread["funcTable"]["name"][function]);
            names.push(thread["stringArray"][name].as_str().unwrap().to_owned());
            at = thread["stackTable"]["prefix"][row].as_u64().map(|row| usize::try_from(row).unwrap());
        }
        assert_eq!(names, ["[[vdso]]", "inlined", "work", "main"]);
        assert_eq!(thread["samples"]["weight"], json!([10.0, 30.0, 20.0]));
        assert_eq!(thread["samples"]["time"], json!([0.0, 10.0, 40.0]));
    }
}
