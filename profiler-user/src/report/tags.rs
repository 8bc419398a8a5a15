//! Which samples and labels are looked at: google/pprof's `-tagfocus`, `-tagignore`, `-tagshow`, `-taghide` (its
//! driver/driver_focus.go). It calls labels tags.

use std::collections::HashMap;
use std::str::FromStr;

use regex::Regex;

use super::measure::scale;
use crate::profile::proto::{Label, Profile, Sample};
use crate::profile::text;

/// The choice.
#[derive(Clone, Debug, Default)]
pub struct TagFilter {
    /// Keep only samples that match.
    pub focus: Option<TagMatch>,
    /// Drop samples that match.
    pub ignore: Option<TagMatch>,
    /// Keep only labels whose key matches.
    pub show: Option<Regex>,
    /// Drop labels whose key matches.
    pub hide: Option<Regex>,
}

/// What a sample's labels are compared with, as it is written: `regex`, `regex,regex`, `key=regex`, or for labels that
/// hold numbers `32kb`, `:64kb`, `4mb:`, `key=12kb:64mb`.
#[derive(Clone, Debug)]
pub struct TagMatch {
    written: String,
    /// Only labels with this key; those with any where there is none.
    key: Option<String>,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    /// Numbers from and to, both included, in the unit.
    Range { from: Option<f64>, to: Option<f64>, unit: String },
    /// Without a key all of them match some `key:value`, with a key any of them some value.
    Regexes(Vec<Regex>),
}

impl FromStr for TagMatch {
    type Err = regex::Error;

    fn from_str(written: &str) -> Result<TagMatch, regex::Error> {
        let (key, value) = match written.split_once('=') {
            Some((key, value)) => (Some(key).filter(|key| !key.is_empty()), value),
            None => (None, written),
        };
        let test = match range(value) {
            Some(range) => range,
            None => Test::Regexes(value.split(',').map(Regex::new).collect::<Result<_, _>>()?),
        };
        Ok(TagMatch { written: written.to_owned(), key: key.map(str::to_owned), test })
    }
}

/// Reads `N`, `N:`, `:N` or `N:N`, where a number may have a unit.
fn range(written: &str) -> Option<Test> {
    let bounds = |from: Option<&str>, to: Option<&str>| {
        let (from, to) = (from.map(number), to.map(number));
        let (from, to) = (swap(from)?, swap(to)?);
        let written_unit = from.or(to).map(|(_, unit)| unit)?;
        let (_, unit) = scale(1, written_unit, written_unit);
        let scaled = |(number, own): (i64, &str)| {
            let (scaled, own) = scale(number, own, if own == written_unit { own } else { unit });
            (own == unit).then_some(scaled)
        };
        let (from, to) = (swap(from.map(scaled))?, swap(to.map(scaled))?);
        Some(Test::Range { from, to, unit: unit.to_owned() })
    };
    match written.split_once(':') {
        None => bounds(Some(written), Some(written)),
        Some(("", to)) => bounds(None, Some(to)),
        Some((from, "")) => bounds(Some(from), None),
        Some((from, to)) => bounds(Some(from), Some(to)),
    }
}

/// Nothing wanted is fine; something wanted has to be there.
fn swap<T>(wanted: Option<Option<T>>) -> Option<Option<T>> {
    match wanted {
        None => Some(None),
        Some(found) => found.map(Some),
    }
}

/// A whole number with a unit of letters, or without one.
fn number(written: &str) -> Option<(i64, &str)> {
    let unsigned = written.strip_prefix(['+', '-']).unwrap_or(written);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = written.split_at_checked(written.len() - unsigned.len() + digits)?;
    let plain = digits > 0 && unit.bytes().all(|byte| byte.is_ascii_alphabetic());
    number.parse().ok().filter(|_| plain).map(|number| (number, unit))
}

