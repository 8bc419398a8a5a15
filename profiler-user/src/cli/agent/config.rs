//! The agent's configuration: a TOML file, the environment, and the command line, each stronger than the one before.
//!
//! There is one definition of every setting, that of its flag: a key of the file is the flag's name without its dashes, and
//! a variable is `PROFILER_` with the name in capitals. Both become arguments in front of those that were given, so that
//! they are read, checked and explained like them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, CommandFactory, Parser};
use toml::Value;
use toml::de::DeTable;

use super::super::{Cli, sentence};
use super::Args;

/// The subcommand.
const AGENT: &str = "agent";

/// What is no setting: it says where settings are, or asks for something else.
const NO_SETTINGS: [&str; 4] = ["config", "check-config", "help", "verbose"];

/// How different a name may be that is suggested, of 1.
const ALIKE: f64 = 0.7;

/// The agent's arguments, with the file and the environment.
///
/// # Errors
/// Sentences that each say what is wrong and where.
pub(in crate::cli) fn complete(given: &[OsString]) -> Result<Args, Vec<String>> {
    let first = parse(given.to_vec())?;
    let at = given.iter().position(|word| word == AGENT).map_or(given.len(), |at| at + 1);
    let mut words = given[..at].to_vec();
    if let Some(path) = &first.config {
        words.extend(from_file(path)?);
    }
    words.extend(from_environment(&settings(), |name| std::env::var_os(name)));
    words.extend(given[at..].iter().cloned());
    parse(words)
}

fn parse(words: Vec<OsString>) -> Result<Args, Vec<String>> {
    match Cli::try_parse_from(words).map(|cli| cli.command) {
        Ok(super::super::Command::Agent(args)) => Ok(args),
        Ok(_) => Err(vec!["these are no arguments of `profiler agent`".to_owned()]),
        Err(error) => Err(vec![sentence(&error.to_string())]),
    }
}

/// Everything that can be set.
fn settings() -> Vec<Arg> {
    let cli = Cli::command();
    let agent = cli.find_subcommand(AGENT).cloned().unwrap_or_else(|| Command::new(AGENT));
    agent
        .get_arguments()
        .filter(|arg| arg.get_long().is_some_and(|name| !NO_SETTINGS.contains(&name)) && !arg.is_hide_set())
        .cloned()
        .collect()
}

fn from_environment(settings: &[Arg], variable: impl Fn(&str) -> Option<OsString>) -> Vec<OsString> {
    let mut words = Vec::new();
    for setting in settings {
        let Some(name) = setting.get_long() else { continue };
        let Some(value) = variable(&variable_name(name)).filter(|value| !value.is_empty()) else { continue };
        if takes_value(setting) {
            words.push(word(name, &value));
        } else if !["0", "false", "no"].iter().any(|off| value == *off) {
            words.push(format!("--{name}").into());
        }
    }
    words
}

/// The variable of a setting.
fn variable_name(setting: &str) -> String {
    format!("PROFILER_{}", setting.replace('-', "_").to_ascii_uppercase())
}

/// `--name=value`: a value that begins with a dash is one, too.
fn word(name: &str, value: &OsStr) -> OsString {
    let mut word = OsString::from(format!("--{name}="));
    word.push(value);
    word
}

fn takes_value(setting: &Arg) -> bool {
    !matches!(setting.get_action(), ArgAction::SetTrue | ArgAction::SetFalse | ArgAction::Count)
}

fn from_file(path: &Path) -> Result<Vec<OsString>, Vec<String>> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| vec![format!("the configuration {shown} cannot be read: {error}")])?;
    from_text(&text, &settings()).map_err(|errors| {
        let named = |(line, why): (usize, String)| {
            if line == 0 { format!("{shown}: {why}") } else { format!("{shown}:{line}: {why}") }
        };
        errors.into_iter().map(named).collect()
    })
}

