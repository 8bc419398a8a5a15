//! A server on a thread of its own: what it does delays nothing that is captured.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::guard::Guard;
use super::listen::{Address, Listener};
use super::serve::serve;
use super::tls::Encryption;
use crate::secret::SecretFile;
use crate::sys::priority::{self, Urgency};

/// How long answers that are on their way may take at the end.
const GRACE: Duration = Duration::from_secs(2);

/// Who may ask where.
#[derive(Debug)]
pub struct Access {
    /// Where to listen.
    pub address: Address,
    /// Encryption.
    pub tls: Option<Encryption>,
    /// What callers must know.
    pub token: Option<SecretFile>,
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    address: Address,
    /// `None` once it was told to stop.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it; it listens when this returns.
    ///
    /// # Errors
    /// It cannot listen there, or no thread can be started.
    pub fn start(access: Access, router: Router) -> io::Result<Server> {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let run = move || {
            // Started by a thread that is in a hurry.
            priority::try_set(Urgency::Ordinary);
            let runtime = match Builder::new_current_thread().enable_all().max_blocking_threads(4).build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(tell.send(Err(error))),
            };
            runtime.block_on(async {
                let Access { address, tls, token } = access;
                let listener = Listener::bind(&address, tls).await;
                let (listener, address) = match listener
                    .and_then(|listener| listener.address().map(|address| (listener, address)))
                {
                    Ok(listening) => listening,
                    Err(error) => return drop(tell.send(Err(error))),
                };
                let guard = Guard::new(&address, token);
                // The one who waits for it has not gone away.
                let _ = tell.send(Ok(address));
                let (ending, ended) = oneshot::channel();
                let serving = serve(listener, router, guard, async {
                    let _ = ended.await;
                });
                let end = async {
                    let _ = stopped.await;
                    let _ = ending.send(());
                    tokio::time::sleep(GRACE).await;
                };
                tokio::select! {
                    served = serving => if let Err(error) = served {
                        tracing::error!("the server failed: {error}");
                    },
                    () = end => {}
                }
            });
            // A report that takes long is not waited for.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("http".to_owned()).spawn(run)?;
        let address = told.recv().map_err(|_| io::Error::other("the server's thread panicked"))??;
        Ok(Server { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have failed before.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the server's thread panicked; please report it");
        }
    }
}
