//! The command line: one file per subcommand. Arguments are parsed without side effects, then turned into a plan.

mod agent;
mod callgraph;
mod capturing;
mod command;
mod diff;
mod disasm;
mod doctor;
mod drawing;
mod failure;
mod flamegraph;
mod folded;
mod graphviz;
mod lens;
mod list;
mod live;
mod logging;
mod peek;
mod raw;
mod reading;
mod record;
mod recording;
mod shell;
mod tags;
mod top;
mod traces;
mod tree;

mod view;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};

use crate::confine;

/// Shows, for every process on this host, which code the CPU time goes to.
#[derive(Parser, Debug)]
#[command(name = "profiler", version, about, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say more: -v for what the profiler does, with the kernel verifier's log; -vv for debugging.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Profile the host, some processes, or a command with its children, once.
    Record(record::Args),
    /// Profile the host for ever: one file per process and window.
    Agent(agent::Args),
    /// Show the functions that the CPU time of one or more profiles went to.
    Top(top::Args),
    /// Show functions between their callers and callees.
    Tree(tree::Args),
    /// Show the callers and callees of the functions that a regex matches.
    Peek(peek::Args),
    /// Show the source of the functions that a regex matches, with the value of each line.
    List(list::Args),
    /// Show the instructions of the functions that a regex matches, with the value of each.
    Disasm(disasm::Args),
    /// Show what changed between two profiles, and whether it is noise.
    Diff(diff::Args),
    /// Explore profiles in the browser: flame graph, table, call graph, source, and what changed.
    View(view::Args),
    /// Show every sample with its labels and its stack.
    Traces(traces::Args),
    /// Show which labels the samples have, and what they add up to.
    Tags(tags::Args),
    /// Show the tables of a profile as they are.
    Raw(raw::Args),
    /// Draw all stacks as a flame graph: a page to explore, a picture, or a file for speedscope or Firefox.
    Flamegraph(flamegraph::Args),
    /// Draw who calls whom.
    Callgraph(callgraph::Args),
    /// Print one line per stack, for flame graph tools.
    Folded(folded::Args),
    /// Watch what the CPUs do now, in the terminal.
    Live(live::Args),
    /// Explore profiles at a prompt, with the commands of `go tool pprof`.
    Shell(shell::Args),
    /// Show what this host offers and lacks for profiling, and how to mend it.
    Doctor(doctor::Args),
}

impl Command {
    /// Whether it does nothing but read profiles, which somebody else may have made, and show them.
    fn only_reads(&self) -> bool {
        match self {
            Self::Record(_) | Self::Agent(_) | Self::Live(_) | Self::Doctor(_) => false,
            Self::Top(_)
            | Self::Tree(_)
            | Self::Peek(_)
            | Self::List(_)
            | Self::Disasm(_)
            | Self::Diff(_)
            | Self::View(_)
            | Self::Traces(_)
            | Self::Tags(_)
            | Self::Raw(_)
            | Self::Flamegraph(_)
            | Self::Callgraph(_)
            | Self::Folded(_)
            | Self::Shell(_) => true,
        }
    }
}

/// Why a subcommand did not do what was asked; the variant decides the exit code.
#[derive(Debug)]
pub enum Failure {
    /// It could not start: wrong arguments, missing privilege, unsupported kernel, no such input. Exit code 2.
    CannotStart(anyhow::Error),
    /// It started and failed. Exit code 1.
    WhileRunning(anyhow::Error),
}

/// What a subcommand returns: an exit code, or why there is none of its own.
pub type Outcome = Result<ExitCode, Failure>;

/// The definition of the command line: what man pages and completions are made of.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// The arguments that the text of an agent's configuration stands for.
///
/// # Errors
/// Sentences that each say what is wrong, with their lines, from 1; 0 where no line is to blame.
pub fn configuration(text: &str) -> Result<Vec<std::ffi::OsString>, Vec<(usize, String)>> {
    agent::configuration(text)
}

/// Parses the process's arguments, runs the subcommand and reports its failure as one sentence on stderr.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_arguments(&error),
    };
    logging::init(cli.verbose);
    if cli.command.only_reads() {
        confine::only_files();
    }
    let result = match cli.command {
        Command::Record(args) => record::run(&args),
        Command::Agent(args) => agent::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Tree(args) => tree::run(&args),
        Command::Peek(args) => peek::run(&args),
        Command::List(args) => list::run(&args),
        Command::Disasm(args) => disasm::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::View(args) => view::run(&args),
        Command::Traces(args) => traces::run(&args),
        Command::Tags(args) => tags::run(&args),
        Command::Raw(args) => raw::run(&args),
        Command::Flamegraph(args) => flamegraph::run(&args),
        Command::Callgraph(args) => callgraph::run(&args),
        Command::Folded(args) => folded::run(&args),
        Command::Live(args) => live::run(&args),
        Command::Shell(args) => shell::run(&args),
        Command::Doctor(args) => doctor::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(Failure::CannotStart(error)) => {
            logging::say(failure::sentence(&error));
            ExitCode::from(2)
        }
        Err(Failure::WhileRunning(error)) => {
            logging::say(failure::sentence(&error));
            ExitCode::from(1)
        }
    }
}

/// Help and version go out as clap has them; an error becomes one sentence.
fn wrong_arguments(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        // A reader that is gone wants no more help.
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
    }
    logging::say(sentence(&error.to_string()));
    ExitCode::from(2)
}

/// The first paragraph of clap's report on one line, with its tip if it has one.
fn sentence(report: &str) -> String {
    let lines = report.lines().map(str::trim);
    let mut parts: Vec<&str> = lines.clone().take_while(|line| !line.is_empty()).collect();
    parts.extend(lines.filter(|line| line.starts_with("tip:")));
    let text = parts.join(" ");
    format!("{} (see `profiler --help`)", text.trim_start_matches("error: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_error_is_one_line() {
        let error = Cli::try_parse_from(["profiler", "record", "-F", "1000"]).unwrap_err();
        let text = sentence(&error.to_string());
        assert!(!text.contains('\n') && text.contains("frequency") && text.contains("1000"), "{text}");
        let error = Cli::try_parse_from(["profiler", "recrd"]).unwrap_err();
        assert!(sentence(&error.to_string()).contains("record"));
    }
}
