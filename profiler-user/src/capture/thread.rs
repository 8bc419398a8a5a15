//! The capturing thread: sleeps until the window ends, drains it, hands it on. It touches neither /proc nor disk.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use aya::Ebpf;
use tokio::sync::mpsc;

use super::{
    Error, Window,
    clocks::Clocks,
    drain::Drain,
    fill,
    hotplug::{CpuEvent, Hotplug},
};
use crate::sys::priority::{self, Urgency};

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    stop: File,
    thread: JoinHandle<Result<(), Error>>,
}

impl Capture {
    /// Asks for the end: the clocks stop, and the last window is drained and sent.
    pub fn stop(&self) {
        // Eight bytes to an eventfd; it only fails when the counter is at its limit, which says the same.
        let _ = (&self.stop).write(&1_u64.to_ne_bytes());
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

/// Starts ticking and the thread that drains.
pub(super) fn start(
    ebpf: Ebpf,
    mut clocks: Clocks,
    mut drain: Drain,
    length: Duration,
    first_look: Option<Duration>,
    windows: mpsc::Sender<Window>,
) -> Result<Capture, Error> {
    // SAFETY: numbers only.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(Error::system("making an eventfd")(io::Error::last_os_error()));
    }
    // SAFETY: the call above just made the descriptor, and nothing else owns it.
    let stop = unsafe { OwnedFd::from_raw_fd(fd) };
    let stopped = stop.try_clone().map_err(Error::system("duplicating a descriptor"))?;
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
        loop {
            let end = Instant::now() + length;
            let mut look = first_look;
            let last = loop {
                let until =
                    look.and_then(|look| Instant::now().checked_add(look)).map_or(end, |look| look.min(end));
                if wait(until, &stopped, hotplug.as_ref(), &mut clocks)? {
                    break true;
                }
                if until == end {
                    break false;
                }
                let (elapsed, full) = drain.fill()?;
                match fill::look(elapsed, full) {
                    fill::Verdict::GoOn(again) => look = Some(again),
                    fill::Verdict::End => {
                        tracing::info!("a window ends early, for there is no room for more stacks in it");
                        break false;
                    }
                }
            };
            if last {
                clocks.disable();
            } else {
                clocks.follow_hotplug();
            }
            let window = drain.next_window()?;
            // A slow reader makes this window wait and the next one longer; the kernel counts on.
            if windows.blocking_send(window).is_err() || last {
                return Ok(());
            }
        }
    };
    let thread = std::thread::Builder::new()
        .name("capture".to_owned())
        .spawn(run)
        .map_err(Error::system("starting the capturing thread"))?;
    Ok(Capture { stop: stop.into(), thread })
}

/// Waits for the end of the window; says whether it is the last one.
fn wait(end: Instant, stop: &OwnedFd, hotplug: Option<&Hotplug>, clocks: &mut Clocks) -> Result<bool, Error> {
    loop {
        let now = Instant::now();
        let Some(left) = end.checked_duration_since(now).filter(|left| !left.is_zero()) else {
            return Ok(false);
        };
        // Rounded up: waking a moment early would cost another round.
        let timeout = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
        let hotplug_fd = hotplug.map_or(-1, |hotplug| hotplug.as_fd().as_raw_fd());
        let mut fds =
            [stop.as_raw_fd(), hotplug_fd].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        // SAFETY: the array is valid for its length; a negative descriptor is skipped.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(Error::System { what: "waiting for the end of the window", source: error });
        }
        if fds[0].revents != 0 {
            return Ok(true);
        }
        if fds[1].revents != 0
            && let Some(hotplug) = hotplug
        {
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
}
