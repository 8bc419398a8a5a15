//! From pprof to OTLP profiles. Pure.

use std::collections::HashMap;

use super::proto::{
    AnyValue, Attribute, Dictionary, ExportRequest, Function, KeyValue, Line, Link, Location, Mapping,
    Profile, Resource, ResourceProfiles, Sample, Scope, ScopeProfiles, Stack, ValueType,
};
use crate::profile::proto;
use crate::profile::text;
use crate::upload::batch::Series;

/// Parca takes the scope's name for the profile's; Pyroscope makes the name from the types.
const SCOPE: &str = "process_cpu";

/// The attribute that a mapping's build-id is (semantic conventions, process attributes).
const BUILD_ID: &str = "process.executable.build_id.gnu";

/// A request with one profile. Of the values only the number of samples goes, for receivers take one value, and multiply it
/// by the period themselves.
pub(super) fn request(series: &Series, profile: &proto::Profile) -> ExportRequest {
    let mut tables = Tables::new();
    let samples = ValueType { kind: tables.string("samples"), unit: tables.string("count") };
    let cpu = ValueType { kind: tables.string("cpu"), unit: tables.string("nanoseconds") };
    let mappings: HashMap<u64, i32> =
        profile.mapping.iter().map(|mapping| (mapping.id, tables.mapping(profile, mapping))).collect();
    let functions: HashMap<u64, i32> =
        profile.function.iter().map(|function| (function.id, tables.function(profile, function))).collect();
    let locations: HashMap<u64, i32> = profile
        .location
        .iter()
        .map(|location| {
            let lines = location.line.iter().map(|line| Line {
                function: functions.get(&line.function_id).copied().unwrap_or(0),
                line: line.line,
                column: line.column,
            });
            let mapping = mappings.get(&location.mapping_id).copied().unwrap_or(0);
            let own = Location { mapping, address: location.address, lines: lines.collect() };
            (location.id, push(&mut tables.dictionary.locations, own))
        })
        .collect();
    let samples_of = profile.sample.iter().map(|sample| {
        let places = sample.location_id.iter().filter_map(|id| locations.get(id).copied()).collect();
        Sample { stack: tables.stack(places), values: sample.value.first().copied().into_iter().collect() }
    });
    let own = Profile {
        samples: samples_of.collect(),
        sample_type: Some(samples),
        time_unix_nano: u64::try_from(profile.time_nanos).unwrap_or(0),
        duration_nano: u64::try_from(profile.duration_nanos).unwrap_or(0),
        period_type: Some(cpu),
        period: profile.period,
        profile_id: series.id.clone(),
    };
    let attributes = series.labels.iter().map(|pair| KeyValue {
        key: attribute(&pair.name).to_owned(),
        value: Some(AnyValue { string_value: Some(pair.value.clone()) }),
    });
    let scope = Scope { name: SCOPE.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    ExportRequest {
        resource_profiles: vec![ResourceProfiles {
            resource: Some(Resource { attributes: attributes.collect() }),
            scope_profiles: vec![ScopeProfiles { scope: Some(scope), profiles: vec![own] }],
        }],
        dictionary: Some(tables.dictionary),
    }
}

/// A label's name by the semantic conventions.
fn attribute(label: &str) -> &str {
    match label {
        "service" => "service.name",
        "version" => "service.version",
        "namespace" => "service.namespace",
        "environment" => "deployment.environment.name",
        "pod" => "k8s.pod.name",
        "container" => "container.name",
        "container_id" => "container.id",
        "process" => "process.executable.name",
        "pid" => "process.pid",
        "host" => "host.name",
        "cpu_model" => "host.cpu.model.name",
        other => other,
    }
}

/// The tables, each with its zero at first.
struct Tables {
    dictionary: Dictionary,
    strings: HashMap<String, i32>,
    stacks: HashMap<Vec<i32>, i32>,
    build_ids: HashMap<String, i32>,
}

impl Tables {
    fn new() -> Tables {
        let dictionary = Dictionary {
            mappings: vec![Mapping::default()],
            locations: vec![Location::default()],
            functions: vec![Function::default()],
            links: vec![Link {}],
            strings: vec![String::new()],
            attributes: vec![Attribute::default()],
            stacks: vec![Stack::default()],
        };
        let strings = HashMap::from([(String::new(), 0)]);
        Tables { dictionary, strings, stacks: HashMap::from([(vec![], 0)]), build_ids: HashMap::new() }
    }

    fn string(&mut self, text: &str) -> i32 {
        if let Some(&known) = self.strings.get(text) {
            return known;
        }
        let place = push(&mut self.dictionary.strings, text.to_owned());
        self.strings.insert(text.to_owned(), place);
        place
    }

    fn mapping(&mut self, profile: &proto::Profile, mapping: &proto::Mapping) -> i32 {
        let build_id = text(profile, mapping.build_id).to_owned();
        let own = Mapping {
            start: mapping.memory_start,
            limit: mapping.memory_limit,
            offset: mapping.file_offset,
            filename: self.string(text(profile, mapping.filename)),
            attributes: if build_id.is_empty() { vec![] } else { vec![self.build_id(build_id)] },
        };
        push(&mut self.dictionary.mappings, own)
    }

    fn build_id(&mut self, build_id: String) -> i32 {
        if let Some(&known) = self.build_ids.get(&build_id) {
            return known;
        }
        let value = Some(AnyValue { string_value: Some(build_id.clone()) });
        let own = Attribute { key: self.string(BUILD_ID), value };
        let place = push(&mut self.dictionary.attributes, own);
        self.build_ids.insert(build_id, place);
        place
    }

    fn function(&mut self, profile: &proto::Profile, function: &proto::Function) -> i32 {
        let own = Function {
            name: self.string(text(profile, function.name)),
            system_name: self.string(text(profile, function.system_name)),
            filename: self.string(text(profile, function.filename)),
            start_line: function.start_line,
        };
        push(&mut self.dictionary.functions, own)
    }

    fn stack(&mut self, locations: Vec<i32>) -> i32 {
        if let Some(&known) = self.stacks.get(&locations) {
            return known;
        }
        let place = push(&mut self.dictionary.stacks, Stack { locations: locations.clone() });
        self.stacks.insert(locations, place);
        place
    }
}

/// Adds to a table, and gives the place.
fn push<T>(table: &mut Vec<T>, element: T) -> i32 {
    table.push(element);
    i32::try_from(table.len() - 1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::upload::batch::tests::batch;

    #[test]
    fn samples_keep_their_stacks_and_counts() {
        let profile = fixture::two_threads();
        let request = request(&batch(1, &["shop"]).series[0], &profile);
        let dictionary = request.dictionary.unwrap();
        let resource = &request.resource_profiles[0];
        let service = &resource.resource.as_ref().unwrap().attributes[0];
        assert_eq!(service.key, "service.name");
        assert_eq!(service.value.as_ref().unwrap().string_value.as_deref(), Some("shop"));
        let own = &resource.scope_profiles[0].profiles[0];
        let name = |place: i32| dictionary.strings[usize::try_from(place).unwrap()].as_str();
        assert_eq!(name(own.sample_type.unwrap().kind), "samples");
        assert_eq!(name(own.period_type.unwrap().unit), "nanoseconds");
        assert_eq!(own.samples.len(), profile.sample.len());
        let at = |place: i32| usize::try_from(place).unwrap();
        for (ours, theirs) in own.samples.iter().zip(&profile.sample) {
            assert_eq!(ours.values, theirs.value[..1]);
            let names = |lines: &[Line]| -> Vec<&str> {
                lines.iter().map(|line| name(dictionary.functions[at(line.function)].name)).collect()
            };
            let stack: Vec<Vec<&str>> = dictionary.stacks[at(ours.stack)]
                .locations
                .iter()
                .map(|&place| names(&dictionary.locations[at(place)].lines))
                .collect();
            let wanted: Vec<Vec<&str>> = theirs
                .location_id
                .iter()
                .map(|id| {
                    let location = profile.location.iter().find(|location| location.id == *id).unwrap();
                    let function =
                        |id: u64| profile.function.iter().find(|function| function.id == id).unwrap();
                    location.line.iter().map(|line| text(&profile, function(line.function_id).name)).collect()
                })
                .collect();
            assert_eq!(stack, wanted);
        }
    }

    #[test]
    fn every_table_begins_with_nothing() {
        let request = request(&Series::default(), &proto::Profile::default());
        let dictionary = request.dictionary.unwrap();
        assert_eq!(dictionary.mappings, [Mapping::default()]);
        assert_eq!(dictionary.locations, [Location::default()]);
        assert_eq!(dictionary.functions, [Function::default()]);
        assert_eq!(dictionary.stacks, [Stack::default()]);
        assert_eq!(dictionary.attributes, [Attribute::default()]);
        assert_eq!((dictionary.links.len(), dictionary.strings[0].as_str()), (1, ""));
    }
}
