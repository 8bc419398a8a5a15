//! The log on stderr.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Starts logging: warnings always, more with each step of `verbosity`. Libraries only warn, and the BPF program, whose
/// messages carry the target `profiler`, speaks like the agent itself.
pub(super) fn init(verbosity: u8) {
    let level = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let targets = Targets::new()
        .with_target("profiler", level)
        .with_target("profiler_user", level)
        .with_default(LevelFilter::WARN);
    let layer = fmt::layer()
        .with_writer(|| Writer)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // What went wrong while logging would be printed to stderr by a macro that panics where stderr cannot be written.
        .log_internal_errors(false)
        .compact();
    // A second call, as tests may make, leaves the first log in place.
    let _ = tracing_subscriber::registry().with(targets).with(layer).try_init();
}

/// Lines that are held back at the most; then the oldest go.
const MOST_HELD: usize = 100;

/// What is held back; `None` while everything goes to stderr.
static HELD: Mutex<Option<VecDeque<String>>> = Mutex::new(None);

/// Lines that stderr did not take since the last one that it took.
static UNWRITTEN: AtomicU64 = AtomicU64::new(0);

/// Says a sentence on stderr, as `eprintln!` does, but never panics: the log may be a file on a full disk, or a pipe whose
/// reader is gone, and no profile is to be lost with it.
pub(super) fn say(sentence: impl Display) {
    to_stderr(format!("profiler: {sentence}\n").as_bytes());
}

/// Writes a line to stderr, or counts it. The next one that goes through says how many were lost.
fn to_stderr(line: &[u8]) {
    let mut stderr = io::stderr().lock();
    let lost = UNWRITTEN.swap(0, Ordering::Relaxed);
    let wrote = match lost {
        0 => stderr.write_all(line),
        _ => stderr
            .write_all(format!("profiler: {lost} lines of the log could not be written\n").as_bytes())
            .and_then(|()| stderr.write_all(line)),
    };
    if wrote.is_err() {
        UNWRITTEN.fetch_add(lost + 1, Ordering::Relaxed);
    }
}

/// Writes to stderr, or holds lines back while the terminal shows something else. It never fails.
struct Writer;

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lines) = held.as_mut() else {
            drop(held);
            // The formatter gives whole lines.
            to_stderr(bytes);
            return Ok(bytes.len());
        };
        if lines.len() == MOST_HELD {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Stderr has no buffer.
        Ok(())
    }
}

/// The log is held back until this is dropped; what was held back then goes to stderr.
#[derive(Debug)]
pub(super) struct Hold(());

/// Holds the log back.
pub(super) fn hold() -> Hold {
    *HELD.lock().unwrap_or_else(PoisonError::into_inner) = Some(VecDeque::new());
    Hold(())
}

/// The last line that was held back, without colours.
pub(super) fn latest() -> Option<String> {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    held.as_ref()?.back().map(|line| plain(line))
}

impl Drop for Hold {
    fn drop(&mut self) {
        let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
        for line in held.unwrap_or_default() {
            // Without stderr there is nobody to tell.
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

/// A line without escape sequences that set colours.
fn plain(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.split_once('m').map_or(part, |(_, rest)| rest));
    rest.fold(first, |line, part| line + part).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_held_back_and_then_shown() {
        let held = hold();
        for number in 0..200 {
            Writer.write_all(format!("\x1b[33m WARN\x1b[0m line {number}\n").as_bytes()).unwrap();
        }
        assert_eq!(latest().as_deref(), Some("WARN line 199"));
        assert_eq!(HELD.lock().unwrap().as_ref().unwrap().len(), MOST_HELD);
        drop(held);
        assert_eq!(latest(), None);
    }
}
