//! Labels as frames: google/pprof's `-tagroot` and `-tagleaf` (its driver/tagroot.go), so that a report is split by
//! process, thread or host.

use std::collections::HashMap;

use super::measure::{AUTO, label as with_unit};
use super::tags::{is_number, is_string};
use crate::profile::proto::{Function, Line, Location, Profile, Sample};
use crate::profile::text;

/// Keys of labels that become frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagFrames {
    /// Outside of the outermost frame; the first key becomes the new root.
    pub root: Vec<String>,
    /// Inside of the innermost frame; the last key becomes the new leaf.
    pub leaf: Vec<String>,
}

impl TagFrames {
    /// True where nothing would be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_empty() && self.leaf.is_empty()
    }

    /// Adds the frames. Each is named after the label's values and has the key as its source file; a sample without
    /// the label gets a frame without a name. Gives the names of the parts whose keys no sample has.
    pub fn apply(&self, profile: &mut Profile, unit: Option<&str>) -> Vec<&'static str> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut frames = Frames {
            next_location: next(profile.location.iter().map(|location| location.id)),
            next_function: next(profile.function.iter().map(|function| function.id)),
            known: HashMap::new(),
        };
        let mut samples = std::mem::take(&mut profile.sample);
        let mut found = [self.root.is_empty(), self.leaf.is_empty()];
        for sample in &mut samples {
            let mut ids = |keys: &[String], found: &mut bool| -> Vec<u64> {
                // The first key is the outermost, and stacks begin at the leaf.
                let innermost_first = keys.iter().rev();
                innermost_first
                    .map(|key| {
                        let values = values(profile, sample, key, unit);
                        *found |= !values.is_empty();
                        frames.location(profile, &values.join(","), key)
                    })
                    .collect()
            };
            let root = ids(&self.root, &mut found[0]);
            let leaf = ids(&self.leaf, &mut found[1]);
            sample.location_id.splice(0..0, leaf);
            sample.location_id.extend(root);
        }
        profile.sample = samples;
        let names = ["tagroot", "tagleaf"].into_iter().zip(found);
        names.filter(|(_, found)| !found).map(|(name, _)| name).collect()
    }
}

fn next(ids: impl Iterator<Item = u64>) -> u64 {
    ids.max().map_or(1, |id| id.saturating_add(1))
}

/// All values of a sample's labels with this key, strings first.
fn values(profile: &Profile, sample: &Sample, key: &str, unit: Option<&str>) -> Vec<String> {
    let own = || sample.label.iter().filter(|label| text(profile, label.key) == key);
    let strings = own().filter(|label| is_string(label)).map(|label| text(profile, label.str).to_owned());
    let has_units = own().any(|label| label.num_unit != 0);
    let numbers = own().filter(|label| is_number(label)).map(|label| {
        if has_units {
            with_unit(label.num, text(profile, label.num_unit), unit.unwrap_or(AUTO))
        } else {
            with_unit(label.num, "", "")
        }
    });
    strings.chain(numbers).collect()
}

struct Frames {
    next_location: u64,
    next_function: u64,
    known: HashMap<(String, String), u64>,
}

impl Frames {
    /// The id of the location for a value of a key.
    fn location(&mut self, profile: &mut Profile, value: &str, key: &str) -> u64 {
        if let Some(&known) = self.known.get(&(value.to_owned(), key.to_owned())) {
            return known;
        }
        let (name, filename) = (string(profile, value), string(profile, key));
        let (id, function_id) = (self.next_location, self.next_function);
        self.next_location = id.saturating_add(1);
        self.next_function = function_id.saturating_add(1);
        profile.function.push(Function { id: function_id, name, filename, ..Function::default() });
        let line = vec![Line { function_id, ..Line::default() }];
        profile.location.push(Location { id, line, ..Location::default() });
        self.known.insert((value.to_owned(), key.to_owned()), id);
        id
    }
}

fn string(profile: &mut Profile, string: &str) -> i64 {
    if string.is_empty() {
        return 0;
    }
    let index = i64::try_from(profile.string_table.len()).unwrap_or_default();
    profile.string_table.push(string.to_owned());
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::profile::validate::{Rules, check};

    #[test]
    fn labels_become_roots_and_leaves() {
        let mut profile = fixture::two_threads();
        profile.sample[1].label.clear();
        let frames = TagFrames { root: vec!["thread".into()], leaf: vec!["nothing".into()] };
        assert_eq!(frames.apply(&mut profile, None), ["tagleaf"]);
        assert_eq!(check(&profile, Rules::Readable), Ok(()));
        let root = |sample: usize| {
            let id = *profile.sample[sample].location_id.last().unwrap();
            let location = profile.location.iter().find(|location| location.id == id).unwrap();
            let function = location.line[0].function_id;
            let function = profile.function.iter().find(|other| other.id == function).unwrap();
            (text(&profile, function.name), text(&profile, function.filename))
        };
        assert_eq!([root(0), root(1), root(2)], [("a", "thread"), ("", "thread"), ("b", "thread")]);
        assert_eq!(profile.sample[0].location_id.len(), 4);
    }
}
