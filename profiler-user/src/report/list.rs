//! What each source line of some functions costs: google/pprof's `-list` (its report/source.go). Pure: the source itself
//! is put beside it later, by whoever can read it.

use std::collections::BTreeMap;

use regex::Regex;

use super::graph::build;
use super::header::Header;
use super::node::{Granularity, Objects, Place};
use super::numbers::Numbers;
use super::order::Weight;
use super::subject::{Lens, ReportError, Subject};
use crate::profile::proto::Profile;

/// Lines before the first and behind the last one with a value that are shown, too.
const MARGIN: i64 = 5;

/// The functions that were asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct ListReport {
    /// The profile, the value and its total.
    pub header: Header,
    /// Options that matched nothing.
    pub unmatched: Vec<&'static str>,
    /// Writes the values.
    pub numbers: Numbers,
    /// By name, then by file.
    pub routines: Vec<Routine>,
}

/// The part of a function that lies in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routine {
    /// Name of the function.
    pub function: String,
    /// Its source file, trimmed; empty where the profile names none.
    pub file: String,
    /// Sum over its lines.
    pub flat: i64,
    /// Sum over its lines; samples with several of them count several times.
    pub cum: i64,
    /// The first line to show, from 1.
    pub first: i64,
    /// The last line to show.
    pub last: i64,
    /// By number of the line, flat and cum of those that have either. Inlined functions are here with their own lines,
    /// and have value on the line of the call in the function that they were inlined into.
    pub lines: BTreeMap<i64, (i64, i64)>,
}

/// Sums up the lines of the functions whose name matches.
///
/// # Errors
/// The profile is inconsistent, does not have the value that is asked for, or nothing matches.
pub fn list(profile: &Profile, lens: &Lens, regex: &Regex) -> Result<ListReport, ReportError> {
    let lens = Lens { by: Granularity::Lines, ..lens.clone() };
    let subject = Subject::new(profile, &lens)?;
    let nodes = subject.nodes(&lens, Objects::Told)?;
    let built = build(&nodes, &subject.weighted(), None, None);
    let mut found: BTreeMap<(&str, &str), Vec<(&Place<'_>, &Weight)>> = BTreeMap::new();
    for (place, weight) in nodes.places().iter().zip(&built.weights) {
        let shown = (weight.flat != 0 || weight.cum != 0) && !lens.negative.drops(weight.flat, weight.cum);
        if shown && regex.is_match(&place.function) {
            found.entry((&place.function, &place.file)).or_default().push((place, weight));
        }
    }
    if found.is_empty() {
        return Err(ReportError::NoMatch(regex.as_str().to_owned()));
    }
    // Of a function with lines in files, those without a file would say nothing.
    let with_file: Vec<&str> =
        found.keys().filter(|(_, file)| !file.is_empty()).map(|(function, _)| *function).collect();
    let routines = found
        .iter()
        .filter(|((function, file), _)| !file.is_empty() || with_file.binary_search(function).is_err())
        .map(|((function, file), lines)| routine(function, file, lines))
        .collect();
    let Subject { ref header, ref unmatched, ref numbers, .. } = subject;
    let (header, unmatched, numbers) = (header.clone(), unmatched.clone(), numbers.clone());
    Ok(ListReport { header, unmatched, numbers, routines })
}

fn routine(function: &str, file: &str, places: &[(&Place<'_>, &Weight)]) -> Routine {
    let mut routine = Routine {
        function: function.to_owned(),
        file: file.to_owned(),
        flat: 0,
        cum: 0,
        first: i64::MAX,
        last: 1,
        lines: BTreeMap::new(),
    };
    for (place, weight) in places {
        let start = if place.start_line == 0 { place.line.saturating_sub(MARGIN) } else { place.start_line };
        routine.first = routine.first.min(start);
        routine.last = routine.last.max(place.line.saturating_add(MARGIN));
        routine.flat = routine.flat.saturating_add(weight.flat);
        routine.cum = routine.cum.saturating_add(weight.cum);
        let (flat, cum) = routine.lines.entry(place.line).or_default();
        *flat = flat.saturating_add(weight.flat);
        *cum = cum.saturating_add(weight.cum);
    }
    routine.first = routine.first.max(1);
    routine
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;

    type Flat = (String, String, i64, i64, Vec<(i64, i64, i64)>);

    fn routines(pattern: &str, lens: &Lens) -> Vec<Flat> {
        let report = list(&fixture::two_threads(), lens, &Regex::new(pattern).unwrap()).unwrap();
        let flatten = |routine: Routine| {
            let lines = routine.lines.into_iter().map(|(line, (flat, cum))| (line, flat, cum)).collect();
            (routine.function, routine.file, routine.first, routine.last, lines)
        };
        report.routines.into_iter().map(flatten).collect()
    }

    #[test]
    fn inlined_code_has_its_own_lines() {
        let lens = Lens { sample_index: Some("samples".to_owned()), ..Lens::default() };
        assert_eq!(
            routines("work|inl", &lens),
            [
                ("inlined".into(), "inlined.h".into(), 30, 36, vec![(31, 3, 5)]),
                ("work".into(), "work.c".into(), 20, 30, vec![(22, 0, 5), (25, 1, 1)]),
            ]
        );
        let merged = Lens { inlines: crate::report::node::Inlines::Merged, ..lens };
        assert_eq!(routines("work|inl", &merged)[0].4, [(22, 3, 5), (25, 1, 1)]);
    }

    #[test]
    fn refuses_what_matches_nothing() {
        let error = list(&fixture::two_threads(), &Lens::default(), &Regex::new("x").unwrap()).unwrap_err();
        assert_eq!(error, ReportError::NoMatch("x".to_owned()));
    }
}
