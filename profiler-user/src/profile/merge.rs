//! Several profiles as one, by the rules of google/pprof (its profile/merge.go), so that a merged profile counts the
//! same whoever merges it.

use std::hash::{BuildHasher, Hash};

use hashbrown::DefaultHashBuilder;

use super::ids::{IdError, Rows};
use super::proto::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};
use super::table::Table;
use super::text;
use super::validate::{self, Invalid, Rules};

/// How many different comments a merged profile keeps; the count of the others becomes its last comment. Without a
/// limit, a day of an agent's folder would be thousands of them.
pub const MOST_COMMENTS: usize = 100;

/// Sizes of mappings are compared rounded up to this, because tools disagree on the last page.
const PAGE: u64 = 0x1000;

/// What the merged profile says about its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duration {
    /// The sum of all lengths, as in pprof: for profiles that follow each other or come from different hosts.
    Sum,
    /// This many nanoseconds: for profiles of different processes over the same time, whose lengths must not add up.
    Nanoseconds(i64),
}

/// Why profiles cannot become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// Nothing was added.
    #[error("there is no profile to merge")]
    Nothing,
    /// A profile whose tables do not fit each other.
    #[error("the profile is inconsistent: {0}")]
    Invalid(Invalid),
    /// Values that mean different things cannot be added up.
    #[error("its {what} {theirs} cannot be added to {ours} of the profiles before it")]
    Incompatible {
        /// "sample types" or "period type".
        what: &'static str,
        /// Those of the first profile.
        ours: String,
        /// Those of this one.
        theirs: String,
    },
}

impl From<Invalid> for MergeError {
    fn from(cause: Invalid) -> MergeError {
        MergeError::Invalid(cause)
    }
}

impl From<IdError> for MergeError {
    fn from(cause: IdError) -> MergeError {
        MergeError::Invalid(Invalid::Id { table: "id", cause })
    }
}

/// Merges profiles one by one; holds the result so far and nothing of the profiles themselves.
///
/// Equal are mappings of the same size (in pages), file offset and build-id (or file name); locations with the same
/// place in the mapping and the same lines; functions with the same names, file and start line; samples with the same
/// locations and labels. Values of equal samples are added. Addresses move to where the first profile has the mapping.
/// The period is the longest, the time the earliest known, comments are kept once.
///
/// In two points it differs from pprof, so that the result can be sent to any consumer: a mapping keeps a `has_*` flag
/// only where all merged ones have it, and ends where the longest ends.
#[derive(Debug, Default)]
pub struct Merger {
    hasher: DefaultHashBuilder,
    strings: Table<String>,
    mappings: Table<Mapping>,
    functions: Table<Function>,
    locations: Table<Location>,
    samples: Table<Sample>,
    header: Option<Header>,
    comments: Vec<String>,
    comments_left_out: usize,
}

/// What is not a table, in the merged profile's string indices.
#[derive(Debug)]
struct Header {
    sample_type: Vec<ValueType>,
    period_type: ValueType,
    drop_frames: i64,
    keep_frames: i64,
    doc_url: i64,
    default_sample_type: i64,
    time_nanos: i64,
    duration_nanos: i64,
    period: i64,
}

/// Where the rows of the profile that is being added have gone; filled on demand, so that what no sample uses is left
/// behind.
struct Source<'a> {
    profile: &'a Profile,
    mapping_rows: Rows,
    function_rows: Rows,
    location_rows: Rows,
    strings: Vec<Option<i64>>,
    /// Id in the result, and what is added to addresses.
    mappings: Vec<Option<(u64, u64)>>,
    functions: Vec<Option<u64>>,
    locations: Vec<Option<u64>>,
}

/// Merges all profiles.
///
/// # Errors
/// No profile, an inconsistent one, or one with other sample types than the first.
pub fn merge<'a>(
    profiles: impl IntoIterator<Item = &'a Profile>,
    duration: Duration,
) -> Result<Profile, MergeError> {
    let mut merger = Merger::new();
    for profile in profiles {
        merger.add(profile)?;
    }
    merger.finish(duration)
}

