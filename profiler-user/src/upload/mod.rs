//! Uploads: each window goes to every receiver that the configuration names.
//!
//! A window becomes a [`Batch`] for each target on the naming thread, lies in the target's [`Spool`] from then on, and is
//! brought to the [`Receiver`] by a [`Delivery`] on the upload thread. A new kind of receiver is a file beside
//! `pyroscope.rs`, a [`Kind`], and a line in `receiver.rs`.

mod address;
pub mod answer;
pub mod batch;
pub mod client;
pub mod debuginfo;
pub mod delivery;
mod grpc;
mod gzip;
pub mod make;
mod objects;
mod otlp;
mod parca;
mod parts;
mod plain;
mod pyroscope;
pub mod receiver;
pub mod split;
pub mod spool;
pub mod target;
mod tls;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

pub use batch::Batch;
pub use delivery::{Counters, Delivery};
pub use receiver::Receiver;
pub use spool::Spool;
pub use target::{Kind, Target};

use crate::pipeline::NamedWindow;
use crate::sys::priority::{self, Urgency};
use make::Recipe;
use parts::Parts;

/// How long the end waits for what has not arrived yet. The rest goes with the next start.
const GRACE: Duration = Duration::from_secs(5);

/// One target, as the naming thread sees it.
#[derive(Debug)]
struct Route {
    recipe: Recipe,
    /// Windows that are not an interval yet.
    parts: Parts,
    delivery: Arc<Delivery>,
}

/// All targets. Dropping it ends the thread; what lies on disk stays there.
#[derive(Debug)]
pub struct Uploads {
    routes: Vec<Route>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Who uploads.
#[derive(Clone, Debug)]
pub struct Origin {
    /// What every profile says of itself.
    pub about: Vec<String>,
    /// What no other host has, nor this one after it was started again.
    pub host: String,
    /// Labels of everything that comes from here, unless a target says something else.
    pub labels: Vec<(String, String)>,
}

impl Uploads {
    /// Starts delivering to all targets, what an earlier run left first. Spools lie in folders of `folder`.
    ///
    /// # Errors
    /// Two targets have one name; a spool, a file that a target names, or a thread cannot be had.
    pub fn start(targets: &[Target], folder: &Path, origin: &Origin) -> io::Result<Uploads> {
        let mut routes: Vec<Route> = Vec::new();
        let mut receivers = Vec::new();
        for target in targets {
            if routes.iter().any(|route| route.delivery.name() == target.name) {
                let why = format!("two uploads are called {:?}: give one of them another name", target.name);
                return Err(io::Error::other(why));
            }
            let named = |error: io::Error| io::Error::other(format!("upload {}: {error}", target.name));
            let path = folder.join(&target.name);
            let spool = Spool::open(&path, target.bounds())
                .map_err(|error| named(io::Error::other(format!("{}: {error}", path.display()))))?;
            let mut labelled = target.clone();
            for (name, value) in &origin.labels {
                labelled.labels.entry(name.clone()).or_insert_with(|| value.clone());
            }
            let recipe = Recipe::new(labelled, origin.about.clone(), origin.host.clone())
                .map_err(|error| named(io::Error::other(error)))?;
            let delivery = Delivery::new(target.clone(), spool);
            let offers = target.debuginfo.then(|| debuginfo::service(target)).transpose().map_err(named)?;
            receivers.push((Arc::clone(&delivery), receiver::receiver(target).map_err(named)?, offers));
            let parts = Parts::new(&path, target.bounds(), target.interval);
            let mut route = Route { recipe, parts, delivery };
            route.send_left().map_err(named)?;
            routes.push(route);
        }
        if routes.is_empty() {
            return Ok(Uploads { routes, stop: None, thread: None });
        }
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(2).build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            priority::try_set(Urgency::Late);
            let waiting: Vec<Arc<Delivery>> =
                receivers.iter().map(|(delivery, ..)| Arc::clone(delivery)).collect();
            runtime.block_on(async move {
                for (delivery, receiver, offers) in receivers {
                    if let Some(service) = offers {
                        let delivery = Arc::clone(&delivery);
                        tokio::spawn(async move { delivery.debuginfo.run(delivery.target(), service).await });
                    }
                    tokio::spawn(async move { delivery.run(receiver).await });
                }
                // Told to stop, or everything else is gone.
                let _ = stopped.await;
                waiting.iter().for_each(|delivery| delivery.hurry());
                let done = async {
                    while !waiting.iter().all(|delivery| delivery.is_done()) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                };
                // Whatever has not arrived by then lies on disk.
                let _ = tokio::time::timeout(GRACE, done).await;
            });
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("upload".to_owned()).spawn(run)?;
        Ok(Uploads { routes, stop: Some(stop), thread: Some(thread) })
    }

    /// What becomes of each target's series.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Arc<Delivery>> {
        self.routes.iter().map(|route| Arc::clone(&route.delivery)).collect()
    }

    /// Takes a window.
    pub fn window(&mut self, window: &NamedWindow) {
        for route in &mut self.routes {
            route.window(window);
        }
    }

    /// Sends what is less than an interval.
    pub fn finish(&mut self) {
        for route in &mut self.routes {
            route.end_interval();
        }
    }
}

impl Route {
    fn window(&mut self, window: &NamedWindow) {
        if self.delivery.target().debuginfo {
            self.delivery.debuginfo.window(window, self.recipe.selected());
        }
        let (batch, errors) = self.recipe.batch(window);
        self.log(errors);
        if !self.parts.takes(Duration::from_nanos(window.span.duration_ns)) {
            return self.delivery.put(batch);
        }
        match self.parts.put(&batch) {
            Ok(false) => {}
            Ok(true) => self.end_interval(),
            Err(error) => {
                tracing::warn!("upload {}: {error}; the interval ends early", self.delivery.name());
                self.end_interval();
                self.delivery.put(batch);
            }
        }
    }

    /// Sends what an earlier run left of its last interval.
    fn send_left(&mut self) -> io::Result<()> {
        while let Some(windows) = self.parts.left()? {
            self.send_joined(&windows);
        }
        Ok(())
    }

    fn end_interval(&mut self) {
        if self.parts.is_empty() {
            return;
        }
        match self.parts.take() {
            Ok(windows) => self.send_joined(&windows),
            Err(error) => {
                tracing::error!(
                    "upload {}: the windows of an interval cannot be read ({error}); they are tried again with the next",
                    self.delivery.name()
                );
            }
        }
    }

    fn send_joined(&self, windows: &[Batch]) {
        let (batch, errors) = self.recipe.joined(windows);
        self.log(errors);
        self.delivery.put(batch);
        self.parts.forget();
    }

    fn log(&self, errors: Vec<String>) {
        for error in errors {
            tracing::error!("upload {}: {error}", self.delivery.name());
        }
    }
}

impl Drop for Uploads {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the upload thread panicked; please report it");
        }
        for route in &self.routes {
            route.delivery.close();
        }
    }
}
