//! Pictures and files for other viewers, and where they go.

use std::ffi::OsStr;
use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};

use super::reading::{no_report, print_bytes};
use super::{Failure, Outcome};
use crate::export::file;
use crate::profile::proto::Profile;
use crate::report::flame::{firefox, flame, html, speedscope, svg};
use crate::report::folded::folded;
use crate::report::subject::Lens;
use crate::report::text;

/// What stacks are drawn as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// A picture.
    Svg,
    /// A page to explore, in one file.
    Html,
    /// One line per stack.
    Folded,
    /// For speedscope.app.
    Speedscope,
    /// For profiler.firefox.com.
    Firefox,
}

/// How the names of files end, and what is in them.
const ENDINGS: [(&str, Format); 5] = [
    (".speedscope.json", Format::Speedscope),
    (".firefox.json", Format::Firefox),
    (".svg", Format::Svg),
    (".html", Format::Html),
    (".folded", Format::Folded),
];

impl Format {
    /// What a file with this name holds.
    pub(super) fn of(path: &Path) -> Option<Format> {
        let name = path.file_name().and_then(OsStr::to_str)?.to_lowercase();
        ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, format)| *format)
    }

    /// Draws the stacks of a profile; gives the options that matched nothing, too.
    pub(super) fn render(
        self,
        profile: &Profile,
        lens: &Lens,
    ) -> Result<(String, Vec<&'static str>), Failure> {
        if self == Format::Folded {
            let report = folded(profile, lens).map_err(no_report)?;
            return Ok((text::folded(&report), report.unmatched));
        }
        let report = flame(profile, lens).map_err(no_report)?;
        let rendered = match self {
            Format::Svg => Ok(svg::svg(&report)),
            Format::Html => html::html(&report),
            Format::Speedscope => speedscope::speedscope(&report),
            Format::Firefox => firefox::firefox(&report),
            Format::Folded => Ok(String::new()),
        };
        let rendered = rendered.context("cannot write JSON").map_err(Failure::WhileRunning)?;
        Ok((rendered, report.unmatched))
    }
}

/// Writes to a file, or prints.
pub(super) fn deliver(rendered: impl AsRef<[u8]>, output: Option<&Path>) -> Outcome {
    let rendered = rendered.as_ref();
    let Some(path) = output else { return print_bytes(rendered) };
    // A device or a pipe is written to; only a file is put in the place of another.
    let special = std::fs::metadata(path).is_ok_and(|data| !data.is_file());
    let written = if special { std::fs::write(path, rendered) } else { file::write(path, rendered) };
    written.map_err(|error| {
        let cause = anyhow::Error::new(error);
        Failure::WhileRunning(cause.context(format!(
            "cannot write {}: choose a file in a folder that exists and is writable with -o",
            path.display()
        )))
    })?;
    eprintln!("profiler: wrote {}", path.display());
    Ok(ExitCode::SUCCESS)
}

/// A picture would only fill a terminal with markup.
pub(super) fn not_on_a_terminal(output: Option<&Path>, example: &str) -> Result<(), Failure> {
    if output.is_none() && stdout().is_terminal() {
        return Err(Failure::CannotStart(anyhow!(
            "a picture is nothing for a terminal: name a file with -o, such as -o {example}, or redirect the output"
        )));
    }
    Ok(())
}
