//! The profilers: how each is told to look at the whole host for a while, and where its answer lies.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::limit;
use super::measure::End;
use super::otlp::{self, sink::Sink};
use super::roots::Roots;
use super::stacks::{self, Seen};
use crate::{folder, profiler};

/// A way to profile the host.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its name in tables.
    pub name: &'static str,
    /// Whether it unwinds code that keeps no frame pointers.
    pub without_frame_pointers: bool,
    program: PathBuf,
    kind: Kind,
    /// Where one that sends its profiles sends them.
    sink: Option<Arc<Sink>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Our agent, with windows of so many seconds.
    Agent(u32),
    /// The same as `Agent(60)`, in one process that keeps its privileges: what being confined costs.
    Unconfined,
    Record,
    Otel,
    PerfDwarf,
    PerfFramePointers,
    Bpfcc,
    Bpftrace,
    ProfileBee,
}

/// Names of programs, and of what they are started as.
const PEERS: [(&str, bool, &str, Kind); 6] = [
    ("OpenTelemetry's eBPF profiler", true, "ebpf-profiler", Kind::Otel),
    ("perf, dwarf", true, "perf", Kind::PerfDwarf),
    ("perf, frame pointers", false, "perf", Kind::PerfFramePointers),
    ("bpfcc profile", false, "profile-bpfcc", Kind::Bpfcc),
    ("bpftrace", false, "bpftrace", Kind::Bpftrace),
    ("profile-bee", true, "probee", Kind::ProfileBee),
];

/// Ways to run ours: as an agent does by itself, as one that reports as often as OpenTelemetry's does, and once.
const OURS: [(&str, Kind); 4] = [
    ("profiler agent", Kind::Agent(60)),
    ("profiler agent, not confined", Kind::Unconfined),
    ("profiler agent, windows of 5 s", Kind::Agent(5)),
    ("profiler record", Kind::Record),
];

/// The tools that are installed, ours first, and the names of those that are not. Programs are looked for in PATH, and in
/// a folder before that.
pub fn installed(folder: Option<&Path>) -> (Vec<Tool>, Vec<&'static str>) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        folder.map(Path::to_owned).into_iter().chain(std::env::split_paths(&path)).collect();
    let mut tools: Vec<Tool> = OURS
        .map(|(name, kind)| {
            let program = profiler::binary().to_owned();
            Tool { name, without_frame_pointers: true, program, kind, sink: None }
        })
        .into();
    let mut missing = Vec::new();
    for (name, without_frame_pointers, program, kind) in PEERS {
        match folders.iter().map(|folder| folder.join(program)).find(|file| file.is_file()) {
            Some(program) => {
                let sink = (kind == Kind::Otel).then(|| Arc::new(Sink::start()));
                tools.push(Tool { name, without_frame_pointers, program, kind, sink });
            }
            None => missing.push(name),
        }
    }
    (tools, missing)
}

