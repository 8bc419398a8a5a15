//! From a window to what is sent of it. Plain data in, plain data out.

use std::collections::{BTreeMap, HashMap};

use prost::Message;

use super::batch::{Batch, Pair, Series, checksum};
use super::target::Target;
use crate::pipeline::NamedWindow;
use crate::profile::arrange::arrange;
use crate::profile::codec::{Encoder, decode};
use crate::profile::labels::LabelFilter;
use crate::profile::merge::{Duration, Merger};
use crate::profile::proto::{Label, Profile};
use crate::profile::text;

/// What is the same for all windows of a target.
#[derive(Debug)]
pub struct Recipe {
    target: Target,
    samples: LabelFilter,
    /// What every profile says of itself.
    about: Vec<String>,
    /// Tells this host, and this boot of it, from others.
    host: String,
}

impl Recipe {
    /// For a target; `host` is any text that no other host has.
    ///
    /// # Errors
    /// The target's selection is none.
    pub fn new(target: Target, about: Vec<String>, host: String) -> Result<Recipe, String> {
        let samples = target.filter()?;
        Ok(Recipe { target, samples, about, host })
    }

    /// Which samples are sent.
    pub(super) fn selected(&self) -> &LabelFilter {
        &self.samples
    }

    /// The series of a window, and sentences for what is missing of them. Values of processes with the same labels are
    /// summed up, so that totals stay what they were.
    #[must_use]
    pub fn batch(&self, window: &NamedWindow) -> (Batch, Vec<String>) {
        let mut groups: BTreeMap<Vec<Pair>, Merger> = BTreeMap::new();
        let mut errors = Vec::new();
        for process in &window.profiles {
            let mut profile = process.profile.clone();
            self.samples.apply(&mut profile);
            if profile.sample.is_empty() {
                continue;
            }
            let labels = self.labels(&profile);
            if self.target.kind.keeps_objects() {
                self.label(&mut profile);
            } else {
                for sample in &mut profile.sample {
                    sample.label.clear();
                }
            }
            if let Err(error) = groups.entry(labels).or_default().add(&profile) {
                errors.push(format!("process {} is not sent: {error}", process.key.pid));
            }
        }
        let (start_unix_ns, duration_ns) = (window.span.start_unix_ns, window.span.duration_ns);
        let series = self.series(start_unix_ns, duration_ns, groups, &mut errors);
        (Batch { start_unix_ns, duration_ns, series }, errors)
    }

    /// Windows that follow each other as one, and sentences for what is missing of it: series with the same labels are summed
    /// up.
    #[must_use]
    pub(super) fn joined(&self, windows: &[Batch]) -> (Batch, Vec<String>) {
        let start_unix_ns = windows.iter().map(|window| window.start_unix_ns).min().unwrap_or_default();
        let duration_ns = windows.iter().map(|window| window.duration_ns).sum();
        let mut groups: BTreeMap<Vec<Pair>, Merger> = BTreeMap::new();
        let mut errors = Vec::new();
        for series in windows.iter().flat_map(|window| &window.series) {
            let limit = usize::try_from(series.plain_bytes).unwrap_or(usize::MAX);
            let added =
                decode(&series.profile, limit).map_err(|error| error.to_string()).and_then(|profile| {
                    let merger = groups.entry(series.labels.clone()).or_default();
                    merger.add(&profile).map_err(|error| error.to_string())
                });
            if let Err(error) = added {
                errors.push(format!("a window of a series is not sent: {error}"));
            }
        }
        let series = self.series(start_unix_ns, duration_ns, groups, &mut errors);
        (Batch { start_unix_ns, duration_ns, series }, errors)
    }

    /// Encodes what was summed up by its labels.
    fn series(
        &self,
        start_unix_ns: u64,
        duration_ns: u64,
        groups: BTreeMap<Vec<Pair>, Merger>,
        errors: &mut Vec<String>,
    ) -> Vec<Series> {
        let length = Duration::Nanoseconds(i64::try_from(duration_ns).unwrap_or(i64::MAX));
        let mut encoder = Encoder::small();
        let mut all = Vec::with_capacity(groups.len());
        for (labels, merger) in groups {
            let made = merger.finish(length).map_err(|error| error.to_string()).and_then(|mut profile| {
                self.comment(&mut profile);
                arrange(&mut profile);
                let packed = encoder.encode(&profile).map_err(|error| error.to_string())?.to_vec();
                Ok((packed, profile.encoded_len() as u64))
            });
            match made {
                Ok((profile, plain_bytes)) => {
                    let id = self.id(start_unix_ns, &labels);
                    all.push(Series { id, labels, profile, plain_bytes });
                }
                Err(error) => errors.push(format!("a series is not sent: {error}")),
            }
        }
        all
    }