/// The arguments that a configuration's text stands for.
///
/// # Errors
/// Sentences that each say what is wrong, with their lines, from 1; 0 where no line is to blame.
pub(in crate::cli) fn configuration(text: &str) -> Result<Vec<OsString>, Vec<(usize, String)>> {
    from_text(text, &settings())
}

/// Arguments of a file's text, or its errors with their lines, from 1.
fn from_text(text: &str, settings: &[Arg]) -> Result<Vec<OsString>, Vec<(usize, String)>> {
    let line = |at: usize| text.get(..at).map_or(0, |before| 1 + before.matches('\n').count());
    let broken = |error: toml::de::Error| {
        let at = error.span().map_or(0, |span| line(span.start));
        vec![(at, error.message().to_owned())]
    };
    let places = DeTable::parse(text).map_err(broken)?;
    let table: toml::Table = text.parse().map_err(broken)?;
    let (mut words, mut errors) = (Vec::new(), Vec::new());
    for (key, value) in &table {
        let at = places.get_ref().iter().find(|(place, _)| place.get_ref().as_ref() == key);
        let at = at.map_or(0, |(place, _)| line(place.span().start));
        match arguments(key, value, settings) {
            Ok(more) => match more.iter().find_map(|word| refusal(word)) {
                Some(why) => errors.push((at, why)),
                None => words.extend(more),
            },
            Err(why) => errors.push((at, why)),
        }
    }
    errors.sort();
    if errors.is_empty() { Ok(words) } else { Err(errors) }
}

/// The arguments for one key.
fn arguments(key: &str, value: &Value, settings: &[Arg]) -> Result<Vec<OsString>, String> {
    let Some(setting) = settings.iter().find(|setting| setting.get_long() == Some(key)) else {
        return Err(unknown(key, settings));
    };
    match value {
        Value::Boolean(on) if !takes_value(setting) => {
            Ok(if *on { vec![format!("--{key}").into()] } else { vec![] })
        }
        _ if !takes_value(setting) => Err(format!("{key} must be true or false")),
        Value::Array(values) if matches!(setting.get_action(), ArgAction::Append) => {
            Ok(values.iter().map(|value| word(key, OsStr::new(&as_text(value)))).collect())
        }
        Value::Array(_) => Err(format!("{key} has one value, not several")),
        Value::Boolean(_) => Err(format!("{key} is neither true nor false: it needs a value")),
        value => Ok(vec![word(key, OsStr::new(&as_text(value)))]),
    }
}

/// A value as it would be written on the command line; tables are inline ones.
fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn unknown(key: &str, settings: &[Arg]) -> String {
    let names = settings.iter().filter_map(Arg::get_long);
    let alike = |name: &str| strsim::jaro_winkler(key, name);
    let nearest = names.max_by(|a, b| alike(a).total_cmp(&alike(b))).filter(|name| alike(name) >= ALIKE);
    match nearest {
        Some(name) => format!("there is no setting {key:?}; did you mean {name:?}?"),
        None => format!("there is no setting {key:?}; `profiler agent --help` shows all"),
    }
}

