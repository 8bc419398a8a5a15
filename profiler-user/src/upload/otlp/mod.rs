//! OTLP profiles over HTTP or gRPC (opentelemetry-proto, in development; as of 1.10).

mod convert;
mod proto;

use std::io;

use prost::Message;
use reqwest::{Method, Url};

use super::answer::{Refusal, clean};
use super::batch::{Batch, Series};
use super::client::{Body, Sender, endpoint};
use super::grpc::Channel;
use super::gzip;
use super::receiver::{Receiver, Sending};
use super::split::Limits;
use super::target::{Compression, Protocol, Target};
use crate::profile::codec::decode;
use proto::ExportResponse;

/// Where servers take them over HTTP.
const PATH: &str = "/v1development/profiles";

/// And over gRPC.
const METHOD: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";

/// One profile in each request: a receiver that rejects some of several does not say which. Servers take 4 MiB where nobody
/// has said otherwise, and the tables are as large as pprof's.
const LIMITS: Limits = Limits { request_bytes: 4 << 20, profile_bytes: 4 << 20, series: 1 };

/// The largest profile that is read back, uncompressed bytes.
const LARGEST: usize = 256 << 20;

/// The longest message that servers of gRPC take where nobody has said otherwise.
const LONGEST: usize = 4 << 20;

/// Exports.
#[derive(Debug)]
pub(super) struct Otlp {
    way: Way,
}

/// What is spoken.
#[derive(Debug)]
enum Way {
    Http { url: Url, sender: Sender, gzip: bool },
    Grpc(Channel),
}

impl Otlp {
    pub(super) fn new(target: &Target) -> io::Result<Otlp> {
        let way = match target.protocol {
            Some(Protocol::Grpc) => Way::Grpc(Channel::new(target)?),
            Some(Protocol::Http) | None => Way::Http {
                url: endpoint(&target.url, PATH)?,
                sender: Sender::new(target)?,
                gzip: target.compression != Some(Compression::None),
            },
        };
        Ok(Otlp { way })
    }

    async fn export(&self, series: &Series) -> Result<(), Refusal> {
        let never = |why: String| Refusal::Never { why };
        let profile = decode(&series.profile, LARGEST).map_err(|error| never(error.to_string()))?;
        let request = convert::request(series, &profile);
        let answer: ExportResponse = match &self.way {
            Way::Grpc(_) if request.encoded_len() > LONGEST => {
                return Err(Refusal::TooLarge {
                    why: format!("a message of {} bytes", request.encoded_len()),
                });
            }
            Way::Grpc(channel) => channel.ask(METHOD, &request).await?,
            Way::Http { url, sender, gzip } => {
                let plain = request.encode_to_vec();
                let bytes = if *gzip { gzip::pack(&plain)? } else { plain };
                let (method, url, gzip) = (Method::POST, url.clone(), *gzip);
                let body = Body { method, url, content_type: "application/x-protobuf", bytes, gzip };
                let answer = sender.send(body).await?;
                // An answer that is none says that all was taken (OTLP 1.10, "Full Success").
                ExportResponse::decode(answer.as_slice()).unwrap_or_default()
            }
        };
        match answer.partial_success {
            Some(partial) if partial.rejected_profiles > 0 => {
                Err(never(format!("rejected: {}", clean(&partial.error_message))))
            }
            Some(partial) if !partial.error_message.is_empty() => {
                tracing::warn!("a profile was taken with a warning: {}", clean(&partial.error_message));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Receiver for Otlp {
    fn limits(&self) -> Limits {
        LIMITS
    }

    fn send<'a>(&'a self, _batch: &'a Batch, series: &'a [Series]) -> Sending<'a> {
        Box::pin(async move {
            for series in series {
                self.export(series).await?;
            }
            Ok(())
        })
    }
}