impl TagMatch {
    fn holds(&self, profile: &Profile, sample: &Sample, units: &Units<'_>) -> bool {
        let wanted = |label: &&Label| self.key.as_deref().is_none_or(|key| text(profile, label.key) == key);
        let mut strings = sample.label.iter().filter(|label| is_string(label)).filter(wanted);
        match &self.test {
            Test::Range { from, to, unit } => {
                sample.label.iter().filter(|label| is_number(label)).filter(wanted).any(|label| {
                    let (value, own) = scale(label.num, units.of(profile, label.key), unit);
                    own == unit && from.is_none_or(|from| value >= from) && to.is_none_or(|to| value <= to)
                })
            }
            Test::Regexes(regexes) if self.key.is_some() => {
                strings.any(|label| regexes.iter().any(|regex| regex.is_match(text(profile, label.str))))
            }
            Test::Regexes(regexes) => {
                let pairs: Vec<String> = strings
                    .map(|label| format!("{}:{}", text(profile, label.key), text(profile, label.str)))
                    .collect();
                regexes.iter().all(|regex| pairs.iter().any(|pair| regex.is_match(pair)))
            }
        }
    }
}

/// True where a label holds a string.
#[must_use]
pub fn is_string(label: &Label) -> bool {
    label.str != 0
}

/// True where a label holds a number; readers of pprof see no label where neither is set.
#[must_use]
pub fn is_number(label: &Label) -> bool {
    label.str == 0 && (label.num != 0 || label.num_unit != 0)
}

impl TagFilter {
    /// What was given of it, for the head of a report: `("tagfocus", "thread=a")`.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let TagFilter { focus, ignore, show, hide } = self;
        [
            ("tagfocus", focus.as_ref().map(|test| test.written.as_str())),
            ("tagignore", ignore.as_ref().map(|test| test.written.as_str())),
            ("tagshow", show.as_ref().map(Regex::as_str)),
            ("taghide", hide.as_ref().map(Regex::as_str)),
        ]
        .into_iter()
        .filter_map(|(name, written)| Some((name, written?)))
    }

    /// True where nothing would be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.given().next().is_none()
    }

    /// True where samples are chosen or shown by their labels, so that they must not be dropped before.
    #[must_use]
    pub fn needs_labels(&self) -> bool {
        self.focus.is_some() || self.ignore.is_some()
    }

    /// Filters a readable profile in place; gives the names of the parts that matched nothing.
    pub fn apply(&self, profile: &mut Profile) -> Vec<&'static str> {
        let TagFilter { focus, ignore, show, hide } = self;
        let mut matched =
            [("tagfocus", focus.is_none()), ("tagignore", ignore.is_none()), ("tagshow", show.is_none())];
        let mut hidden = hide.is_none();
        let mut samples = std::mem::take(&mut profile.sample);
        if self.needs_labels() {
            let units = Units::find(profile, &samples);
            samples.retain(|sample| {
                let holds = |test: &TagMatch| test.holds(profile, sample, &units);
                let focused = focus.as_ref().is_none_or(holds);
                let ignored = ignore.as_ref().is_some_and(holds);
                matched[0].1 |= focused;
                matched[1].1 |= ignored;
                focused && !ignored
            });
        }
        if show.is_some() || hide.is_some() {
            for sample in &mut samples {
                sample.label.retain(|label| {
                    let key = text(profile, label.key);
                    let shown = show.as_ref().is_none_or(|show| show.is_match(key));
                    let hides = hide.as_ref().is_some_and(|hide| hide.is_match(key));
                    matched[2].1 |= shown;
                    hidden |= hides;
                    shown && !hides
                });
            }
        }
        profile.sample = samples;
        let nothing = matched.into_iter().chain([("taghide", hidden)]);
        nothing.filter(|(_, matched)| !matched).map(|(name, _)| name).collect()
    }
}

/// The units of labels that hold numbers, by key: the first that a sample names, or else the key itself.
#[derive(Debug, Default)]
pub struct Units<'a>(HashMap<i64, &'a str>);

