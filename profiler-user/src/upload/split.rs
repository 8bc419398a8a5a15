//! Pieces of what is too large for a receiver.

use super::batch::Series;
use super::make::uuid;
use crate::profile::codec::{decode, encode};
use crate::profile::merge::{Duration, Merger};
use prost::Message;

/// The largest profile that is taken apart, uncompressed bytes.
const LARGEST: usize = 256 << 20;

/// What a receiver takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all profiles of a request, as they are sent.
    pub request_bytes: usize,
    /// Bytes of a profile, uncompressed.
    pub profile_bytes: u64,
    /// Profiles of a request.
    pub series: usize,
}

/// How many of the first series go into one request: at least one. One that is too large by itself goes alone, for it is to be
/// taken apart.
#[must_use]
pub fn fitting(series: &[Series], limits: Limits) -> usize {
    let mut bytes = 0;
    let fits = |series: &&Series| {
        bytes += series.profile.len();
        bytes <= limits.request_bytes && series.plain_bytes <= limits.profile_bytes
    };
    series.iter().take(limits.series).take_while(fits).count().max(1).min(series.len())
}

/// Two halves of a series, which together have its samples; `None` where it has only one, or cannot be read.
#[must_use]
pub fn halves(series: &Series) -> Option<[Series; 2]> {
    let whole = decode(&series.profile, LARGEST).ok()?;
    if whole.sample.len() < 2 {
        return None;
    }
    let half = |number: usize| {
        let mut part = whole.clone();
        let middle = part.sample.len() / 2;
        part.sample =
            if number == 0 { part.sample[..middle].to_vec() } else { part.sample[middle..].to_vec() };
        // Merging keeps only what the samples need.
        let mut merger = Merger::new();
        merger.add(&part).ok()?;
        let mut profile = merger.finish(Duration::Nanoseconds(whole.duration_nanos)).ok()?;
        profile.time_nanos = whole.time_nanos;
        Some(Series {
            id: uuid(&format!("{}\0{number}", series.uuid())),
            labels: series.labels.clone(),
            plain_bytes: profile.encoded_len() as u64,
            profile: encode(&profile).ok()?,
        })
    };
    Some([half(0)?, half(1)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::profile::proto::Profile;

    fn series(profile: &Profile) -> Series {
        Series {
            id: vec![1; 16],
            labels: vec![],
            profile: encode(profile).unwrap(),
            plain_bytes: profile.encoded_len() as u64,
        }
    }

    #[test]
    fn halves_have_all_samples_between_them() {
        let profile = fixture::two_threads();
        let sum = |profile: &Profile| profile.sample.iter().map(|sample| sample.value[0]).sum::<i64>();
        let [one, other] = halves(&series(&profile)).unwrap();
        assert_ne!(one.id, other.id);
        let read = |series: &Series| decode(&series.profile, LARGEST).unwrap();
        assert_eq!(sum(&read(&one)) + sum(&read(&other)), sum(&profile));
        assert_eq!(
            (read(&one).time_nanos, read(&one).duration_nanos),
            (profile.time_nanos, profile.duration_nanos)
        );
        let mut single = profile;
        single.sample.truncate(1);
        assert!(halves(&series(&single)).is_none());
        assert!(halves(&Series { profile: b"damaged".to_vec(), ..one }).is_none());
    }

    #[test]
    fn as_many_as_fit() {
        let of = |bytes: usize| Series { profile: vec![0; bytes], ..Series::default() };
        let limits = Limits { request_bytes: 100, profile_bytes: 1000, series: 3 };
        assert_eq!(fitting(&[of(50), of(50), of(1)], limits), 2);
        assert_eq!(fitting(&[of(500), of(1)], limits), 1, "one always goes");
        assert_eq!(fitting(&[of(1), of(1), of(1), of(1)], limits), 3);
        assert_eq!(fitting(&[], limits), 0);
        let large = Series { plain_bytes: 1001, ..of(1) };
        assert_eq!(fitting(&[of(1), large.clone(), of(1)], limits), 1, "not in one request with others");
        assert_eq!(fitting(&[large, of(1)], limits), 1);
    }
}
