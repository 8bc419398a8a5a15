//! What `/debug/pprof/profile` is asked for.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::pipeline::ProcessProfile;
use crate::pipeline::on_demand::Wanted;
use crate::profile::labels::{LabelFilter, LabelFilterError};

/// As in Go's net/http/pprof.
const DEFAULT: Duration = Duration::from_secs(30);

/// The longest profile, seconds.
const LONGEST: u64 = 3600;

/// Labels that have a parameter of their own.
const LABELS: [&str; 4] = ["process", "service", "container", "thread"];

/// What is wanted.
#[derive(Debug)]
pub(super) struct Query {
    /// How long.
    pub(super) length: Duration,
    /// Only these processes; all where it is empty.
    pub(super) pids: BTreeSet<u32>,
    /// Only samples with these labels.
    pub(super) samples: LabelFilter,
}

/// A parameter that cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error(
        "there is no parameter {0:?}; there are seconds, pid, process, service, container, thread, where"
    )]
    Unknown(String),
    #[error("seconds must be a whole number from 1 to {LONGEST}, not {0:?}")]
    Seconds(String),
    #[error("pid must be a number, or several separated by commas, not {0:?}")]
    Pid(String),
    #[error(transparent)]
    Labels(#[from] LabelFilterError),
}

impl Query {
    /// Several values of one parameter must all hold, but for those of `pid`, of which one must.
    pub(super) fn read(pairs: &[(String, String)]) -> Result<Query, Unreadable> {
        let mut query = Query { length: DEFAULT, pids: BTreeSet::new(), samples: LabelFilter::default() };
        for (name, value) in pairs {
            match name.as_str() {
                "seconds" => {
                    let seconds = value.parse().ok().filter(|seconds| (1..=LONGEST).contains(seconds));
                    let seconds = seconds.ok_or_else(|| Unreadable::Seconds(value.clone()))?;
                    query.length = Duration::from_secs(seconds);
                }
                "pid" => {
                    for pid in value.split(',') {
                        query.pids.insert(pid.parse().map_err(|_| Unreadable::Pid(value.clone()))?);
                    }
                }
                "where" => query.samples = query.samples.and(value.parse()?),
                label if LABELS.contains(&label) => {
                    query.samples = query.samples.and(LabelFilter::value(label, value)?);
                }
                // What Go's own handler knows, and what changes nothing here.
                "debug" | "gc" => {}
                _ => return Err(Unreadable::Unknown(name.clone())),
            }
        }
        Ok(query)
    }

    /// Tells processes that none of the samples can be of.
    pub(super) fn wanted(&self) -> Wanted {
        let (pids, samples) = (self.pids.clone(), self.samples.clone());
        Box::new(move |process: &ProcessProfile| {
            (pids.is_empty() || pids.contains(&process.key.pid)) && samples.passes_any(&process.profile)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Query, Unreadable> {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Query::read(&pairs)
    }

    #[test]
    fn as_in_go_without_parameters() {
        let query = read(&[]).unwrap();
        assert_eq!((query.length, query.pids.len(), query.samples.is_empty()), (DEFAULT, 0, true));
    }

    #[test]
    fn what_is_asked_for() {
        let query =
            read(&[("seconds", "5"), ("pid", "3,1"), ("pid", "7"), ("process", "a,b=c"), ("debug", "0")]);
        let query = query.unwrap();
        assert_eq!(query.length, Duration::from_secs(5));
        assert_eq!(query.pids, [1, 3, 7].into());
        assert!(!query.samples.is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (name, value, says) in [
            ("seconds", "0", "from 1 to 3600"),
            ("seconds", "3601", "from 1 to 3600"),
            ("seconds", "1e9", "from 1 to 3600"),
            ("pid", "x", "pid must be a number"),
            ("pid", "", "pid must be a number"),
            ("proces", "a", "there is no parameter \"proces\""),
            ("process", "~(", "is not a regex"),
            ("where", "nginx", "selects no label"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
