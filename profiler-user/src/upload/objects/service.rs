//! How object_store's requests travel: by the client that all uploads have, with its certificates and time limit.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use reqwest::{Body, Request, Url};

use super::super::answer::{clean, wait};
use super::super::client::retry_after;
use super::super::tls::Connector;

/// The longest answer that is read: tokens and errors are some kilobytes.
const ANSWER: usize = 1 << 20;

/// Sends requests.
#[derive(Clone, Debug)]
pub(super) struct Service {
    connector: Arc<Connector>,
    /// What the last answer asked to wait: object_store's errors do not tell.
    retry_after: Arc<Mutex<Option<Duration>>>,
}

impl Service {
    pub(super) fn new(connector: Connector) -> Service {
        Service { connector: Arc::new(connector), retry_after: Arc::default() }
    }

    /// What the last answer asked to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, duration: Option<Duration>) {
        *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner) = duration;
    }
}

impl HttpConnector for Service {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.wait(None);
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string())
            .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let mut own = Request::new(parts.method, url);
        *own.headers_mut() = parts.headers;
        *own.body_mut() = Some(Body::wrap(body));
        let broken = |error: reqwest::Error| HttpError::new(HttpErrorKind::Request, error.without_url());
        let mut answer = self.connector.client().execute(own).await.map_err(broken)?;
        self.wait(wait(retry_after(&answer)));
        let mut bytes = Vec::new();
        while let Some(more) = answer.chunk().await.map_err(broken)? {
            if bytes.len() + more.len() > ANSWER {
                let why = std::io::Error::other("the answer is longer than an object store's");
                return Err(HttpError::new(HttpErrorKind::Decode, why));
            }
            bytes.extend_from_slice(&more);
        }
        let mut response = HttpResponse::new(bytes.into());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        Ok(response)
    }
}

/// An error with what caused it, on one line.
pub(super) fn sentence(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Most errors of object_store say what caused them themselves.
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(&format!(": {more}"));
        }
        cause = error.source();
    }
    clean(&text)
}
