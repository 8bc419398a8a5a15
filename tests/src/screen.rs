//! A terminal with a shell in it: tmux, whose server is the test's own.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::programs::must_run;

/// A screen that does not show what it should after this long never will. No statement about speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The terminal. Dropping it ends the shell and what runs in it.
#[derive(Debug)]
pub struct Screen {
    server: String,
}

impl Screen {
    /// Opens a terminal of 120 columns and 40 lines with a shell in `folder`.
    pub fn open(folder: &Path) -> Screen {
        let number = folder.file_name().unwrap_or_default().to_string_lossy();
        let screen = Screen { server: format!("profiler-tests-{}-{number}", std::process::id()) };
        let shell = "env -u TMUX PS1='ready> ' HISTFILE= sh";
        let folder = folder.to_str().unwrap();
        let new = ["-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", "-c", folder, shell];
        // Where the machine is busy, tmux may give up its new server before that answers (client.c, `client_connect`).
        let starts = || Command::new("tmux").args(["-L", &screen.server]).args(new).output().unwrap();
        let mut output = starts();
        for _ in 0..5 {
            if output.status.success() {
                break;
            }
            std::thread::sleep(Duration::from_millis(500));
            output = starts();
        }
        assert!(output.status.success(), "tmux: {}", String::from_utf8_lossy(&output.stderr));
        screen.wait_for("ready>");
        screen
    }

    fn tmux(&self, args: &[&str]) -> String {
        must_run(Command::new("tmux").args(["-L", &self.server]).args(args))
    }

    /// Types text as it is.
    pub fn type_text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Presses keys by tmux's names, such as `Enter`, `Tab`, `C-c`.
    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Has the shell run a command.
    pub fn run(&self, command: &str) {
        self.type_text(command);
        self.press(&["Enter"]);
    }

    /// What can be read.
    pub fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until this can be read, and gives all that can.
    pub fn wait_for(&self, wanted: &str) -> String {
        self.wait_until(wanted, |text| text.contains(wanted))
    }

    /// Waits until what can be read is as it should be.
    pub fn wait_until(&self, what: &str, good: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if good(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "the screen never showed {what:?}, but:\n{text}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The pid of the program that the shell runs.
    pub fn running(&self) -> i32 {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let shell = shell.trim();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        children.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("the shell runs a program")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = Command::new("tmux").args(["-L", &self.server, "kill-server"]).output();
    }
}
