use regex::Regex;

use super::super::node::Granularity;
use super::super::subject::ReportError;
use super::*;
use crate::profile::filter::FrameFilter;
use crate::profile::fixture;

/// `name flat cum` of every row.
fn rows(profile: &Profile, options: &Options) -> Vec<String> {
    let report = top(profile, options).unwrap();
    report.rows.iter().map(|row| format!("{} {} {}", row.place.name(), row.flat, row.cum)).collect()
}

fn counting(options: Options) -> Options {
    let lens = Lens { sample_index: Some("samples".to_owned()), ..options.lens };
    Options { lens, ..options }
}

fn counts(options: Options) -> Vec<String> {
    rows(&fixture::two_threads(), &counting(options))
}

#[test]
fn flat_is_the_leafs_and_cum_everybodys() {
    assert_eq!(counts(Options::default()), ["inlined 3 5", "[[vdso]] 2 2", "work 1 6", "main 0 6"]);
    let cum = Options { sort: Sort::Cum, ..Options::default() };
    assert_eq!(counts(cum), ["main 0 6", "work 1 6", "inlined 3 5", "[[vdso]] 2 2"]);
}

#[test]
fn granularities_tell_places_apart() {
    let by = |by| counts(Options { lens: Lens { by, ..Lens::default() }, ..Options::default() });
    assert_eq!(
        by(Granularity::Filefunctions),
        ["inlined inlined.h 3 5", "[[vdso]] 2 2", "work work.c 1 6", "main main.c 0 6"]
    );
    assert_eq!(by(Granularity::Files), ["inlined.h 3 5", "[[vdso]] 2 2", "work.c 1 6", "main.c 0 6"]);
    assert_eq!(
        by(Granularity::Lines),
        [
            "inlined inlined.h:31 3 5",
            "[[vdso]] 2 2",
            "work work.c:25 1 1",
            "main main.c:12 0 6",
            "work work.c:22 0 5"
        ]
    );
    assert_eq!(
        by(Granularity::Addresses)[..2],
        ["0000000000002200 inlined inlined.h:31 3 5", "0000000000007010 [[vdso]] 2 2"]
    );
}

#[test]
fn recursion_counts_once() {
    let mut profile = fixture::two_threads();
    profile.sample.truncate(1);
    profile.sample[0].location_id = vec![3, 1, 3, 1, 3];
    assert_eq!(rows(&profile, &counting(Options::default())), ["work 3 3", "main 0 3"]);
}

#[test]
fn the_total_is_that_of_all_samples() {
    let frames = FrameFilter { focus: Some(Regex::new("vdso").unwrap()), ..FrameFilter::default() };
    let report = top(
        &fixture::two_threads(),
        &Options { lens: Lens { frames, ..Lens::default() }, ..Options::default() },
    )
    .unwrap();
    assert_eq!(report.header.total, 60_000_000);
    assert_eq!(report.rows.last().map(|row| row.sum), Some(20_000_000));
    assert_eq!(report.filters, ["focus=vdso"]);
}

#[test]
fn the_base_of_a_comparison_is_its_total() {
    let mut profile = fixture::two_threads();
    profile.string_table.extend(["pprof::base".to_owned(), "true".to_owned()]);
    profile.sample[1].label[0].key = 18;
    profile.sample[1].label[0].str = 19;
    profile.sample[1].value[1] = -10_000_000;
    let report = top(&profile, &Options::default()).unwrap();
    assert_eq!(report.header.total, 10_000_000);
}

#[test]
fn rows_are_limited_and_counted() {
    let report = top(&fixture::two_threads(), &Options { rows: Some(2), ..Options::default() }).unwrap();
    assert_eq!((report.rows.len(), report.rows_in_all), (2, 4));
}

#[test]
fn refuses_what_it_cannot_read() {
    let mut profile = fixture::two_threads();
    let lens = Lens { sample_index: Some("wall".to_owned()), ..Lens::default() };
    let error = top(&profile, &Options { lens, ..Options::default() });
    assert!(matches!(error, Err(ReportError::SampleIndex(_))));
    profile.sample[0].location_id[0] = 44;
    assert!(matches!(top(&profile, &Options::default()), Err(ReportError::Invalid(_))));
}
