//! What `record` and `agent` share: options of the capture, and running the pipeline.

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow};
use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use profiler_common::layout::{NO_EXEC_ID, Selected};
use tokio::sync::mpsc;

use super::Failure;
use crate::{
    budget::{self, Gauge, Memory, Pace},
    capture::{self, Capture, Cutter, KernelTables, Options, Session, Sideband},
    confine::{self, Folder, Plan, threads},
    pipeline::{Asking, Collector, Costs, Naming, Patience, QUEUE, Sink, TablesThread, collect},
    process::{Apis, Methods, Rule, Rules, start_ns},
    profile::labels::LabelFilter,
    symbol,
    sys::{
        limits,
        priority::{self, Urgency},
        shared::SharedArray,
    },
    units,
    unwind::{FolderError, Store, Tables},
};

/// The folder of the cache of unwind tables (Filesystem Hierarchy Standard 3.0, section 5.5).
const DEFAULT_CACHE: &str = "/var/cache/profiler/unwind";

/// Options of the capture.
#[derive(clap::Args, Clone, Debug, PartialEq)]
pub(super) struct CaptureArgs {
    /// Distinct stacks that a window has room for [default: as many as there are ticks in it].
    #[arg(long, value_name = "STACKS", value_parser = clap::value_parser!(u32).range(1..=1 << 22))]
    max_stacks: Option<u32>,
    /// Combinations of process, thread and stack that a window has room for [default: as many as ticks].
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..=1 << 22))]
    max_counts: Option<u32>,
    /// Memory that the profiler may use, its BPF maps included; at least 48MiB [default: 128MiB for agent, 512MiB for record and live].
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory: Option<Memory>,
    /// CPUs that the profiler may use, such as 0.1 or 10%; what it has left to name then waits.
    #[arg(long, value_name = "CPUS", value_parser = cpus)]
    max_cpu: Option<f64>,
    /// Memory for unwind tables, shared by all processes [default: an eighth of --memory, 8 to 24 MiB].
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    unwind_memory: Option<u64>,
    /// Where unwind tables are kept for the next run [default: /var/cache/profiler/unwind].
    #[arg(long, value_name = "DIR")]
    unwind_cache: Option<PathBuf>,
    /// Most that is kept there; 0 for no cache.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = units::bytes)]
    unwind_cache_size: u64,
    /// Sample only processes with these labels, such as service=~^shop; of several options one is enough.
    #[arg(long, value_name = "WHERE", value_parser = selection)]
    include: Vec<String>,
    /// Leave out processes with these labels.
    #[arg(long, value_name = "WHERE", value_parser = selection)]
    exclude: Vec<String>,
    /// Change labels, as Prometheus's relabel_config does: a TOML table in one line; several are applied in turn. See
    /// docs/operations.md.
    #[arg(long, value_name = "TABLE")]
    rule: Vec<Rule>,
    /// Ask the Docker Engine (or Podman) at this socket for names of containers, such as /run/docker.sock.
    #[arg(long, value_name = "SOCKET")]
    docker: Option<PathBuf>,
    /// Ask the kubelet there for names of pods and containers, such as https://127.0.0.1:10250.
    #[arg(long, value_name = "URL")]
    kubelet: Option<reqwest::Url>,
    /// A file with the token that it wants.
    #[arg(long, value_name = "FILE")]
    kubelet_token_file: Option<PathBuf>,
    /// The authority that signed its certificate (PEM).
    #[arg(long, value_name = "FILE")]
    kubelet_ca: Option<PathBuf>,
    /// Keep all privileges, and run without filters of system calls and files.
    #[arg(long)]
    no_confinement: bool,
    /// Keep only these bits of a stack's hash, to force collisions in tests.
    #[arg(long, hide = true, value_parser = hexadecimal)]
    hash_mask: Option<u64>,
    /// Drain maps entry by entry, as on kernels without batch operations.
    #[arg(long, hide = true)]
    no_batch: bool,
    /// Walk stacks as on kernels without bpf_loop.
    #[arg(long, hide = true)]
    no_bpf_loop: bool,
}

