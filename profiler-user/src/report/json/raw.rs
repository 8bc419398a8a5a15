//! `profiler raw --json`: the profile's tables with their strings in place.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::write;
use crate::profile::proto::{Location, Profile, Sample};
use crate::profile::text;
use crate::report::tags::{is_number, is_string};

#[derive(Serialize)]
struct Raw {
    comments: Vec<String>,
    doc_url: String,
    sample_types: Vec<Value>,
    default_sample_type: String,
    period_type: Option<Value>,
    period: i64,
    time_nanos: i64,
    duration_nanos: i64,
    drop_frames: String,
    keep_frames: String,
    samples: Vec<Value>,
    locations: Vec<Value>,
    functions: Vec<Value>,
    mappings: Vec<Value>,
}

/// The tables as one JSON object.
///
/// # Errors
/// What the serializer reports, which for this data is nothing that has been seen.
pub fn raw(profile: &Profile) -> serde_json::Result<String> {
    let own = |index: i64| text(profile, index).to_owned();
    let kind =
        |kind: crate::profile::proto::ValueType| json!({"type": own(kind.r#type), "unit": own(kind.unit)});
    let functions = profile.function.iter().map(|function| {
        json!({
            "id": function.id,
            "name": own(function.name),
            "system_name": own(function.system_name),
            "filename": own(function.filename),
            "start_line": function.start_line,
        })
    });
    let mappings = profile.mapping.iter().map(|mapping| {
        json!({
            "id": mapping.id,
            "start": format!("{:#x}", mapping.memory_start),
            "limit": format!("{:#x}", mapping.memory_limit),
            "offset": format!("{:#x}", mapping.file_offset),
            "filename": own(mapping.filename),
            "build_id": own(mapping.build_id),
            "has_functions": mapping.has_functions,
            "has_filenames": mapping.has_filenames,
            "has_line_numbers": mapping.has_line_numbers,
            "has_inline_frames": mapping.has_inline_frames,
        })
    });
    write(&Raw {
        comments: profile.comment.iter().map(|&comment| own(comment)).collect(),
        doc_url: own(profile.doc_url),
        sample_types: profile.sample_type.iter().map(|&one| kind(one)).collect(),
        default_sample_type: own(profile.default_sample_type),
        period_type: profile.period_type.map(kind),
        period: profile.period,
        time_nanos: profile.time_nanos,
        duration_nanos: profile.duration_nanos,
        drop_frames: own(profile.drop_frames),
        keep_frames: own(profile.keep_frames),
        samples: profile.sample.iter().map(|one| sample(profile, one)).collect(),
        locations: profile.location.iter().map(location).collect(),
        functions: functions.collect(),
        mappings: mappings.collect(),
    })
}

fn sample(profile: &Profile, sample: &Sample) -> Value {
    let mut labels: Map<String, Value> = Map::new();
    for label in &sample.label {
        let value = if is_string(label) {
            json!(text(profile, label.str))
        } else if is_number(label) {
            json!({"number": label.num, "unit": text(profile, label.num_unit)})
        } else {
            continue;
        };
        let key = text(profile, label.key).to_owned();
        if let Value::Array(values) = labels.entry(key).or_insert_with(|| json!([])) {
            values.push(value);
        }
    }
    json!({"values": sample.value, "locations": sample.location_id, "labels": labels})
}

fn location(location: &Location) -> Value {
    let line = |line: &crate::profile::proto::Line| json!({"function": line.function_id, "line": line.line, "column": line.column});
    json!({
        "id": location.id,
        "mapping": location.mapping_id,
        "address": format!("{:#x}", location.address),
        "folded": location.is_folded,
        "lines": location.line.iter().map(line).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;

    #[test]
    fn tables_have_their_strings() {
        let value: Value = serde_json::from_str(&raw(&fixture::two_threads()).unwrap()).unwrap();
        assert_eq!(value["samples"][0]["values"], json!([3, 30_000_000]));
        assert_eq!(value["samples"][0]["labels"]["thread"], json!(["a"]));
        assert_eq!(value["locations"][1]["address"], "0x2200");
        assert_eq!(value["functions"][1]["system_name"], "_work");
        assert_eq!(value["mappings"][0]["build_id"], "abcdef");
    }
}
