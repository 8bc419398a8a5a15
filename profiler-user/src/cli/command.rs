//! Starting a command so that it is selected for sampling before its first instruction.

use std::{
    ffi::OsString,
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::{
        fd::{AsRawFd, FromRawFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Command, ExitCode, ExitStatus},
    thread::JoinHandle,
};

use anyhow::{Context, anyhow};
use tokio::sync::oneshot;

use crate::sys::priority::{self, Urgency};

/// A process that has not executed its command yet.
#[derive(Debug)]
pub(super) struct Waiting {
    name: String,
    pid: u32,
    go: PipeWriter,
    spawning: JoinHandle<io::Result<std::process::Child>>,
}

impl Waiting {
    /// Forks. The child says its pid and waits for the word; when the profiler gives up instead, it exits.
    pub(super) fn start(command: &[OsString]) -> anyhow::Result<Self> {
        let (program, arguments) = command.split_first().ok_or_else(|| anyhow!("the command is empty"))?;
        let (mut pids, said) = io::pipe().context("cannot make a pipe")?;
        let (wait, go) = io::pipe().context("cannot make a pipe")?;
        let mut command = Command::new(program);
        command.args(arguments);
        // The child has a copy of this end, too: without closing it there, the pipe would never end.
        let go_fd = go.as_raw_fd();
        let hold = move || hold(&said, &wait, go_fd);
        // SAFETY: between fork and exec only setpriority, getpid, write, close and read are called, which are async-signal-safe
        // (signal-safety(7)); nothing is allocated.
        unsafe { command.pre_exec(hold) };
        let name = program.to_string_lossy().into_owned();
        // `spawn` returns only after the exec, so it needs a thread of its own. The command with its ends of the pipes
        // goes away with it.
        let spawning = std::thread::Builder::new()
            .name("spawn".to_owned())
            .spawn(move || command.spawn())
            .context("cannot start a thread")?;
        let mut pid = [0; 4];
        if pids.read_exact(&mut pid).is_err() {
            let error = joined(spawning).err().unwrap_or_else(|| io::Error::other("it ended at once"));
            return Err(anyhow!("the command {name} cannot be started ({error})"));
        }
        Ok(Self { name, pid: u32::from_ne_bytes(pid), go, spawning })
    }

    /// The process's id.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the command run.
    pub(super) fn release(mut self) -> anyhow::Result<Child> {
        self.go.write_all(&[1]).context("the command's process is gone")?;
        let name = &self.name;
        let mut child = joined(self.spawning).map_err(|error| {
            anyhow!("the command {name} cannot be run ({error}): check its name and that it is executable")
        })?;
        let (sender, exit) = oneshot::channel();
        std::thread::Builder::new()
            .name("wait".to_owned())
            .spawn(move || {
                // Without a receiver nobody wants to know any more.
                let _ = sender.send(child.wait());
            })
            .context("cannot start a thread")?;
        Ok(Child { exit })
    }
}

fn joined<T>(thread: JoinHandle<io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
}

/// Runs in the child.
fn hold(said: &PipeWriter, wait: &PipeReader, go_fd: i32) -> io::Result<()> {
    // The command is no more urgent than the profiler was when it was started.
    priority::set(Urgency::Ordinary)?;
    let (mut said, mut wait): (&PipeWriter, &PipeReader) = (said, wait);
    said.write_all(&std::process::id().to_ne_bytes())?;
    // SAFETY: this is the child's copy of the descriptor, which nothing else in the child uses or closes.
    drop(unsafe { std::fs::File::from_raw_fd(go_fd) });
    let mut word = [0];
    wait.read_exact(&mut word)
}

/// The running command.
#[derive(Debug)]
pub(super) struct Child {
    exit: oneshot::Receiver<io::Result<ExitStatus>>,
}

impl Child {
    /// Waits for its end and gives the exit code that a shell would: 128 + n for one that signal n ended. Call it
    /// again only if an earlier call was dropped before it was done.
    pub(super) async fn wait(&mut self) -> io::Result<ExitCode> {
        let status = (&mut self.exit).await.map_err(|_| io::Error::other("the waiting thread is gone"))??;
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
        Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1)))
    }
}