/// Parses `--memory`.
fn memory(text: &str) -> Result<Memory, String> {
    let bytes = units::bytes(text)?;
    if bytes < budget::LEAST {
        return Err(format!("the profiler needs at least {} MiB", budget::LEAST >> 20));
    }
    Ok(Memory { bytes })
}

/// Parses `--max-cpu`: a number of CPUs, or a percentage of one.
fn cpus(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    match number.parse::<f64>() {
        Ok(number) if (0.001..=4096.0).contains(&(number / unit)) => Ok(number / unit),
        _ => Err("it must be a number of CPUs, such as 0.1, or a percentage of one, such as 10%".to_owned()),
    }
}

/// Parses `--include`.
fn selection(text: &str) -> Result<String, String> {
    text.parse::<LabelFilter>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn hexadecimal(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).map_err(|error| error.to_string())
}

impl CaptureArgs {
    /// The options for this frequency and window.
    pub(super) fn options(&self, frequency_hz: u32, window: Duration, patience: Patience) -> Options {
        let shares = self.memory(patience).shares();
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Options {
            frequency_hz,
            window,
            select: false,
            follow_children: false,
            max_stacks: self.max_stacks,
            max_counts: self.max_counts,
            hash_mask: self.hash_mask.unwrap_or(u64::MAX),
            no_batch: self.no_batch,
            no_bpf_loop: self.no_bpf_loop,
            pool_bytes: size(self.unwind_memory.unwrap_or(shares.pool)),
            message_bytes: u32::try_from(shares.messages).unwrap_or(1 << 31),
            window_bytes: size(shares.window),
        }
    }
}

impl CaptureArgs {
    /// Who is asked for names of containers.
    fn apis(&self) -> Apis {
        Apis {
            docker: self.docker.clone(),
            kubelet: self.kubelet.clone(),
            kubelet_token: self.kubelet_token_file.clone(),
            kubelet_ca: self.kubelet_ca.clone(),
        }
    }

    /// The budget.
    fn memory(&self, patience: Patience) -> Memory {
        self.memory.unwrap_or(Memory {
            bytes: match patience {
                Patience::User => budget::DEFAULT_ONCE,
                Patience::Others => budget::DEFAULT,
            },
        })
    }

    /// What tells how much of the budget is used, for a capture that has just been loaded.
    pub(super) fn gauge(&self, session: &Session, patience: Patience) -> Gauge {
        let gauge = Gauge::new(self.memory(patience));
        gauge.set_maps(session.map_bytes());
        gauge
    }

    /// Where the cache of unwind tables is, if there is to be one.
    fn cache_folder(&self) -> Option<&Path> {
        let folder = self.unwind_cache.as_deref().unwrap_or(Path::new(DEFAULT_CACHE));
        (self.unwind_cache_size > 0).then_some(folder)
    }

    /// Folders that are written to while it captures.
    pub(super) fn folders(&self) -> Vec<Folder> {
        self.cache_folder().map(Folder::of_own_files).into_iter().collect()
    }

    /// Whether the process is to give up what it does not need.
    pub(super) fn is_confined(&self) -> bool {
        !self.no_confinement
    }

    /// Gives up what a recording does not need any more: call it when what has all the user's rights was started.
    pub(super) fn confine(&self) -> Result<(), Failure> {
        confine_to(self, &Plan { folders: self.folders(), main_writes: true, low_port: false })
    }

    /// The cache of unwind tables; `None` where there is to be none, and where it cannot be used: no recording fails for
    /// want of it.
    fn cache(&self) -> Option<Store> {
        let folder = self.cache_folder()?;
        Store::open(folder, self.unwind_cache_size)
            .inspect_err(|error| match error {
                FolderError::Unavailable { .. } if self.unwind_cache.is_none() => {
                    tracing::debug!("unwind tables are not cached: {error}");
                }
                _ => tracing::warn!("unwind tables are not cached: {error}"),
            })
            .ok()
    }
}

