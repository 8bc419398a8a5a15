//! Anything that takes pprof files by POST or PUT: one request for each series, at a URL that tells what it is.

use std::io;

use reqwest::{Method, Url};

use super::address::{encoded, fill};
use super::batch::{Batch, Series};
use super::client::{Body, Sender};
use super::receiver::{Receiver, Sending};
use super::split::Limits;
use super::target::{self, Target};

/// No limits but sense.
const LIMITS: Limits = Limits { request_bytes: 64 << 20, profile_bytes: 256 << 20, series: 1 };

/// Posts or puts.
#[derive(Debug)]
pub(super) struct Plain {
    url: String,
    method: Method,
    sender: Sender,
}

impl Plain {
    pub(super) fn new(target: &Target, sender: Sender) -> io::Result<Plain> {
        let method = match target.method {
            target::Method::Post => Method::POST,
            target::Method::Put => Method::PUT,
        };
        let plain = Plain { url: target.url.clone(), method, sender };
        // Whatever is put in for the names, it is a URL or not.
        plain.address(&Batch::default(), &Series::default())?;
        Ok(plain)
    }

    fn address(&self, batch: &Batch, series: &Series) -> io::Result<Url> {
        let address = fill(&self.url, batch, series, encoded);
        Url::parse(&address).map_err(|error| io::Error::other(format!("the url {address:?}: {error}")))
    }
}

impl Receiver for Plain {
    fn limits(&self) -> Limits {
        LIMITS
    }

    fn send<'a>(&'a self, batch: &'a Batch, series: &'a [Series]) -> Sending<'a> {
        Box::pin(async move {
            for series in series {
                let url = self
                    .address(batch, series)
                    .map_err(|error| super::answer::Refusal::Never { why: error.to_string() })?;
                let bytes = series.profile.clone();
                let body = Body {
                    method: self.method.clone(),
                    url,
                    content_type: "application/octet-stream",
                    bytes,
                    gzip: false,
                };
                self.sender.send(body).await?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::tests::batch;
    use super::*;

    #[test]
    fn the_address_tells_what_it_is() {
        let of = |url: &str, service: &str| {
            let target: Target = format!(r#"kind = "http", url = "{url}""#).parse().unwrap();
            let plain = Plain::new(&target, Sender::new(&target).unwrap()).unwrap();
            let batch = batch(1_700_000_000_000_000_000, &[service]);
            plain.address(&batch, &batch.series[0]).unwrap().to_string()
        };
        assert_eq!(
            of("http://h/{service}/{start}?s={seconds}&pod={pod}", "shop"),
            "http://h/shop/20231114T221320Z?s=60&pod=none"
        );
        assert_eq!(of("http://h/a/{service}/b", "../../etc"), "http://h/a/..%2F..%2Fetc/b");
        assert_eq!(of("http://h/{service}", "a b&c=d"), "http://h/a%20b%26c%3Dd");
        assert_eq!(of("http://h/{", "x"), "http://h/%7B", "no name");
    }
}
