//! What `help` prints.

use std::fmt::Write;

use super::command::{COMMANDS, find};
use super::options::{self, Kind, OPTIONS};

fn entry(out: &mut String, name: &str, help: &str) {
    let first = help.lines().next().unwrap_or_default();
    let _infallible = writeln!(out, "    {name:<20} {first}");
}

/// Everything there is, a line each.
pub(super) fn overview() -> String {
    let mut out = String::from("  Commands:\n");
    for command in &COMMANDS {
        entry(&mut out, command.name, command.help);
    }
    entry(&mut out, "o, options", "All options with their values");
    entry(&mut out, "help NAME", "More about a command or option");
    entry(&mut out, "q, quit, exit, ^D", "End");
    out.push_str("\n  Options (name=value):\n");
    for option in &OPTIONS {
        entry(&mut out, option.name, option.help);
        if let Kind::Choice(values) = option.kind {
            entry(&mut out, "", &values.join(", "));
        }
    }
    out.push_str("\n  Short:\n");
    entry(&mut out, "top10, top 10", "Ten rows");
    entry(&mut out, "top json -runtime", "Only samples with json, none with runtime");
    entry(&mut out, "tree > file", "Into a file");
    entry(&mut out, ":", "focus, ignore, hide, tagfocus and tagignore set back");
    entry(&mut out, "samples, cpu, …", "sample_index of that name");
    out
}

/// About a command or option.
///
/// # Errors
/// There is none of that name.
pub(super) fn about(name: &str) -> Result<String, String> {
    if let Some(command) = find(name) {
        let mut out = format!("{}\n", command.help);
        let mut usage = command.kind.usage().iter();
        let first = usage.next().copied().unwrap_or_default();
        let _infallible = writeln!(out, "  {name} {first}");
        for line in usage {
            let _infallible = writeln!(out, "    {line}");
        }
        return Ok(out);
    }
    let (option, choice) = options::find(name)
        .ok_or_else(|| format!("there is no command or option {name:?}; `help` lists those there are"))?;
    let mut out = format!("{}\n", option.long_help());
    if let Some(choice) = choice {
        let _infallible = writeln!(out, "{choice} is short for {}={choice}.", option.name);
    } else if let Kind::Choice(values) = option.kind {
        let _infallible = writeln!(out, "One of {}.", values.join(", "));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_listed_and_explained() {
        let overview = overview();
        let names =
            COMMANDS.iter().map(|command| command.name).chain(OPTIONS.iter().map(|option| option.name));
        for name in names {
            assert!(overview.contains(&format!("    {name} ")), "{name}");
            assert!(about(name).unwrap().len() > 10, "{name}");
        }
        assert!(about("top").unwrap().contains("top [n] [regex]*"));
        assert!(about("focus").unwrap().contains("source file"));
        assert!(about("cum").unwrap().contains("sort=cum"));
        assert!(about("nothing").is_err());
    }
}
