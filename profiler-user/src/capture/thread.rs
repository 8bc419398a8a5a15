//! The capturing thread: sleeps until the window ends, drains it, hands it on. It touches neither /proc nor disk.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use aya::Ebpf;
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    watch,
};

use super::{
    Error, Window,
    clocks::Clocks,
    drain::Drain,
    fill,
    hotplug::{CpuEvent, Hotplug},
};
use crate::sys::{
    bell::Bell,
    priority::{self, Urgency},
};

/// How often a reader that is behind is looked at. It waits for no more than that once it has caught up.
const READER: Duration = Duration::from_millis(100);
/// How long it is tried to read the last window, when the kernel refuses.
const LAST: Duration = Duration::from_secs(5);

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    stop: Bell,
    thread: JoinHandle<Result<(), Error>>,
}

/// Ends windows before their time.
#[derive(Debug)]
pub struct Cutter {
    bell: Bell,
    /// When the window began that is being counted, nanoseconds since boot.
    began_ns: watch::Receiver<u64>,
}

impl Cutter {
    /// A cutter that nobody listens to.
    #[cfg(test)]
    pub(crate) fn of_nothing() -> Self {
        Self { bell: Bell::new().unwrap(), began_ns: watch::channel(u64::MAX).1 }
    }

    /// Ends the window as soon as the one before it is taken; the next one lasts for what was left of it.
    pub fn cut(&self) {
        self.bell.ring();
    }

    /// Comes true when a window is being counted that began then or later, in nanoseconds since boot; `false` when there will
    /// be none.
    pub async fn begun(&self, since_ns: u64) -> bool {
        self.began_ns.clone().wait_for(|began| *began >= since_ns).await.is_ok()
    }
}

impl Capture {
    /// Asks for the end: the clocks stop, and the last window is drained and sent.
    pub fn stop(&self) {
        self.stop.ring();
    }

    /// Waits for the thread. Call it after the last window was received.
    ///
    /// # Errors
    /// What ended the capture before it was stopped.
    pub fn join(self) -> Result<(), Error> {
        self.thread.join().unwrap_or_else(|_| {
            Err(Error::System { what: "the capturing thread", source: io::Error::other("it panicked") })
        })
    }
}

/// Why a window ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its time had come.
    Time,
    /// It had no room for more.
    Full,
    /// Somebody wanted it to.
    Cut,
    /// All ends.
    Stop,
}

/// What the thread sleeps on, and what it tells.
pub(super) struct Bells {
    stop: Bell,
    cut: Bell,
    began_ns: watch::Sender<u64>,
}

impl Bells {
    /// Both bells, and a cutter that rings one of them and hears what is told.
    pub(super) fn new() -> Result<(Self, Cutter), Error> {
        let bell = || Bell::new().map_err(Error::system("making an eventfd"));
        let (stop, cut) = (bell()?, bell()?);
        let bell = cut.try_clone().map_err(Error::system("duplicating a descriptor"))?;
        let (told, began_ns) = watch::channel(0);
        Ok((Self { stop, cut, began_ns: told }, Cutter { bell, began_ns }))
    }
}

/// Starts ticking and the thread that drains.
pub(super) fn start(
    ebpf: Ebpf,
    clocks: Clocks,
    mut drain: Drain,
    length: Duration,
    first_look: Option<Duration>,
    bells: Bells,
    windows: mpsc::Sender<Window>,
) -> Result<Capture, Error> {
    let stop = bells.stop.try_clone().map_err(Error::system("duplicating a descriptor"))?;
    let hotplug = Hotplug::listen()
        .inspect_err(|error| tracing::info!("CPU hotplug is looked for once a window only: {error}"))
        .ok();
    drain.begin();
    clocks.enable()?;
    tracing::info!("the clocks tick");
    let run = move || {
        // Programs and maps live as long as this thread.
        let _ebpf = ebpf;
        // It has little to do, but on a host with more work than CPUs it must not come late: banks fill up.
        priority::try_set(Urgency::Soon);
        Worker { clocks, drain, hotplug, bells, windows }.run(length, first_look)
    };
    let thread = std::thread::Builder::new()
        .name("capture".to_owned())
        .spawn(run)
        .map_err(Error::system("starting the capturing thread"))?;
    Ok(Capture { stop, thread })
}

/// What the thread works with.
struct Worker {
    clocks: Clocks,
    drain: Drain,
    hotplug: Option<Hotplug>,
    bells: Bells,
    windows: mpsc::Sender<Window>,
}

impl Worker {
    /// Until the end, or until nobody takes windows any more.
    fn run(mut self, length: Duration, first_look: Option<Duration>) -> Result<(), Error> {
        let mut due = Instant::now() + length;
        loop {
            let ended = self.until(due, first_look);
            if ended == End::Stop {
                self.clocks.disable();
            } else {
                self.clocks.follow_hotplug();
            }
            let (mut window, end) = self.take(ended)?;
            window.cut = end == End::Cut;
            self.bells.began_ns.send_replace(window.boottime_ns[1]);
            if end == End::Stop && ended != End::Stop {
                return self.send_last(window);
            }
            if !self.send(window, end)? {
                return Ok(());
            }
            if end != End::Cut {
                due = Instant::now() + length;
            }
        }
    }

