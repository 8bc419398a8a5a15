//! Flame graphs for the pages that draw them: in columns, which are shorter to send and faster to read than rows.

use std::collections::HashMap;

use serde::Serialize;

use crate::report::colour::hue;
use crate::report::diff::Verdict;
use crate::report::flame::sandwich::Sandwich;
use crate::report::flame::{FlameReport, Kind};
use crate::report::measure::AUTO;
use crate::report::node::Place;

/// What a page draws. `names`, `object` and `hue` have a row per place, `name` to `verdict` one per frame, parents before
/// their children.
#[derive(Serialize)]
struct Flame<'a> {
    names: Vec<String>,
    /// File names of binaries.
    objects: Vec<&'a str>,
    /// Index into `objects`.
    object: Vec<usize>,
    /// Degrees on the colour wheel.
    hue: Vec<u32>,
    /// Index into `names`; -1 for the root.
    name: Vec<i64>,
    depth: Vec<usize>,
    /// 1 where inlined.
    inlined: Vec<u8>,
    own: Vec<i64>,
    total: Vec<i64>,
    /// Of a comparison, the value of each frame in the base, on the same scale; `null` otherwise.
    base: Option<Vec<i64>>,
    /// Of a comparison, a letter per frame: `+` more, `-` less, `n` new, `g` gone, `~` noise, `=` the same, `?` not known.
    verdict: Option<String>,
    /// What shares relate to.
    whole: i64,
    unit: &'a str,
    sample_type: &'a str,
    filters: &'a [String],
    /// Options that matched nothing.
    unmatched: &'a [&'static str],
}

impl<'a> Flame<'a> {
    fn of(report: &'a FlameReport) -> Flame<'a> {
        let FlameReport { header, filters, unmatched, numbers, places, objects, frames, kind, judge: _ } =
            report;
        let divided =
            |values: &mut dyn Iterator<Item = i64>| values.map(|value| numbers.divided(value)).collect();
        let names: Vec<String> = places.iter().map(Place::name).collect();
        let mut known: HashMap<&str, usize> = HashMap::new();
        let object: Vec<usize> = objects
            .iter()
            .map(|object| {
                let next = known.len();
                *known.entry(object).or_insert(next)
            })
            .collect();
        let mut table: Vec<(&str, usize)> = known.into_iter().collect();
        table.sort_unstable_by_key(|&(_, index)| index);
        let is_comparison = *kind == Kind::Comparison;
        Flame {
            hue: names.iter().zip(objects).map(|(name, object)| hue(name, object)).collect(),
            names,
            objects: table.into_iter().map(|(object, _)| object).collect(),
            object,
            name: frames
                .iter()
                .map(|frame| frame.place.and_then(|place| i64::try_from(place).ok()).unwrap_or(-1))
                .collect(),
            depth: frames.iter().map(|frame| frame.depth).collect(),
            inlined: frames.iter().map(|frame| u8::from(frame.inlined)).collect(),
            own: divided(&mut frames.iter().map(|frame| frame.own)),
            total: divided(&mut frames.iter().map(|frame| frame.total)),
            base: is_comparison.then(|| divided(&mut frames.iter().map(|frame| frame.base))),
            verdict: is_comparison.then(|| frames.iter().map(|frame| letter(frame.verdict)).collect()),
            whole: numbers.divided(header.total),
            unit: if header.unit.is_empty() { AUTO } else { &header.unit },
            sample_type: &header.sample_type,
            filters,
            unmatched,
        }
    }
}

fn letter(verdict: Verdict) -> char {
    match verdict {
        Verdict::More => '+',
        Verdict::Less => '-',
        Verdict::New => 'n',
        Verdict::Gone => 'g',
        Verdict::Noise => '~',
        Verdict::Same => '=',
        Verdict::Unknown => '?',
    }
}

/// The tree of [`crate::report::flame::flame`] or [`crate::report::diff::overlaid`] on one line.
///
/// # Errors
/// What the serializer reports, which for this data is nothing that has been seen.
pub fn flame(report: &FlameReport) -> serde_json::Result<String> {
    serde_json::to_string(&Flame::of(report))
}

#[derive(Serialize)]
struct Halves<'a> {
    callers: Flame<'a>,
    callees: Flame<'a>,
}

/// Both trees of [`crate::report::flame::sandwich::sandwich`] on one line.
///
/// # Errors
/// What the serializer reports, which for this data is nothing that has been seen.
pub fn sandwich(report: &Sandwich) -> serde_json::Result<String> {
    let Sandwich { callees, callers } = report;
    serde_json::to_string(&Halves { callers: Flame::of(callers), callees: Flame::of(callees) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::diff::{Normalize, overlaid};
    use crate::report::subject::Lens;

    #[test]
    fn columns_fit_each_other() {
        let report = crate::report::flame::flame(&fixture::two_threads(), &Lens::default()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&flame(&report).unwrap()).unwrap();
        assert_eq!(value["name"][0], -1);
        assert_eq!(
            value["total"],
            serde_json::json!([60_000_000, 60_000_000, 60_000_000, 50_000_000, 20_000_000])
        );
        assert_eq!(value["objects"], serde_json::json!(["app", "[vdso]"]));
        assert_eq!(value["object"], serde_json::json!([0, 0, 0, 1]));
        assert_eq!((&value["base"], &value["verdict"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    }

    #[test]
    fn comparisons_have_verdicts() {
        let base = fixture::two_threads();
        let mut other = base.clone();
        other.sample[2].value = vec![200, 2_000_000_000];
        let report = overlaid(&base, &other, &Lens::default(), Normalize::Absolute).unwrap();
        let value: serde_json::Value = serde_json::from_str(&flame(&report).unwrap()).unwrap();
        assert_eq!(value["verdict"], "+++++");
        assert_eq!(value["base"][4], 20_000_000);
        let report = overlaid(&base, &base, &Lens::default(), Normalize::Share).unwrap();
        let value: serde_json::Value = serde_json::from_str(&flame(&report).unwrap()).unwrap();
        assert_eq!(value["verdict"], "~~~~~");
    }
}
