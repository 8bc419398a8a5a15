//! Which frames of a profile are looked at: google/pprof's `-focus`, `-ignore`, `-hide`, `-show` and `-show_from`
//! (its profile/filter.go, `FilterSamplesByName` and `ShowFrom`).

use std::collections::{HashMap, HashSet};

use regex::Regex;

use super::proto::{Line, Location, Profile};
use super::text;

/// Regexes over function names, source files and the paths of mappings; each matches anywhere in the text.
///
/// A location is one address with all functions inlined there. `focus` and `ignore` judge whole samples by their
/// locations; `hide` and `show` take single functions out of locations, and what is left of a sample stays.
#[derive(Clone, Debug, Default)]
pub struct FrameFilter {
    /// Keep only samples with a matching frame.
    pub focus: Option<Regex>,
    /// Drop samples with a matching frame; stronger than `focus`.
    pub ignore: Option<Regex>,
    /// Take matching frames out; a sample without any frame left is dropped.
    pub hide: Option<Regex>,
    /// Take out frames that do not match; a sample without any frame left is dropped.
    pub show: Option<Regex>,
    /// Take out the callers of the outermost frame that matches; a sample without a matching frame is dropped.
    pub show_from: Option<Regex>,
}

/// Which of the regexes matched anything, so that a typing error can be told from an empty result.
/// A regex that was not given counts as matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched {
    /// `focus` matched a location.
    pub focus: bool,
    /// `ignore` matched a location.
    pub ignore: bool,
    /// `hide` matched a location.
    pub hide: bool,
    /// `show` left a frame.
    pub show: bool,
    /// `show_from` matched a location.
    pub show_from: bool,
}

impl Matched {
    /// The names of the regexes that matched nothing.
    pub fn nothing(self) -> impl Iterator<Item = &'static str> {
        let Matched { focus, ignore, hide, show, show_from } = self;
        [("focus", focus), ("ignore", ignore), ("hide", hide), ("show", show), ("show_from", show_from)]
            .into_iter()
            .filter_map(|(name, matched)| (!matched).then_some(name))
    }
}

impl FrameFilter {
    /// True where nothing would be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let FrameFilter { focus, ignore, hide, show, show_from } = self;
        [focus, ignore, hide, show, show_from].into_iter().all(Option::is_none)
    }

    /// The regexes that were given, for the head of a report: `("focus", "regex")`.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let FrameFilter { focus, ignore, hide, show, show_from } = self;
        [("focus", focus), ("ignore", ignore), ("hide", hide), ("show", show), ("show_from", show_from)]
            .into_iter()
            .filter_map(|(name, regex)| Some((name, regex.as_ref()?.as_str())))
    }

    /// Filters a readable profile in place. Locations and functions that no sample uses any more stay in their tables.
    pub fn apply(&self, profile: &mut Profile) -> Matched {
        let FrameFilter { focus, ignore, hide, show, show_from } = self;
        let mut matched = Matched {
            focus: focus.is_none(),
            ignore: ignore.is_none(),
            hide: hide.is_none(),
            show: show.is_none(),
            show_from: show_from.is_none(),
        };
        if ![focus, ignore, hide, show].into_iter().all(Option::is_none) {
            self.by_name(profile, &mut matched);
        }
        if let Some(show_from) = show_from {
            matched.show_from = from_outermost(profile, &Matches::find(profile, show_from));
        }
        matched
    }

    fn by_name(&self, profile: &mut Profile, matched: &mut Matched) {
        let FrameFilter { focus, ignore, hide, show, show_from: _ } = self;
        // Regexes are tried once per function and mapping, not once per location.
        let [focus, ignore, hide, show] = [focus, ignore, hide, show]
            .map(|regex| regex.as_ref().map(|regex| Matches::find(profile, regex)));
        let mut verdicts: HashMap<u64, Verdict> = HashMap::new();
        let mut hidden: HashSet<u64> = HashSet::new();
        for location in &mut profile.location {
            if ignore.as_ref().is_some_and(|ignore| ignore.location(location)) {
                matched.ignore = true;
                verdicts.insert(location.id, Verdict::Ignored);
            } else if focus.as_ref().is_none_or(|focus| focus.location(location)) {
                matched.focus = true;
                verdicts.insert(location.id, Verdict::Focused);
            }
            if let Some(hide) = hide.as_ref().filter(|hide| hide.location(location)) {
                matched.hide = true;
                let whole = hide.mappings.contains(&location.mapping_id);
                location.line.retain(|line| !whole && !hide.line(line));
                if location.line.is_empty() {
                    hidden.insert(location.id);
                }
            }
            if let Some(show) = &show {
                let whole = show.mappings.contains(&location.mapping_id);
                location.line.retain(|line| whole || line.function_id == 0 || show.line(line));
                // pprof, too, drops a location without symbols here even where its mapping matches.
                if location.line.is_empty() {
                    hidden.insert(location.id);
                } else {
                    matched.show = true;
                }
            }
        }
        profile.sample.retain_mut(|sample| {
            let verdict = |id: &u64| verdicts.get(id).copied();
            if sample.location_id.iter().any(|id| verdict(id) == Some(Verdict::Ignored))
                || !sample.location_id.iter().any(|id| verdict(id) == Some(Verdict::Focused))
            {
                return false;
            }
            if hidden.is_empty() {
                return true;
            }
            sample.location_id.retain(|id| !hidden.contains(id));
            !sample.location_id.is_empty()
        });
    }
}

