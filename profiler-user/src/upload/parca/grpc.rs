//! `WriteRaw` over gRPC.

use std::io;

use prost::Message;

use super::super::batch::{Batch, Pair, Series};
use super::super::grpc::Channel;
use super::super::receiver::{Receiver, Sending};
use super::super::split::Limits;
use super::super::target::Target;

const METHOD: &str = "/parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw";

/// WriteRawRequest.
#[derive(Clone, PartialEq, Message)]
struct Write {
    #[prost(message, repeated, tag = "2")]
    series: Vec<RawSeries>,
}

/// RawProfileSeries.
#[derive(Clone, PartialEq, Message)]
struct RawSeries {
    #[prost(message, optional, tag = "1")]
    labels: Option<LabelSet>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<RawSample>,
}

/// LabelSet.
#[derive(Clone, PartialEq, Message)]
struct LabelSet {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Pair>,
}

/// RawSample.
#[derive(Clone, PartialEq, Message)]
struct RawSample {
    #[prost(bytes = "vec", tag = "1")]
    raw_profile: Vec<u8>,
}

/// WriteRawResponse.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Written {}

/// Writes.
#[derive(Debug)]
pub(in crate::upload) struct Grpc {
    channel: Channel,
}

impl Grpc {
    pub(in crate::upload) fn new(target: &Target) -> io::Result<Grpc> {
        Ok(Grpc { channel: Channel::new(target)? })
    }
}

impl Receiver for Grpc {
    fn limits(&self) -> Limits {
        super::LIMITS
    }

    fn send<'a>(&'a self, _batch: &'a Batch, series: &'a [Series]) -> Sending<'a> {
        let raw = |series: &Series| RawSeries {
            labels: Some(LabelSet { labels: super::labels(series) }),
            samples: vec![RawSample { raw_profile: series.profile.clone() }],
        };
        let write = Write { series: series.iter().map(raw).collect() };
        // Profiles are gzip already.
        Box::pin(async move { self.channel.ask_plain::<Written>(METHOD, &write).await.map(drop) })
    }
}
