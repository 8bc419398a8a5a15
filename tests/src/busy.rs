//! Programs of others that keep a host busy while something else is looked at.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A process with its children, which are ended when this goes.
#[derive(Debug)]
pub struct Busy(Child);

impl Busy {
    /// Starts a command, whose output nobody reads.
    pub fn start(command: &mut Command) -> Busy {
        let silent =
            command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Busy(silent.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}")))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // SAFETY: numbers only; the group is this child's own, which has not been waited for.
        unsafe { libc::kill(-self.0.id().cast_signed(), libc::SIGKILL) };
        let _ = self.0.wait();
    }
}