impl<'a> Units<'a> {
    /// Looks through the samples of a profile.
    #[must_use]
    pub fn find(profile: &'a Profile, samples: &[Sample]) -> Units<'a> {
        let mut units: HashMap<i64, &str> = HashMap::new();
        for label in samples.iter().flat_map(|sample| &sample.label).filter(|label| is_number(label)) {
            let unit = text(profile, label.num_unit);
            if !unit.is_empty() {
                units.entry(label.key).or_insert(unit);
            }
        }
        Units(units)
    }

    /// The unit of the labels with this key.
    #[must_use]
    pub fn of<'p>(&self, profile: &'p Profile, key: i64) -> &'p str
    where
        'a: 'p,
    {
        match (self.0.get(&key), text(profile, key)) {
            (Some(unit), _) => unit,
            (None, "alignment" | "request") => "bytes",
            (None, key) => key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;

    /// Counts 3 with thread a and 2048 bytes, 1 with thread a, 2 with thread b.
    fn profile() -> Profile {
        let mut profile = fixture::two_threads();
        let strings = i64::try_from(profile.string_table.len()).unwrap();
        profile.string_table.extend(["size".to_owned(), "bytes".to_owned()]);
        let label = Label { key: strings, num: 2048, num_unit: strings + 1, ..Label::default() };
        profile.sample[0].label.push(label);
        profile
    }

    fn left(filter: &TagFilter) -> (Vec<i64>, Vec<&'static str>) {
        let mut profile = profile();
        let nothing = filter.apply(&mut profile);
        (profile.sample.iter().map(|sample| sample.value[0]).collect(), nothing)
    }

    fn test(written: &str) -> Option<TagMatch> {
        Some(written.parse().unwrap())
    }

    #[test]
    fn strings_match_by_key_and_value() {
        let focus = |written| left(&TagFilter { focus: test(written), ..TagFilter::default() }).0;
        assert_eq!(focus("thread=a"), [3, 1]);
        assert_eq!(focus("thread=a|b"), [3, 1, 2]);
        assert_eq!(focus("thread:b"), [2]);
        assert_eq!(focus("thread,a$"), [3, 1], "all of them");
        assert_eq!(focus("thread=x,b"), [2], "any of them");
        assert_eq!(left(&TagFilter { ignore: test("thread=a"), ..TagFilter::default() }).0, [2]);
        let nothing = TagFilter { focus: test("thread=x"), ..TagFilter::default() };
        assert_eq!(left(&nothing), (vec![], vec!["tagfocus"]));
    }

    #[test]
    fn numbers_match_by_range() {
        let focus = |written| left(&TagFilter { focus: test(written), ..TagFilter::default() }).0;
        for hit in ["2kb", "size=2048b", ":2kb", "1kb:", "1kb:1mb", "size=1024bytes:4096bytes"] {
            assert_eq!(focus(hit), [3], "{hit}");
        }
        for miss in ["3kb", "other=2kb", ":1kb", "3kb:4kb", "2s", "2048"] {
            assert!(focus(miss).is_empty(), "{miss}");
        }
    }

    #[test]
    fn keys_are_shown_and_hidden() {
        let keys = |filter: &TagFilter| {
            let mut profile = profile();
            let nothing = filter.apply(&mut profile);
            (profile.sample[0].label.len(), nothing)
        };
        let regex = |pattern| Some(Regex::new(pattern).unwrap());
        assert_eq!(keys(&TagFilter { show: regex("size"), ..TagFilter::default() }), (1, vec![]));
        assert_eq!(keys(&TagFilter { hide: regex("."), ..TagFilter::default() }), (0, vec![]));
        let miss = TagFilter { hide: regex("x"), ..TagFilter::default() };
        assert_eq!(keys(&miss), (2, vec!["taghide"]));
    }
}
