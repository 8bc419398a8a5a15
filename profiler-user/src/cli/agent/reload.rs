//! When the configuration becomes another one.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Args, config};
use crate::sys::watch::FolderWatch;

/// Whoever writes a file writes it in pieces.
const SETTLE: Duration = Duration::from_millis(200);

/// Waits for SIGHUP, and for the file to change.
pub(super) struct Reload {
    hangup: Signal,
    folder: Option<AsyncFd<FolderWatch>>,
    /// The command line.
    given: Vec<OsString>,
}

impl Reload {
    /// Must be called within a tokio runtime.
    pub(super) fn new(file: Option<&Path>, given: Vec<OsString>) -> anyhow::Result<Self> {
        let hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let folder = file.and_then(|file| {
            let folder =
                file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let watch = || -> io::Result<AsyncFd<FolderWatch>> {
                // SAFETY: a watch owns its descriptor, always gives that same one, and closes it when dropped.
                unsafe { AsyncFd::register(FolderWatch::new(folder)?) }.map_err(Into::into)
            };
            watch()
                .inspect_err(|error| {
                    tracing::warn!("{} is read again at SIGHUP only: {error}", file.display());
                })
                .ok()
        });
        Ok(Self { hangup, folder, given })
    }

    /// The arguments once they are right and other ones than these. What is wrong is said, and what was right stays.
    pub(super) async fn next(&mut self, now: &Args) -> Args {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => tracing::info!("SIGHUP: the configuration is read again"),
                () = changed(self.folder.as_ref()) => {}
            }
            match config::complete(&self.given) {
                Ok(args) if args == *now => {}
                Ok(args) => match args.wants_restart(now) {
                    None => return args,
                    Some(why) => {
                        tracing::error!("the configuration stays what it was: {why}; restart the agent");
                    }
                },
                Err(errors) => {
                    for error in errors {
                        tracing::error!("the configuration stays what it was: {error}");
                    }
                }
            }
        }
    }
}

/// Comes true when something in the folder has changed and it has been quiet for a moment.
async fn changed(folder: Option<&AsyncFd<FolderWatch>>) {
    let Some(folder) = folder else { return std::future::pending().await };
    let Ok(mut ready) = folder.readable().await else { return std::future::pending().await };
    tokio::time::sleep(SETTLE).await;
    folder.get_ref().drain();
    ready.clear_ready();
}
