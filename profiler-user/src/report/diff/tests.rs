use super::condition::{Condition, Outcome};
use super::*;
use crate::profile::fixture;
use crate::report::node::Granularity;

fn options(normalize: Normalize) -> Options {
    Options { lens: Lens::default(), rows: Rows::Places, normalize, sort: Sort::Flat }
}

/// The fixture with other counts: thread a inlined, thread a work, thread b in the vdso.
fn profile(counts: [i64; 3]) -> Profile {
    let mut profile = fixture::two_threads();
    for (sample, count) in profile.sample.iter_mut().zip(counts) {
        sample.value = vec![count, count * 10_000_000];
    }
    profile
}

/// `name own-verdict total-verdict` of each row.
fn verdicts(report: &DiffReport) -> Vec<String> {
    let row = |row: &DiffRow| format!("{} {:?} {:?}", row.name, row.own.verdict, row.total.verdict);
    report.rows.iter().map(row).collect()
}

#[test]
fn a_change_comes_first_and_noise_is_noise() {
    let (base, other) = (profile([1000, 1000, 1000]), profile([1000, 1300, 1010]));
    let report = diff(&base, &other, &options(Normalize::Absolute)).unwrap();
    assert_eq!(verdicts(&report)[0], "work More More");
    let work = report.rows[0].own;
    assert_eq!((work.base, work.other, work.change), (1e10, 1.3e10, 3e9));
    let (low, high) = work.interval.unwrap();
    assert!(low > 2e9 && low < 2.2e9 && high > 3.8e9 && high < 4.0e9, "{low} {high}");
    assert!(verdicts(&report).contains(&"[[vdso]] Noise Noise".to_owned()), "{:?}", verdicts(&report));
    assert!(verdicts(&report).contains(&"main Same More".to_owned()), "{:?}", verdicts(&report));
}

#[test]
fn what_calls_something_that_changed_comes_before_noise() {
    // Only `inlined` has values of its own, so only totals tell its callers apart.
    let mut base = profile([1000, 1000, 0]);
    base.sample[1].location_id = vec![2, 1];
    base.location[1].line[1].function_id = 1;
    let mut other = base.clone();
    other.sample[0].location_id = vec![2, 3, 1];
    other.sample[1].location_id = vec![2, 1];
    let report = diff(&base, &other, &options(Normalize::Share)).unwrap();
    assert_eq!(verdicts(&report), ["work Same New", "inlined Same Same", "main Same Same"]);
}

#[test]
fn shares_do_not_mind_how_long_was_recorded() {
    let (base, other) = (profile([100, 300, 600]), profile([1000, 3000, 6000]));
    let report = diff(&base, &other, &options(Normalize::Share)).unwrap();
    assert!(report.rows.iter().all(|row| matches!(row.own.verdict, Verdict::Noise | Verdict::Same)));
    let inlined = report.rows.iter().find(|row| row.name == "inlined").unwrap();
    assert!((inlined.own.base - 10.0).abs() < 1e-9 && (inlined.own.other - 10.0).abs() < 1e-9);
    let report = diff(&base, &other, &options(Normalize::Cpu)).unwrap();
    let inlined = report.rows.iter().find(|row| row.name == "inlined").unwrap();
    assert!((inlined.own.other - 1e9).abs() < 1.0, "in the base's time");
    let mut longer = other.clone();
    longer.duration_nanos *= 10;
    let report = diff(&base, &longer, &options(Normalize::Rate)).unwrap();
    assert!(report.rows.iter().all(|row| row.own.change.abs() < 1.0), "per second");
}

#[test]
fn what_comes_and_goes_is_said() {
    let mut other = profile([100, 100, 0]);
    let base = profile([0, 100, 100]);
    other.sample.pop();
    let report = diff(&base, &other, &options(Normalize::Absolute)).unwrap();
    let all = verdicts(&report);
    assert!(all.contains(&"[[vdso]] Gone Gone".to_owned()), "{all:?}");
    assert!(all.contains(&"inlined New Same".to_owned()), "{all:?}");
}

#[test]
fn builds_and_places_in_memory_do_not_matter() {
    let base = profile([100, 100, 100]);
    let mut other = base.clone();
    for mapping in &mut other.mapping {
        mapping.memory_start += 0x10_0000;
        mapping.memory_limit += 0x10_0000;
        mapping.build_id = 0;
    }
    for location in &mut other.location {
        location.address += 0x10_0000;
    }
    other.function[1].start_line = 99;
    other.string_table[5] = "/opt/app".to_owned();
    for by in [Granularity::Functions, Granularity::Lines, Granularity::Addresses] {
        let lens = Lens { by, ..Lens::default() };
        let report = diff(&base, &other, &Options { lens, ..options(Normalize::Share) }).unwrap();
        assert!(
            report.rows.iter().all(|row| row.own.verdict == Verdict::Same),
            "{by:?} {:?}",
            verdicts(&report)
        );
    }
}

#[test]
fn labels_show_where_a_change_lies() {
    let (base, other) = (profile([100, 100, 100]), profile([100, 100, 300]));
    let by_thread = Options { rows: Rows::Label("thread".into()), ..options(Normalize::Absolute) };
    let report = diff(&base, &other, &by_thread).unwrap();
    assert_eq!(verdicts(&report), ["b More More", "a Same Same"]);
}

#[test]
fn says_nothing_about_chance_where_it_knows_nothing() {
    let mut base = profile([100, 100, 100]);
    base.string_table[1] = "objects".to_owned();
    base.period_type = None;
    let mut other = base.clone();
    other.sample[0].value[1] *= 2;
    let report = diff(&base, &other, &options(Normalize::Absolute)).unwrap();
    assert_eq!(report.ticks, None);
    assert_eq!(verdicts(&report)[0], "inlined Unknown Unknown");
}

#[test]
fn conditions_are_judged_without_noise() {
    let (base, other) = (profile([1000, 1000, 1000]), profile([1000, 1300, 1010]));
    let report = diff(&base, &other, &options(Normalize::Absolute)).unwrap();
    let judge = |text: &str| text.parse::<Condition>().unwrap().judge(&report);
    assert!(matches!(judge("flat(work) > +20%"), Outcome::Exceeded(why) if why.contains("+30.00%")));
    assert!(matches!(judge("flat(work) > +40%"), Outcome::Holds(_)));
    assert!(matches!(judge("flat(work) < +40%"), Outcome::Exceeded(_)));
    assert!(matches!(judge("flat([[vdso]]) > 0%"), Outcome::Holds(_)), "noise");
    assert!(matches!(judge("cum(nobody) > 0%"), Outcome::NoSuchFunction(_)));
}

#[test]
fn trees_lie_over_each_other() {
    let (base, other) = (profile([100, 100, 0]), profile([200, 100, 50]));
    let tree = overlaid(&base, &other, &Lens::default(), Normalize::Absolute).unwrap();
    let frames: Vec<(String, i64, i64)> = tree
        .frames
        .iter()
        .map(|frame| (tree.name(frame), frame.base / 10_000_000, frame.total / 10_000_000))
        .collect();
    let wanted = [
        ("all", 200, 350),
        ("main", 200, 350),
        ("work", 200, 350),
        ("inlined", 100, 250),
        ("[[vdso]]", 0, 50),
    ];
    assert_eq!(frames, wanted.map(|(name, base, other)| (name.to_owned(), base, other)));
    let scaled = overlaid(&base, &other, &Lens::default(), Normalize::Share).unwrap();
    assert_eq!(scaled.frames[0].base, scaled.frames[0].total);
}
