//! `profiler view`, running.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::profiler::binary;

/// Serves the page until it is dropped.
#[derive(Debug)]
pub struct Viewer {
    child: Child,
    /// `http://127.0.0.1:PORT/`.
    pub address: String,
}

impl Viewer {
    /// Starts `profiler view --no-open` with these arguments, and waits until it has said its address.
    pub fn start<S: AsRef<OsStr>>(folder: &Path, args: impl IntoIterator<Item = S>) -> Viewer {
        Viewer::start_with(folder, args, &[])
    }

    /// Likewise, with these variables in its environment.
    pub fn start_with<S: AsRef<OsStr>>(
        folder: &Path,
        args: impl IntoIterator<Item = S>,
        environment: &[(&str, &str)],
    ) -> Viewer {
        Viewer::run(folder, &["view", "--no-open"], args, environment)
    }

    /// Likewise, as on a desktop, where it opens a browser.
    pub fn start_on_a_desktop<S: AsRef<OsStr>>(
        folder: &Path,
        args: impl IntoIterator<Item = S>,
        environment: &[(&str, &str)],
    ) -> Viewer {
        Viewer::run(folder, &["view"], args, environment)
    }

    fn run<S: AsRef<OsStr>>(
        folder: &Path,
        command: &[&str],
        args: impl IntoIterator<Item = S>,
        environment: &[(&str, &str)],
    ) -> Viewer {
        let mut child = Command::new(binary())
            .args(command)
            .args(args)
            .envs(environment.iter().copied())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start the profiler: {e}"));
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).expect("its output");
        let address = address.trim().to_owned();
        assert!(address.starts_with("http://127.0.0.1:"), "no address but {address:?}");
        Viewer { child, address }
    }

    /// The page with these parameters.
    pub fn page(&self, query: &str) -> String {
        format!("{}?{query}", self.address)
    }

    /// What it answers to a request with these header lines.
    pub fn ask(&self, method: &str, path: &str, headers: &[&str]) -> String {
        let authority = self.address.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(authority).expect("a connection");
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        write!(stream, "{method} {path} HTTP/1.1\r\n{lines}Connection: close\r\nContent-Length: 0\r\n\r\n")
            .expect("a request");
        let mut answer = Vec::new();
        // A server that refuses may reset the connection behind its answer.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// `Host: …` as a browser that was given the address sends it.
    pub fn host(&self) -> String {
        format!("Host: {}", self.address.trim_start_matches("http://").trim_end_matches('/'))
    }

    /// Ends it as Ctrl-C does; gives its exit code.
    pub fn interrupt(mut self) -> Option<i32> {
        // SAFETY: kill has no memory effects; the pid is that of a child that is not reaped yet.
        let result = unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGINT) };
        assert!(result == 0, "cannot signal the viewer");
        self.child.wait().expect("its status").code()
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
