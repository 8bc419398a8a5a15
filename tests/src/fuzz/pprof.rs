//! Profiles, and what is made of them.

use std::sync::LazyLock;

use profiler_user::profile::codec::{DecodeError, decode, encode};
use profiler_user::profile::merge::{Duration, merge};
use profiler_user::profile::proto::Profile;
use profiler_user::profile::validate::{Rules, check};
use profiler_user::report::diff::{self, diff};
use profiler_user::report::disasm::{disasm, routines};
use profiler_user::report::flame::{firefox::firefox, flame, html::html, speedscope::speedscope, svg::svg};
use profiler_user::report::subject::Lens;
use profiler_user::report::text::{self, Paint};
use profiler_user::report::trim::{Purpose, Trim};
use profiler_user::report::{dot, folded, json, labels, list, raw, top, traces, tree};
use regex::Regex;

/// Most uncompressed bytes.
const LIMIT: usize = 1 << 20;

static NAMES: LazyLock<Regex> = LazyLock::new(|| Regex::new("a|main").expect("it is a regex"));

/// Bytes become a profile that is as good as what is written of it, and one report of it, which its bytes choose.
pub(super) fn pprof(bytes: &[u8]) {
    let Ok(profile) = decode(bytes, LIMIT) else { return };
    let sound = check(&profile, Rules::Readable).is_ok();
    let written = encode(&profile).expect("memory can be written");
    let again = match decode(&written, usize::MAX) {
        Ok(again) => again,
        // Bytes that say nothing were read; a file without any is none.
        Err(DecodeError::Empty) if profile == Profile::default() => return,
        Err(error) => panic!("what was written cannot be read: {error}"),
    };
    assert_eq!(again, profile);
    if !sound {
        assert!(top::top(&profile, &top::Options::default()).is_err(), "a report of what is no profile");
        return;
    }
    let _ = merge([&profile, &again], Duration::Sum).map(|merged| {
        check(&merged, Rules::Readable).expect("a merged profile is one");
    });
    let sum = bytes.iter().fold(0_usize, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    report(&profile, sum % 10);
}

fn report(profile: &Profile, which: usize) {
    let lens = Lens::default();
    match which {
        0 => {
            if let Ok(report) = top::top(profile, &top::Options::default()) {
                let _ = (text::top(&report, Paint::Colours), json::top(&report));
            }
        }
        1 | 2 => {
            let purpose = if which == 1 { Purpose::Text(top::Sort::Cum) } else { Purpose::Drawing };
            if let Ok(report) = tree::tree(profile, &tree::Options { lens, trim: Trim::GRAPH, purpose }) {
                let _ = (text::tree(&report, Paint::Plain), dot::dot(&report));
            }
        }
        3 => {
            if let Ok(report) = list::list(profile, &lens, &NAMES) {
                let _ = text::list(&report, Paint::Plain, &mut |_| Err(String::new()));
            }
        }
        4 => {
            if let Ok(report) = disasm(profile, &lens, &NAMES) {
                let _ = routines(&report, &mut |_| Err(String::new()));
            }
        }
        5 => {
            if let Ok(report) = traces::traces(profile, &lens) {
                let _ = text::traces(&report, Paint::Plain);
            }
        }
        6 => {
            if let Ok(report) = labels::labels(profile, &lens) {
                let _ = text::labels(&report);
            }
        }
        7 => {
            if let Ok((profile, _)) = raw::raw(profile, &lens) {
                let _ = text::raw(&profile);
            }
            if let Ok(report) = folded::folded(profile, &lens) {
                let _ = text::folded(&report);
            }
        }
        8 => {
            if let Ok(report) = flame(profile, &lens) {
                let _ = (svg(&report), html(&report), speedscope(&report), firefox(&report));
            }
        }
        _ => {
            let normalize = diff::Normalize::default();
            let options = diff::Options { lens, rows: diff::Rows::Places, normalize, sort: top::Sort::Flat };
            if let Ok(report) = diff(profile, profile, &options) {
                let _ = json::diff(&report);
            }
        }
    }
}