    /// The labels of a process's series: those that are asked for, and those that the configuration adds, which are stronger.
    /// Of what is kept as an object there is one series for the host, for many small objects cost money and nobody asks for
    /// one by its labels.
    fn labels(&self, profile: &Profile) -> Vec<Pair> {
        // All samples of a process have the same labels, but for the thread.
        let first = profile.sample.first().map_or(&[][..], |sample| &sample.label);
        let known: HashMap<&str, &str> =
            first.iter().map(|label| (text(profile, label.key), text(profile, label.str))).collect();
        let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
        let objects = self.target.kind.keeps_objects();
        let names = self.target.group_by.iter().map(String::as_str).filter(|_| !objects);
        for name in names.chain(objects.then_some("host")) {
            if let Some(value) = known.get(name).filter(|value| !value.is_empty()) {
                labels.insert(name, value);
            }
        }
        for (name, value) in &self.target.labels {
            labels.insert(name, value);
        }
        let pair = |(name, value): (&str, &str)| Pair { name: name.to_owned(), value: value.to_owned() };
        labels.into_iter().filter(|(_, value)| !value.is_empty()).map(pair).collect()
    }

    /// Leaves the labels that are asked for on the samples, and adds those of the configuration: in an object, they tell what
    /// a sample is of.
    fn label(&self, profile: &mut Profile) {
        let added = &self.target.labels;
        let kept =
            |name: &str| !added.contains_key(name) && self.target.group_by.iter().any(|asked| asked == name);
        let Profile { sample: samples, string_table: strings, .. } = profile;
        let named = |key: i64| usize::try_from(key).ok().and_then(|key| strings.get(key));
        for sample in &mut *samples {
            sample.label.retain(|label| named(label.key).is_some_and(|name| kept(name)));
        }
        for (name, value) in added.iter().filter(|(_, value)| !value.is_empty()) {
            let mut place = |text: &str| {
                strings.push(text.to_owned());
                i64::try_from(strings.len() - 1).unwrap_or(0)
            };
            let label = Label { key: place(name), str: place(value), num: 0, num_unit: 0 };
            for sample in &mut *samples {
                sample.label.push(label);
            }
        }
    }

    fn comment(&self, profile: &mut Profile) {
        let has = |wanted: &String| profile.comment.iter().any(|&comment| text(profile, comment) == wanted);
        let new: Vec<_> = self.about.iter().filter(|comment| !has(comment)).cloned().collect();
        for text in new {
            profile.comment.push(i64::try_from(profile.string_table.len()).unwrap_or(i64::MAX));
            profile.string_table.push(text);
        }
    }

    /// A UUID of version 8 (RFC 9562, section 5.8): a hash of what the series is, so that a receiver can tell that it has it.
    fn id(&self, start_unix_ns: u64, labels: &[Pair]) -> Vec<u8> {
        let mut what = format!("{}\0{}\0{start_unix_ns}", self.host, self.target.name);
        for pair in labels {
            what.push_str(&format!("\0{}\0{}", pair.name, pair.value));
        }
        uuid(&what)
    }
}

/// A UUID that is the same for the same text.
pub(super) fn uuid(text: &str) -> Vec<u8> {
    let low = checksum(text.as_bytes());
    let high = checksum(format!("{text}\0{low}").as_bytes());
    let mut id = [high.to_be_bytes(), low.to_be_bytes()].concat();
    if let [_, _, _, _, _, _, version, _, variant, ..] = &mut id[..] {
        *version = (*version & 0x0f) | 0x80;
        *variant = (*variant & 0x3f) | 0x80;
    }
    id
}

#[cfg(test)]
mod tests {
    use profiler_common::{layout::ProcessKey, outcome::OUTCOMES};

    use super::*;
    use crate::pipeline::{Effort, ProcessProfile};
    use crate::profile::build::Span;
    use crate::profile::fixture;

    fn window(services: &[&str]) -> NamedWindow {
        let profiles = services.iter().zip(1..).map(|(service, pid)| {
            let mut profile = fixture::two_threads();
            let place = |profile: &mut Profile, text: &str| {
                profile.string_table.push(text.to_owned());
                i64::try_from(profile.string_table.len()).unwrap() - 1
            };
            let (key, str) = (place(&mut profile, "service"), place(&mut profile, service));
            for sample in &mut profile.sample {
                sample.label.push(crate::profile::proto::Label { key, str, num: 0, num_unit: 0 });
            }
            let key = ProcessKey { pid, exec_id: 0, start_ns: 1 };
            ProcessProfile { key, name: "p".to_owned(), profile, outcomes: [0; OUTCOMES] }
        });
        let span = Span { start_unix_ns: 5, duration_ns: 10, ..Span::default() };
        let profiles = profiles.collect();
        NamedWindow { span, outcomes: [0; OUTCOMES], profiles, cut: false, effort: Effort::default() }
    }

