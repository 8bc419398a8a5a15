//! Who may ask, and what browsers are told about the answers.
//!
//! Where there is a token, it is all that counts: as `Authorization: Bearer TOKEN`, or as the password of basic
//! authentication (`https://any:TOKEN@host/…`), which is what `go tool pprof` can send. Only probes of health go without.
//!
//! A page of some other site cannot read our answers, for their origins differ; unless its name is made to point to this
//! address (DNS rebinding). Then the browser sends that name as `Host`, which is refused.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::listen::Address;
use crate::secret::{SecretFile, equal};

/// What orchestrators ask without a token; the answers tell nothing.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// Nothing from elsewhere, no inline script, no plug-in, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Whom a server answers.
#[derive(Debug)]
pub struct Guard {
    hosts: Hosts,
    token: Option<SecretFile>,
}

impl Guard {
    /// For a server at this address; with a token, for those who know it.
    #[must_use]
    pub fn new(address: &Address, token: Option<SecretFile>) -> Guard {
        Guard { hosts: Hosts::of(address), token }
    }
}

/// The names by which a server may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// Whether only this machine can reach it.
    loopback: bool,
    /// The machine's own name, where others can reach it.
    own: Option<String>,
}

impl Hosts {
    /// For a server at this address.
    #[must_use]
    pub fn of(address: &Address) -> Hosts {
        let loopback = address.is_local();
        let name = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let own = if loopback { None } else { name().map(|name| name.trim().to_ascii_lowercase()) };
        Hosts { loopback, own: own.filter(|name| !name.is_empty()) }
    }

    /// Whether a `Host` header is of this server. Any port will do, for a tunnel has another one; and a name that is an
    /// address cannot be made to point elsewhere.
    #[must_use]
    pub fn allow(&self, host: &str) -> bool {
        let name = without_port(host).to_ascii_lowercase();
        let address: Option<IpAddr> = name.trim_start_matches('[').trim_end_matches(']').parse().ok();
        match address {
            Some(address) => address.is_loopback() || !self.loopback,
            None => name == "localhost" || self.own.as_deref() == Some(name.as_str()),
        }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !is_bare_v6(host) => name,
        _ => host,
    }
}

fn is_bare_v6(host: &str) -> bool {
    !host.starts_with('[') && host.matches(':').count() > 1
}

/// Refuses who may not ask, and adds the headers that keep a page to itself.
pub async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let (headers, path) = (request.headers(), request.uri().path());
    let refused = match &guard.token {
        Some(_) if PROBES.contains(&path) => None,
        Some(token) if knows(token, headers) => None,
        Some(_) => Some((StatusCode::UNAUTHORIZED, UNKNOWN)),
        None => refusal(&guard.hosts, headers, path).map(|why| (StatusCode::FORBIDDEN, why)),
    };
    let mut response = match refused {
        Some(refused) => {
            let mut response = refused.into_response();
            let headers = response.headers_mut();
            headers.insert(HeaderName::from_static("x-go-pprof"), HeaderValue::from_static("1"));
            if refused.0 == StatusCode::UNAUTHORIZED {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"profiler\""));
            }
            response
        }
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 6] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

const UNKNOWN: &str = "profiler: this server wants a token: send `Authorization: Bearer TOKEN`, or ask for \
                       https://any:TOKEN@host/…\n";

/// Whether a request carries the token.
fn knows(token: &SecretFile, headers: &HeaderMap) -> bool {
    let Ok(token) = token.read() else { return false };
    let sent = headers.get(AUTHORIZATION).and_then(|sent| sent.to_str().ok()).unwrap_or_default();
    let (scheme, sent) = sent.split_once(' ').unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") {
        return equal(sent.trim(), &token);
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return false;
    }
    let decoded = STANDARD.decode(sent.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded
        .as_deref()
        .and_then(|pair| pair.split_once(':'))
        .is_some_and(|(_, password)| equal(password, &token))
}

/// Why a request is not answered.
fn refusal(hosts: &Hosts, headers: &HeaderMap, path: &str) -> Option<&'static str> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let Some(host) = text(HOST).filter(|host| hosts.allow(host)) else {
        return Some(
            "profiler: this server answers to localhost and addresses only: open it by the address that it printed\n",
        );
    };
    let foreign = |origin: &str| origin.strip_prefix("http://") != Some(host);
    if text(ORIGIN).is_some_and(foreign) {
        return Some("profiler: pages of other origins are not answered\n");
    }
    // A link from elsewhere may lead to the page, but nothing else may be embedded or fetched.
    let site = text(HeaderName::from_static("sec-fetch-site"));
    if path != "/" && site.is_some_and(|site| !["same-origin", "none"].contains(&site)) {
        return Some("profiler: pages of other sites are not answered\n");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_rebound_are_refused() {
        let local = Hosts { loopback: true, own: None };
        for host in ["127.0.0.1:80", "localhost", "LOCALHOST:9", "[::1]:80", "127.1.2.3"] {
            assert!(local.allow(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:80",
            "localhost.evil.example",
            "10.0.0.1",
            "",
            "127.0.0.1.x",
            ":80",
        ] {
            assert!(!local.allow(host), "{host}");
        }
        let open = Hosts { loopback: false, own: Some("box".to_owned()) };
        for (host, allowed) in
            [("10.0.0.1:80", true), ("[fe80::1]:80", true), ("box:80", true), ("evil.example", false)]
        {
            assert_eq!(open.allow(host), allowed, "{host}");
        }
    }

    #[test]
    fn a_token_is_known_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "s3cret:x\n").unwrap();
        let token = SecretFile::open(&path).unwrap();
        let knows = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            knows(&token, &headers)
        };
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        for right in ["Bearer s3cret:x", "bearer  s3cret:x", &basic("any:s3cret:x"), &basic(":s3cret:x")] {
            assert!(knows(right), "{right}");
        }
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer s3cret",
            "s3cret:x",
            "Basic !",
            &basic("s3cret:x"),
            &basic("a:b"),
        ] {
            assert!(!knows(wrong), "{wrong}");
        }
        assert!(!super::knows(&token, &HeaderMap::new()));
    }

    #[test]
    fn other_origins_and_sites_are_refused() {
        let hosts = Hosts { loopback: true, own: None };
        let refused = |pairs: &[(&'static str, &str)], path: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_str(value).unwrap());
            }
            refusal(&hosts, &headers, path).is_some()
        };
        let host = ("host", "127.0.0.1:80");
        assert!(refused(&[], "/"), "no host");
        assert!(!refused(&[host], "/api/top"), "curl");
        assert!(!refused(&[host, ("origin", "http://127.0.0.1:80")], "/api/top"));
        for origin in ["http://evil.example", "http://127.0.0.1:81", "https://127.0.0.1:80", "null"] {
            assert!(refused(&[host, ("origin", origin)], "/api/top"), "{origin}");
        }
        assert!(!refused(&[host, ("sec-fetch-site", "cross-site")], "/"), "a link to the page");
        assert!(refused(&[host, ("sec-fetch-site", "cross-site")], "/api/top"));
        assert!(refused(&[host, ("sec-fetch-site", "same-site")], "/api/top"), "another port");
        assert!(!refused(&[host, ("sec-fetch-site", "same-origin")], "/api/top"));
    }
}
