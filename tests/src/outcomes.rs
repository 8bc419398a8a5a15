//! The summary that `profiler record --json` prints to stdout.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::profiler::Finished;

/// Outcomes that end without a sample: the tick was lost or came too late, hit an idle CPU or a process that was not
/// asked for. Every other outcome is a sample, complete or not.
const NO_SAMPLE: [&str; 4] = ["count_table_full", "missed", "idle", "not_selected"];

/// Outcomes by which the profiler lost a sample or its stack. A missed tick is none of them: there the machine itself
/// was late.
const LOST: [&str; 3] = ["count_table_full", "stack_table_full", "stack_collision"];

/// The object that `record --json` prints.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Sampling interrupts.
    pub ticks: i64,
    /// How they ended.
    pub outcomes: BTreeMap<String, i64>,
    /// Samples in the profile.
    pub samples: i64,
    /// The whole object.
    pub json: Value,
}

impl Summary {
    /// Parses the stdout of a run.
    pub fn of(run: &Finished) -> Summary {
        let json: Value =
            serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("stdout is no JSON: {e}\n{run}"));
        let number = |value: &Value, key: &str| {
            value
                .get(key)
                .and_then(Value::as_i64)
                .unwrap_or_else(|| panic!("no number {key} in the JSON\n{run}"))
        };
        let outcomes = json.get("outcomes").and_then(Value::as_object);
        let outcomes = outcomes.unwrap_or_else(|| panic!("no object outcomes in the JSON\n{run}"));
        let outcomes = outcomes.keys().map(|name| (name.clone(), number(&json["outcomes"], name))).collect();
        Summary { ticks: number(&json, "ticks"), outcomes, samples: number(&json, "samples"), json }
    }

    /// Sum of the outcomes that are samples.
    pub fn sampled(&self) -> i64 {
        self.outcomes.iter().filter(|(name, _)| is_sample(name)).map(|(_, count)| count).sum()
    }

    /// Sum of the outcomes by which a sample or its stack was lost.
    pub fn lost(&self) -> i64 {
        self.outcomes.iter().filter(|(name, _)| LOST.contains(&name.as_str())).map(|(_, count)| count).sum()
    }

    /// Asserts that every tick has one outcome and that samples are what the outcomes say.
    pub fn assert_consistent(&self) {
        assert_eq!(self.outcomes.values().sum::<i64>(), self.ticks, "outcomes and ticks: {self:?}");
        assert_eq!(self.sampled(), self.samples, "sampled outcomes and samples: {self:?}");
    }
}

/// Whether an outcome of this name is a sample.
pub fn is_sample(name: &str) -> bool {
    !NO_SAMPLE.contains(&name)
}

/// The count behind an outcome's name in comments, as `name=12`, `name: 12` or `name 12`.
pub fn count_in_comments(comments: &[&str], name: &str) -> Option<i64> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    for comment in comments {
        for (at, _) in comment.match_indices(name) {
            let (before, after) = (&comment[..at], &comment[at + name.len()..]);
            if before.ends_with(is_word) || after.starts_with(is_word) {
                continue;
            }
            let digits = after.trim_start_matches(['=', ':', ' ']);
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            if let Ok(count) = digits[..end].parse() {
                return Some(count);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_by_whole_names() {
        let comments = ["kernel 6.1", "outcomes: incomplete=3 complete=12, lost: 0"];
        assert_eq!(count_in_comments(&comments, "complete"), Some(12));
        assert_eq!(count_in_comments(&comments, "lost"), Some(0));
        assert_eq!(count_in_comments(&comments, "truncated"), None);
    }
}
