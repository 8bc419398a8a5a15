//! The options of a session: `focus=json`, `granularity=lines`. Names, meanings and defaults are google/pprof's (its
//! driver/config.go).

use std::collections::BTreeMap;
use std::fmt::Write;

use regex::Regex;

use super::command::{Command, Kind as CommandKind};
use crate::profile::filter::FrameFilter;
use crate::profile::proto::Profile;
use crate::profile::sample_index::sample_index;
use crate::profile::text;
use crate::report::measure::AUTO;
use crate::report::node::{Granularity, Inlines};
use crate::report::numbers::Shown;
use crate::report::order::Sort;
use crate::report::paths::Paths;
use crate::report::subject::{Columns, Heading, Lens, Negative, Shares, Values};
use crate::report::tag_frames::TagFrames;
use crate::report::tags::{TagFilter, TagMatch};
use crate::report::trim::Trim;

/// What values an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// A regex; empty for none.
    Regex,
    /// What labels are compared with; empty for nothing.
    Match,
    /// true or false.
    Bool,
    /// A whole number; -1 for what suits the command.
    Count,
    /// A number from 0 to 1.
    Share,
    /// A number above 0.
    Divisor,
    /// A value of the profile.
    Index,
    /// One of these, each of which is a name by itself: `cum` is `sort=cum`.
    Choice(&'static [&'static str]),
}

/// An option.
#[derive(Debug)]
pub(super) struct Opt {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    default: &'static str,
    /// The first line is for lists of all options.
    pub(super) help: &'static str,
}

const fn option(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Opt {
    Opt { name, kind, default, help }
}

const FRAME: &str =
    "It is looked for anywhere in the function's name, the source file and the mapping's path.";

/// All options, by name.
pub(super) static OPTIONS: [Opt; 31] = [
    option("compact_labels", Kind::Bool, "true", "Tables without the lines about the profile as a whole"),
    option(
        "divide_by",
        Kind::Divisor,
        "1",
        "Divide all values by this\nSuch as the number of hosts or jobs that a profile is the sum of.",
    ),
    option("drop_negative", Kind::Bool, "false", "Leave out what has negative values in a comparison"),
    option("edgefraction", Kind::Share, "0.001", "Leave out calls below this share of the total"),
    option("focus", Kind::Regex, "", "Only samples with a frame that matches this regex\n@frame"),
    option(
        "granularity",
        Kind::Choice(&["addresses", "filefunctions", "files", "functions", "lines"]),
        "",
        "What is told apart\nfunctions unless something else is chosen; `lines` alone is short for granularity=lines.",
    ),
    option(
        "hide",
        Kind::Regex,
        "",
        "Leave out the frames that match this regex\nTheir callers get their values.\n@frame",
    ),
    option("ignore", Kind::Regex, "", "No samples with a frame that matches this regex\n@frame"),
    option("intel_syntax", Kind::Bool, "false", "Instructions as Intel writes them, not AT&T"),
    option(
        "mean",
        Kind::Bool,
        "false",
        "Divide values by the profile's first ones, which are counts\nBytes per allocation, time per event; in top, tree, peek and traces.",
    ),
    option(
        "nodecount",
        Kind::Count,
        "-1",
        "How many rows or nodes to show\n0 for all; -1 for what suits the command: 10 for top, 80 for graphs.",
    ),
    option("nodefraction", Kind::Share, "0.005", "Leave out nodes below this share of the total"),
    option("noinlines", Kind::Bool, "false", "Count inlined functions as what they were inlined into"),
    option("output", Kind::Text, "", "Write reports to this file rather than to the terminal"),
    option("prune_from", Kind::Regex, "", "Leave out what the innermost frame that matches this regex calls"),
    option(
        "relative_percentages",
        Kind::Bool,
        "false",
        "Shares of the samples that the filters leave, not of all",
    ),
    option("sample_index", Kind::Index, "", "The value to report, by name or number from 0"),
    option("show", Kind::Regex, "", "Leave out the frames that do not match this regex\n@frame"),
    option(
        "show_from",
        Kind::Regex,
        "",
        "Leave out the callers of the outermost frame that matches this regex",
    ),
    option("showcolumns", Kind::Bool, "false", "Show columns of source lines"),
    option(
        "sort",
        Kind::Choice(&["cum", "flat"]),
        "flat",
        "What tables are sorted by\n`cum` and `flat` alone are short for sort=cum and sort=flat.",
    ),
    option("source_path", Kind::Text, "", "Folders to look for source files in, separated by colons"),
    option(
        "tagfocus",
        Kind::Match,
        "",
        "Only samples with a matching label\nA regex, key=regex, or for numbers key=1kb:64kb.",
    ),
    option("taghide", Kind::Regex, "", "No labels whose key matches this regex"),
    option("tagignore", Kind::Match, "", "No samples with a matching label\nWritten as for tagfocus."),
    option(
        "tagleaf",
        Kind::Text,
        "",
        "Add the values of these labels as innermost frames\nKeys, separated by commas.",
    ),
    option(
        "tagroot",
        Kind::Text,
        "",
        "Add the values of these labels as outermost frames\nKeys, separated by commas, such as process,thread.",
    ),
    option("tagshow", Kind::Regex, "", "Only labels whose key matches this regex"),
    option("trim", Kind::Bool, "true", "Leave out what nodecount, nodefraction and edgefraction say"),
    option("trim_path", Kind::Text, "", "Prefixes to take off source paths, separated by colons"),
    option(
        "unit",
        Kind::Text,
        "minimum",
        "The unit of values\nSuch as ms or kb; auto for the best of each value, minimum for one that fits all.",
    ),
];

impl Opt {
    /// The help, as long as it is.
    pub(super) fn long_help(&self) -> String {
        self.help.replace("@frame", FRAME)
    }
}

/// The option that a name means, and the value where the name is that of a value.
pub(super) fn find(name: &str) -> Option<(&'static Opt, Option<&'static str>)> {
    OPTIONS.iter().find_map(|option| {
        if option.name == name {
            return Some((option, None));
        }
        let Kind::Choice(values) = option.kind else { return None };
        values.iter().find(|&&value| value == name).map(|value| (option, Some(*value)))
    })
}

/// The values of all options, in the form that they are shown in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Only those that are not the default.
    changed: BTreeMap<&'static str, String>,
    /// The profile's values, and which of them is shown first.
    values: Vec<String>,
    first: String,
}

