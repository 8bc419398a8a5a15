//! `cargo xtask bench`: what profiling costs, beside the floor of any sampler on this machine; `cargo xtask bench cold`:
//! how soon it begins; `cargo xtask bench overhead`: what it costs beside its peers, which `cargo xtask bench peers` installs.
//!
//! The floor is a BPF program on the same perf event that only counts; a second one counts user stacks, which the kernel takes by
//! frame pointers. Runs of floors and profiler alternate, so that a
//! machine that gets slower or faster during the benchmark does so for both.

mod cold;
mod fleet;
mod floor;
mod kernel;
mod overhead;
mod page;
mod parts;
mod peers;
mod profiler;
mod report;
mod scale;
mod soak;
mod stats;
mod workload;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::ebpf;
use floor::Floor;
use report::{Report, Row};
use workload::Workload;

/// What to measure: the cost, unless something else is named.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    cost: Args,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// What profiling costs, beside a BPF program that only counts; also without a name.
    Cost(Args),
    /// How soon the first stack of a large program is complete, and how complete the first window of a busy host is.
    Cold(cold::Args),
    /// What this profiler and its peers cost, in turns on the same host.
    Overhead(overhead::Args),
    /// What windows take on their way to receivers, and how fast those of many agents are taken.
    Fleet(fleet::Args),
    /// How fast the page of `profiler view` draws large and deep flame graphs, in headless Chromium.
    Page(page::Args),
    /// What the pure parts cost, and how much they allocate.
    Parts(parts::Args),
    /// Installs the peers that can be had from Debian, crates.io and Go's proxy.
    Peers(peers::Args),
    /// What an agent costs with a thousand processes, hundreds of files and a hundred thousand mappings.
    Scale(scale::Args),
    /// Whether an agent's memory and files stay what they are while processes come and go.
    Soak(soak::Args),
}

/// Runs `cargo xtask bench`.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match &bench.what {
        None => cost(&bench.cost),
        Some(What::Cost(args)) => cost(args),
        Some(What::Cold(args)) => cold::run(args),
        Some(What::Overhead(args)) => overhead::run(args),
        Some(What::Fleet(args)) => fleet::run(args),
        Some(What::Page(args)) => page::run(args),
        Some(What::Parts(args)) => parts::run(args),
        Some(What::Peers(args)) => peers::run(args),
        Some(What::Scale(args)) => scale::run(args),
        Some(What::Soak(args)) => soak::run(args),
    }
}

/// Arguments of `cargo xtask bench cost`.
#[derive(clap::Args, Debug)]
struct Args {
    /// Seconds per run.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Runs of each floor and of the profiler at each rate.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Rates in samples per second and CPU.
    #[arg(long, value_delimiter = ',', default_values_t = [99, 999])]
    rates: Vec<u64>,
    /// Write the figures, with those of every run, to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a markdown table for docs/benchmarks.md to this file.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// Runs `cargo xtask bench cost`.
fn cost(args: &Args) -> Result<()> {
    if args.runs == 0 || args.seconds == 0 || args.rates.is_empty() {
        bail!("nothing to run: seconds, runs and rates must not be zero");
    }
    let workspace = ebpf::workspace()?;
    let object = ebpf::object_path(&workspace, ebpf::Arch::host()?, "floor");
    let object = fs::read(&object)
        .with_context(|| format!("cannot read {}; run `cargo xtask ebpf build` first", object.display()))?;
    let build = crate::cargo::cargo()
        .args(["build", "--release", "--locked", "--package", "profiler-user"])
        .current_dir(&workspace)
        .status()?;
    if !build.success() {
        bail!("the profiler does not build");
    }
    let binary = ebpf::target_dir(&workspace).join("release/profiler");
    let scratch = tempfile::tempdir()?;
    // Without the statistics every figure would be zero; they are on for as long as this lives.
    let _statistics = kernel::enable_statistics()?;
    let workload = Workload::start(scratch.path())?;
    let length = Duration::from_secs(args.seconds);

    let mut rows = Vec::new();
    for &rate in &args.rates {
        let mut row = Row::new(rate);
        for run in 1..=args.runs {
            eprintln!("{rate} Hz, run {run} of {}", args.runs);
            row.floor.push(floor::measure(&object, Floor::Ticks, rate, length)?);
            row.stacks.push(floor::measure(&object, Floor::Stacks, rate, length)?);
            row.profiler.push(profiler::measure(&binary, &scratch.path().join("out.pb.gz"), rate, length)?);
        }
        rows.push(row);
    }
    drop(workload);
    let report =
        Report { kernel: kernel::release(), cpus: floor::online_cpus()?.len(), seconds: args.seconds, rows };
    print!("{}", report::text(&report));
    if let Some(path) = &args.json {
        fs::write(path, report::json(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.markdown {
        fs::write(path, report::markdown(&report))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
