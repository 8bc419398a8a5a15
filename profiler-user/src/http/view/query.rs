//! From the page's address to what a report is about.

use clap::ValueEnum;
use regex::Regex;

use super::profiles::Choice;
use crate::report::diff::{Normalize, Rows};
use crate::report::node::{Granularity, Inlines};
use crate::report::subject::Lens;
use crate::report::tags::{TagFilter, TagMatch};
use crate::source::Labels;

/// What the page asks for. Its names are those of the command line's options, with `_` for `-`.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) lens: Lens,
    pub(super) labels: Labels,
    pub(super) other: Choice,
    /// What the base is; the other side's sources where there are none of its own.
    pub(super) base: Choice,
    /// Whether there is a base at all.
    pub(super) compare: bool,
    /// Whether base and other change places.
    pub(super) swap: bool,
    pub(super) normalize: Normalize,
    /// What has a row in a comparison.
    pub(super) rows: Rows,
    /// A function's name.
    pub(super) function: Option<String>,
    /// What functions are called.
    pub(super) regex: Option<Regex>,
    /// How many functions of a graph are shown.
    pub(super) nodes: Option<usize>,
}

/// A parameter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {why}")]
pub(super) struct Unreadable {
    name: String,
    why: String,
}

impl Query {
    /// What the page cannot ask for is as in `lens`.
    pub(super) fn read(pairs: &[(String, String)], lens: &Lens) -> Result<Query, Unreadable> {
        let fixed = lens.clone();
        let tags = TagFilter { focus: None, ignore: None, ..fixed.tags };
        let Lens { shares, negative, unit, divide_by, paths, .. } = fixed;
        let mut query = Query {
            lens: Lens { tags, shares, negative, unit, divide_by, paths, ..Lens::default() },
            labels: Labels::Drop,
            other: Choice::default(),
            base: Choice::default(),
            compare: false,
            swap: false,
            normalize: Normalize::default(),
            rows: Rows::Places,
            function: None,
            regex: None,
            nodes: None,
        };
        for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
            query.take(name, value).map_err(|why| Unreadable { name: name.clone(), why })?;
        }
        let Lens { tags, tag_frames, .. } = &query.lens;
        let of_labels = query.rows != Rows::Places;
        if of_labels || tags.focus.is_some() || tags.ignore.is_some() || !tag_frames.is_empty() {
            query.labels = Labels::Keep;
        }
        Ok(query)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        let Query { lens, .. } = self;
        match name {
            "by" => lens.by = Granularity::from_str(value, true)?,
            "sample_index" => lens.sample_index = Some(value.to_owned()),
            "noinlines" => lens.inlines = if is_on(value) { Inlines::Merged } else { Inlines::Shown },
            "focus" => lens.frames.focus = Some(regex(value)?),
            "ignore" => lens.frames.ignore = Some(regex(value)?),
            "hide" => lens.frames.hide = Some(regex(value)?),
            "show" => lens.frames.show = Some(regex(value)?),
            "show_from" => lens.frames.show_from = Some(regex(value)?),
            "prune_from" => lens.prune_from = Some(regex(value)?),
            "tagfocus" => lens.tags.focus = Some(tag(value)?),
            "tagignore" => lens.tags.ignore = Some(tag(value)?),
            "tagroot" => lens.tag_frames.root = list(value),
            "tagleaf" => lens.tag_frames.leaf = list(value),
            "where" => self.other.labels.push(value.to_owned()),
            "since" => self.other.since = Some(value.to_owned()),
            "until" => self.other.until = Some(value.to_owned()),
            "base_where" => self.base.labels.push(value.to_owned()),
            "base_since" => self.base.since = Some(value.to_owned()),
            "base_until" => self.base.until = Some(value.to_owned()),
            "compare" => self.compare = is_on(value),
            "swap" => self.swap = is_on(value),
            "normalize" => self.normalize = Normalize::from_str(value, true)?,
            "rows" => self.rows = Rows::Label(value.to_owned()),
            "function" => self.function = Some(value.to_owned()),
            "regex" => self.regex = Some(regex(value)?),
            "nodes" => self.nodes = Some(value.parse().map_err(|_| "it must be a number".to_owned())?),
            // What only the page itself looks at: the view, the zoom, what is searched for.
            _ => {}
        }
        Ok(())
    }
}