/// Parses `-F`; shared by both commands.
pub(super) fn frequency(text: &str) -> Result<u32, String> {
    units::frequency(text)
}

/// Starts the process that reads what strangers wrote, unless nothing is to be confined: call it first of all.
pub(super) fn start_reader(args: &CaptureArgs, patience: Patience) -> Result<(), Failure> {
    if !args.is_confined() {
        return Ok(());
    }
    // What it gets for a question is what is left of the budget then, which may be another one once the configuration is read again.
    let most = args.memory(patience).bytes.max(budget::DEFAULT_ONCE);
    confine::apart::start(symbol::serve_apart, most)
        .context("no process can be started that reads programs' names; --no-confinement does without")
        .map_err(Failure::CannotStart)
}

/// Gives up what this plan does not name, unless the user wants to keep it.
pub(super) fn confine_to(args: &CaptureArgs, plan: &Plan) -> Result<(), Failure> {
    if !args.is_confined() {
        tracing::info!("not confined, as --no-confinement says");
        return Ok(());
    }
    let begun = confine::begin(plan).context("privileges cannot be given up; --no-confinement keeps them");
    begun.map(drop).map_err(Failure::CannotStart)
}

/// Loads the program, or says why not.
pub(super) fn load(options: Options) -> Result<Session, Failure> {
    limits::keep_heap_small();
    raise_open_files();
    // Until the end: what this thread does while the host is busy decides whether stacks are complete.
    priority::try_set(Urgency::Soon);
    let loaded = threads::loading(|| {
        priority::try_set(Urgency::Soon);
        Session::load(options)
    });
    loaded
        .map_err(|error| Failure::CannotStart(error.into()))?
        .map_err(|error| Failure::CannotStart(error.into()))
}

/// What the kernel side and the stages have in common, taken where that is permitted.
struct Shared {
    session: Session,
    messages: RingBuf<MapData>,
    tables: Tables<SharedArray, KernelTables>,
    sideband: Sideband,
    log: Option<EbpfLogger<&'static dyn log::Log>>,
}

impl Shared {
    fn take(mut session: Session) -> Result<Self, capture::Error> {
        let messages = session.take_messages()?;
        let tables = session.tables()?;
        let sideband = session.take_sideband()?;
        let log = session
            .take_log()
            .inspect_err(|error| tracing::debug!("the BPF program has no log: {error}"))
            .ok();
        Ok(Self { session, messages, tables, sideband, log })
    }
}

/// A capture with the stages behind it.
pub(super) struct Running<S> {
    capture: Capture,
    collector: Collector,
    tables: TablesThread,
    naming: Naming<S>,
}

impl<S: Sink> Running<S> {
    /// Starts everything, and gives what can end windows early, and where names can be asked for. Must be called within a
    /// tokio runtime.
    pub(super) fn start(
        session: Session,
        args: &CaptureArgs,
        gauge: Gauge,
        patience: Patience,
        sink: S,
    ) -> Result<(Self, Cutter, Asking), Failure> {
        let start = || -> anyhow::Result<(Self, Cutter, Asking)> {
            let own = args.clone();
            let methods = move || -> anyhow::Result<Methods> {
                let rules = Rules::new(&own.rule, &own.include, &own.exclude)?;
                Methods::new(rules, &own.apis()).context("containers cannot be asked for")
            };
            let methods = threads::working(methods)??;
            let Shared { session, messages, tables, sideband, log } =
                threads::loading(move || Shared::take(session))??;
            let waiting = usize::try_from(gauge.memory().shares().waiting_stacks).unwrap_or(usize::MAX);
            let (own, window) = (args.clone(), mpsc::channel(QUEUE));
            let (task_sender, tasks) = mpsc::channel(QUEUE);
            let (asking, questions) = Asking::new();
            let costs = Costs { gauge, pace: Pace::new(args.max_cpu) };
            let start = move || -> anyhow::Result<_> {
                let tables = match own.cache() {
                    Some(cache) => tables.with_cache(cache),
                    None => tables,
                };
                let tables =
                    TablesThread::start(tables, waiting).context("cannot start the tables thread")?;
                let naming = Naming::start(tasks, host_name(), patience, costs, sink)
                    .context("cannot start the naming thread")?;
                Ok((tables, naming))
            };
            let ((tables, queue), naming) = threads::working(start)??;
            let (window_sender, windows) = window;
            let collector =
                Collector::new(messages, sideband, queue, log, windows, task_sender, naming.urgency())
                    .context("cannot watch the ring buffers")?
                    .with(methods)
                    .answering(questions);
            let (capture, cutter) = threads::loading(move || session.start(window_sender))??;
            Ok((Self { capture, collector, tables, naming }, cutter, asking))
        };
        start().map_err(Failure::CannotStart)
    }

