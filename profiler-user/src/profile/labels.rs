//! Which samples are looked at, by their string labels: `process=nginx,thread=~worker,container!=web-1`.

use std::collections::HashMap;
use std::str::FromStr;

use regex::Regex;

use super::proto::{Profile, Sample};
use super::text;

/// Terms that a sample must meet, all of them. Labels that hold numbers are not looked at.
#[derive(Clone, Debug, Default)]
pub struct LabelFilter {
    terms: Vec<Term>,
}

#[derive(Clone, Debug)]
struct Term {
    key: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Is(String),
    IsNot(String),
    Matches(Regex),
    MatchesNot(Regex),
}

/// Why a label filter could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LabelFilterError {
    /// No operator, or nothing in front of it.
    #[error(
        "{term:?} selects no label: write key=value, key!=value, key=~regex or key!~regex, separated by commas"
    )]
    Term {
        /// What was written.
        term: String,
    },
    /// Not a regex.
    #[error("{pattern:?} for label {key:?} is not a regex: {cause}")]
    Regex {
        /// The label's key.
        key: String,
        /// What was written.
        pattern: String,
        /// Why it is none.
        cause: regex::Error,
    },
}

impl FromStr for LabelFilter {
    type Err = LabelFilterError;

    fn from_str(written: &str) -> Result<LabelFilter, LabelFilterError> {
        // A comma that is followed by no key and operator belongs to the value: `thread=~a{1,2}`.
        let mut pieces: Vec<String> = Vec::new();
        for piece in written.split(',') {
            match pieces.last_mut() {
                Some(last) if operator(piece).is_none() => {
                    last.push(',');
                    last.push_str(piece);
                }
                _ => pieces.push(piece.to_owned()),
            }
        }
        let terms = pieces.iter().map(|piece| term(piece)).collect::<Result<_, _>>()?;
        Ok(LabelFilter { terms })
    }
}

const OPERATORS: [&str; 4] = ["!=", "!~", "=~", "="];

/// Key, operator and value, where the piece begins with a key and an operator.
fn operator(piece: &str) -> Option<(&str, &'static str, &str)> {
    let end = piece.find(['=', '!'])?;
    let (key, rest) = piece.split_at(end);
    let key = key.trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte);
    if key.is_empty() || !key.bytes().all(plain) {
        return None;
    }
    OPERATORS.iter().find_map(|&operator| Some((key, operator, rest.strip_prefix(operator)?)))
}

fn term(piece: &str) -> Result<Term, LabelFilterError> {
    let (key, operator, value) =
        operator(piece).ok_or_else(|| LabelFilterError::Term { term: piece.to_owned() })?;
    let test = match operator {
        "=" => Test::Is(value.to_owned()),
        "!=" => Test::IsNot(value.to_owned()),
        "=~" => Test::Matches(regex(key, value)?),
        _ => Test::MatchesNot(regex(key, value)?),
    };
    Ok(Term { key: key.to_owned(), test })
}

fn regex(key: &str, pattern: &str) -> Result<Regex, LabelFilterError> {
    Regex::new(pattern).map_err(|cause| LabelFilterError::Regex {
        key: key.to_owned(),
        pattern: pattern.to_owned(),
        cause,
    })
}

/// What was found of a label, by the term's place, the label's key and its value.
type Judged = HashMap<(usize, i64, i64), Option<bool>>;

impl LabelFilter {
    /// True where every sample passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// A filter for one value of one label, or for a regex behind a tilde.
    ///
    /// # Errors
    /// The regex is none.
    pub fn value(key: &str, value: &str) -> Result<LabelFilter, LabelFilterError> {
        let test = match value.strip_prefix('~') {
            Some(pattern) => Test::Matches(regex(key, pattern)?),
            None => Test::Is(value.to_owned()),
        };
        Ok(LabelFilter { terms: vec![Term { key: key.to_owned(), test }] })
    }

    /// Whether any sample passes.
    #[must_use]
    pub fn passes_any(&self, profile: &Profile) -> bool {
        let mut judged = HashMap::new();
        self.is_empty() || profile.sample.iter().any(|sample| self.passes(profile, sample, &mut judged))
    }

