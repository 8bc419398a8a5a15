//! What a command makes of the profile.

use anyhow::{Context, anyhow};
use regex::Regex;

use super::command::Kind;
use super::line::Request;
use crate::cli::Failure;
use crate::cli::drawing::Format;
use crate::cli::graphviz;
use crate::cli::reading::no_report;
use crate::profile::codec::encode;
use crate::profile::proto::Profile;
use crate::report::disasm::{Mapped, disasm};
use crate::report::dot::dot;
use crate::report::header::Header;
use crate::report::labels::labels;
use crate::report::list::list;
use crate::report::raw::raw;
use crate::report::subject::{Lens, Values};
use crate::report::text::{self, Paint};
use crate::report::top::{self, top};
use crate::report::traces::traces;
use crate::report::tree::{self, peek, tree};
use crate::report::trim::Purpose;
use crate::source::assembly::{Syntax, code};
use crate::source::code::Code;

/// A report, ready to be written.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) bytes: Vec<u8>,
    /// Options that matched nothing.
    pub(super) unmatched: Vec<&'static str>,
}

impl Rendered {
    fn new(text: impl Into<Vec<u8>>, unmatched: Vec<&'static str>) -> Rendered {
        Rendered { bytes: text.into(), unmatched }
    }
}

/// Makes the report.
///
/// # Errors
/// Nothing matches, or graphviz is missing.
pub(super) fn render(profile: &Profile, request: &Request, paint: Paint) -> Result<Rendered, Failure> {
    let Request { command, regex, settings } = request;
    let lens = settings.lens();
    match command.kind {
        Kind::Top => {
            let trim = settings.trim(command);
            let options = top::Options {
                lens,
                sort: settings.sort(),
                rows: trim.nodes,
                node_fraction: trim.node_fraction,
                edge_fraction: trim.edge_fraction,
            };
            let report = top(profile, &options).map_err(no_report)?;
            Ok(Rendered::new(text::top(&report, paint), report.unmatched))
        }
        Kind::Tree => {
            let purpose = Purpose::Text(settings.sort());
            let options = tree::Options { lens, trim: settings.trim(command), purpose };
            let report = tree(profile, &options).map_err(no_report)?;
            Ok(Rendered::new(text::tree(&report, paint), report.unmatched))
        }
        Kind::Peek => {
            let report =
                peek(profile, &lens, settings.sort(), &functions(regex.as_deref())?).map_err(no_report)?;
            Ok(Rendered::new(text::peek(&report, paint), report.unmatched))
        }
        Kind::List => listed(profile, &sums(lens), &functions(regex.as_deref())?, paint),
        Kind::Disasm => {
            let report = disasm(profile, &sums(lens), &functions(regex.as_deref())?).map_err(no_report)?;
            let syntax = if settings.get("intel_syntax") == "true" { Syntax::Intel } else { Syntax::Att };
            let mut look = |mapped: &Mapped| code(mapped, syntax);
            Ok(Rendered::new(text::disasm(&report, paint, &mut look), report.unmatched))
        }
        Kind::Traces => {
            let report = traces(profile, &lens).map_err(no_report)?;
            Ok(Rendered::new(text::traces(&report, paint), report.unmatched))
        }
        Kind::Raw => {
            let (profile, unmatched) = raw(profile, &lens).map_err(no_report)?;
            Ok(Rendered::new(text::raw(&profile), unmatched))
        }
        Kind::Tags => {
            let report = labels(profile, &sums(lens)).map_err(no_report)?;
            Ok(Rendered::new(text::labels(&report), report.unmatched))
        }
        Kind::Comments => {
            let comments = Header::new(profile, 0).comments;
            let lines: String = comments.iter().map(|comment| format!("{}\n", text::safe(comment))).collect();
            Ok(Rendered::new(lines, Vec::new()))
        }
        Kind::Proto => {
            let (profile, unmatched) = raw(profile, &lens).map_err(no_report)?;
            let bytes =
                encode(&profile).context("cannot encode the profile").map_err(Failure::WhileRunning)?;
            Ok(Rendered::new(bytes, unmatched))
        }
        Kind::Dot => {
            let (text, unmatched) = graph(profile, lens, request)?;
            Ok(Rendered::new(text, unmatched))
        }
        Kind::Picture(format) | Kind::Shown(format, _) => {
            let (text, unmatched) = graph(profile, lens, request)?;
            Ok(Rendered::new(graphviz::drawn(&text, format)?, unmatched))
        }
        Kind::Flame => {
            let output = settings.get("output");
            let format = Format::of(output.as_ref()).unwrap_or(Format::Html);
            let (drawn, unmatched) = format.render(profile, &lens)?;
            Ok(Rendered::new(drawn, unmatched))
        }
    }
}

/// Lines, instructions, labels and drawings have no means.
fn sums(lens: Lens) -> Lens {
    Lens { values: Values::Sums, ..lens }
}

fn graph(profile: &Profile, lens: Lens, request: &Request) -> Result<(String, Vec<&'static str>), Failure> {
    let (lens, trim) = (sums(lens), request.settings.trim(request.command));
    let report =
        tree(profile, &tree::Options { lens, trim, purpose: Purpose::Drawing }).map_err(no_report)?;
    Ok((dot(&report), report.unmatched))
}

fn listed(profile: &Profile, lens: &Lens, regex: &Regex, paint: Paint) -> Result<Rendered, Failure> {
    let here =
        std::env::current_dir().context("the current folder is gone").map_err(Failure::WhileRunning)?;
    let mut code = Code::new(lens.paths.or_here(&here), &here);
    let report = list(profile, lens, regex).map_err(no_report)?;
    let mut read = |path: &str| code.lines(path).map_err(|error| error.to_string());
    Ok(Rendered::new(text::list(&report, paint, &mut read), report.unmatched))
}

fn functions(regex: Option<&str>) -> Result<Regex, Failure> {
    let written = regex.unwrap_or_default();
    Regex::new(written).map_err(|error| {
        let said = error.to_string();
        let last = said.lines().last().unwrap_or_default();
        Failure::WhileRunning(anyhow!("{written:?} is no regular expression ({last})"))
    })
}
