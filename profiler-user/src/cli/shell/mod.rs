//! `profiler shell`: reports at a prompt, with the commands and options that `go tool pprof` has at its own.

mod command;
mod complete;
mod help;
mod line;
mod options;
mod output;
mod prompt;
mod report;

use std::io::{BufRead, IsTerminal, stdin};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};

use super::drawing::deliver;
use super::reading::{SourceArgs, paint, print, print_bytes};
use super::{Failure, Outcome};
use crate::profile::proto::Profile;
use crate::profile::text as string;
use crate::report::header::Header;
use crate::report::numbers::{Numbers, Shown as Unit};
use crate::report::text::{self, Paint};
use crate::source::Labels;
use command::Kind;
use complete::Words;
use line::{Action, Request};
use options::Settings;
use output::Shown;
use prompt::{Prompt, Typed};

/// Arguments of `profiler shell`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler shell profile.pb.gz                      then: top, top10 -cum, peek malloc, list main, web, help
  profiler shell --since 1h --where service=api /var/lib/profiler
                                                    an hour of one service
  echo 'top5 json -cum' | profiler shell profile.pb.gz
                                                    commands from a pipe; exit code 1 where one fails

Commands and options are those of `go tool pprof`'s prompt: `top 5 json -runtime` shows five rows of samples with json
and without runtime, `focus=json` stays until it is changed, `tree > file` writes a file. The tabulator key completes
commands, options and functions. Lines are kept in $XDG_STATE_HOME/profiler/shell_history.")]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
}

/// Runs `profiler shell`.
pub(super) fn run(args: &Args) -> Outcome {
    let loaded = args.source.load(Labels::Keep)?;
    let mut session = Session::new(&loaded.profile);
    if stdin().is_terminal() { at_a_prompt(&mut session) } else { from_a_pipe(&mut session) }
}

