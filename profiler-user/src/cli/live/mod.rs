//! `profiler live`: what the CPUs do now, as a table that refreshes.
//!
//! The capture is that of `record` with short windows. Three threads meet at the history: naming adds windows, the screen
//! reads them, and the main one runs the capture until the screen or a signal ends it.

mod draw;
mod history;
mod rows;
mod state;
mod sums;
mod terminal;

use std::io::{IsTerminal, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::sync::oneshot;

use super::capturing::{self, CaptureArgs, Running};
use super::{Failure, Outcome, logging};
use crate::export::file;
use crate::pipeline::{NamedWindow, Patience, Sink};
use crate::profile::codec::Encoder;
use crate::units;
use draw::{Colours, Setting, Shown, draw, ends, page};
use history::{History, Part, Scope};
use rows::{Row, rows};
use state::{Effect, State};
use terminal::Taken;

/// Arguments of `profiler live`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler live                                the hottest functions of the host, every second
  profiler live -d 5s -F 199 --last 1m         calmer, finer, over the last minute
  profiler live -p 1234                        one process

Keys: Enter goes into a process or a function, Esc back, Tab switches to processes, / filters, Space pauses, t shows
all since the start, w saves it as a pprof file, h tells the others.")]
pub(super) struct Args {
    /// How often the table is refreshed, 200ms to 60s.
    #[arg(short = 'd', long = "refresh", value_name = "TIME", default_value = "1s", value_parser = refresh)]
    refresh: Duration,
    /// Over how long the table adds up; `t` shows all since the start.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = last)]
    last: Duration,
    /// Samples per second on each CPU, 1 to 999.
    #[arg(short = 'F', long, value_name = "HZ", default_value = "99", value_parser = capturing::frequency,
          allow_negative_numbers = true)]
    frequency: u32,
    /// Only this process; may be given several times.
    #[arg(short = 'p', long = "pid", value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pids: Vec<u32>,
    /// Where `w` saves [default: live-<time>.pb.gz in the current folder].
    #[arg(short = 'o', long = "output", value_name = "PATH")]
    output: Option<PathBuf>,
    /// Panic after the first drawing, to see in tests that the terminal is given back.
    #[arg(long, hide = true)]
    panic_while_drawing: bool,
    #[command(flatten)]
    capture: CaptureArgs,
}

fn refresh(text: &str) -> Result<Duration, String> {
    let refresh = units::duration(text)?;
    let range = Duration::from_millis(200)..=Duration::from_secs(60);
    if range.contains(&refresh) { Ok(refresh) } else { Err("it must lie between 200ms and 60s".to_owned()) }
}

fn last(text: &str) -> Result<Duration, String> {
    let last = units::duration(text)?;
    let range = Duration::from_secs(1)..=Duration::from_secs(600);
    if range.contains(&last) { Ok(last) } else { Err("it must lie between 1s and 10m".to_owned()) }
}

/// How long the screen waits for a key before it looks for a new window.
const GLANCE: Duration = Duration::from_millis(100);

/// What the threads share.
#[derive(Clone)]
struct Shared(Arc<Mutex<History>>);

impl Shared {
    /// A thread that panicked while it held it has left nothing half done that would matter on a screen.
    fn lock(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Shared {
    fn window(&mut self, window: NamedWindow) {
        self.lock().add(&window);
    }
}

/// Runs `profiler live`.
pub(super) fn run(args: &Args) -> Outcome {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return Err(Failure::CannotStart(anyhow!(
            "`live` draws on a terminal, and this is none: run it in one, or use `profiler record` for a file or a pipe"
        )));
    }
    capturing::start_reader(&args.capture, Patience::User)?;
    let mut options = args.capture.options(args.frequency, args.refresh, Patience::User);
    options.select = !args.pids.is_empty();
    let runtime = capturing::runtime()?;
    let _inside = runtime.enter();
    let interrupted =
        capturing::interrupted().context("cannot listen for signals").map_err(Failure::CannotStart)?;
    let session = capturing::load(options)?;
    for &pid in &args.pids {
        capturing::select_running(&session, pid)?;
    }
    args.capture.confine()?;
    let keep_ns = u64::try_from(args.last.max(args.refresh).as_nanos()).unwrap_or(u64::MAX);
    let history = Shared(Arc::new(Mutex::new(History::new(keep_ns))));
    let gauge = args.capture.gauge(&session, Patience::User);
    let (running, ..) = Running::start(session, &args.capture, gauge, Patience::User, history.clone())?;
    let setting = Setting {
        host: capturing::host_name(),
        frequency_hz: args.frequency,
        refresh: args.refresh,
        last: args.last.max(args.refresh),
        colours: colours(),
    };
    let about = capturing::about(args.frequency, args.refresh);
    let held = logging::hold();
    let terminal = Taken::take().context("the terminal cannot be used").map_err(Failure::CannotStart)?;
    let over = Arc::new(AtomicBool::new(false));
    let (quit, quitted) = oneshot::channel();
    let screen = {
        let looker = Looker {
            history: history.clone(),
            setting,
            about,
            output: args.output.clone(),
            over: Arc::clone(&over),
            panics: args.panic_while_drawing,
        };
        let look = move || {
            let seen = looker.look();
            // Nobody waits for it where the capture has ended by itself.
            let _ = quit.send(());
            seen
        };
        thread::Builder::new().name("screen".to_owned()).spawn(look)
    };
    let screen = screen.context("cannot start a thread").map_err(Failure::CannotStart)?;
    let captured = runtime.block_on(running.run(async {
        tokio::select! {
            // Also where the thread has panicked.
            _ = quitted => {}
            () = interrupted => {}
        }
    }));
    over.store(true, Ordering::SeqCst);
    let seen = screen.join();
    drop(terminal);
    drop(held);
    captured?;
    match seen {
        Ok(seen) => seen.context("the terminal is gone").map_err(Failure::WhileRunning)?,
        Err(_) => return Err(Failure::WhileRunning(anyhow!("drawing failed; please report it"))),
    }
    println!("{}", ends(&history.lock().part(Scope::Total)));
    Ok(ExitCode::SUCCESS)
}

/// <https://no-color.org>.
fn colours() -> Colours {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted { Colours::Yes } else { Colours::No }
}

/// Draws, and does what keys say.
struct Looker {
    history: Shared,
    setting: Setting,
    about: Vec<String>,
    output: Option<PathBuf>,
    over: Arc<AtomicBool>,
    /// For tests.
    panics: bool,
}

/// What was seen up to a window, of both times.
struct Seen {
    generation: u64,
    last: Arc<Part>,
    total: Arc<Part>,
}

impl Seen {
    fn now(history: &History) -> Seen {
        Seen {
            generation: history.generation,
            last: history.part(Scope::Last),
            total: history.part(Scope::Total),
        }
    }

