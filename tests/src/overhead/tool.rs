//! The profilers: how each is told to look at the whole host for a while, and where its answer lies.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::stacks::{self, Seen};
use crate::profiler;

/// A way to profile the host.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its name in tables.
    pub name: &'static str,
    /// Whether it unwinds code that keeps no frame pointers.
    pub without_frame_pointers: bool,
    program: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ours,
    PerfDwarf,
    PerfFramePointers,
    Bpfcc,
    Bpftrace,
    ProfileBee,
}

/// Names of programs, and of what they are started as.
const PEERS: [(&str, bool, &str, Kind); 5] = [
    ("perf, dwarf", true, "perf", Kind::PerfDwarf),
    ("perf, frame pointers", false, "perf", Kind::PerfFramePointers),
    ("bpfcc profile", false, "profile-bpfcc", Kind::Bpfcc),
    ("bpftrace", false, "bpftrace", Kind::Bpftrace),
    ("profile-bee", true, "probee", Kind::ProfileBee),
];

/// The tools that are installed, ours first, and the names of those that are not. Programs are looked for in PATH, and in
/// a folder before that.
pub fn installed(folder: Option<&Path>) -> (Vec<Tool>, Vec<&'static str>) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        folder.map(Path::to_owned).into_iter().chain(std::env::split_paths(&path)).collect();
    let ours = Tool {
        name: "profiler",
        without_frame_pointers: true,
        program: profiler::binary().to_owned(),
        kind: Kind::Ours,
    };
    let (mut tools, mut missing) = (vec![ours], Vec::new());
    for (name, without_frame_pointers, program, kind) in PEERS {
        match folders.iter().map(|folder| folder.join(program)).find(|file| file.is_file()) {
            Some(program) => tools.push(Tool { name, without_frame_pointers, program, kind }),
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
        let _ = std::fs::remove_file(&output);
        let mut command = Command::new(&self.program);
        command.current_dir(folder);
        match self.kind {
            Kind::Ours => {
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
                // It wants tracefs, which need not be mounted: in a mount namespace of its own nobody else sees it.
                let script =
                    "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
                              exec \"$0\" --frequency \"$1\" --time \"$2\"000 --dwarf true -o \"$3\"";
                command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", script]).arg(&self.program);
                command.args([&hertz, &seconds]).arg(&output);
            }
        }
        command
    }

    fn output(&self, folder: &Path) -> PathBuf {
        folder.join(match self.kind {
            Kind::Ours => "ours.pb.gz",
            Kind::PerfDwarf | Kind::PerfFramePointers => "perf.data",
            Kind::Bpfcc | Kind::ProfileBee => "stacks.folded",
            Kind::Bpftrace => "bpftrace.json",
        })
    }

    /// How complete what it saw in its last run is.
    pub fn seen(&self, folder: &Path) -> Option<Seen> {
        let output = self.output(folder);
        match self.kind {
            Kind::Ours => Some(stacks::in_pprof(&output)),
            Kind::PerfDwarf | Kind::PerfFramePointers => Some(stacks::in_perf_data(&output)),
            Kind::Bpfcc | Kind::ProfileBee => stacks::in_folded(File::open(&output).ok()?),
            Kind::Bpftrace => None,
        }
    }
}

/// The first line that a tool says of its version.
pub fn version(tool: &Tool) -> String {
    let output = Command::new(&tool.program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("no version told").trim().to_owned()
}
