//! A server with a bounded number of connections, none of which can hold its place without asking for something.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;

use super::guard::{Guard, guard};
use super::listen::Listener;

/// A browser keeps six connections open for each page; who comes when all are taken waits.
const MOST_CONNECTIONS: usize = 64;

/// How long a client may take to say what it wants, encryption included.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait when no connection can be accepted, for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` comes true, and then until answers that are on their way are sent.
///
/// # Errors
/// The listener has no address.
pub async fn serve(
    listener: Listener,
    router: Router,
    guarded: Guard,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = router.layer(from_fn_with_state(Arc::new(guarded), guard));
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = async {
            // The semaphore is never closed; without a permit there would be no bound, which harms less than no server.
            let permit = Arc::clone(&permits).acquire_owned().await.ok();
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut stop => break,
        };
        let connection = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                tracing::debug!("a connection cannot be accepted: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let _permit = permit;
            let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, connection.open()).await else { return };
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            // Clients may go away at any time.
            let _ = watcher.watch(connection).await;
        });
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}