    /// Takes the window that has ended. Where the kernel refuses, for want of memory, it is asked again until it does not: the
    /// next window is counted meanwhile and becomes longer. Says also why the window ended, for the end of all may come while
    /// it is waited for.
    ///
    /// # Errors
    /// After the end, what the kernel says for [`LAST`].
    fn take(&mut self, mut end: End) -> Result<(Window, End), Error> {
        let mut refused = 0_u64;
        let mut give_up = (end == End::Stop).then(|| Instant::now() + LAST);
        loop {
            let error = match self.drain.next_window() {
                Ok(window) => return Ok((window, end)),
                Err(error) => error,
            };
            refused += 1;
            if give_up.is_some_and(|at| Instant::now() > at) {
                return Err(error);
            }
            if refused.is_power_of_two() {
                tracing::warn!(
                    "a window waits in the kernel, it is tried again ({refused} times so far): {error}"
                );
            }
            if end == End::Stop {
                std::thread::sleep(READER);
            } else if self.wait(Instant::now() + READER, false) == End::Stop {
                self.clocks.disable();
                end = End::Stop;
                give_up = Some(Instant::now() + LAST);
            }
        }
    }

    /// Sleeps until the window ends.
    fn until(&mut self, due: Instant, first_look: Option<Duration>) -> End {
        let mut look = first_look;
        loop {
            let until =
                look.and_then(|look| Instant::now().checked_add(look)).map_or(due, |look| look.min(due));
            match self.wait(until, true) {
                End::Time if until < due => {}
                end => return end,
            }
            let (elapsed, full) = match self.drain.fill() {
                Ok(fill) => fill,
                Err(error) => {
                    // What does not fit is counted as lost; no window is to be.
                    tracing::warn!("whether a window has room is not known: {error}");
                    look = Some(READER);
                    continue;
                }
            };
            match fill::look(elapsed, full) {
                fill::Verdict::GoOn(again) => look = Some(again),
                fill::Verdict::End => {
                    tracing::info!("a window ends early, for there is no room for more stacks in it");
                    return End::Full;
                }
            }
        }
    }

    /// Hands a window on; says whether there is to be another one.
    ///
    /// A slow reader makes this window wait and the next one longer; the kernel counts on, until the end is asked for.
    fn send(&mut self, mut window: Window, end: End) -> Result<bool, Error> {
        while let Err(refused) = self.windows.try_send(window) {
            let TrySendError::Full(waiting) = refused else {
                return Ok(false);
            };
            if end == End::Stop {
                // Nothing is counted any more.
                let _ = self.windows.blocking_send(waiting);
                return Ok(false);
            }
            if self.wait(Instant::now() + READER, false) == End::Stop {
                self.clocks.disable();
                self.send_last(waiting)?;
                return Ok(false);
            }
            window = waiting;
        }
        Ok(end != End::Stop)
    }

    /// Hands this window on, and what was counted since, once no clock ticks any more.
    fn send_last(&mut self, window: Window) -> Result<(), Error> {
        // Who takes no more windows wants none of them.
        let _ = self.windows.blocking_send(window);
        let (rest, _) = self.take(End::Stop)?;
        let _ = self.windows.blocking_send(rest);
        Ok(())
    }

    /// Sleeps until then, or until a bell rings: that for cuts only where one is possible.
    fn wait(&mut self, until: Instant, cuts: bool) -> End {
        loop {
            let now = Instant::now();
            let Some(left) = until.checked_duration_since(now).filter(|left| !left.is_zero()) else {
                return End::Time;
            };
            // Rounded up: waking a moment early would cost another round.
            let timeout = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
            let hotplug = self.hotplug.as_ref().map_or(-1, |hotplug| hotplug.as_fd().as_raw_fd());
            let cut = if cuts { self.bells.cut.as_fd().as_raw_fd() } else { -1 };
            let mut fds = [self.bells.stop.as_fd().as_raw_fd(), cut, hotplug].map(|fd| libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            });
            // SAFETY: the array is valid for its length; a negative descriptor is skipped.
            let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
            if ready < 0 {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    // The kernel had no memory for the moment (poll(2)): the bells are heard a little later.
                    tracing::debug!("waiting for the end of the window: {error}");
                    std::thread::sleep(READER.min(left));
                }
                continue;
            }
            if fds[0].revents != 0 {
                return End::Stop;
            }
            if fds[1].revents != 0 && self.bells.cut.listen() {
                return End::Cut;
            }
            if fds[2].revents != 0 {
                self.follow_cpus();
            }
        }
    }

    /// Follows CPUs that came or went.
    fn follow_cpus(&mut self) {
        let Self { clocks, hotplug, .. } = self;
        let Some(hotplug) = hotplug else { return };
        let events = hotplug.drain();
        for event in &events {
            // An event that came back before anyone looked would still hold its dead clock.
            let (CpuEvent::Offline(cpu) | CpuEvent::Online(cpu)) = *event;
            clocks.forget(cpu);
        }
        if !events.is_empty() {
            clocks.follow_hotplug();
        }
    }
}
