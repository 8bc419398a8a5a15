//! `WriteRaw` by the gateway: `POST /api/profiles/writeraw` with JSON.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::super::answer::Refusal;
use super::super::batch::{Batch, Pair, Series};
use super::super::client::{Body, Sender, endpoint};
use super::super::receiver::{Receiver, Sending};
use super::super::split::Limits;

/// Writes.
#[derive(Debug)]
pub(in crate::upload) struct Gateway {
    url: Url,
    sender: Sender,
}

impl Gateway {
    pub(in crate::upload) fn new(url: &str, sender: Sender) -> io::Result<Gateway> {
        let url = endpoint(url, "/api/profiles/writeraw")?;
        Ok(Gateway { url, sender })
    }
}

impl Receiver for Gateway {
    fn limits(&self) -> Limits {
        super::LIMITS
    }

    fn send<'a>(&'a self, _batch: &'a Batch, series: &'a [Series]) -> Sending<'a> {
        Box::pin(async move {
            let request = json!({ "series": series.iter().map(raw).collect::<Vec<_>>() });
            let bytes =
                serde_json::to_vec(&request).map_err(|error| Refusal::Never { why: error.to_string() })?;
            let url = self.url.clone();
            let body =
                Body { method: Method::POST, url, content_type: "application/json", bytes, gzip: false };
            self.sender.send(body).await.map(drop)
        })
    }
}

fn raw(series: &Series) -> Value {
    let label = |pair: Pair| json!({ "name": pair.name, "value": pair.value });
    let labels: Vec<Value> = super::labels(series).into_iter().map(label).collect();
    json!({ "labels": { "labels": labels }, "samples": [{ "rawProfile": STANDARD.encode(&series.profile) }] })
}

#[cfg(test)]
mod tests {
    use super::super::super::batch::tests::batch;
    use super::*;

    #[test]
    fn a_series() {
        let mut one = batch(1, &["shop"]).series.remove(0);
        one.labels.push(Pair { name: "host".to_owned(), value: "h".to_owned() });
        one.profile = b"abc".to_vec();
        let wanted = r#"{"labels":{"labels":[{"name":"__name__","value":"process_cpu"},{"name":"service","value":"shop"},{"name":"node","value":"h"}]},"samples":[{"rawProfile":"YWJj"}]}"#;
        assert_eq!(raw(&one), serde_json::from_str::<Value>(wanted).unwrap());
    }
}