impl Merger {
    /// An empty one.
    #[must_use]
    pub fn new() -> Merger {
        Merger::default()
    }

    /// Adds a profile.
    ///
    /// # Errors
    /// The profile is inconsistent or of another kind than the first; the merger is as it was before.
    pub fn add(&mut self, profile: &Profile) -> Result<(), MergeError> {
        validate::check(profile, Rules::Readable)?;
        self.compatible(profile)?;
        let mut source = Source::new(profile)?;
        self.add_header(&mut source);
        // The first mapping is the main binary's wherever profiles are read, so it goes first even if no sample is in it.
        if let Some(main) = profile.mapping.first().filter(|_| self.mappings.rows().is_empty()) {
            self.mapping(&mut source, main.id);
        }
        for sample in &profile.sample {
            if sample.value.iter().any(|&value| value != 0) {
                self.sample(&mut source, sample);
            }
        }
        Ok(())
    }

    /// The merged profile, with ids 1..n in table order and nothing that no sample uses.
    ///
    /// # Errors
    /// No profile was added.
    pub fn finish(mut self, duration: Duration) -> Result<Profile, MergeError> {
        let header = self.header.take().ok_or(MergeError::Nothing)?;
        if self.comments_left_out > 0 {
            self.comments.push(format!("{} more comments were left out in merging", self.comments_left_out));
        }
        let comments = std::mem::take(&mut self.comments);
        let comment = comments.iter().map(|comment| self.string(comment)).collect();
        let Header {
            sample_type,
            period_type,
            drop_frames,
            keep_frames,
            doc_url,
            default_sample_type,
            time_nanos,
            duration_nanos,
            period,
        } = header;
        let profile = Profile {
            sample_type,
            sample: self.samples.into_rows(),
            mapping: self.mappings.into_rows(),
            location: self.locations.into_rows(),
            function: self.functions.into_rows(),
            string_table: self.strings.into_rows(),
            drop_frames,
            keep_frames,
            time_nanos,
            duration_nanos: match duration {
                Duration::Sum => duration_nanos,
                Duration::Nanoseconds(nanoseconds) => nanoseconds,
            },
            period_type: Some(period_type),
            period,
            comment,
            default_sample_type,
            doc_url,
        };
        // Where values cancelled out, merging once more leaves those samples and what only they used behind.
        if profile.sample.iter().any(|sample| sample.value.iter().all(|&value| value == 0)) {
            return merge([&profile], Duration::Sum);
        }
        Ok(profile)
    }

