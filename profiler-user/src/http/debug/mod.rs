//! `/debug/pprof/…`: what Go's net/http/pprof serves of its own program, of every process of the host.
//!
//! Read by `go tool pprof`, by scrapers of Parca and Pyroscope, and by a person in a browser. Errors carry `X-Go-Pprof`, so
//! that `go tool pprof` shows their text.

mod index;
mod query;
mod symbol;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query as Pairs, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::work::Work;
use crate::pipeline::NamedWindow;
use crate::pipeline::gather::whole;
use crate::pipeline::on_demand::{OnDemand, Refused};
use crate::profile::build;
use crate::profile::codec::encode;
use crate::status::Status;
use query::{Query, Unreadable};

/// What the endpoints need.
#[derive(Debug)]
pub struct Debug {
    /// Takes profiles.
    pub on_demand: Arc<OnDemand>,
    /// Knows what was sampled of late.
    pub status: Arc<Status>,
    /// What every profile says of itself, without its length.
    pub about: Vec<String>,
}

#[derive(Clone)]
struct Shared {
    debug: Arc<Debug>,
    work: Work,
}

/// The routes.
pub fn router(debug: Debug) -> Router {
    let shared = Shared { debug: Arc::new(debug), work: Work::default() };
    Router::new()
        .route("/debug/pprof", get(index))
        .route("/debug/pprof/", get(index))
        .route("/debug/pprof/profile", get(profile))
        .route("/debug/pprof/cmdline", get(cmdline))
        .route("/debug/pprof/symbol", get(symbols_by_query).post(symbols))
        .route("/debug/pprof/{other}", get(other))
        .with_state(shared)
}

async fn index(State(shared): State<Shared>) -> Html<String> {
    Html(index::page(&shared.debug.status.processes()))
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
enum NoProfile {
    #[error(transparent)]
    Query(#[from] Unreadable),
    #[error("there is no process {0} on this host")]
    NoProcess(u32),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Busy(#[from] super::work::NoResult),
    #[error("the profile cannot be made: {0}")]
    Make(String),
}

impl IntoResponse for NoProfile {
    fn into_response(self) -> Response {
        let status = match self {
            NoProfile::Query(_) => StatusCode::BAD_REQUEST,
            NoProfile::NoProcess(_) => StatusCode::NOT_FOUND,
            NoProfile::Refused(_) | NoProfile::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            NoProfile::Make(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        failed(status, &self.to_string())
    }
}

fn failed(status: StatusCode, why: &str) -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (HeaderName::from_static("x-go-pprof"), "1")];
    (status, headers, format!("{why}\n")).into_response()
}

async fn profile(
    State(shared): State<Shared>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
) -> Result<Response, NoProfile> {
    let query = Query::read(&pairs)?;
    for &pid in &query.pids {
        if !std::path::Path::new(&format!("/proc/{pid}")).exists() {
            return Err(NoProfile::NoProcess(pid));
        }
    }
    shared.debug.status.counters.requests.fetch_add(1, Ordering::Relaxed);
    let (length, wanted) = (query.length, query.wanted());
    let (window, errors) = shared.debug.on_demand.take(length, wanted).await?;
    for error in errors {
        tracing::warn!("a profile over HTTP: {error}");
    }
    let debug = Arc::clone(&shared.debug);
    let bytes = shared.work.run(move || make(&window, &query, &debug.about)).await??;
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (CONTENT_DISPOSITION, "attachment; filename=\"profile.pb.gz\""),
    ];
    Ok((headers, bytes).into_response())
}

/// One profile of all processes.
fn make(window: &NamedWindow, query: &Query, about: &[String]) -> Result<Vec<u8>, NoProfile> {
    let made = |error: &dyn std::fmt::Display| NoProfile::Make(error.to_string());
    let mut profile = whole(window).map_err(|error| made(&error))?;
    query.samples.apply(&mut profile);
    let mut about = about.to_vec();
    about.push(format!("window={}s", query.length.as_secs()));
    // Of what was asked for. All other ticks of the host would explain nothing.
    let mut outcomes = [0; profiler_common::outcome::OUTCOMES];
    for process in &window.profiles {
        for (sum, ticks) in outcomes.iter_mut().zip(process.outcomes) {
            *sum += ticks;
        }
    }
    build::comment(&mut profile, &about, &outcomes);
    encode(&profile).map_err(|error| made(&error))
}

/// The profiler's own command line, its words separated by zeros.
async fn cmdline() -> Response {
    let words = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    let words = words.strip_suffix(b"\0").unwrap_or(&words).to_vec();
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], words).into_response()
}

async fn symbols(State(shared): State<Shared>, uri: Uri, body: Bytes) -> Response {
    let (pid, _) = symbol::parts(uri.query().unwrap_or_default());
    symbolize(&shared, pid, &String::from_utf8_lossy(&body)).await
}

async fn symbols_by_query(State(shared): State<Shared>, uri: Uri) -> Response {
    let (pid, wanted) = symbol::parts(uri.query().unwrap_or_default());
    symbolize(&shared, pid, wanted).await
}

async fn symbolize(shared: &Shared, pid: Option<u32>, wanted: &str) -> Response {
    let addresses = symbol::addresses(wanted);
    // Whoever asks about nothing wants to know whether there are names.
    let names = match addresses.as_slice() {
        [] => Ok(Vec::new()),
        some => shared.debug.on_demand.names(pid, some.to_vec()).await,
    };
    match names {
        Ok(names) => {
            let text = symbol::answer(&addresses, &names);
            ([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
        }
        Err(refused) => NoProfile::Refused(refused).into_response(),
    }
}

async fn other() -> Response {
    failed(
        StatusCode::NOT_FOUND,
        "there is no such profile here: this profiler measures CPU time, which is at /debug/pprof/profile",
    )
}
