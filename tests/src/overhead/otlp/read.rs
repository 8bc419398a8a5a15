//! How complete the stacks in exported profiles are.
//!
//! Native frames have no names but addresses; which function one lies in is decided from the files of this host.

use std::collections::BTreeMap;

use prost::Message;

use super::messages::{Dictionary, ExportRequest, Location};
use crate::overhead::roots::Roots;
use crate::overhead::stacks::{Seen, is_root};

/// All samples of some export requests.
pub fn seen(requests: &[Vec<u8>], roots: &mut Roots) -> Result<Seen, prost::DecodeError> {
    let mut seen = Seen::default();
    for request in requests {
        let request = ExportRequest::decode(request.as_slice())?;
        let dictionary = request.dictionary.unwrap_or_default();
        let scopes = request.resource_profiles.iter().flat_map(|resource| &resource.scope_profiles);
        for sample in scopes.flat_map(|scope| &scope.profiles).flat_map(|profile| &profile.samples) {
            let count = match (&sample.values[..], sample.timestamps.len()) {
                ([], times) => i64::try_from(times).unwrap_or(i64::MAX),
                (values, _) => values.iter().sum(),
            };
            match dictionary.root(sample.stack) {
                Root::Kernel => {}
                Root::None => seen.add(count, false),
                Root::At(location) => seen.add(count, dictionary.begins_a_thread(location, roots)),
            }
        }
    }
    Ok(seen)
}

/// Samples by the name of the function at the leaf, innermost inlined one.
pub fn leaves(request: &[u8]) -> Result<BTreeMap<String, i64>, prost::DecodeError> {
    let request = ExportRequest::decode(request)?;
    let dictionary = request.dictionary.unwrap_or_default();
    let scopes = request.resource_profiles.iter().flat_map(|resource| &resource.scope_profiles);
    let mut sums = BTreeMap::new();
    for sample in scopes.flat_map(|scope| &scope.profiles).flat_map(|profile| &profile.samples) {
        let leaf = item(&dictionary.stacks, sample.stack).and_then(|stack| stack.locations.first());
        let line = leaf.and_then(|leaf| item(&dictionary.locations, *leaf)?.lines.first());
        let function = line.and_then(|line| item(&dictionary.functions, line.function));
        let name = function.map_or("", |function| dictionary.string(function.name));
        *sums.entry(name.to_owned()).or_default() += sample.values.iter().sum::<i64>();
    }
    Ok(sums)
}

/// The last frame of a stack.
enum Root<'a> {
    /// Of a stack that never was in user code.
    Kernel,
    /// There are no frames: kernel threads have some, so that this was user code which nobody unwound.
    None,
    At(&'a Location),
}

fn item<T>(table: &[T], index: i32) -> Option<&T> {
    table.get(usize::try_from(index).ok()?)
}

impl Dictionary {
    fn string(&self, index: i32) -> &str {
        item(&self.strings, index).map_or("", String::as_str)
    }

    fn root(&self, stack: i32) -> Root<'_> {
        let last = item(&self.stacks, stack).and_then(|stack| stack.locations.last());
        match last.and_then(|location| item(&self.locations, *location)) {
            None => Root::None,
            Some(location) if self.frame_type(location) == "kernel" => Root::Kernel,
            Some(location) => Root::At(location),
        }
    }

    fn frame_type(&self, location: &Location) -> &str {
        let attributes = location.attributes.iter().filter_map(|index| item(&self.attributes, *index));
        attributes
            .filter(|attribute| self.string(attribute.key) == "profile.frame.type")
            .find_map(|attribute| attribute.value.as_ref()?.string.as_deref())
            .unwrap_or_default()
    }

    fn begins_a_thread(&self, location: &Location, roots: &mut Roots) -> bool {
        let named = location.lines.iter().filter_map(|line| item(&self.functions, line.function));
        if named.map(|function| self.string(function.name)).any(is_root) {
            return true;
        }
        let Some(mapping) = item(&self.mappings, location.mapping) else { return false };
        let offset = location.address.wrapping_sub(mapping.start).wrapping_add(mapping.file_offset);
        roots.contain(self.string(mapping.file_name), offset)
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::{
        AnyValue, Attribute, Function, Line, Mapping, Profile, ResourceProfiles, Sample, ScopeProfiles, Stack,
    };
    use super::*;

    /// Strings: 1 the key of frame types, 2 goexit, 3 a file. Stacks: 1 ends in goexit, 2 in a file, 3 in the kernel, 4
    /// nowhere.
    fn dictionary() -> Dictionary {
        let attribute =
            |text: &str| Attribute { key: 1, value: Some(AnyValue { string: Some(text.to_owned()) }) };
        let native = |address| Location { mapping: 1, address, lines: vec![], attributes: vec![1] };
        Dictionary {
            mappings: vec![Mapping::default(), Mapping { start: 0x2000, file_offset: 0x1000, file_name: 3 }],
            locations: vec![
                Location::default(),
                Location { lines: vec![Line { function: 1 }], ..Location::default() },
                native(0x2345),
                Location { attributes: vec![2], ..Location::default() },
                native(0x2900),
            ],
            functions: vec![Function::default(), Function { name: 2 }],
            strings: ["", "profile.frame.type", "runtime.goexit", "a.so"].map(str::to_owned).into(),
            attributes: vec![Attribute::default(), attribute("native"), attribute("kernel")],
            stacks: [vec![], vec![4, 1], vec![3, 4, 2], vec![3], vec![], vec![2, 4]]
                .map(|locations| Stack { locations })
                .into(),
        }
    }

    fn request(samples: Vec<Sample>) -> Vec<u8> {
        let scope = ScopeProfiles { profiles: vec![Profile { samples }] };
        let resource = ResourceProfiles { scope_profiles: vec![scope] };
        ExportRequest { resource_profiles: vec![resource], dictionary: Some(dictionary()) }.encode_to_vec()
    }

    #[test]
    fn stacks_are_whole_by_name_or_by_place() {
        let mut roots = Roots::of([("a.so", vec![0x10..0x20, 0x1340..0x1350])]);
        let of = |stack, times: usize| Sample { stack, values: vec![], timestamps: vec![7; times] };
        let whole = request(vec![of(1, 1), of(2, 2), of(3, 4)]);
        let valued = Sample { stack: 5, values: vec![5, 3], timestamps: vec![7, 8] };
        let cut = request(vec![of(4, 16), valued]);
        assert_eq!(seen(&[whole, cut], &mut roots).unwrap(), Seen { samples: 27, whole: 3 });
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        assert!(seen(&[vec![0xff; 9]], &mut Roots::of([])).is_err());
    }
}
