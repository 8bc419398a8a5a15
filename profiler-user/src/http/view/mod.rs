//! The page of `profiler view`: its files, and the reports that it asks for, as JSON.

mod answers;
mod assets;
mod profiles;
mod query;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query as Pairs, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use answers::NoAnswer;
pub use profiles::{Limits, Side};
use query::Query;

use super::work::Work;
use crate::profile::sample_index::{SampleIndexError, sample_index};
use crate::report::subject::Lens;
use crate::source::Labels;

/// What the page shows.
#[derive(Debug)]
pub struct Page {
    /// What is looked at.
    pub other: Side,
    /// What it is compared with; `None` for the same sources, of which the page then chooses two parts.
    pub base: Option<Side>,
    /// How profiles are looked at at first; what the page can change, it does.
    pub lens: Lens,
}

impl Page {
    /// Whether the page can be shown as it is asked for.
    ///
    /// # Errors
    /// The profile does not have the value that the lens asks for.
    pub fn check(&self) -> Result<(), SampleIndexError> {
        // What cannot be read now is said by the page.
        let Ok(profile) = self.other.profile(&Default::default(), Labels::Drop) else { return Ok(()) };
        sample_index(&profile, self.lens.sample_index.as_deref()).map(drop)
    }
}

#[derive(Clone)]
struct Shared {
    page: Arc<Page>,
    work: Work,
}

/// The routes of the page.
pub fn router(page: Page) -> Router {
    let shared = Shared { page: Arc::new(page), work: Work::default() };
    Router::new()
        .route("/api/about", get(about))
        .route("/api/reload", post(reload))
        .route("/api/flame", get(|shared, pairs| report(shared, pairs, Page::flame)))
        .route("/api/sandwich", get(|shared, pairs| report(shared, pairs, Page::sandwich)))
        .route("/api/top", get(|shared, pairs| report(shared, pairs, Page::top)))
        .route("/api/diff", get(|shared, pairs| report(shared, pairs, Page::diff)))
        .route("/api/graph", get(|shared, pairs| report(shared, pairs, Page::graph)))
        .route("/api/source", get(|shared, pairs| report(shared, pairs, Page::source)))
        .merge(assets::router())
        .with_state(shared)
}

async fn about(State(shared): State<Shared>) -> Response {
    answer(shared, Page::about).await
}

async fn reload(State(shared): State<Shared>) -> Response {
    answer(shared, Page::reload).await
}

async fn report(
    State(shared): State<Shared>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    make: fn(&Page, &Query) -> Result<String, NoAnswer>,
) -> Response {
    answer(shared, move |page| make(page, &Query::read(&pairs, &page.lens)?)).await
}

async fn answer(
    Shared { page, work }: Shared,
    make: impl FnOnce(&Page) -> Result<String, NoAnswer> + Send + 'static,
) -> Response {
    let json = || [(CONTENT_TYPE, "application/json")];
    let failed = |status: StatusCode, why: String| {
        (status, json(), serde_json::json!({ "error": why }).to_string()).into_response()
    };
    match work.run(move || make(&page)).await {
        Ok(Ok(text)) => (json(), text).into_response(),
        Ok(Err(error)) if error.is_wish() => failed(StatusCode::BAD_REQUEST, error.to_string()),
        Ok(Err(error)) => failed(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(error) => failed(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}
