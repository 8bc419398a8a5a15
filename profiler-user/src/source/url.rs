//! Profiles over HTTP, by the conventions of Go's net/http/pprof and of `go tool pprof`.

use std::error::Error;
use std::time::Duration;

use reqwest::{Client, Response};

use super::Problem;

/// How long a profile may take whose URL does not say for how long it runs.
const DEFAULT_SECONDS: f64 = 60.0;

/// What the answer may take longer than the profile.
const GRACE_SECONDS: f64 = 5.0;

/// The most of an error's text that is read, bytes.
const ERROR_LIMIT: usize = 4096;

/// The body behind a URL, of at most `limit` bytes.
pub(super) fn fetch(url: &str, limit: usize) -> Result<Vec<u8>, Problem> {
    let fetched = || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
        runtime.block_on(fetched(url, limit))
    };
    // On a thread of its own: whoever calls may be in an event loop.
    std::thread::scope(|scope| scope.spawn(fetched).join())
        .unwrap_or_else(|_| Err(Problem::Fetch("the request panicked; please report it".to_owned())))
}

async fn fetched(url: &str, limit: usize) -> Result<Vec<u8>, Problem> {
    // Once for the process; who was first is the same.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .timeout(timeout(url))
        .http1_only()
        .user_agent(concat!("profiler/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(failed)?;
    let response = client.get(url).send().await.map_err(failed)?;
    let status = response.status();
    if status.as_u16() == 200 {
        let body = body(response, limit).await.map_err(failed)?;
        return body.ok_or_else(|| Problem::Fetch(format!("it has more than {limit} bytes")));
    }
    // Only a pprof endpoint's text is a reason; any other server would send a page.
    let headers = response.headers();
    let is_text = headers
        .get("content-type")
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("text/plain"));
    let text = if headers.contains_key("x-go-pprof") && is_text {
        let bytes = body(response, ERROR_LIMIT).await.ok().flatten().unwrap_or_default();
        format!(": {}", String::from_utf8_lossy(&bytes).trim().replace(char::is_control, " "))
    } else {
        String::new()
    };
    Err(Problem::Status { status: status.as_u16(), text })
}

/// All of a body; `None` when it is longer than that.
async fn body(mut response: Response, limit: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    while let Some(more) = response.chunk().await? {
        if bytes.len() + more.len() > limit {
            return Ok(None);
        }
        bytes.extend_from_slice(&more);
    }
    Ok(Some(bytes))
}

/// With what caused it, and without the URL, which may hold a password.
fn failed(error: reqwest::Error) -> Problem {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    Problem::Fetch(text)
}

/// One and a half times the seconds that the URL asks for, and some for the network.
fn timeout(url: &str) -> Duration {
    let seconds = url
        .split_once('?')
        .map(|(_, query)| query.split_once('#').map_or(query, |(query, _)| query))
        .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("seconds=")))
        .and_then(|seconds| seconds.parse::<u32>().ok())
        .filter(|&seconds| seconds > 0)
        .map_or(DEFAULT_SECONDS, |seconds| f64::from(seconds) * 1.5);
    Duration::from_secs_f64(seconds + GRACE_SECONDS)
}

/// The URL without the password in its authority.
pub(super) fn without_password(url: &str) -> String {
    let shown = || {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, host) = authority.rsplit_once('@')?;
        let (name, _) = user.split_once(':')?;
        Some(format!("{scheme}://{name}@{host}{path}"))
    };
    shown().unwrap_or_else(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_as_long_as_go_tool_pprof() {
        let seconds = |url| timeout(url).as_secs_f64();
        assert_eq!(seconds("http://h/debug/pprof/profile?seconds=30"), 50.0);
        assert_eq!(seconds("http://h/debug/pprof/profile?debug=0&seconds=1#top"), 6.5);
        assert_eq!(seconds("http://h/debug/pprof/heap"), 65.0);
        assert_eq!(seconds("http://h/p?seconds=0"), 65.0);
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(without_password("http://a:b@h:1/p?x=y"), "http://a@h:1/p?x=y");
        assert_eq!(without_password("http://h/p@q:r"), "http://h/p@q:r");
    }
}
