//! The comparison as text and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Observed;
use super::code::Function;
use super::names;
use super::paths::{Counted, Path, agree};

/// How many paths are shown.
const SHOWN: usize = 10;

/// A path and how many samples each tool has of it.
#[derive(Debug)]
struct Row<'a> {
    path: &'a Path,
    ours: i64,
    /// perf's whole stacks.
    whole: i64,
    /// perf's cut stacks that this path ends in.
    cut: f64,
}

/// What there is to say of one workload.
#[derive(Debug)]
pub struct Report {
    text: String,
    json: Value,
}

impl Report {
    /// Compares.
    pub fn of(workload: &str, version: &str, observed: &Observed) -> Report {
        let (ours, perf, mut code) = super::count(observed);
        let our_names = names::given(&observed.ours, &mut code);
        let perf_names = names::given(&observed.perf, &mut code);
        let named = |function: &Function| {
            let of = |names: &BTreeMap<Function, (String, i64)>| {
                names.get(function).map(|(name, _)| name.clone()).filter(|name| !name.is_empty())
            };
            of(&our_names).or_else(|| of(&perf_names)).unwrap_or_else(|| function.clone())
        };
        let (total, perf_total) = (ours.samples() as f64, perf.samples() as f64);
        let (dealt, strangers) = ours.deal(&perf.cut);
        let cut_total: i64 = perf.cut.values().sum();
        let mut text = format!(
            "{workload} ({version})\n{total} samples of ours, {} of them cut; {perf_total} of perf's, {cut_total} of \
             them cut, of which {} are the leaf side of a path of ours\n\n   ours    perf    of it cut          path\n",
            ours.cut.values().sum::<i64>(),
            cut_total - strangers,
        );
        let rows = rows(&ours, &perf, &dealt);
        for row in &rows {
            let both = row.whole as f64 + row.cut;
            let verdict = if agree(row.ours as f64, total, both, perf_total) { "agrees" } else { "DIFFERS" };
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{:6.2}% {:6.2}% {:6.2}%  {verdict:7}  {} frames: {}",
                100.0 * row.ours as f64 / total,
                100.0 * both / perf_total,
                100.0 * row.cut / perf_total,
                row.path.len(),
                shorten(row.path, &named),
            );
        }
        let (our_ends, perf_ends) = (ends(&ours, &named), ends(&perf, &named));
        for (whose, ends, total) in [("our", &our_ends, total), ("perf's", &perf_ends, perf_total)] {
            let _ = writeln!(text, "\nwhere {whose} cut stacks end:");
            for (samples, end) in ends.iter().take(SHOWN) {
                let _ = writeln!(text, "{:6.2}%  {end}", 100.0 * *samples as f64 / total);
            }
        }
        text.push_str("\nfunctions with two names:\n");
        let renamed = renamed(&our_names, &perf_names);
        for (frames, function, our, their) in renamed.iter().take(SHOWN) {
            let _ = writeln!(text, "{frames:6} frames  {function}: ours {our:?}, perf {their:?}");
        }
        let json = json!({
            "workload": workload,
            "version": version,
            "samples": { "ours": total, "perf": perf_total, "perf_cut": cut_total, "perf_cut_fits_none": strangers },
            "paths": rows.iter().map(|row| json!({
                "ours": row.ours, "perf_whole": row.whole, "perf_cut": row.cut,
                "path": row.path.iter().map(|f| format!("{f} {}", named(f))).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "ends": { "ours": our_ends, "perf": perf_ends },
            "renamed": renamed,
            "strangers": strange(&ours, &perf).iter().map(|(path, samples)| json!({
                "samples": samples,
                "path": path.iter().map(|f| format!("{f} {}", named(f))).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        });
        Report { text, json }
    }

    /// For a terminal.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// For machines, with the whole paths.
    pub fn json(&self) -> &Value {
        &self.json
    }
}

/// The hottest paths of either tool, hottest first.
fn rows<'a>(ours: &'a Counted, perf: &'a Counted, dealt: &BTreeMap<&Path, f64>) -> Vec<Row<'a>> {
    let hottest: BTreeSet<&Path> =
        ours.hottest(SHOWN).into_iter().chain(perf.hottest(SHOWN)).map(|(path, _)| path).collect();
    let of = |counted: &Counted, path| counted.whole.get(path).copied().unwrap_or(0);
    let row = |path| Row {
        path,
        ours: of(ours, path),
        whole: of(perf, path),
        cut: dealt.get(path).copied().unwrap_or(0.0),
    };
    let mut rows: Vec<Row> = hottest.into_iter().map(row).collect();
    rows.sort_by_key(|row| (-row.ours, -row.whole));
    rows
}

/// Functions in which cut stacks end, with how many frames: the most frequent first.
fn ends(perf: &Counted, named: &impl Fn(&Function) -> String) -> Vec<(i64, String)> {
    let mut ends: BTreeMap<String, i64> = BTreeMap::new();
    for (path, samples) in &perf.cut {
        let last: Vec<String> = path.iter().rev().take(3).map(named).collect();
        *ends.entry(last.join(" > ")).or_default() += samples;
    }
    let mut ends: Vec<(i64, String)> = ends.into_iter().map(|(end, samples)| (samples, end)).collect();
    ends.sort_by_key(|(samples, _)| -samples);
    ends
}

/// Cut stacks of perf's that are the leaf side of no path of ours.
fn strange<'a>(ours: &Counted, perf: &'a Counted) -> Vec<(&'a Path, i64)> {
    let fits_none = |path: &Path, samples| ours.deal(&BTreeMap::from([(path.clone(), samples)])).1 > 0;
    let mut strange: Vec<(&Path, i64)> = perf
        .cut
        .iter()
        .filter(|(path, samples)| fits_none(path, **samples))
        .map(|(path, &samples)| (path, samples))
        .collect();
    strange.sort_by_key(|(_, samples)| -samples);
    strange.truncate(100);
    strange
}

/// Functions that the tools call differently, or that one of them has no name for: the most frequent first.
fn renamed(
    ours: &BTreeMap<Function, (String, i64)>,
    perf: &BTreeMap<Function, (String, i64)>,
) -> Vec<(i64, Function, String, String)> {
    let mut renamed: Vec<_> = ours
        .iter()
        .filter_map(|(function, (our, frames))| {
            let (their, _) = perf.get(function)?;
            (function.contains('+') && our != their)
                .then(|| (*frames, function.clone(), our.clone(), their.clone()))
        })
        .collect();
    renamed.sort_by_key(|(frames, ..)| -frames);
    renamed
}

/// The path with its leaf and its root, as much as fits.
fn shorten(path: &Path, named: &impl Fn(&Function) -> String) -> String {
    let names: Vec<String> = path.iter().map(named).collect();
    if names.len() <= 8 {
        return names.join(" < ");
    }
    format!("{} < … < {}", names[..5].join(" < "), names[names.len() - 2..].join(" < "))
}
