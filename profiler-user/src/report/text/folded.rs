//! `profiler folded`.

use super::{push_line, safe};
use crate::report::folded::FoldedReport;

/// One line for each stack: names from the outermost to the leaf, separated by semicolons, a space, the value.
/// Semicolons within names become colons, for they would split them.
#[must_use]
pub fn folded(report: &FoldedReport) -> String {
    let FoldedReport { unmatched: _, places, stacks } = report;
    let names: Vec<String> = places.iter().map(|place| safe(&place.name()).replace(';', ":")).collect();
    let mut out = String::new();
    for (stack, value) in stacks {
        let stack: Vec<&str> = stack.iter().filter_map(|&node| Some(names.get(node)?.as_str())).collect();
        push_line(&mut out, &format!("{} {value}", stack.join(";")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::folded::folded as report;
    use crate::report::subject::Lens;

    #[test]
    fn one_line_for_a_stack() {
        let mut profile = fixture::two_threads();
        profile.sample.push(profile.sample[0].clone());
        profile.string_table[10] = "work;er".to_owned();
        assert_eq!(
            folded(&report(&profile, &Lens::default()).unwrap()),
            "main;work:er 10000000\nmain;work:er;inlined 60000000\nmain;work:er;inlined;[[vdso]] 20000000\n"
        );
    }
}
