//! `profiler flamegraph`.

use std::path::PathBuf;

use super::Outcome;
use super::drawing::{Format, deliver, not_on_a_terminal};
use super::lens::{LensArgs, warn_of_unmatched};
use super::reading::SourceArgs;

/// Arguments of `profiler flamegraph`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler flamegraph profile.pb.gz -o flame.html   a page to zoom and search in; it needs no network
  profiler flamegraph profile.pb.gz -o flame.svg    a picture
  profiler flamegraph --tagroot process --since 1h /var/lib/profiler -o hour.html
                                                    a host's last hour, split by process
  profiler flamegraph profile.pb.gz -o x.speedscope.json
                                                    for https://www.speedscope.app
  profiler flamegraph profile.pb.gz -o x.firefox.json
                                                    for https://profiler.firefox.com

Each bar is a function, as wide as its value with all it calls; what it calls lies below.")]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    lens: LensArgs,
    /// Where to write [default: stdout].
    #[arg(short = 'o', long = "output", value_name = "PATH")]
    output: Option<PathBuf>,
    /// What to write [default: what PATH ends in: .html, .svg, .folded, .speedscope.json or .firefox.json; else svg].
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Runs `profiler flamegraph`.
pub(super) fn run(args: &Args) -> Outcome {
    let output = args.output.as_deref();
    let format = args.format.or_else(|| output.and_then(Format::of)).unwrap_or(Format::Svg);
    if matches!(format, Format::Svg | Format::Html) {
        not_on_a_terminal(output, "flame.html")?;
    }
    let loaded = args.source.load(args.lens.labels())?;
    let (rendered, unmatched) = format.render(&loaded.profile, &args.lens.lens())?;
    warn_of_unmatched(&unmatched);
    deliver(&rendered, output)
}