impl Settings {
    /// The defaults for a profile.
    pub(super) fn new(profile: &Profile) -> Settings {
        let values: Vec<String> =
            profile.sample_type.iter().map(|kind| text(profile, kind.r#type).to_owned()).collect();
        let first = sample_index(profile, None).ok().and_then(|index| values.get(index).cloned());
        Settings { changed: BTreeMap::new(), values, first: first.unwrap_or_default() }
    }

    /// The names of the profile's values.
    pub(super) fn values(&self) -> &[String] {
        &self.values
    }

    /// The value of an option.
    pub(super) fn get(&self, name: &str) -> &str {
        let default =
            || OPTIONS.iter().find(|option| option.name == name).map_or("", |option| option.default);
        self.changed.get(name).map_or_else(default, String::as_str)
    }

    fn is(&self, name: &str) -> bool {
        self.get(name) == "true"
    }

    /// Changes an option.
    ///
    /// # Errors
    /// It takes no such value, in a sentence.
    pub(super) fn set(&mut self, option: &'static Opt, value: &str) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{} cannot be {value:?}: {what}", option.name));
        let value = match option.kind {
            Kind::Text => value.to_owned(),
            Kind::Regex => match Regex::new(value) {
                Ok(_) => value.to_owned(),
                Err(error) => return wrong(&no_regex(&error)),
            },
            Kind::Match => match value.parse::<TagMatch>() {
                Ok(_) => value.to_owned(),
                Err(error) => return wrong(&no_regex(&error)),
            },
            Kind::Bool => match value.to_lowercase().as_str() {
                "true" | "t" | "yes" | "y" | "1" | "" => "true".to_owned(),
                "false" | "f" | "no" | "n" | "0" => "false".to_owned(),
                _ => return wrong("it is true or false"),
            },
            Kind::Count => match value.parse::<i64>() {
                Ok(count) => count.to_string(),
                Err(_) => return wrong("it is a whole number"),
            },
            Kind::Share => match value.parse::<f64>() {
                Ok(share) if (0.0..=1.0).contains(&share) => share.to_string(),
                _ => return wrong("it is a number from 0 to 1, such as 0.01"),
            },
            Kind::Divisor => match value.parse::<f64>() {
                Ok(number) if number.is_finite() && number > 0.0 => number.to_string(),
                _ => return wrong("it is a number above 0"),
            },
            Kind::Index if value.is_empty() => String::new(),
            Kind::Index => match self.index(value) {
                Some(name) => name,
                None => return wrong(&format!("the profile has {}", self.values.join(", "))),
            },
            Kind::Choice(values) => match values.iter().find(|&&known| known == value) {
                Some(known) => (*known).to_owned(),
                None if value.is_empty() => option.default.to_owned(),
                None => return wrong(&format!("it is one of {}", values.join(", "))),
            },
        };
        if value == option.default {
            self.changed.remove(option.name);
        } else {
            self.changed.insert(option.name, value);
        }
        Ok(())
    }

    /// The name of a value by its name or number.
    fn index(&self, wanted: &str) -> Option<String> {
        if let Ok(number) = wanted.parse::<usize>() {
            return self.values.get(number).cloned();
        }
        let short = wanted.strip_prefix("inuse_").unwrap_or(wanted);
        self.values.iter().find(|name| *name == wanted || *name == short).cloned()
    }

    /// How reports look at the profile.
    pub(super) fn lens(&self) -> Lens {
        // What does not parse was not accepted.
        let regex =
            |name: &str| Some(self.get(name)).filter(|written| !written.is_empty())?.parse::<Regex>().ok();
        let matching =
            |name: &str| Some(self.get(name)).filter(|written| !written.is_empty())?.parse::<TagMatch>().ok();
        let keys =
            |name: &str| self.get(name).split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect();
        Lens {
            by: self.granularity(),
            inlines: if self.is("noinlines") { Inlines::Merged } else { Inlines::Shown },
            sample_index: Some(self.get("sample_index").to_owned()),
            frames: FrameFilter {
                focus: regex("focus"),
                ignore: regex("ignore"),
                hide: regex("hide"),
                show: regex("show"),
                show_from: regex("show_from"),
            },
            prune_from: regex("prune_from"),
            tags: TagFilter {
                focus: matching("tagfocus"),
                ignore: matching("tagignore"),
                show: regex("tagshow"),
                hide: regex("taghide"),
            },
            tag_frames: TagFrames { root: keys("tagroot"), leaf: keys("tagleaf") },
            shares: if self.is("relative_percentages") { Shares::OfFiltered } else { Shares::OfAll },
            negative: if self.is("drop_negative") { Negative::Dropped } else { Negative::Shown },
            unit: match self.get("unit") {
                "" | "minimum" => Shown::Fitting,
                AUTO => Shown::Fixed(AUTO.to_owned()),
                unit => Shown::Fixed(unit.to_owned()),
            },
            divide_by: self.get("divide_by").parse().ok(),
            paths: Paths {
                trim: Paths::split(self.get("trim_path")),
                search: Paths::split(self.get("source_path")),
            },
            heading: if self.is("compact_labels") { Heading::Compact } else { Heading::Full },
            values: if self.is("mean") { Values::Means } else { Values::Sums },
            columns: if self.is("showcolumns") { Columns::Shown } else { Columns::Hidden },
        }
    }

    fn granularity(&self) -> Granularity {
        match self.get("granularity") {
            "addresses" => Granularity::Addresses,
            "filefunctions" => Granularity::Filefunctions,
            "files" => Granularity::Files,
            "lines" => Granularity::Lines,
            _ => Granularity::Functions,
        }
    }

    /// What tables are sorted by.
    pub(super) fn sort(&self) -> Sort {
        if self.get("sort") == "cum" { Sort::Cum } else { Sort::Flat }
    }

    /// How much of a table or graph a command shows.
    pub(super) fn trim(&self, command: &Command) -> Trim {
        if !self.is("trim") {
            return Trim::NOTHING;
        }
        let nodes = match (self.get("nodecount").parse::<i64>(), command.kind) {
            (Ok(-1), CommandKind::Top) => Some(10),
            (Ok(-1), _) => Trim::GRAPH.nodes,
            (Ok(count), _) => usize::try_from(count).ok().filter(|&count| count > 0),
            (Err(_), _) => None,
        };
        let share = |name| self.get(name).parse().unwrap_or_default();
        Trim { nodes, node_fraction: share("nodefraction"), edge_fraction: share("edgefraction") }
    }

    /// All options with their values, one to a line.
    pub(super) fn listed(&self) -> String {
        let mut out = String::new();
        for option in &OPTIONS {
            let value = match self.get(option.name) {
                "" if option.kind == Kind::Index => &self.first,
                "" if matches!(option.kind, Kind::Choice(_)) => "(default)",
                "" => "\"\"",
                value => value,
            };
            let comment = match option.kind {
                Kind::Choice(values) => format!("//: [{}]", values.join(" | ")),
                Kind::Index => format!("//: [{}]", self.values.join(" | ")),
                Kind::Count if value == "-1" => "//: default".to_owned(),
                _ => String::new(),
            };
            let line = format!("  {:<25} = {value:<20} {comment}", option.name);
            let _infallible = writeln!(out, "{}", line.trim_end());
        }
        out
    }
}

/// The last line of what the regex library says, which is what is wrong.
fn no_regex(error: &regex::Error) -> String {
    let said = error.to_string();
    let last = said.lines().last().unwrap_or_default().trim_start_matches("error: ");
    format!("it is no regular expression ({last})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;

    fn set(settings: &mut Settings, name: &str, value: &str) -> Result<(), String> {
        settings.set(find(name).unwrap().0, value)
    }

    #[test]
    fn options_are_sorted_and_have_the_defaults_that_they_list() {
        assert!(OPTIONS.is_sorted_by_key(|option| option.name));
        let mut settings = Settings::new(&fixture::two_threads());
        let untouched = settings.clone();
        for option in &OPTIONS {
            settings.set(option, option.default).unwrap();
        }
        assert_eq!(settings, untouched);
        assert_eq!(settings.get("nodefraction"), "0.005");
    }

    #[test]
    fn values_are_checked_when_they_are_set() {
        let mut settings = Settings::new(&fixture::two_threads());
        set(&mut settings, "focus", "work|main").unwrap();
        set(&mut settings, "noinlines", "").unwrap();
        set(&mut settings, "sample_index", "0").unwrap();
        set(&mut settings, "granularity", "lines").unwrap();
        set(&mut settings, "divide_by", "4").unwrap();
        let lens = settings.lens();
        assert_eq!(lens.frames.focus.unwrap().as_str(), "work|main");
        assert_eq!((lens.inlines, lens.by, lens.divide_by), (Inlines::Merged, Granularity::Lines, Some(4.0)));
        assert_eq!(lens.sample_index.as_deref(), Some("samples"));
        for (name, value, part) in [
            ("focus", "(", "no regular expression"),
            ("tagfocus", "key=(", "no regular expression"),
            ("sample_index", "wall", "samples, cpu"),
            ("sample_index", "2", "samples, cpu"),
            ("sort", "name", "one of cum, flat"),
            ("nodefraction", "7", "from 0 to 1"),
            ("nodecount", "many", "whole number"),
            ("divide_by", "0", "above 0"),
            ("trim", "maybe", "true or false"),
        ] {
            let error = set(&mut settings, name, value).unwrap_err();
            assert!(error.contains(part) && error.starts_with(name), "{error}");
        }
        assert_eq!(settings.get("focus"), "work|main", "a wrong value changes nothing");
    }

    #[test]
    fn the_list_shows_values_and_choices() {
        let mut settings = Settings::new(&fixture::two_threads());
        set(&mut settings, "sort", "cum").unwrap();
        let list = settings.listed();
        assert!(
            list.contains("  sample_index              = cpu                  //: [samples | cpu]\n"),
            "{list}"
        );
        assert!(
            list.contains("  sort                      = cum                  //: [cum | flat]\n"),
            "{list}"
        );
        assert!(list.contains("  nodecount                 = -1                   //: default\n"), "{list}");
        assert!(list.contains("  focus                     = \"\"\n"), "{list}");
    }
}
