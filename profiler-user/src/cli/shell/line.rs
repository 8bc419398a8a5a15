//! A line as it is typed, read by the rules of google/pprof (its driver/interactive.go).

use super::command::{self, Command, ELSEWHERE};
use super::options::{self, Kind, Settings};

/// What a line asks for.
#[derive(Debug)]
pub(super) enum Action {
    /// Nothing.
    Nothing,
    /// Options were changed.
    Set(Settings),
    /// The list of options.
    Options,
    /// Help, about a command or option.
    Help(Option<String>),
    /// A report.
    Report(Request),
    /// The end.
    Quit,
}

/// A report that is asked for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) command: &'static Command,
    /// The regex of a command that takes one.
    pub(super) regex: Option<String>,
    /// The session's options as this line changes them.
    pub(super) settings: Settings,
}

/// Sets all filters back.
const CLEAR: [&str; 5] = ["focus", "ignore", "hide", "tagfocus", "tagignore"];

/// Begins what is a remark.
const REMARK: &str = "//:";

/// Reads a line.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub(super) fn read(line: &str, settings: &Settings) -> Result<Action, String> {
    let line = line.trim();
    if line == ":" {
        let mut changed = settings.clone();
        for name in CLEAR {
            set(&mut changed, name, "")?;
        }
        return Ok(Action::Set(changed));
    }
    // `cpu` and `total_cpu` show sums of that value, `mean_cpu` means.
    for (start, mean) in [("", None), ("total_", Some("false")), ("mean_", Some("true"))] {
        let value =
            line.strip_prefix(start).filter(|name| settings.values().iter().any(|value| value == name));
        if let Some(value) = value {
            let mut changed = settings.clone();
            set(&mut changed, "sample_index", value)?;
            if let Some(mean) = mean {
                set(&mut changed, "mean", mean)?;
            }
            return Ok(Action::Set(changed));
        }
    }
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => {
            let value = value.rsplit_once(REMARK).map_or(value, |(value, _)| value);
            (name.trim(), Some(value.trim()))
        }
        None => (line, None),
    };
    if options::find(name).is_some() {
        return assignment(name, value, settings);
    }
    let mut words = line.split_whitespace();
    let Some(first) = words.next() else { return Ok(Action::Nothing) };
    let rest: Vec<&str> = words.collect();
    match first {
        "o" | "options" => Ok(Action::Options),
        "q" | "quit" | "exit" => Ok(Action::Quit),
        "help" | "?" => Ok(Action::Help(Some(rest.join(" ")).filter(|about| !about.is_empty()))),
        _ => Ok(Action::Report(request(first, &rest, settings)?)),
    }
}

fn set(settings: &mut Settings, name: &str, value: &str) -> Result<(), String> {
    let (option, _) = options::find(name).ok_or_else(|| format!("there is no option {name}"))?;
    settings.set(option, value)
}

/// `name=value`, `name` for what is true or false, or the name of a value.
fn assignment(name: &str, value: Option<&str>, settings: &Settings) -> Result<Action, String> {
    let (option, choice) = options::find(name).ok_or_else(|| format!("there is no option {name}"))?;
    let value = match (choice, value) {
        (Some(choice), None) => choice,
        (Some(choice), Some(value)) => match value.to_lowercase().as_str() {
            "true" | "t" | "1" | "yes" | "y" => choice,
            _ => {
                let option = option.name;
                return Err(format!("{choice} is a value of {option}: write {choice} or {option}={choice}"));
            }
        },
        (None, None) if option.kind == Kind::Bool => "true",
        (None, None) => return Err(format!("{name} needs a value: {name}=…; `help {name}` tells more")),
        (None, Some(value)) => value,
    };
    let mut changed = settings.clone();
    changed.set(option, value)?;
    Ok(Action::Set(changed))
}