fn at_a_prompt(session: &mut Session<'_>) -> Outcome {
    let profile = session.profile;
    let names = profile.function.iter().map(|function| string(profile, function.name));
    let words = Words::new(names, session.settings.values());
    let mut prompt =
        Prompt::new(words).context("the terminal cannot be used").map_err(Failure::CannotStart)?;
    print(&greeting(profile))?;
    loop {
        let typed = prompt.ask().context("the terminal is gone").map_err(Failure::WhileRunning)?;
        match typed {
            Typed::Line(line) => match session.obey(&line) {
                Ok(Next::Go) => {}
                Ok(Next::End) => return Ok(ExitCode::SUCCESS),
                Err(error) => eprintln!("{}", text::safe(&format!("{error:#}"))),
            },
            Typed::GivenUp => {}
            Typed::End => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// One command after the other, without a prompt; one that fails does not stop the others.
fn from_a_pipe(session: &mut Session<'_>) -> Outcome {
    let mut failed = 0_usize;
    for (number, line) in stdin().lock().lines().enumerate() {
        let line = line.context("cannot read commands from stdin").map_err(Failure::WhileRunning)?;
        match session.obey(&line) {
            Ok(Next::Go) => {}
            Ok(Next::End) => break,
            Err(error) => {
                failed += 1;
                eprintln!("profiler: line {}: {}", number + 1, text::safe(&format!("{error:#}")));
            }
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// What the profile is, and where to go from here.
fn greeting(profile: &Profile) -> String {
    let index = crate::profile::sample_index::sample_index(profile, None).unwrap_or_default();
    let header = Header::new(profile, index);
    let numbers = Numbers::new(&header.unit, Unit::Fitting, 1.0);
    let mut lines = text::head(&header, &numbers);
    if header.total == 0 {
        lines.push(if profile.sample_type.len() > 1 {
            "No sample has this value; choose another with sample_index=… (`o` lists them)".to_owned()
        } else {
            "There are no samples".to_owned()
        });
    }
    lines.push("Commands are those of `go tool pprof`; `help` lists them, `o` the options".to_owned());
    lines.iter().map(|line| format!("{}\n", text::safe(line))).collect()
}

/// Whether there are further commands.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Go,
    End,
}

/// A profile, the options so far, and files that are shown.
struct Session<'p> {
    profile: &'p Profile,
    settings: Settings,
    shown: Shown,
}

impl<'p> Session<'p> {
    fn new(profile: &'p Profile) -> Session<'p> {
        Session { profile, settings: Settings::new(profile), shown: Shown::default() }
    }

    /// Does what a line says.
    fn obey(&mut self, line: &str) -> anyhow::Result<Next> {
        match line::read(line, &self.settings).map_err(|wrong| anyhow!(wrong))? {
            Action::Nothing => {}
            Action::Quit => return Ok(Next::End),
            Action::Set(settings) => self.settings = settings,
            Action::Options => said(print(&self.settings.listed()))?,
            Action::Help(None) => said(print(&help::overview()))?,
            Action::Help(Some(about)) => {
                said(print(&help::about(&about).map_err(|wrong| anyhow!(wrong))?))?;
            }
            Action::Report(request) => self.report(&request)?,
        }
        Ok(Next::Go)
    }

    fn report(&mut self, request: &Request) -> anyhow::Result<()> {
        let output = Some(request.settings.get("output")).filter(|file| !file.is_empty());
        let paint = if output.is_none() { paint() } else { Paint::Plain };
        let rendered = report::render(self.profile, request, paint).map_err(cause)?;
        for name in &rendered.unmatched {
            eprintln!("profiler: warning: {name} matched nothing");
        }
        let kind = request.command.kind;
        match (output, kind, kind.ending()) {
            (Some(file), ..) => said(deliver(&rendered.bytes, Some(Path::new(file)))),
            (None, Kind::Shown(ending, programs), _) => {
                self.shown.show(&rendered.bytes, ending, programs).map_err(cause)
            }
            (None, Kind::Flame, _) => self.shown.show(&rendered.bytes, "html", &[]).map_err(cause),
            (None, _, Some(ending)) => {
                let path = output::beside(&rendered.bytes, ending).map_err(cause)?;
                eprintln!("profiler: wrote {}", path.display());
                Ok(())
            }
            (None, _, None) => said(print_bytes(&rendered.bytes)),
        }
    }
}

/// At the prompt there is no exit code, only the reason.
fn cause(failure: Failure) -> anyhow::Error {
    match failure {
        Failure::CannotStart(error) | Failure::WhileRunning(error) => error,
    }
}

fn said(outcome: Outcome) -> anyhow::Result<()> {
    outcome.map(|_| ()).map_err(cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;

    #[test]
    fn a_session_remembers_options_and_survives_errors() {
        let profile = fixture::two_threads();
        let mut session = Session::new(&profile);
        assert_eq!(session.obey("focus=work").unwrap(), Next::Go);
        assert!(session.obey("nothing").is_err());
        assert!(session.obey("peek nobody").unwrap_err().to_string().contains("no function matches"));
        assert!(session.obey("peek (").unwrap_err().to_string().contains("no regular expression"));
        assert_eq!(session.settings.get("focus"), "work");
        assert_eq!(session.obey("quit").unwrap(), Next::End);
    }

    #[test]
    fn reports_go_to_files() {
        let folder = tempfile::tempdir().unwrap();
        let profile = fixture::two_threads();
        let mut session = Session::new(&profile);
        for (command, start) in [
            (
                "top 1",
                "Showing nodes accounting for 30ms, 50.00% of 60ms total\nShowing top 1 nodes out of 4\n",
            ),
            ("tree", "Showing nodes"),
            ("traces", "File: app"),
            ("raw", "PeriodType:"),
            ("tags", " thread: Total"),
            ("comments", ""),
            ("dot", "digraph"),
            ("list work", "Total: 60ms"),
            ("peek work", "Showing"),
        ] {
            let file = folder.path().join("report");
            session.obey(&format!("{command} > {}", file.display())).unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.starts_with(start), "{command}: {text}");
        }
        let file = folder.path().join("filtered.pb.gz");
        session.obey(&format!("proto vdso > {}", file.display())).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        let filtered = crate::profile::codec::decode(&bytes, 1 << 20).unwrap();
        assert_eq!(filtered.sample.len(), 1);
        let file = folder.path().join("flame.html");
        session.obey(&format!("flamegraph > {}", file.display())).unwrap();
        assert!(std::fs::read_to_string(&file).unwrap().contains("<html"));
    }

    #[test]
    fn the_greeting_says_what_there_is() {
        let text = greeting(&fixture::two_threads());
        assert!(text.starts_with("File: app\nBuild ID: abcdef\nType: cpu\n"), "{text}");
        assert!(text.contains("`help` lists them"));
    }
}
