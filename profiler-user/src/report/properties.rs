//! What holds for every report of every profile.

use proptest::prelude::*;
use regex::Regex;

use super::diff::{self, Normalize, Rows};
use super::flame::{FlameReport, firefox::firefox, flame, html::html, speedscope::speedscope, svg::svg};
use super::node::{Granularity, Inlines};
use super::order::Sort;
use super::subject::{Lens, Subject};
use super::text::{Noise, Paint, Shown};
use super::trim::{Purpose, Trim};
use super::{dot, folded, json, list, raw, text, top, traces, tree};
use crate::profile::fixture::profiles;
use crate::profile::proto::Profile;

fn lenses() -> impl Strategy<Value = Lens> {
    let by = prop_oneof![
        Just(Granularity::Functions),
        Just(Granularity::Filefunctions),
        Just(Granularity::Files),
        Just(Granularity::Lines),
        Just(Granularity::Addresses),
    ];
    let regex = || proptest::option::of("[a-f]".prop_map(|pattern| Regex::new(&pattern).unwrap()));
    (by, any::<bool>(), regex(), regex(), regex()).prop_map(|(by, merged, hide, show_from, prune_from)| {
        let mut lens = Lens { by, prune_from, ..Lens::default() };
        lens.inlines = if merged { Inlines::Merged } else { Inlines::Shown };
        lens.frames.hide = hide;
        lens.frames.show_from = show_from;
        lens
    })
}

/// The sum over the samples that have a stack after the filters.
fn sum(profile: &Profile, lens: &Lens) -> i64 {
    let subject = Subject::new(profile, lens).unwrap();
    let weighted = subject.weighted();
    weighted.iter().filter(|(sample, _)| !sample.location_id.is_empty()).map(|(_, value)| value).sum()
}

fn draw(report: &FlameReport) {
    assert!(svg(report).ends_with("</svg>\n"));
    html(report).unwrap();
    speedscope(report).unwrap();
    firefox(report).unwrap();
}

proptest! {
    #[test]
    fn every_report_adds_up(profile in profiles(), lens in lenses(), few in 1_usize..6) {
        let wanted = sum(&profile, &lens);
        let all = top::top(&profile, &top::Options { lens: lens.clone(), ..Default::default() }).unwrap();
        prop_assert_eq!(all.rows.iter().map(|row| row.flat).sum::<i64>(), wanted);
        let options = |trim, purpose| tree::Options { lens: lens.clone(), trim, purpose };
        let whole = tree::tree(&profile, &options(Trim::NOTHING, Purpose::Text(Sort::Cum))).unwrap();
        prop_assert_eq!(whole.graph.shown(), wanted);
        prop_assert_eq!(whole.graph.nodes.len(), all.rows.len());
        let trim = Trim { nodes: Some(few), node_fraction: 0.1, edge_fraction: 0.1 };
        let drawing = tree::tree(&profile, &options(trim, Purpose::Drawing)).unwrap();
        prop_assert!(drawing.graph.nodes.len() <= few);
        prop_assert!(dot::dot(&drawing).starts_with("digraph "));
        prop_assert!(text::tree(&drawing, Paint::Colours).ends_with('\n'));
        json::tree(&whole).unwrap();
        let stacks = folded::folded(&profile, &lens).unwrap();
        prop_assert_eq!(stacks.stacks.iter().map(|(_, value)| value).sum::<i64>(), wanted);
        let tree = flame(&profile, &lens).unwrap();
        prop_assert_eq!(tree.frames.iter().skip(1).map(|frame| frame.own).sum::<i64>(), wanted);
        draw(&tree);
        let every = traces::traces(&profile, &lens).unwrap();
        prop_assert!(text::traces(&every, Paint::Plain).ends_with('\n'));
        prop_assert!(text::raw(&raw::raw(&profile, &lens).unwrap().0).contains("Samples:"));
        if let Ok(listing) = list::list(&profile, &lens, &Regex::new(".").unwrap()) {
            text::list(&listing, Paint::Plain, &mut |path| Err(path.to_owned()));
        }
    }

    #[test]
    fn nothing_differs_from_itself(profile in profiles(), other in profiles(), lens in lenses()) {
        for normalize in [Normalize::Share, Normalize::Cpu, Normalize::Rate, Normalize::Absolute] {
            let options = diff::Options { lens: lens.clone(), rows: Rows::Places, normalize, sort: Sort::Flat };
            let report = diff::diff(&profile, &profile, &options).unwrap();
            prop_assert!(report.rows.iter().all(|row| row.own.change.abs() < 1e-6 && row.own.certain() == 0.0));
            let report = diff::diff(&profile, &other, &options).unwrap();
            let shown = Shown { rows: None, noise: Noise::Shown };
            prop_assert!(text::diff(&report, shown, Paint::Plain).starts_with("Base: "));
            json::diff(&report).unwrap();
            draw(&diff::overlaid(&profile, &other, &lens, normalize).unwrap());
        }
    }
}