    /// Whether labels with these values pass.
    #[must_use]
    pub fn passes_labels<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|term| {
            let holds = value(&term.key).is_some_and(|value| term.test.accepts(value));
            holds == term.test.is_positive()
        })
    }

    /// A filter that demands what both demand.
    #[must_use]
    pub fn and(mut self, other: LabelFilter) -> LabelFilter {
        self.terms.extend(other.terms);
        self
    }

    /// Drops the samples that do not meet every term. A label that a sample does not have meets only `!=` and `!~`;
    /// regexes match anywhere in the value.
    pub fn apply(&self, profile: &mut Profile) {
        if self.is_empty() {
            return;
        }
        let mut samples = std::mem::take(&mut profile.sample);
        // Few distinct labels, many samples: each term judges a label once.
        let mut judged = HashMap::new();
        samples.retain(|sample| self.passes(profile, sample, &mut judged));
        profile.sample = samples;
    }

    fn passes(&self, profile: &Profile, sample: &Sample, judged: &mut Judged) -> bool {
        self.terms.iter().enumerate().all(|(place, term)| term.holds(profile, sample, place, judged))
    }
}

impl Term {
    fn holds(&self, profile: &Profile, sample: &Sample, place: usize, judged: &mut Judged) -> bool {
        let mut any = false;
        for label in sample.label.iter().filter(|label| label.str != 0) {
            // Whether the value passes the test as if it were positive; None: another key.
            let verdict = *judged.entry((place, label.key, label.str)).or_insert_with(|| {
                (text(profile, label.key) == self.key).then(|| self.test.accepts(text(profile, label.str)))
            });
            any |= verdict == Some(true);
        }
        any == self.test.is_positive()
    }
}

impl Test {
    /// Whether the value passes the test as if it were positive.
    fn accepts(&self, value: &str) -> bool {
        match self {
            Test::Is(wanted) | Test::IsNot(wanted) => value == wanted,
            Test::Matches(regex) | Test::MatchesNot(regex) => regex.is_match(value),
        }
    }

    fn is_positive(&self) -> bool {
        matches!(self, Test::Is(_) | Test::Matches(_))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    /// The counts of the samples that are left of 3 (thread a), 1 (thread a), 2 (thread b).
    fn left(written: &str) -> Vec<i64> {
        let mut profile = fixture::two_threads();
        profile.sample[1].label.clear();
        written.parse::<LabelFilter>().unwrap().apply(&mut profile);
        profile.sample.iter().map(|sample| sample.value[0]).collect()
    }

    #[test]
    fn every_operator() {
        assert_eq!(left("thread=a"), [3]);
        assert_eq!(left("thread!=a"), [1, 2], "no label is not a");
        assert_eq!(left("thread=~[ab]"), [3, 2]);
        assert_eq!(left("thread!~^b$"), [3, 1]);
        assert_eq!(left("thread=~[ab],thread!=b"), [3]);
        assert_eq!(left("process=a"), [] as [i64; 0]);
        assert_eq!(left("thread=~^.{1,2}$,thread=b"), [2], "a comma within a regex");
    }

    #[test]
    fn one_value_of_one_label() {
        let profile = fixture::two_threads();
        for (value, passes) in [("a", true), ("a,thread=b", false), ("~^[xb]$", true), ("~x", false)] {
            let filter = LabelFilter::value("thread", value).unwrap();
            assert_eq!(filter.passes_any(&profile), passes, "{value}");
        }
        assert!(LabelFilter::value("thread", "~(").is_err());
        assert!(LabelFilter::default().passes_any(&Profile::default()));
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |written: &str| written.parse::<LabelFilter>().unwrap_err().to_string();
        assert_eq!(
            error("nginx"),
            "\"nginx\" selects no label: write key=value, key!=value, key=~regex or key!~regex, separated by commas"
        );
        assert!(error("=x").starts_with("\"=x\" selects no label"));
        assert!(error("").starts_with("\"\" selects no label"));
        assert!(error("thread=~(").starts_with("\"(\" for label \"thread\" is not a regex: "));
    }

    #[test]
    fn both_demands_are_kept() {
        let both = "thread=a".parse::<LabelFilter>().unwrap().and("thread=b".parse().unwrap());
        let mut profile = fixture::two_threads();
        both.apply(&mut profile);
        assert!(profile.sample.is_empty());
        assert!(LabelFilter::default().is_empty());
    }
}