    fn recipe(more: &str) -> Recipe {
        let target = format!(r#"kind = "http", url = "http://h", {more}"#).parse().unwrap();
        Recipe::new(target, vec!["about".to_owned()], "host".to_owned()).unwrap()
    }

    fn total(series: &Series) -> i64 {
        decode(&series.profile, 1 << 20).unwrap().sample.iter().map(|sample| sample.value[0]).sum()
    }

    #[test]
    fn processes_of_a_service_are_one_series() {
        let one = fixture::two_threads().sample.iter().map(|sample| sample.value[0]).sum::<i64>();
        let (batch, errors) = recipe(r#"labels = { region = "eu" }"#).batch(&window(&["a", "b", "a"]));
        assert!(errors.is_empty(), "{errors:?}");
        let seen: Vec<_> = batch
            .series
            .iter()
            .map(|series| (series.label("service"), series.label("region"), total(series)))
            .collect();
        assert_eq!(seen, [(Some("a"), Some("eu"), 2 * one), (Some("b"), Some("eu"), one)]);
        let profile = decode(&batch.series[0].profile, 1 << 20).unwrap();
        assert!(profile.sample.iter().all(|sample| sample.label.is_empty()));
        assert_eq!(profile.duration_nanos, 10);
        assert_eq!(batch.series[0].plain_bytes, profile.encoded_len() as u64);
    }

    #[test]
    fn windows_that_follow_each_other_become_one() {
        let one = fixture::two_threads().sample.iter().map(|sample| sample.value[0]).sum::<i64>();
        let recipe = recipe(r#"group-by = ["service"]"#);
        let (first, _) = recipe.batch(&window(&["a", "b"]));
        let mut later = window(&["b", "c"]);
        later.span.start_unix_ns = 15;
        let (second, _) = recipe.batch(&later);
        let (joined, errors) = recipe.joined(&[first.clone(), second]);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!((joined.start_unix_ns, joined.duration_ns), (5, 20));
        let seen: Vec<_> =
            joined.series.iter().map(|series| (series.label("service"), total(series))).collect();
        assert_eq!(seen, [(Some("a"), one), (Some("b"), 2 * one), (Some("c"), one)]);
        let profile = decode(&joined.series[1].profile, 1 << 20).unwrap();
        assert_eq!(profile.duration_nanos, 20);
        let about = profile.comment.iter().filter(|&&comment| text(&profile, comment) == "about");
        assert_eq!(about.count(), 1);
        assert_eq!(joined.series[0].id, first.series[0].id, "an id is of the start and the labels");

        let mut damaged = first;
        damaged.series[0].profile.truncate(9);
        let (joined, errors) = recipe.joined(&[damaged]);
        assert_eq!((joined.series.len(), errors.len()), (1, 1), "{errors:?}");
    }

    #[test]
    fn ids_tell_series_and_windows_apart_and_stay_the_same() {
        let recipe = recipe(r#"group-by = ["service"]"#);
        let (first, _) = recipe.batch(&window(&["a", "b"]));
        let (again, _) = recipe.batch(&window(&["a", "b"]));
        assert_eq!(first, again);
        assert_ne!(first.series[0].id, first.series[1].id);
        let mut later = window(&["a"]);
        later.span.start_unix_ns = 6;
        assert_ne!(recipe.batch(&later).0.series[0].id, first.series[0].id);
        let uuid = first.series[0].uuid();
        assert_eq!((&uuid[14..15], uuid.len()), ("8", 36), "{uuid}");
    }

    #[test]
    fn an_object_is_of_the_whole_host_and_says_whose_samples_they_are() {
        let target =
            r#"kind = "folder", url = "file:///x", labels = { region = "eu" }, group-by = ["service"]"#;
        let recipe = Recipe::new(target.parse().unwrap(), vec![], "host".to_owned()).unwrap();
        let (batch, errors) = recipe.batch(&window(&["a", "b", "a"]));
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(batch.series.len(), 1);
        assert_eq!(batch.series[0].label("region"), Some("eu"));
        let profile = decode(&batch.series[0].profile, 1 << 20).unwrap();
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        for sample in &profile.sample {
            let mut labels: Vec<String> = sample
                .label
                .iter()
                .map(|label| format!("{}={}", text(&profile, label.key), text(&profile, label.str)))
                .collect();
            labels.sort();
            *sums.entry(labels.join(",")).or_default() += sample.value[0];
        }
        let one = fixture::two_threads().sample.iter().map(|sample| sample.value[0]).sum::<i64>();
        let wanted = [("region=eu,service=a", 2 * one), ("region=eu,service=b", one)];
        assert_eq!(sums, wanted.map(|(labels, sum)| (labels.to_owned(), sum)).into());
    }

    #[test]
    fn what_is_not_selected_is_not_sent() {
        let (batch, _) = recipe(r#"where = "service=b""#).batch(&window(&["a", "b"]));
        assert_eq!(batch.series.len(), 1);
        assert_eq!(batch.series[0].label("service"), Some("b"));
        assert!(recipe(r#"where = "service=c""#).batch(&window(&["a"])).0.series.is_empty());
    }
}