    fn compatible(&self, profile: &Profile) -> Result<(), MergeError> {
        let Some(header) = &self.header else { return Ok(()) };
        let ours = |kind: &ValueType| {
            let part = |index| {
                let place = usize::try_from(index).unwrap_or_default();
                self.strings.get(place).map_or("", String::as_str)
            };
            format!("{}/{}", part(kind.r#type), part(kind.unit))
        };
        let theirs =
            |kind: &ValueType| format!("{}/{}", text(profile, kind.r#type), text(profile, kind.unit));
        let list = |kinds: Vec<String>| kinds.join(", ");
        let kinds = (
            "sample types",
            list(header.sample_type.iter().map(ours).collect()),
            list(profile.sample_type.iter().map(theirs).collect()),
        );
        let period_type = profile.period_type.unwrap_or_default();
        let periods = ("period type", ours(&header.period_type), theirs(&period_type));
        for (what, ours, theirs) in [kinds, periods] {
            if ours != theirs {
                return Err(MergeError::Incompatible { what, ours, theirs });
            }
        }
        Ok(())
    }

    fn add_header(&mut self, source: &mut Source<'_>) {
        let profile = source.profile;
        // Index 0 of the string table is "" whatever comes first.
        self.string("");
        for &comment in &profile.comment {
            let comment = text(profile, comment);
            if self.comments.iter().any(|kept| kept == comment) {
                continue;
            }
            if self.comments.len() < MOST_COMMENTS {
                self.comments.push(comment.to_owned());
            } else {
                self.comments_left_out += 1;
            }
        }
        let doc_url = self.text(source, profile.doc_url);
        let default_sample_type = self.text(source, profile.default_sample_type);
        let Some(header) = &mut self.header else {
            let mut kind = |kind: &ValueType| ValueType {
                r#type: self.text(source, kind.r#type),
                unit: self.text(source, kind.unit),
            };
            let sample_type = profile.sample_type.iter().map(&mut kind).collect();
            let period_type = kind(&profile.period_type.unwrap_or_default());
            self.header = Some(Header {
                sample_type,
                period_type,
                drop_frames: self.text(source, profile.drop_frames),
                keep_frames: self.text(source, profile.keep_frames),
                doc_url,
                default_sample_type,
                time_nanos: profile.time_nanos,
                duration_nanos: profile.duration_nanos,
                period: profile.period,
            });
            return;
        };
        if header.doc_url == 0 {
            header.doc_url = doc_url;
        }
        if header.default_sample_type == 0 {
            header.default_sample_type = default_sample_type;
        }
        let time = profile.time_nanos;
        if header.time_nanos == 0 || (time != 0 && time < header.time_nanos) {
            header.time_nanos = time;
        }
        header.duration_nanos = header.duration_nanos.saturating_add(profile.duration_nanos);
        header.period = header.period.max(profile.period);
    }

    fn hash(&self, key: impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }

    fn string(&mut self, string: &str) -> i64 {
        let hash = self.hash(string);
        index(self.strings.intern(hash, string.to_owned(), |a, b| a == b, |_, _| ()))
    }

    /// A string of the profile being added.
    fn text(&mut self, source: &mut Source<'_>, at: i64) -> i64 {
        let place = usize::try_from(at).unwrap_or_default();
        if let Some(Some(known)) = source.strings.get(place) {
            return *known;
        }
        let merged = self.string(text(source.profile, at));
        remember(&mut source.strings, place, merged);
        merged
    }

    /// The id of a mapping in the result, and what is added to its addresses.
    fn mapping(&mut self, source: &mut Source<'_>, id: u64) -> (u64, u64) {
        let Some((row, mapping)) = found(&source.mapping_rows, &source.profile.mapping, id) else {
            return (0, 0);
        };
        if let Some(Some(known)) = source.mappings.get(row) {
            return *known;
        }
        let mut mapping = mapping.clone();
        mapping.filename = self.text(source, mapping.filename);
        mapping.build_id = self.text(source, mapping.build_id);
        let key = mapping_key(&mapping);
        let hash = self.hash(key);
        let start = mapping.memory_start;
        let size = mapping.memory_limit.wrapping_sub(start);
        let [functions, filenames, line_numbers, inline_frames] = [
            mapping.has_functions,
            mapping.has_filenames,
            mapping.has_line_numbers,
            mapping.has_inline_frames,
        ];
        let place = self.mappings.intern(
            hash,
            mapping,
            |other, _| mapping_key(other) == key,
            |mapping, place| mapping.id = next_id(place),
        );
        let Some(merged) = self.mappings.get_mut(place) else { return (0, 0) };
        merged.has_functions &= functions;
        merged.has_filenames &= filenames;
        merged.has_line_numbers &= line_numbers;
        merged.has_inline_frames &= inline_frames;
        merged.memory_limit = merged.memory_limit.max(merged.memory_start.saturating_add(size));
        let known = (merged.id, merged.memory_start.wrapping_sub(start));
        remember(&mut source.mappings, row, known);
        known
    }

    fn function(&mut self, source: &mut Source<'_>, id: u64) -> u64 {
        let Some((row, function)) = found(&source.function_rows, &source.profile.function, id) else {
            return 0;
        };
        if let Some(Some(known)) = source.functions.get(row) {
            return *known;
        }
        let merged = Function {
            id: 0,
            name: self.text(source, function.name),
            system_name: self.text(source, function.system_name),
            filename: self.text(source, function.filename),
            start_line: function.start_line,
        };
        let hash = self.hash(merged);
        let place = self.functions.intern(
            hash,
            merged,
            |other, new| Function { id: 0, ..*other } == *new,
            |function, place| function.id = next_id(place),
        );
        let id = next_id(place);
        remember(&mut source.functions, row, id);
        id
    }

    fn location(&mut self, source: &mut Source<'_>, id: u64) -> u64 {
        let Some((row, location)) = found(&source.location_rows, &source.profile.location, id) else {
            return 0;
        };
        if let Some(Some(known)) = source.locations.get(row) {
            return *known;
        }
        let (mapping_id, moved) = self.mapping(source, location.mapping_id);
        let address = location.address.wrapping_add(moved);
        let line: Vec<Line> = location
            .line
            .iter()
            .map(|line| Line { function_id: self.function(source, line.function_id), ..*line })
            .collect();
        let merged = Location { id: 0, mapping_id, address, line, is_folded: location.is_folded };
        let hash = self.hash((mapping_id, address, &merged.line, merged.is_folded));
        let place = self.locations.intern(
            hash,
            merged,
            |other, new| {
                let Location { id: _, mapping_id, address, line, is_folded } = other;
                (*mapping_id, *address, *is_folded) == (new.mapping_id, new.address, new.is_folded)
                    && *line == new.line
            },
            |location, place| location.id = next_id(place),
        );
        let id = next_id(place);
        remember(&mut source.locations, row, id);
        id
    }

    fn sample(&mut self, source: &mut Source<'_>, sample: &Sample) {
        let location_id: Vec<u64> = sample.location_id.iter().map(|&id| self.location(source, id)).collect();
        let mut label: Vec<Label> = Vec::with_capacity(sample.label.len());
        for old in &sample.label {
            // Neither a string nor a number: consumers do not see such a label.
            if old.str == 0 && old.num == 0 && old.num_unit == 0 {
                continue;
            }
            let (key, str) = (self.text(source, old.key), self.text(source, old.str));
            label.push(Label { key, str, num: old.num, num_unit: self.text(source, old.num_unit) });
        }
        // The order of labels has no meaning.
        label.sort_unstable_by_key(|label| (label.key, label.str, label.num, label.num_unit));
        let hash = self.hash((&location_id, &label));
        let place = self.samples.intern(
            hash,
            Sample { location_id, value: vec![0; sample.value.len()], label },
            |other, new| other.location_id == new.location_id && other.label == new.label,
            |_, _| (),
        );
        if let Some(merged) = self.samples.get_mut(place) {
            for (sum, &value) in merged.value.iter_mut().zip(&sample.value) {
                *sum = sum.saturating_add(value);
            }
        }
    }
}

impl<'a> Source<'a> {
    fn new(profile: &'a Profile) -> Result<Source<'a>, IdError> {
        Ok(Source {
            profile,
            mapping_rows: Rows::mappings(profile)?,
            function_rows: Rows::functions(profile)?,
            location_rows: Rows::locations(profile)?,
            strings: vec![None; profile.string_table.len()],
            mappings: vec![None; profile.mapping.len()],
            functions: vec![None; profile.function.len()],
            locations: vec![None; profile.location.len()],
        })
    }
}

/// Size in pages, offset, and the build-id or else the file name.
fn mapping_key(mapping: &Mapping) -> (u64, u64, i64) {
    let size = mapping.memory_limit.wrapping_sub(mapping.memory_start);
    let name = if mapping.build_id != 0 { mapping.build_id } else { mapping.filename };
    (size.wrapping_add(PAGE - 1) / PAGE, mapping.file_offset, name)
}

fn found<'a, T>(rows: &Rows, table: &'a [T], id: u64) -> Option<(usize, &'a T)> {
    let row = rows.get(id)?;
    Some((row, table.get(row)?))
}

fn remember<T>(known: &mut [Option<T>], row: usize, value: T) {
    if let Some(known) = known.get_mut(row) {
        *known = Some(value);
    }
}

fn next_id(place: usize) -> u64 {
    u64::try_from(place).map_or(u64::MAX, |place| place.saturating_add(1))
}

fn index(place: usize) -> i64 {
    i64::try_from(place).unwrap_or_default()
}

#[cfg(test)]
mod tests;