/// What a lens asks for of what the page can change: the parameters that [`Query::read`] makes such a lens of.
pub(super) fn asked(lens: &Lens) -> Vec<(&'static str, String)> {
    let mut asked: Vec<(&'static str, String)> = Vec::new();
    if lens.by != Granularity::default()
        && let Some(by) = lens.by.to_possible_value()
    {
        asked.push(("by", by.get_name().to_owned()));
    }
    if lens.inlines == Inlines::Merged {
        asked.push(("noinlines", "1".to_owned()));
    }
    asked.extend(lens.sample_index.iter().map(|name| ("sample_index", name.clone())));
    asked.extend(lens.frames.given().map(|(name, written)| (name, written.to_owned())));
    asked.extend(lens.prune_from.iter().map(|regex| ("prune_from", regex.as_str().to_owned())));
    let tags = lens.tags.given().filter(|(name, _)| ["tagfocus", "tagignore"].contains(name));
    asked.extend(tags.map(|(name, written)| (name, written.to_owned())));
    for (name, keys) in [("tagroot", &lens.tag_frames.root), ("tagleaf", &lens.tag_frames.leaf)] {
        if !keys.is_empty() {
            asked.push((name, keys.join(",")));
        }
    }
    asked
}

fn is_on(value: &str) -> bool {
    value == "1" || value == "true"
}

fn regex(value: &str) -> Result<Regex, String> {
    Regex::new(value).map_err(|error| match error {
        regex::Error::Syntax(text) => {
            // The last line says what is wrong, those before it draw where.
            let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("{value:?} is not a regex: {why}")
        }
        error => format!("{value:?} is not a regex: {error}"),
    })
}

fn tag(value: &str) -> Result<TagMatch, String> {
    value.parse().map_err(|error| format!("{error}"))
}

fn list(value: &str) -> Vec<String> {
    value.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Query, Unreadable> {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Query::read(&pairs, &Lens::default())
    }

    #[test]
    fn every_parameter_reaches_the_report() {
        let query = read(&[
            ("by", "lines"),
            ("focus", "json"),
            ("noinlines", "1"),
            ("where", "process=a"),
            ("where", "thread=b"),
            ("base_since", "2h"),
            ("swap", "1"),
            ("compare", "1"),
            ("normalize", "absolute"),
            ("view", "top"),
            ("hide", ""),
        ])
        .unwrap();
        assert_eq!((query.lens.by, query.lens.inlines), (Granularity::Lines, Inlines::Merged));
        assert_eq!(query.lens.frames.focus.unwrap().as_str(), "json");
        assert!(query.lens.frames.hide.is_none());
        assert_eq!(query.other.labels, ["process=a", "thread=b"]);
        assert_eq!(query.base.since.as_deref(), Some("2h"));
        assert!(query.swap && query.compare && query.normalize == Normalize::Absolute);
        assert_eq!(query.labels, Labels::Drop);
        assert_eq!(read(&[("tagroot", "thread")]).unwrap().labels, Labels::Keep);
        let by_label = read(&[("rows", "process")]).unwrap();
        assert_eq!((by_label.rows, by_label.labels), (Rows::Label("process".to_owned()), Labels::Keep));
    }

    #[test]
    fn what_a_lens_asks_for_makes_the_same_lens() {
        let pairs = [
            ("by", "lines"),
            ("noinlines", "1"),
            ("sample_index", "cpu"),
            ("focus", "a"),
            ("ignore", "b"),
            ("hide", "c"),
            ("show", "d"),
            ("show_from", "e"),
            ("prune_from", "f"),
            ("tagfocus", "thread=x"),
            ("tagignore", "y"),
            ("tagroot", "process,thread"),
            ("tagleaf", "host"),
        ];
        let lens = read(&pairs).unwrap().lens;
        let mut asked = asked(&lens);
        let mut wanted = pairs.map(|(name, value)| (name, value.to_owned()));
        asked.sort();
        wanted.sort();
        assert_eq!(asked, wanted);
        let none = Query::read(&[], &lens).unwrap().lens;
        assert!(none.frames.is_empty() && none.tags.is_empty() && none.by == Granularity::Functions);
    }

    #[test]
    fn says_what_cannot_be_read() {
        let error = |name, value| read(&[(name, value)]).unwrap_err().to_string();
        assert_eq!(error("focus", "("), "focus: \"(\" is not a regex: unclosed group");
        assert!(error("by", "colour").starts_with("by: "));
        assert!(error("nodes", "many").starts_with("nodes: it must be a number"));
    }
}
