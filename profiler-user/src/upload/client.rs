//! Requests to a receiver: encryption, who we are, and a time limit.

use std::io;
use std::path::Path;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, Url};

use super::answer::{Refusal, of_status};
use super::target::Target;
use super::tls::{Connector, Http, named};
use crate::secret::SecretFile;

/// How much of an answer is read, bytes.
const ANSWER: usize = 64 << 10;

/// Sends bodies to a receiver.
#[derive(Debug)]
pub struct Sender {
    connector: Connector,
    headers: HeaderMap,
    token: Option<SecretFile>,
    user: Option<(String, SecretFile)>,
}

/// What is sent.
#[derive(Debug)]
pub struct Body {
    /// How.
    pub method: Method,
    /// Where.
    pub url: Url,
    /// What it is.
    pub content_type: &'static str,
    /// It.
    pub bytes: Vec<u8>,
    /// Whether it is gzip of what it is.
    pub gzip: bool,
}

/// Where a receiver takes something: a path below its address.
///
/// # Errors
/// The address is none.
pub fn endpoint(address: &str, path: &str) -> io::Result<Url> {
    let url = format!("{}{path}", address.trim_end_matches('/'));
    Url::parse(&url).map_err(|error| io::Error::other(format!("the url {url:?}: {error}")))
}

impl Sender {
    /// For a target.
    ///
    /// # Errors
    /// A file that the target names cannot be used; the error names it.
    pub fn new(target: &Target) -> io::Result<Sender> {
        Self::speaking(target, Http::One)
    }

    /// Likewise, over HTTP/2 alone.
    ///
    /// # Errors
    /// Likewise.
    pub(super) fn over_http2(target: &Target) -> io::Result<Sender> {
        Self::speaking(target, Http::Two)
    }

    fn speaking(target: &Target, http: Http) -> io::Result<Sender> {
        let secret = |path: &Path| SecretFile::open(path).map_err(|error| named(path, &error));
        let user = match (&target.user, &target.password_file) {
            (Some(user), Some(path)) => Some((user.clone(), secret(path)?)),
            _ => None,
        };
        let mut headers = HeaderMap::new();
        let tenant = target.tenant.iter().map(|tenant| ("x-scope-orgid", tenant.as_str()));
        let others = target.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in tenant.chain(others) {
            let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
            let (name, value) =
                header.ok_or_else(|| io::Error::other(format!("{name:?} is no header line")))?;
            headers.insert(name, value);
        }
        Ok(Sender {
            connector: Connector::new(target, http)?,
            headers,
            token: target.token_file.as_deref().map(secret).transpose()?,
            user,
        })
    }

    /// Sends, and gives the answer's body.
    ///
    /// # Errors
    /// What has not arrived, and why.
    pub async fn send(&self, body: Body) -> Result<Vec<u8>, Refusal> {
        let Body { method, url, content_type, bytes, gzip } = body;
        let request = |client: &Client| {
            let request = client.request(method, url).header("content-type", content_type).body(bytes);
            if gzip { request.header("content-encoding", "gzip") } else { request }
        };
        let mut answer = self.answer(request).await?;
        let after = retry_after(&answer).map(str::to_owned);
        let status = answer.status().as_u16();
        let mut text = Vec::new();
        while text.len() < ANSWER {
            match answer.chunk().await {
                Ok(Some(bytes)) => text.extend_from_slice(&bytes),
                Ok(None) => break,
                // What it was is known from the status.
                Err(_) if status >= 300 => break,
                Err(error) => return Err(failed(error)),
            }
        }
        of_status(status, after.as_deref(), &String::from_utf8_lossy(&text)).map(|()| text)
    }

    /// Sends a request with the header lines of the target, and gives the answer's beginning, whatever it is.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn answer(
        &self,
        request: impl FnOnce(&Client) -> RequestBuilder,
    ) -> Result<Response, Refusal> {
        let later = |error: io::Error| Refusal::Later { after: None, why: error.to_string() };
        let mut request = request(&self.connector.client()).headers(self.headers.clone());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.read().map_err(later)?);
        }
        if let Some((user, password)) = &self.user {
            request = request.basic_auth(user, Some(password.read().map_err(later)?));
        }
        request.send().await.map_err(failed)
    }
}

/// When the receiver wants to be asked again.
pub(super) fn retry_after(answer: &Response) -> Option<&str> {
    answer.headers().get(RETRY_AFTER)?.to_str().ok()
}

/// A request that had no answer may have one later.
pub(super) fn failed(error: reqwest::Error) -> Refusal {
    // Without the URL, which may hold a password.
    Refusal::Later { after: None, why: causes(&error.without_url()) }
}

/// An error with what caused it: the first one alone says "error sending request".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