/// A command with its words: numbers, regexes, `-cum`, `>file`.
fn request(first: &str, rest: &[&str], settings: &Settings) -> Result<Request, String> {
    let mut words: Vec<&str> = rest.to_vec();
    let command = match command::find(first) {
        Some(command) => command,
        None => {
            // `top10` is `top 10`.
            let name = first.trim_end_matches(|letter: char| letter.is_ascii_digit());
            let command = command::find(name).filter(|_| name.len() < first.len());
            let command = command.ok_or_else(|| unknown(first, rest))?;
            words.insert(0, first.get(name.len()..).unwrap_or_default());
            command
        }
    };
    let regex = if command.kind.takes_regex() {
        if words.is_empty() {
            return Err(format!("{first} needs a regex for functions: {first} main, or {first} . for all"));
        }
        Some(words.remove(0).to_owned())
    } else {
        None
    };
    let mut changed = settings.clone();
    let (mut focus, mut ignore): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word.parse::<i32>().is_ok() {
            set(&mut changed, "nodecount", word)?;
        } else if let Some(file) = word.strip_prefix('>') {
            let file = if file.is_empty() { words.next() } else { Some(file) };
            set(&mut changed, "output", file.ok_or("a file's name is missing behind >")?)?;
        } else if matches!(word, "-cum" | "--cum") {
            set(&mut changed, "sort", "cum")?;
        } else if let Some(regex) = word.strip_prefix('-') {
            ignore.push(regex);
        } else {
            focus.push(word);
        }
    }
    let (focus_name, ignore_name) =
        if command.kind == command::Kind::Tags { ("tagfocus", "tagignore") } else { ("focus", "ignore") };
    for (name, regexes) in [(focus_name, focus), (ignore_name, ignore)] {
        if !regexes.is_empty() {
            set(&mut changed, name, &regexes.join("|"))?;
        }
    }
    Ok(Request { command, regex, settings: changed })
}

fn unknown(name: &str, rest: &[&str]) -> String {
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(other, _)| *other == name) {
        return format!("there is no command {name} here: {instead}");
    }
    if options::find(name).is_some() {
        return format!("{name} is an option: write {name}={}", rest.first().unwrap_or(&"…"));
    }
    format!("there is no command {name:?}; `help` lists those there are")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;

    fn settings() -> Settings {
        Settings::new(&fixture::two_threads())
    }

    fn report(line: &str) -> Request {
        match read(line, &settings()) {
            Ok(Action::Report(request)) => request,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn error(line: &str) -> String {
        read(line, &settings()).unwrap_err()
    }

    #[test]
    fn commands_with_words() {
        let request = report("top10");
        assert_eq!((request.command.name, request.settings.get("nodecount")), ("top", "10"));
        let request = report("  top 5 json work -runtime -gc -cum >out.txt ");
        let get = |name| request.settings.get(name).to_owned();
        assert_eq!(
            ["nodecount", "focus", "ignore", "sort", "output"].map(get),
            ["5", "json|work", "runtime|gc", "cum", "out.txt"]
        );
        let request = report("tree --cum > out.txt");
        assert_eq!((request.settings.get("sort"), request.settings.get("output")), ("cum", "out.txt"));
        let request = report("list main\\. -x");
        assert_eq!((request.regex.as_deref(), request.settings.get("ignore")), (Some("main\\."), "x"));
        let request = report("tags thread:a -b");
        assert_eq!((request.settings.get("tagfocus"), request.settings.get("tagignore")), ("thread:a", "b"));
        assert_eq!(request.settings.get("focus"), "");
    }

    #[test]
    fn options_stay_and_words_do_not() {
        let mut session = settings();
        for line in ["focus = work //: a remark", "cum", "noinlines", "samples", "lines=true"] {
            match read(line, &session) {
                Ok(Action::Set(changed)) => session = changed,
                other => panic!("{line}: {other:?}"),
            }
        }
        let get = |name| session.get(name).to_owned();
        assert_eq!(
            ["focus", "sort", "noinlines", "sample_index", "granularity"].map(get),
            ["work", "cum", "true", "samples", "lines"]
        );
        match read(":", &session) {
            Ok(Action::Set(changed)) => assert_eq!((changed.get("focus"), changed.get("sort")), ("", "cum")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, part) in [
            ("focus", "needs a value"),
            ("hide spin", "write hide=spin"),
            ("list", "needs a regex"),
            ("top >", "behind >"),
            ("top (", "no regular expression"),
            ("xyz", "no command \"xyz\""),
            ("10", "no command"),
            ("weblist main", "no command weblist here"),
            ("cum=false", "sort=cum"),
        ] {
            let said = error(line);
            assert!(said.contains(part), "{line}: {said}");
        }
    }

    #[test]
    fn the_other_words() {
        assert!(matches!(read("", &settings()), Ok(Action::Nothing)));
        assert!(matches!(read("o", &settings()), Ok(Action::Options)));
        assert!(matches!(read("quit", &settings()), Ok(Action::Quit)));
        assert!(matches!(read("help", &settings()), Ok(Action::Help(None))));
        assert!(matches!(read("help top", &settings()), Ok(Action::Help(Some(about))) if about == "top"));
    }
}
