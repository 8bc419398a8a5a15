//! `profiler agent`.

mod config;
mod reload;
mod serving;
mod sink;

use std::{
    ffi::OsString,
    path::PathBuf,
    pin::{Pin, pin},
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, anyhow};

use super::{
    Failure, Outcome,
    capturing::{self, CaptureArgs, Running},
    failure,
};
use crate::{
    budget::Maps,
    confine::{self, Folder, Plan, threads},
    export::directory::{Directory, Retention},
    fleet::Fleet,
    pipeline::{Patience, on_demand::OnDemand},
    status::Status,
    units,
    upload::{Origin, Target, Uploads, receiver::receiver},
};
pub(super) use config::configuration;
use profiler_common::outcome::{Kind, OUTCOMES, Outcome as How};
use reload::Reload;
use sink::Writer;

/// Below the output folder, beside the days.
const SPOOL: &str = ".spool";

/// When what could not be loaded is tried again, unless windows are shorter.
const RETRY: Duration = Duration::from_secs(10);

/// Arguments of `profiler agent`.
#[derive(clap::Args, Clone, Debug, PartialEq)]
#[command(
    args_override_self = true,
    after_help = "\
Examples:
  profiler agent -o /var/lib/profiler             a profile per process and minute, at 19 Hz
  profiler agent -o profiles --window 10s -F 99   finer, for a while
  profiler top --since 15m /var/lib/profiler      what the last quarter of an hour went to
  profiler agent --http 127.0.0.1:4041            and then, while it runs:
  go tool pprof 'http://127.0.0.1:4041/debug/pprof/profile?seconds=10&process=nginx'

Each window becomes DIR/<YYYY-MM-DD>/<HHMMSS>Z/<process>-<pid>.cpu.pb.gz (UTC).
SIGTERM and Ctrl-C write the last window and exit with 0."
)]
pub(super) struct Args {
    /// A TOML file with settings: each option's name without dashes is a key. The environment (PROFILER_WINDOW for --window)
    /// is stronger than the file, the command line than both. Read again when it changes and at SIGHUP.
    #[arg(long, value_name = "FILE", env = "PROFILER_CONFIG")]
    config: Option<PathBuf>,
    /// Say whether the configuration is right, and end.
    #[arg(long)]
    check_config: bool,
    /// The folder to write to; made where it is missing.
    #[arg(short = 'o', long = "output", value_name = "DIR", default_value = "profiles")]
    output: PathBuf,
    /// Length of a window.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration)]
    window: Duration,
    /// Samples per second on each CPU, 1 to 999.
    #[arg(short = 'F', long, value_name = "HZ", default_value = "19", value_parser = capturing::frequency,
          allow_negative_numbers = true)]
    frequency: u32,
    /// Remove windows older than this.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = units::duration)]
    keep: Duration,
    /// Remove the oldest windows above this size.
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = units::bytes)]
    keep_size: u64,
    /// Send profiles there: a TOML table in one line, kind = "pyroscope", "parca", "otlp", "http", "s3", "gcs", "azure" or
    /// "folder", url = "…"; may be given several times. See docs/operations.md.
    #[arg(long, value_name = "TABLE")]
    upload: Vec<Target>,
    /// Profile only at some times, with this probability, above 0 and up to 1, in each --fleet-interval; every sample then
    /// stands for so many more, so that sums over a fleet are right.
    #[arg(long, value_name = "FRACTION", default_value = "1", value_parser = fraction)]
    fleet_fraction: f64,
    /// How long such a time is.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = units::duration)]
    fleet_interval: Duration,
    /// Where windows wait that have not been sent yet [default: .spool in the output folder].
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    #[command(flatten)]
    http: serving::HttpArgs,
    #[command(flatten)]
    capture: CaptureArgs,
}