    /// Runs until `stop` comes true, and gives the sink back once it has had the last window.
    pub(super) async fn run(self, stop: impl Future<Output = ()>) -> Result<S, Failure> {
        let Self { capture, collector, tables, naming } = self;
        let end = async {
            collect(collector, &capture, stop).await.context("cannot watch the ring buffers")?;
            capture.join().context("the capture ended early")?;
            tables.join().context("stacks are incomplete")?;
            naming.join().context("the profiles are incomplete")
        };
        end.await.map_err(Failure::WhileRunning)
    }
}

/// Selects a process that runs already.
pub(super) fn select_running(session: &Session, pid: u32) -> Result<(), Failure> {
    let start = start_ns(pid).ok_or_else(|| no_process(pid))?;
    let selected = Selected { start_ns: start, skip_exec_id: NO_EXEC_ID, with_children: 0 };
    session.select(pid, selected).map_err(|error| Failure::CannotStart(error.into()))
}

/// Why a process cannot be selected.
pub(super) fn no_process(pid: u32) -> Failure {
    Failure::CannotStart(anyhow!("there is no process {pid}: `ps -e` lists those that run"))
}

/// A runtime on this thread alone.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    // The first runtime makes such a pair for signals, and panics where no descriptor is left for it.
    std::os::unix::net::UnixStream::pair()
        .and_then(|_pair| tokio::runtime::Builder::new_current_thread().enable_all().build())
        .context("cannot start the event loop")
        .map_err(Failure::CannotStart)
}

/// Comes true at SIGINT or SIGTERM.
pub(super) fn interrupted() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// What every profile says of itself.
pub(super) fn about(frequency_hz: u32, window: Duration) -> Vec<String> {
    vec![
        format!("profiler {}", env!("CARGO_PKG_VERSION")),
        format!("host={}", host_name()),
        format!("kernel={}", kernel()),
        format!("cpu={}", cpu_model()),
        format!("frequency={frequency_hz}Hz"),
        format!("window={}s", window.as_secs_f64()),
    ]
}

/// What does not change on a host from one profile to the next, and may be why it differs from others.
pub(super) fn host_labels() -> Vec<(String, String)> {
    let labels = [("kernel", kernel()), ("cpu_model", cpu_model())];
    labels
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn kernel() -> String {
    read_trimmed("/proc/sys/kernel/osrelease")
}

/// What the first CPU says that it is (x86: `model name`; arm64 has no names, but numbers of implementer and part).
fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let arm = || Some(format!("{} {}", value("CPU implementer")?, value("CPU part")?));
    value("model name").or_else(arm).unwrap_or_default()
}

/// The host's name; empty where it cannot be read.
pub(super) fn host_name() -> String {
    read_trimmed("/proc/sys/kernel/hostname")
}

/// What no other host has, nor this one later on: its name, and the number it was given when it was installed.
pub(super) fn this_host() -> String {
    format!("{} {}", host_name(), read_trimmed("/etc/machine-id"))
}

/// What no other host has, nor this one after it was started again.
pub(super) fn this_boot() -> String {
    format!("{} {}", host_name(), read_trimmed("/proc/sys/kernel/random/boot_id"))
}

fn read_trimmed(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Every mapped file that was sampled stays open: use what the hard limit allows.
fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is writable.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the struct is readable; a refusal leaves the limit as it is.
    let _ = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
}