/// Takes out the callers of the outermost match; says whether there was one.
fn from_outermost(profile: &mut Profile, matches: &Matches) -> bool {
    let mut found: HashSet<u64> = HashSet::new();
    for location in &mut profile.location {
        if matches.mappings.contains(&location.mapping_id) {
            found.insert(location.id);
        } else if let Some(outermost) = location.line.iter().rposition(|line| matches.line(line)) {
            location.line.truncate(outermost + 1);
            found.insert(location.id);
        }
    }
    profile.sample.retain_mut(|sample| {
        let outermost = sample.location_id.iter().rposition(|id| found.contains(id));
        sample.location_id.truncate(outermost.map_or(0, |outermost| outermost + 1));
        outermost.is_some()
    });
    !found.is_empty()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Focused,
    Ignored,
}

/// The ids of functions and mappings that one regex matches.
struct Matches {
    functions: HashSet<u64>,
    mappings: HashSet<u64>,
}

impl Matches {
    fn find(profile: &Profile, regex: &Regex) -> Matches {
        let matches = |index| regex.is_match(text(profile, index));
        Matches {
            functions: profile
                .function
                .iter()
                .filter(|function| matches(function.name) || matches(function.filename))
                .map(|function| function.id)
                .collect(),
            mappings: profile
                .mapping
                .iter()
                .filter(|mapping| matches(mapping.filename))
                .map(|mapping| mapping.id)
                .collect(),
        }
    }

    fn line(&self, line: &Line) -> bool {
        self.functions.contains(&line.function_id)
    }

    fn location(&self, location: &Location) -> bool {
        self.mappings.contains(&location.mapping_id) || location.line.iter().any(|line| self.line(line))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    /// The stacks that are left, leaf first, with their counts.
    fn left(filter: &FrameFilter) -> Vec<String> {
        let mut profile = fixture::two_threads();
        filter.apply(&mut profile);
        let name = |id: u64| {
            let location = profile.location.iter().find(|location| location.id == id).unwrap();
            let lines = location.line.iter().map(|line| {
                let function =
                    profile.function.iter().find(|function| function.id == line.function_id).unwrap();
                text(&profile, function.name)
            });
            let names: Vec<&str> = lines.collect();
            if names.is_empty() { "?".to_owned() } else { names.join("+") }
        };
        profile
            .sample
            .iter()
            .map(|sample| {
                let stack: Vec<String> = sample.location_id.iter().map(|&id| name(id)).collect();
                format!("{} {}", sample.value[0], stack.join(" "))
            })
            .collect()
    }

    fn regex(pattern: &str) -> Option<Regex> {
        Some(Regex::new(pattern).unwrap())
    }

    #[test]
    fn focus_and_ignore_judge_samples() {
        let all = ["3 inlined+work main", "1 work main", "2 ? inlined+work main"];
        let none = FrameFilter::default();
        assert_eq!(left(&none), all);
        assert_eq!(left(&FrameFilter { focus: regex("inl"), ..none.clone() }), [all[0], all[2]]);
        assert_eq!(left(&FrameFilter { focus: regex(r"main\.c"), ..none.clone() }), all, "by source file");
        assert_eq!(left(&FrameFilter { focus: regex("vdso"), ..none.clone() }), [all[2]], "by mapping");
        assert_eq!(left(&FrameFilter { ignore: regex("vdso"), ..none.clone() }), all[..2]);
        assert_eq!(
            left(&FrameFilter { focus: regex("inl"), ignore: regex("vdso"), ..none.clone() }),
            [all[0]]
        );
        assert!(left(&FrameFilter { ignore: regex("main"), ..none }).is_empty());
    }

    #[test]
    fn hide_and_show_take_frames_out() {
        let none = FrameFilter::default();
        assert_eq!(
            left(&FrameFilter { hide: regex("^work$"), ..none.clone() }),
            ["3 inlined main", "1 main", "2 ? inlined main"]
        );
        assert_eq!(left(&FrameFilter { hide: regex("usr/bin"), ..none.clone() }), ["2 ?"], "a whole mapping");
        assert_eq!(
            left(&FrameFilter { show: regex("work"), ..none.clone() }),
            ["3 work", "1 work", "2 work"]
        );
        assert_eq!(
            left(&FrameFilter { show: regex("vdso"), ..none.clone() }),
            Vec::<String>::new(),
            "as in pprof, a mapping does not save a location without lines"
        );
        assert_eq!(left(&FrameFilter { focus: regex("vdso"), show: regex("inl"), ..none }), ["2 inlined"]);
    }

    #[test]
    fn show_from_takes_callers_out() {
        let none = FrameFilter::default();
        assert_eq!(
            left(&FrameFilter { show_from: regex("^work$"), ..none.clone() }),
            ["3 inlined+work", "1 work", "2 ? inlined+work"]
        );
        assert_eq!(
            left(&FrameFilter { show_from: regex("inl"), ..none.clone() }),
            ["3 inlined", "2 ? inlined"]
        );
        assert_eq!(left(&FrameFilter { show_from: regex("vdso"), ..none }), ["2 ?"], "by mapping");
    }

    #[test]
    fn says_which_regex_found_nothing() {
        let filter = FrameFilter { focus: regex("main"), hide: regex("nowhere"), ..FrameFilter::default() };
        let matched = filter.apply(&mut fixture::two_threads());
        assert_eq!(matched.nothing().collect::<Vec<_>>(), ["hide"]);
        assert_eq!(filter.given().collect::<Vec<_>>(), [("focus", "main"), ("hide", "nowhere")]);
    }
}