/// Runs `profiler agent`.
pub(super) fn run(args: &Args) -> Outcome {
    let given: Vec<OsString> = std::env::args_os().collect();
    let settings = config::complete(&given);
    let mut settings = settings.map_err(|errors| Failure::CannotStart(anyhow!(errors.join("; "))))?;
    if args.check_config {
        // Files that it names are looked at, too.
        settings.http.access().map_err(Failure::CannotStart)?;
        for target in &settings.upload {
            let made = receiver(target).with_context(|| format!("upload {}", target.name));
            made.map_err(Failure::CannotStart)?;
        }
        println!("the configuration is right");
        return Ok(ExitCode::SUCCESS);
    }
    capturing::start_reader(&settings.capture, Patience::Others)?;
    let runtime = capturing::runtime()?;
    let _inside = runtime.enter();
    let stop = capturing::interrupted().context("cannot listen for signals").map_err(Failure::CannotStart)?;
    let mut stop = pin!(stop);
    let mut reload = Reload::new(settings.config.as_deref(), given).map_err(Failure::CannotStart)?;
    capturing::confine_to(&settings.capture, &settings.plan())?;
    loop {
        match run_until(&settings, &runtime, stop.as_mut(), &mut reload)? {
            Some(changed) => {
                tracing::info!("the configuration has changed: starting again with it");
                settings = changed;
            }
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// Parses `--fleet-fraction`.
fn fraction(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(fraction) if fraction > 0.0 && fraction <= 1.0 => Ok(fraction),
        _ => Err("it must be a number above 0 and up to 1, such as 0.1".to_owned()),
    }
}

/// Why a turn is over, or a pause.
enum Ended {
    /// The agent is to end.
    Stopped,
    /// Its settings are other ones.
    Changed(Box<Args>),
    /// It is time.
    Turn,
}

/// Profiles, whenever it is the host's turn, until the end, or until the settings are other ones, which it gives. What was
/// captured is written either way.
fn run_until(
    args: &Args,
    runtime: &tokio::runtime::Runtime,
    mut stop: Pin<&mut impl Future<Output = ()>>,
    reload: &mut Reload,
) -> Result<Option<Args>, Failure> {
    let access = args.http.access().map_err(Failure::CannotStart)?;
    let retention = Retention { age: args.keep, bytes: args.keep_size };
    let output = args.output.clone();
    let directory = threads::working(move || Directory::open(&output, retention))
        .and_then(|opened| opened)
        .with_context(|| {
            format!(
                "the folder {} cannot be written to: choose another one with -o, or mend its permissions",
                args.output.display()
            )
        })
        .map_err(Failure::CannotStart)?;
    let load = || capturing::load(args.capture.options(args.frequency, args.window, Patience::Others));
    // Also where others have their turn: what is missing is better told now than then.
    let session = load()?;
    let gauge = args.capture.gauge(&session, Patience::Others);
    let mut session = Some(session);
    let fleet = args.fleet();
    let about = args.about(&fleet);
    let status = Arc::new(Status::new(gauge.clone(), args.window));
    let on_demand = Arc::<OnDemand>::default();
    let origin =
        Origin { about: about.clone(), host: capturing::this_boot(), labels: capturing::host_labels() };
    let (targets, spool) = (args.upload.clone(), args.spool_folder());
    let uploads = threads::working(move || Uploads::start(&targets, &spool, &origin))
        .and_then(|started| started)
        .context("profiles cannot be sent")
        .map_err(Failure::CannotStart)?;
    let deliveries = uploads.deliveries();
    let weight = fleet.weight();
    let mut sink =
        Writer::new(directory, about, Arc::clone(&status), Arc::clone(&on_demand), uploads, weight);
    // Before the clocks tick: an address that is taken is no reason to have begun.
    let server = match access {
        Some(access) => {
            let (status, on_demand) = (Arc::clone(&status), Arc::clone(&on_demand));
            let host = serving::Host { status, on_demand, deliveries, frequency: args.frequency };
            let output = args.output.clone();
            let started = threads::working(move || serving::start(access, host, &output));
            Some(
                started
                    .map_err(anyhow::Error::from)
                    .and_then(|server| server)
                    .map_err(Failure::CannotStart)?,
            )
        }
        None => None,
    };
    let changed = loop {
        let (is_turn, until) = fleet.turn(since_epoch());
        let mut ended = Ended::Stopped;
        let end = async {
            tokio::select! {
                () = stop.as_mut() => {}
                changed = reload.next(args) => ended = Ended::Changed(Box::new(changed)),
                () = at(until) => ended = Ended::Turn,
            }
        };
        if is_turn {
            let loaded = match session.take() {
                Some(session) => Ok(session),
                None => load(),
            };
            let session = match loaded {
                Ok(session) => session,
                Err(Failure::CannotStart(error) | Failure::WhileRunning(error)) => {
                    // It was possible when the agent started, so it may be soon again.
                    let wait = args.window.min(RETRY);
                    tracing::error!(
                        "this turn cannot begin, it is tried again in {} s: {}",
                        wait.as_secs_f64(),
                        failure::sentence(&error)
                    );
                    let again = async {
                        tokio::select! {
                            () = end => false,
                            () = tokio::time::sleep(wait) => true,
                        }
                    };
                    if runtime.block_on(again) {
                        continue;
                    }
                    match ended {
                        Ended::Stopped => break None,
                        Ended::Changed(changed) => break Some(*changed),
                        Ended::Turn => continue,
                    }
                }
            };
            gauge.set_maps(session.map_bytes());
            let (running, cutter, asking) =
                Running::start(session, &args.capture, gauge.clone(), Patience::Others, sink)?;
            on_demand.open(cutter, asking);
            status.resume();
            tracing::info!(
                "sampling at {} Hz, a window every {} s, into {}",
                args.frequency,
                args.window.as_secs_f64(),
                args.output.display()
            );
            let ran = runtime.block_on(running.run(end));
            on_demand.close();
            sink = ran?;
            // It writes, which is not for this thread.
            let ended = threads::working(move || {
                sink.end_turn();
                sink
            });
            sink = ended.context("the profiles are incomplete").map_err(Failure::WhileRunning)?;
        } else {
            session = None;
            gauge.set_maps(Maps::default());
            on_demand.pause();
            status.pause();
            tracing::info!("other hosts have their turn");
            runtime.block_on(end);
        }
        match ended {
            Ended::Stopped => break None,
            Ended::Changed(changed) => break Some(*changed),
            Ended::Turn => {}
        }
    };
    on_demand.close();
    drop(server);
    let finished = threads::working(move || sink.finish());
    finished.context("the profiles are incomplete").map_err(Failure::WhileRunning)?;
    Ok(changed)
}

impl Args {
    /// Where windows wait to be sent.
    fn spool_folder(&self) -> PathBuf {
        self.spool.clone().unwrap_or_else(|| self.output.join(SPOOL))
    }

    /// All folders that it writes to.
    fn folders(&self) -> Vec<Folder> {
        let mut folders = self.capture.folders();
        folders.push(Folder::of_files(&self.output));
        if !self.upload.is_empty() {
            folders.push(Folder::of_files(&self.spool_folder()));
        }
        folders.extend(self.upload.iter().filter_map(Target::folder).map(|folder| Folder::of_files(&folder)));
        folders.extend(self.http.socket().map(Folder::of_socket));
        folders
    }

    /// What it needs for as long as it runs.
    fn plan(&self) -> Plan {
        Plan { folders: self.folders(), main_writes: false, low_port: self.http.has_low_port() }
    }

    /// Why these settings want a new start, if they do: what was given up cannot be had back.
    fn wants_restart(&self, now: &Args) -> Option<String> {
        let (is, wanted) = (now.capture.is_confined(), self.capture.is_confined());
        if is != wanted {
            let how = if is { "is confined" } else { "keeps its privileges" };
            return Some(format!("the agent {how} until it ends"));
        }
        let in_force = confine::in_force()?;
        if self.http.has_low_port() && !now.http.has_low_port() {
            return Some("ports below 1024 are out of reach since the agent has started".to_owned());
        }
        let folders = self.folders();
        let outside = in_force.outside(&folders)?;
        Some(format!(
            "{} is outside of the folders that the agent may write to since it has started",
            outside.path.display()
        ))
    }

    /// The host's part in its fleet.
    fn fleet(&self) -> Fleet {
        Fleet { fraction: self.fleet_fraction, interval: self.fleet_interval, host: capturing::this_host() }
    }

    /// What every profile says of itself.
    fn about(&self, fleet: &Fleet) -> Vec<String> {
        let mut about = capturing::about(self.frequency, self.window);
        if fleet.fraction < 1.0 {
            about.push(format!("weight={} (fleet fraction {})", fleet.weight(), fleet.fraction));
        }
        about
    }
}

/// Time since the Unix epoch.
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Comes true at that time since the Unix epoch. Looks at the clock once in a while, for it may be set.
async fn at(time: Option<Duration>) {
    const LOOK: Duration = Duration::from_secs(30);
    let Some(time) = time else { return std::future::pending().await };
    loop {
        let left = time.saturating_sub(since_epoch());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

/// Ticks of one kind.
pub(super) fn total(outcomes: &[u64; OUTCOMES], kind: Kind) -> u64 {
    How::ALL.iter().filter(|outcome| outcome.kind() == kind).map(|&outcome| outcomes[outcome as usize]).sum()
}

/// A sentence for each kind of loss that the user can do something about.
pub(super) fn loss(outcomes: &[u64; OUTCOMES]) -> Option<String> {
    let of = |outcome: How| outcomes[outcome as usize];
    let mut sentences = Vec::new();
    if of(How::StackTableFull) > 0 {
        sentences.push(format!(
            "{} samples kept no stack because the stack table of their window was full: raise --max-stacks or shorten \
             the window",
            of(How::StackTableFull)
        ));
    }
    if of(How::StackCollision) > 0 {
        sentences.push(format!(
            "{} samples kept no stack because other stacks have the same hash",
            of(How::StackCollision)
        ));
    }
    if of(How::CountTableFull) > 0 {
        sentences.push(format!(
            "{} samples were lost because the count table of their window was full: raise --max-counts or shorten the \
             window",
            of(How::CountTableFull)
        ));
    }
    (!sentences.is_empty()).then(|| sentences.join("; "))
}