/// Why an argument is refused by itself. What it needs beside it is seen when all are there.
fn refusal(word: &OsStr) -> Option<String> {
    let words = [OsStr::new("profiler"), OsStr::new(AGENT), word];
    let error = Cli::try_parse_from(words).err()?;
    let wrong = matches!(
        error.kind(),
        ErrorKind::InvalidValue
            | ErrorKind::ValueValidation
            | ErrorKind::NoEquals
            | ErrorKind::TooManyValues
            | ErrorKind::TooFewValues
            | ErrorKind::WrongNumberOfValues
            | ErrorKind::InvalidUtf8
    );
    wrong.then(|| {
        let text = sentence(&error.to_string());
        text.split(" (see `").next().unwrap_or(&text).to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, Vec<(usize, String)>> {
        let words = from_text(text, &settings())?;
        Ok(words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn every_key_is_a_flag() {
        let words = read(
            "window = \"10s\"\nfrequency = 49\nhttp = \"127.0.0.1:0\"\nmax-cpu = 0.5\nhttp-insecure-plaintext = true\nhttp-insecure-no-auth = false\n",
        );
        let mut words = words.unwrap();
        words.sort();
        assert_eq!(
            words,
            [
                "--frequency=49",
                "--http-insecure-plaintext",
                "--http=127.0.0.1:0",
                "--max-cpu=0.5",
                "--window=10s"
            ]
        );
    }

    #[test]
    fn a_table_is_one_value_of_its_flag() {
        let words = read(
            "[[upload]]\nkind = \"pyroscope\"\nurl = \"http://h\"\nlabels = { a = \"b\" }\n[[upload]]\nkind = \"http\"\n\
             url = \"http://i\"\n",
        );
        let words = words.unwrap();
        assert_eq!(words.len(), 2, "{words:?}");
        for (word, wanted) in words.iter().zip(["pyroscope", "http"]) {
            let target: crate::upload::Target = word.strip_prefix("--upload=").unwrap().parse().unwrap();
            assert_eq!(target.name, wanted);
        }
        let errors = read("[[upload]]\nkind = \"pyroscope\"\nurll = \"http://h\"\n").unwrap_err();
        assert!(errors[0].1.contains("urll"), "{errors:?}");
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let errors = read(
            "# comment\nwidow = \"10s\"\n\nframes = 1\nfrequency = 5000\nmemory = true\nwindow = [\"1s\"]\nzzz = 1\nhttp-insecure-plaintext = 1\n",
        );
        let text: Vec<String> =
            errors.unwrap_err().into_iter().map(|(line, why)| format!("{line}: {why}")).collect();
        let starts = [
            "2: there is no setting \"widow\"; did you mean \"window\"?",
            "4: there is no setting \"frames\"",
            "5: invalid value '5000' for '--frequency <HZ>'",
            "6: memory is neither true nor false",
            "7: window has one value",
            "8: there is no setting \"zzz\"; `profiler agent --help` shows all",
            "9: http-insecure-plaintext must be true or false",
        ];
        assert_eq!(text.len(), starts.len(), "{text:#?}");
        for (text, start) in text.iter().zip(starts) {
            assert!(text.starts_with(start), "{text} is not {start}");
        }
        let (line, _) = &read("window = \"1s\"\nfrequency = \n").unwrap_err()[0];
        assert_eq!(*line, 2);
    }

    #[test]
    fn the_environment_has_a_variable_for_each_setting() {
        let settings = settings();
        let variable = |name: &str| match name {
            "PROFILER_WINDOW" => Some("5s".into()),
            "PROFILER_HTTP_INSECURE_PLAINTEXT" => Some("1".into()),
            "PROFILER_HTTP_INSECURE_NO_AUTH" => Some("false".into()),
            "PROFILER_MEMORY" => Some("".into()),
            _ => None,
        };
        let words = from_environment(&settings, variable);
        assert_eq!(words, ["--window=5s", "--http-insecure-plaintext"]);
        assert!(settings.len() > 15, "{}", settings.len());
    }

    #[test]
    fn the_command_line_is_stronger_than_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "window = \"10s\"\nfrequency = 49\n").unwrap();
        let words = ["profiler", "agent", "--window", "7s", "--config"].map(OsString::from);
        let words: Vec<OsString> = words.into_iter().chain([file.path().into()]).collect();
        let args = complete(&words).unwrap();
        assert_eq!((args.window.as_secs(), args.frequency), (7, 49));
        fs::write(file.path(), "window = \"10s\"\nhttp-token-file = \"/x\"\n").unwrap();
        let refused = complete(&words).unwrap().http.access().unwrap_err().to_string();
        assert!(refused.contains("--http"), "what it needs is missing: {refused}");
        // What one place gives may belong to what another one has.
        fs::write(file.path(), "http = \"127.0.0.1:0\"\n").unwrap();
        let token = [OsString::from("--http-token-file=/x")];
        let words: Vec<OsString> = words.into_iter().chain(token).collect();
        assert!(complete(&words).unwrap().http.access().unwrap_err().to_string().contains("/x"));
    }
}
