//! Grafana Pyroscope's Push service, by Connect (<https://connectrpc.com/docs/protocol>, unary requests):
//! `push.v1.PusherService/Push` of github.com/grafana/pyroscope, api/push/v1/push.proto.

use std::io;

use prost::Message;
use reqwest::{Method, Url};

use super::batch::{Batch, Pair, Series};
use super::client::{Body, Sender, endpoint};
use super::receiver::{Receiver, Sending};
use super::split::Limits;

/// What Pyroscope takes by default: 4 MiB of an uncompressed profile, and a burst of 2 MB, which is a rate's and no limit of a
/// request. Fewer bytes at once come through sooner.
const LIMITS: Limits = Limits { request_bytes: 2 << 20, profile_bytes: 4 << 20, series: 200 };

/// What CPU profiles are called there.
const NAME: &str = "process_cpu";

/// PushRequest.
#[derive(Clone, PartialEq, Message)]
struct Push {
    #[prost(message, repeated, tag = "1")]
    series: Vec<RawSeries>,
}

/// RawProfileSeries.
#[derive(Clone, PartialEq, Message)]
struct RawSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Pair>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<RawSample>,
}

/// RawSample.
#[derive(Clone, PartialEq, Message)]
struct RawSample {
    #[prost(bytes = "vec", tag = "1")]
    raw_profile: Vec<u8>,
    #[prost(string, tag = "2")]
    id: String,
}

/// Pushes.
#[derive(Debug)]
pub(super) struct Pyroscope {
    url: Url,
    sender: Sender,
}

impl Pyroscope {
    pub(super) fn new(url: &str, sender: Sender) -> io::Result<Pyroscope> {
        let url = endpoint(url, "/push.v1.PusherService/Push")?;
        Ok(Pyroscope { url, sender })
    }
}

impl Receiver for Pyroscope {
    fn limits(&self) -> Limits {
        LIMITS
    }

    fn send<'a>(&'a self, _batch: &'a Batch, series: &'a [Series]) -> Sending<'a> {
        let push = Push { series: series.iter().map(raw).collect() };
        let body = Body {
            method: Method::POST,
            url: self.url.clone(),
            content_type: "application/proto",
            bytes: push.encode_to_vec(),
            gzip: false,
        };
        Box::pin(async move { self.sender.send(body).await.map(drop) })
    }
}

fn raw(series: &Series) -> RawSeries {
    let mut labels: Vec<Pair> = series
        .labels
        .iter()
        .map(|pair| Pair { name: name(&pair.name).to_owned(), value: pair.value.clone() })
        .collect();
    let mut add =
        |name: &str, value: &str| labels.push(Pair { name: name.to_owned(), value: value.to_owned() });
    add("__name__", NAME);
    if series.label("service").is_none() {
        // It must be there; this is what Pyroscope itself puts in its place.
        add("service_name", "unknown_service");
    }
    labels.sort();
    RawSeries { labels, samples: vec![RawSample { raw_profile: series.profile.clone(), id: series.uuid() }] }
}

/// A label's name there.
fn name(ours: &str) -> &str {
    match ours {
        "service" => "service_name",
        "host" => "hostname",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::tests::batch;
    use super::*;

    #[test]
    fn labels_have_the_names_that_are_wanted_there() {
        let names = |series: &Series| -> Vec<(String, String)> {
            raw(series).labels.into_iter().map(|pair| (pair.name, pair.value)).collect()
        };
        let one = batch(1, &["shop"]).series.remove(0);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(names(&one), [pair("__name__", "process_cpu"), pair("service_name", "shop")]);
        let nobody = Series { labels: vec![Pair { name: "host".to_owned(), value: "h".to_owned() }], ..one };
        let wanted =
            [pair("__name__", "process_cpu"), pair("hostname", "h"), pair("service_name", "unknown_service")];
        assert_eq!(names(&nobody), wanted);
    }
}