impl Tool {
    /// The command that profiles the host for so many seconds and writes into this folder.
    pub fn command(&self, folder: &Path, hertz: u32, seconds: u32) -> Command {
        let (hertz, seconds) = (hertz.to_string(), seconds.to_string());
        let output = self.output(folder);
        let _ = if self.agent() { std::fs::remove_dir_all(&output) } else { std::fs::remove_file(&output) };
        let mut command = Command::new(&self.program);
        command.current_dir(folder);
        match self.kind {
            Kind::Agent(window) => {
                command.args(["agent", "-F", &hertz, "--window", &format!("{window}s"), "-o"]).arg(&output);
            }
            Kind::Unconfined => {
                command
                    .args(["agent", "--no-confinement", "-F", &hertz, "--window", "60s", "-o"])
                    .arg(&output);
            }
            Kind::Otel => {
                let address = self.sink.as_ref().map(|sink| sink.address().to_string()).unwrap_or_default();
                command = self.with_tracefs(
                    "exec \"$0\" -collection-agent \"$1\" -disable-tls -samples-per-second \"$2\"",
                );
                command.args([&address, &hertz]).current_dir(folder);
                limit::pretend_to_raise(&mut command);
            }
            Kind::Record => {
                command.args(["record", "-F", &hertz, "-d", &format!("{seconds}s"), "-o"]).arg(&output);
            }
            Kind::PerfDwarf => {
                command.args(["record", "-q", "-a", "-e", "cpu-clock", "-F", &hertz]);
                command.args(["--call-graph", "dwarf,65528", "-m", "16M", "-o"]).arg(&output);
                command.args(["--", "sleep", &seconds]);
            }
            Kind::PerfFramePointers => {
                command.args(["record", "-q", "-a", "-e", "cpu-clock", "-F", &hertz, "-g", "-o"]);
                command.arg(&output).args(["--", "sleep", &seconds]);
            }
            Kind::Bpfcc => {
                // Folded, kernel and user parts divided; the size of its table of stacks fits the run.
                let script = "exec \"$0\" -F \"$1\" -f -d --stack-storage-size 65536 \"$2\" > \"$3\"";
                command = Command::new("sh");
                command.args(["-c", script]).arg(&self.program).args([&hertz, &seconds]).arg(&output);
            }
            Kind::Bpftrace => {
                let program = format!(
                    "profile:hz:{hertz} {{ @[comm, kstack(127), ustack(127)] = count(); }} \
                     interval:s:{seconds} {{ exit(); }}"
                );
                command.args(["-q", "-f", "json", "-o"]).arg(&output).args(["-e", &program]);
            }
            Kind::ProfileBee => {
                command = self
                    .with_tracefs("exec \"$0\" --frequency \"$1\" --time \"$2\"000 --dwarf true -o \"$3\"");
                command.args([&hertz, &seconds]).arg(&output);
            }
        }
        command
    }

    /// A script that starts the program, its `$0`, where tracefs is. That need not be mounted: in a mount namespace of its
    /// own nobody else sees it.
    fn with_tracefs(&self, script: &str) -> Command {
        let mount = "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &format!("{mount}\n{script}")]).arg(&self.program);
        command
    }

    fn agent(&self) -> bool {
        matches!(self.kind, Kind::Agent(_) | Kind::Unconfined)
    }

    /// How it ends.
    pub fn end(&self) -> End {
        if self.agent() || self.kind == Kind::Otel { End::Asked } else { End::Itself }
    }

    fn output(&self, folder: &Path) -> PathBuf {
        folder.join(match self.kind {
            Kind::Agent(_) | Kind::Unconfined => "ours",
            Kind::Record => "ours.pb.gz",
            Kind::Otel => "otel",
            Kind::PerfDwarf | Kind::PerfFramePointers => "perf.data",
            Kind::Bpfcc | Kind::ProfileBee => "stacks.folded",
            Kind::Bpftrace => "bpftrace.json",
        })
    }

    /// How complete what it saw in its last run is, and the CPU seconds that the tool takes afterwards
    /// to unwind it.
    pub fn seen(&self, folder: &Path) -> Option<(Seen, f64)> {
        let output = self.output(folder);
        let seen = match self.kind {
            Kind::Agent(_) | Kind::Unconfined => Some(stacks::in_pprof(&folder::profiles(&output))),
            Kind::Record => Some(stacks::in_pprof(&[output])),
            Kind::Otel => {
                let requests = self.sink.as_ref()?.take();
                otlp::read::seen(&requests, &mut Roots::on_this_host()).ok()
            }
            Kind::PerfDwarf | Kind::PerfFramePointers => return Some(stacks::in_perf_data(&output)),
            Kind::Bpfcc | Kind::ProfileBee => stacks::in_folded(File::open(&output).ok()?),
            Kind::Bpftrace => None,
        };
        Some((seen?, 0.0))
    }
}

/// The first line that a tool says of its version.
pub fn version(tool: &Tool) -> String {
    let output = Command::new(&tool.program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("no version told").trim().to_owned()
}
