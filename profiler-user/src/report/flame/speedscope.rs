//! The stacks for speedscope (<https://www.speedscope.app/file-format-schema.json>).

use serde_json::json;

use super::FlameReport;
use super::svg::title;

/// A file for speedscope, one line.
///
/// # Errors
/// What the serializer reports, which for this data is nothing that has been seen.
pub fn speedscope(report: &FlameReport) -> serde_json::Result<String> {
    let frames: Vec<_> = report
        .places
        .iter()
        .map(|place| {
            let mut frame = json!({"name": place.name()});
            if !place.file.is_empty() {
                frame["file"] = json!(place.file);
            }
            if place.line != 0 {
                frame["line"] = json!(place.line);
            }
            frame
        })
        .collect();
    let unit = match report.header.unit.as_str() {
        unit @ ("nanoseconds" | "microseconds" | "milliseconds" | "seconds" | "bytes") => unit,
        _ => "none",
    };
    let (mut samples, mut weights) = (Vec::new(), Vec::new());
    let mut stack: Vec<usize> = Vec::new();
    for frame in &report.frames {
        stack.truncate(frame.depth.saturating_sub(1));
        stack.extend(frame.place);
        if frame.own > 0 && frame.place.is_some() {
            samples.push(stack.clone());
            weights.push(report.numbers.divided(frame.own));
        }
    }
    let end: i64 = weights.iter().sum();
    let file = json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": concat!("profiler ", env!("CARGO_PKG_VERSION")),
        "name": title(report),
        "activeProfileIndex": 0,
        "shared": {"frames": frames},
        "profiles": [{
            "type": "sampled",
            "name": title(report),
            "unit": unit,
            "startValue": 0,
            "endValue": end,
            "samples": samples,
            "weights": weights,
        }],
    });
    Ok(serde_json::to_string(&file)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::flame::flame;
    use crate::report::subject::Lens;

    #[test]
    fn stacks_are_from_the_root_on() {
        let file = speedscope(&flame(&fixture::two_threads(), &Lens::default()).unwrap()).unwrap();
        let file: serde_json::Value = serde_json::from_str(&file).unwrap();
        let name = |index: &serde_json::Value| {
            let index = usize::try_from(index.as_u64().unwrap()).unwrap();
            file["shared"]["frames"][index]["name"].as_str().unwrap().to_owned()
        };
        let profile = &file["profiles"][0];
        let first: Vec<String> = profile["samples"][1].as_array().unwrap().iter().map(name).collect();
        assert_eq!(first, ["main", "work", "inlined"]);
        assert_eq!(profile["weights"], json!([10_000_000, 30_000_000, 20_000_000]));
        assert_eq!((&profile["endValue"], &profile["unit"]), (&json!(60_000_000), &json!("nanoseconds")));
    }
}
