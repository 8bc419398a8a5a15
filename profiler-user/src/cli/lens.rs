//! The arguments that say how a profile is looked at, with the names and meanings of google/pprof's options.

use regex::Regex;

use crate::profile::filter::FrameFilter;
use crate::report::measure::AUTO;
use crate::report::node::{Granularity, Inlines};
use crate::report::numbers::Shown;
use crate::report::paths::Paths;
use crate::report::subject::{Columns, Heading, Lens, Negative, Shares, Values};
use crate::report::tag_frames::TagFrames;
use crate::report::tags::{TagFilter, TagMatch};
use crate::source::Labels;

/// Which frames, and which value, a report is about, and what it tells apart.
#[derive(clap::Args, Debug)]
pub(super) struct LensArgs {
    /// What is told apart.
    #[arg(long, value_enum, default_value_t)]
    by: Granularity,
    #[command(flatten)]
    filters: FilterArgs,
}

impl LensArgs {
    /// As the reports take them.
    pub(super) fn lens(&self) -> Lens {
        self.filters.lens(self.by)
    }

    /// See [`FilterArgs::labels`].
    pub(super) fn labels(&self) -> Labels {
        self.filters.labels()
    }
}

/// Sums or means.
#[derive(clap::Args, Debug)]
pub(super) struct ValuesArgs {
    /// Divide values by the profile's first ones, which are counts: bytes per allocation, time per event.
    #[arg(long)]
    mean: bool,
}

impl ValuesArgs {
    /// The lens with it.
    pub(super) fn on(&self, lens: Lens) -> Lens {
        Lens { values: if self.mean { Values::Means } else { Values::Sums }, ..lens }
    }
}

/// What stands on top of a table.
#[derive(clap::Args, Debug)]
pub(super) struct HeadingArgs {
    /// Leave out the lines about the profile as a whole.
    #[arg(long, alias = "compact_labels")]
    compact_labels: bool,
}

impl HeadingArgs {
    /// The lens with it.
    pub(super) fn on(&self, lens: Lens) -> Lens {
        Lens { heading: if self.compact_labels { Heading::Compact } else { Heading::Full }, ..lens }
    }
}

/// Which frames, and which value, a report is about.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Which frames and values")]
pub(super) struct FilterArgs {
    /// Only samples with a frame whose function, source file or mapping matches this regex.
    #[arg(long, value_name = "REGEX")]
    focus: Option<Regex>,
    /// No samples with a frame that matches this regex.
    #[arg(long, value_name = "REGEX")]
    ignore: Option<Regex>,
    /// Leave out the frames that match this regex; their callers get their values.
    #[arg(long, value_name = "REGEX")]
    hide: Option<Regex>,
    /// Leave out the frames that do not match this regex.
    #[arg(long, value_name = "REGEX")]
    show: Option<Regex>,
    /// Leave out the callers of the outermost frame that matches this regex.
    #[arg(long, value_name = "REGEX", alias = "show_from")]
    show_from: Option<Regex>,
    /// Leave out what the innermost frame that matches this regex calls.
    #[arg(long, value_name = "REGEX", alias = "prune_from")]
    prune_from: Option<Regex>,
    /// Only samples with a matching label: regex, key=regex, or for numbers key=1kb:64kb.
    #[arg(long, value_name = "MATCH")]
    tagfocus: Option<TagMatch>,
    /// No samples with a matching label.
    #[arg(long, value_name = "MATCH")]
    tagignore: Option<TagMatch>,
    /// Only labels whose key matches this regex.
    #[arg(long, value_name = "REGEX")]
    tagshow: Option<Regex>,
    /// No labels whose key matches this regex.
    #[arg(long, value_name = "REGEX")]
    taghide: Option<Regex>,
    /// Add the values of these labels as outermost frames, such as process,thread.
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    tagroot: Vec<String>,
    /// Add the values of these labels as innermost frames.
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    tagleaf: Vec<String>,
    /// Count inlined functions as the function that they were inlined into.
    #[arg(long)]
    noinlines: bool,
    /// Show columns of source lines.
    #[arg(long)]
    showcolumns: bool,
    /// The value to report, by name or number from 0 [default: the profile's default, or else the last].
    #[arg(long, value_name = "NAME", alias = "sample_index")]
    sample_index: Option<String>,
    /// The unit of values, such as ms; auto for the best of each value [default: one that fits all].
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
    /// Divide all values by this, such as the number of hosts.
    #[arg(long, value_name = "NUMBER", alias = "divide_by", value_parser = divisor)]
    divide_by: Option<f64>,
    /// Shares of the samples that the filters leave rather than of all.
    #[arg(long, alias = "relative_percentages")]
    relative_percentages: bool,
    /// Leave out what has negative values in a comparison.
    #[arg(long, alias = "drop_negative")]
    drop_negative: bool,
    /// Take these prefixes off source paths, separated by colons.
    #[arg(long, value_name = "PATHS", alias = "trim_path")]
    trim_path: Option<String>,
    /// Look for source files in these folders, separated by colons, and in those above them.
    #[arg(long, value_name = "PATHS", alias = "source_path")]
    source_path: Option<String>,
}

impl FilterArgs {
    /// As the reports take them.
    pub(super) fn lens(&self, by: Granularity) -> Lens {
        let list = |keys: &[String]| keys.iter().filter(|key| !key.is_empty()).cloned().collect();
        let paths = |written: &Option<String>| written.as_deref().map(Paths::split).unwrap_or_default();
        Lens {
            by,
            inlines: if self.noinlines { Inlines::Merged } else { Inlines::Shown },
            sample_index: self.sample_index.clone(),
            frames: FrameFilter {
                focus: self.focus.clone(),
                ignore: self.ignore.clone(),
                hide: self.hide.clone(),
                show: self.show.clone(),
                show_from: self.show_from.clone(),
            },
            prune_from: self.prune_from.clone(),
            tags: TagFilter {
                focus: self.tagfocus.clone(),
                ignore: self.tagignore.clone(),
                show: self.tagshow.clone(),
                hide: self.taghide.clone(),
            },
            tag_frames: TagFrames { root: list(&self.tagroot), leaf: list(&self.tagleaf) },
            shares: if self.relative_percentages { Shares::OfFiltered } else { Shares::OfAll },
            negative: if self.drop_negative { Negative::Dropped } else { Negative::Shown },
            unit: match self.unit.as_deref() {
                None | Some("minimum") => Shown::Fitting,
                Some(AUTO) => Shown::Fixed(AUTO.to_owned()),
                Some(unit) => Shown::Fixed(unit.to_owned()),
            },
            divide_by: self.divide_by,
            paths: Paths { trim: paths(&self.trim_path), search: paths(&self.source_path) },
            heading: Heading::default(),
            values: Values::default(),
            columns: if self.showcolumns { Columns::Shown } else { Columns::Hidden },
        }
    }

    /// Whether labels are needed by any of it. Without them, folders take less memory.
    pub(super) fn labels(&self) -> Labels {
        let unused = self.tagfocus.is_none()
            && self.tagignore.is_none()
            && self.tagroot.is_empty()
            && self.tagleaf.is_empty();
        if unused { Labels::Drop } else { Labels::Keep }
    }
}

fn divisor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("it must be a number above 0".to_owned()),
    }
}

/// Warns of options that matched nothing, as a typing error would.
pub(super) fn warn_of_unmatched(unmatched: &[&str]) {
    for name in unmatched {
        eprintln!("profiler: warning: --{} matched nothing", name.replace('_', "-"));
    }
}