    fn part(&self, scope: Scope) -> &Part {
        match scope {
            Scope::Last => &self.last,
            Scope::Total => &self.total,
        }
    }
}

impl Looker {
    #[expect(clippy::panic, reason = "only where a test asks for it")]
    fn look(&self) -> std::io::Result<()> {
        let mut screen = Taken::screen()?;
        let mut state = State::new();
        let mut seen = Seen::now(&self.history.lock());
        let mut stale = true;
        let mut shown: Vec<Row> = Vec::new();
        while !self.over.load(Ordering::SeqCst) {
            {
                let history = self.history.lock();
                if history.generation != seen.generation && !state.paused {
                    seen = Seen::now(&history);
                    stale = true;
                }
                if stale {
                    let part = seen.part(state.scope);
                    shown = rows(part, &history.names, state.view, state.sort, state.filter.as_ref());
                    state.follow(&shown);
                    let warning = logging::latest().or_else(|| history.error.clone());
                    let shown = Shown {
                        setting: &self.setting,
                        part,
                        names: &history.names,
                        rows: &shown,
                        warning: warning.as_deref(),
                    };
                    screen.draw(|frame| draw(frame, &state, &shown))?;
                    stale = false;
                    if self.panics {
                        panic!("a test asked for this");
                    }
                }
            }
            if !event::poll(GLANCE)? {
                continue;
            }
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    let height = screen.size()?.height;
                    match state.key(key, &shown, page(height)) {
                        Effect::Draw => {}
                        Effect::Quit => return Ok(()),
                        Effect::Reset => {
                            let mut history = self.history.lock();
                            history.reset();
                            seen = Seen::now(&history);
                        }
                        Effect::Save => state.message = Some(self.save()),
                    }
                    stale = true;
                }
                Event::Resize(..) => stale = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes all stacks, and says where or why not.
    fn save(&self) -> String {
        let path = self.output.clone().unwrap_or_else(|| PathBuf::from(file_name(SystemTime::now())));
        let made = self.history.lock().profile(&self.about);
        let written = made.map_err(anyhow::Error::from).and_then(|(profile, seconds)| {
            file::write_profile(&path, &profile, &mut Encoder::new())?;
            Ok(seconds)
        });
        match written {
            Ok(seconds) => format!("saved {seconds} s to {}", Path::new(&path).display()),
            Err(error) => format!("not saved: {error:#}"),
        }
    }
}

/// A name that tells the time (UTC).
fn file_name(now: SystemTime) -> String {
    let format = format_description!("live-[year][month][day]-[hour][minute][second]Z.pb.gz");
    OffsetDateTime::from(now).format(&format).unwrap_or_else(|_| "live.pb.gz".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_bounds() {
        assert_eq!(refresh("2s"), Ok(Duration::from_secs(2)));
        assert!(refresh("100ms").is_err() && refresh("2m").is_err());
        assert_eq!(last("1m"), Ok(Duration::from_secs(60)));
        assert!(last("500ms").is_err() && last("1h").is_err());
    }

    #[test]
    fn saved_files_are_named_by_the_time() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(file_name(time), "live-20231114-221320Z.pb.gz");
    }
}
