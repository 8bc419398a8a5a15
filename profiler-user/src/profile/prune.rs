//! Frames that are left out with all they call (google/pprof profile/prune.go): those that a profile itself names
//! (`drop_frames`, `keep_frames`), such as the allocator below `malloc`, so that the caller gets the value; and those
//! below a frame that the user names.

use std::collections::{HashMap, HashSet};

use regex::Regex;

use super::proto::Profile;
use super::text;

/// Drops from every sample the outermost frame that matches `drop_frames` and not `keep_frames`, and all it calls.
/// Frames above the first one that does not match stay, so that no stack vanishes altogether.
///
/// Both are matched against whole function names without their parameter lists. As in pprof, a pattern that is no
/// regex drops nothing: it comes with the profile, and who reads it cannot mend it.
pub fn drop_frames(profile: &mut Profile) {
    let whole = |index| {
        let pattern = text(profile, index);
        if pattern.is_empty() { Ok(None) } else { Regex::new(&format!("^(?:{pattern})$")).map(Some) }
    };
    let (Ok(Some(drop)), Ok(keep)) = (whole(profile.drop_frames), whole(profile.keep_frames)) else {
        return;
    };
    let dropped: HashSet<u64> = profile
        .function
        .iter()
        .filter(|function| {
            let name = simplified(text(profile, function.name));
            !text(profile, function.name).is_empty()
                && drop.is_match(name)
                && !keep.as_ref().is_some_and(|keep| keep.is_match(name))
        })
        .map(|function| function.id)
        .collect();
    // Location by id: whether it goes as a whole, or keeps its outer functions.
    let mut cuts: HashMap<u64, Cut> = HashMap::new();
    for location in &mut profile.location {
        let Some(outermost) = location.line.iter().rposition(|line| dropped.contains(&line.function_id))
        else {
            continue;
        };
        if outermost + 1 == location.line.len() {
            cuts.insert(location.id, Cut::Whole);
        } else {
            location.line.drain(..=outermost);
            cuts.insert(location.id, Cut::Beneath);
        }
    }
    for sample in &mut profile.sample {
        let mut found_user = false;
        for place in (0..sample.location_id.len()).rev() {
            let cut = sample.location_id.get(place).and_then(|id| cuts.get(id));
            match cut {
                None => found_user = true,
                Some(_) if !found_user => {}
                Some(Cut::Whole) => {
                    sample.location_id.drain(..=place);
                    break;
                }
                Some(Cut::Beneath) => {
                    sample.location_id.drain(..place);
                    break;
                }
            }
        }
    }
}

/// Drops what the innermost frame that matches calls, and keeps that frame: google/pprof's `-prune_from`. The regex
/// matches anywhere in a function's name without its parameter list.
pub fn prune_from(profile: &mut Profile, regex: &Regex) {
    let matching: HashSet<u64> = profile
        .function
        .iter()
        .filter(|function| {
            let name = text(profile, function.name);
            !name.is_empty() && regex.is_match(simplified(name))
        })
        .map(|function| function.id)
        .collect();
    let mut found: HashSet<u64> = HashSet::new();
    for location in &mut profile.location {
        let innermost = location.line.iter().position(|line| matching.contains(&line.function_id));
        if let Some(innermost) = innermost {
            location.line.drain(..innermost);
            found.insert(location.id);
        }
    }
    for sample in &mut profile.sample {
        if let Some(innermost) = sample.location_id.iter().position(|id| found.contains(id)) {
            sample.location_id.drain(..innermost);
        }
    }
}

enum Cut {
    /// The frame and all it calls.
    Whole,
    /// Only what it calls.
    Beneath,
}

/// A function name without its parameters: up to the first parenthesis that is not part of a name.
fn simplified(name: &str) -> &str {
    let name = name.strip_prefix('.').unwrap_or(name);
    let mut from = 0;
    while let Some(found) = name.get(from..).and_then(|rest| rest.find('(')) {
        let at = from + found;
        let rest = name.get(at..).unwrap_or_default();
        if rest.starts_with("(anonymous namespace)") {
            from = at + "(anonymous namespace)".len();
        } else if name.get(..at).is_some_and(|before| before.ends_with("operator")) && rest.starts_with("()")
        {
            from = at + 2;
        } else {
            return name.get(..at).unwrap_or(name);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn stacks(drop: &str, keep: &str) -> Vec<Vec<u64>> {
        let mut profile = fixture::two_threads();
        profile.string_table.extend([drop.to_owned(), keep.to_owned()]);
        (profile.drop_frames, profile.keep_frames) = (18, 19);
        drop_frames(&mut profile);
        profile.sample.into_iter().map(|sample| sample.location_id).collect()
    }

    #[test]
    fn drops_what_matches_and_what_it_calls() {
        assert_eq!(stacks("work", ""), [[1], [1], [1]]);
        assert_eq!(stacks("wor", ""), [vec![2, 1], vec![3, 1], vec![4, 2, 1]], "whole names only");
        assert_eq!(stacks("work", "w.*k"), [vec![2, 1], vec![3, 1], vec![4, 2, 1]], "kept");
        assert_eq!(stacks("inlined|x", ""), [vec![2, 1], vec![3, 1], vec![2, 1]], "the inlined call only");
        assert_eq!(
            stacks("main", ""),
            [vec![2, 1], vec![3, 1], vec![4, 2, 1]],
            "never above the first other"
        );
        assert_eq!(stacks("(", ""), [vec![2, 1], vec![3, 1], vec![4, 2, 1]], "no regex");
    }

    #[test]
    fn prune_from_keeps_the_frame_itself() {
        let stacks = |pattern: &str| {
            let mut profile = fixture::two_threads();
            prune_from(&mut profile, &Regex::new(pattern).unwrap());
            let lines = profile.location[1].line.len();
            (profile.sample.into_iter().map(|sample| sample.location_id).collect::<Vec<_>>(), lines)
        };
        assert_eq!(stacks("^work$"), (vec![vec![2, 1], vec![3, 1], vec![2, 1]], 1));
        assert_eq!(stacks("main"), (vec![vec![1], vec![1], vec![1]], 2));
    }

    #[test]
    fn names_lose_their_parameters() {
        assert_eq!(simplified("malloc(unsigned long)"), "malloc");
        assert_eq!(simplified("(anonymous namespace)::f(int)"), "(anonymous namespace)::f");
        assert_eq!(simplified("T::operator()(int)"), "T::operator()");
        assert_eq!(simplified(".plain"), "plain");
    }
}
