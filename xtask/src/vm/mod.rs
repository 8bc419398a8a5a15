//! `cargo xtask vm test`: the behaviour tests on other kernels, each in a virtual machine of its own.
//!
//! The kernels are Debian's own images ([`images`]). A machine ([`machine`]) has this host's root file system, read-only, so
//! that it has whatever the tests need; in it, the tests that were built here run one after the other ([`inside`]). What a
//! kernel got is shown, and written to docs/kernels.md where that is asked for ([`report`]). A case that was not run is never
//! a passed one.

mod build;
mod cases;
mod images;
mod inside;
mod machine;
mod outcome;
mod report;

use std::{collections::BTreeMap, fs, path::PathBuf, thread, time::Duration};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::ebpf;
use machine::{Acceleration, Machine};
use outcome::KernelRun;

/// What to do with virtual machines.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Run the behaviour tests on other kernels, under QEMU. Needs root, apt, and the packages qemu-system-x86,
    /// busybox-static and cpio.
    Test(Test),
    /// What runs inside such a machine.
    #[command(hide = true)]
    Inside {
        /// The folder with the plan, which gets the results.
        folder: PathBuf,
    },
}

/// The options of `cargo xtask vm test`.
#[derive(clap::Args, Debug)]
pub(crate) struct Test {
    /// Only this kernel; can be given several times.
    #[arg(long, value_enum)]
    kernel: Vec<Kernel>,
    /// Only cases whose name contains this; the others count as not run.
    #[arg(long)]
    case: Option<String>,
    /// KVM where it boots a kernel, else software emulation.
    #[arg(long, value_enum, default_value = "auto")]
    accelerator: Choice,
    /// Only the cases that continuous integration has the time for under software emulation, and say which were left out.
    #[arg(long)]
    short: bool,
    /// Most seconds that one kernel may take.
    #[arg(long, default_value_t = 900)]
    seconds: u64,
    /// Machines that run at the same time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    jobs: u16,
    /// Write docs/kernels.md from this run.
    #[arg(long)]
    write_docs: bool,
}

/// A kernel that is tested.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// The oldest that is supported.
    #[value(name = "5.10")]
    V5_10,
    /// The one of Debian 12.
    #[value(name = "6.1")]
    V6_1,
    /// The one of Debian 13.
    #[value(name = "6.12")]
    V6_12,
    /// The newest that Debian has.
    #[value(name = "7")]
    V7,
}

impl Kernel {
    /// Every one, oldest first.
    const ALL: [Self; 4] = [Self::V5_10, Self::V6_1, Self::V6_12, Self::V7];

    /// Its number, as it is given on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V7 => "7",
        }
    }
}

/// The value of `--accelerator`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// Whatever works.
    Auto,
    /// The processor's own virtualisation.
    Kvm,
    /// Software emulation.
    Tcg,
}

/// Runs `cargo xtask vm`.
pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Test(options) => test(options),
        Command::Inside { folder } => inside::run(folder),
    }
}

fn test(options: &Test) -> Result<()> {
    let workspace = fs::canonicalize(ebpf::workspace()?)?;
    let target = ebpf::target_dir(&workspace);
    fs::create_dir_all(&target)?;
    let target = fs::canonicalize(&target)?;
    let kernels = if options.kernel.is_empty() { Kernel::ALL.to_vec() } else { options.kernel.clone() };
    let folder = target.join("vm");
    let images = images::fetch(&folder, &kernels).context("cannot get the kernels")?;
    let plan = build::plan(&workspace, &target, |case| {
        options.case.as_deref().is_none_or(|part| case.name.contains(part)) && (case.short || !options.short)
    })?;
    let left_out: Vec<&str> = cases::CASES
        .iter()
        .map(|case| case.name)
        .filter(|name| !plan.cases.iter().any(|c| c.name == *name))
        .collect();
    let machines: Vec<Machine> = kernels
        .iter()
        .zip(&images)
        .map(|(kernel, image)| {
            println!("{}: {}", kernel.name(), image.package);
            Machine::prepare(&workspace, &target, &folder.join(kernel.name()), *kernel, image, &plan)
        })
        .collect::<Result<_>>()?;
    let acceleration = match (options.accelerator, machines.first()) {
        (Choice::Kvm, _) => Acceleration::Kvm,
        (Choice::Auto, Some(first)) => first.find_acceleration(),
        (Choice::Tcg, _) | (Choice::Auto, None) => Acceleration::Tcg,
    };
    println!("under {}:", acceleration.name());
    let limit = Duration::from_secs(options.seconds);
    let mut runs = Vec::new();
    for some in machines.chunks(usize::from(options.jobs)) {
        for run in run_all(some, acceleration, limit) {
            let run = run?;
            report::show(&run, &left_out);
            runs.push(run);
        }
    }
    print!("\n{}", report::table(&runs));
    if !left_out.is_empty() {
        println!("\nNot run, and so neither passed nor failed: {}.", left_out.join(", "));
    }
    if options.write_docs {
        if options.case.is_some() || kernels.len() != Kernel::ALL.len() {
            bail!("docs/kernels.md is written from a run of all kernels");
        }
        let path = workspace.join("docs/kernels.md");
        fs::write(&path, report::document(&runs)).context("cannot write docs/kernels.md")?;
    }
    verdict(&runs)
}

/// Runs machines at the same time.
fn run_all(machines: &[Machine], acceleration: Acceleration, limit: Duration) -> Vec<Result<KernelRun>> {
    thread::scope(|scope| {
        let threads: Vec<_> =
            machines.iter().map(|machine| scope.spawn(move || machine.run(acceleration, limit))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("the thread of a machine panicked")))
            .collect()
    })
}

/// Fails where anything did, and says what.
fn verdict(runs: &[KernelRun]) -> Result<()> {
    let wrong: BTreeMap<&str, Vec<String>> = runs
        .iter()
        .map(|run| (run.kernel.name(), run.faults()))
        .filter(|(_, faults)| !faults.is_empty())
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> =
        wrong.iter().map(|(kernel, faults)| format!("on {kernel}: {}", faults.join("; "))).collect();
    bail!("{}", lines.join("\n"))
}
