//! Parca's DebuginfoService (github.com/parca-dev/parca, proto/parca/debuginfo/v1alpha1/debuginfo.proto): asked whether it
//! wants a file, then where to, then sent, by gRPC or to an address of an object store, then told that this is all.

use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use prost::{Message, Oneof};

use super::super::answer::{Refusal, of_status};
use super::super::batch::{CHECKSUM_OF_NOTHING, continued};
use super::super::client::failed;
use super::super::grpc::{Channel, frame};
use super::super::target::Target;
use super::body::body;
use super::elf;
use super::find::Candidate;

/// How long a file may take.
const TIMEOUT: Duration = Duration::from_secs(900);

/// Its methods begin with this.
const SERVICE: &str = "/parca.debuginfo.v1alpha1.DebuginfoService";

#[derive(Clone, PartialEq, Eq, Message)]
struct ShouldInitiateUpload {
    #[prost(string, tag = "1")]
    build_id: String,
    #[prost(string, tag = "2")]
    hash: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Should {
    #[prost(bool, tag = "1")]
    should_initiate_upload: bool,
    #[prost(string, tag = "2")]
    reason: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct InitiateUpload {
    #[prost(string, tag = "1")]
    build_id: String,
    #[prost(int64, tag = "2")]
    size: i64,
    #[prost(string, tag = "3")]
    hash: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Initiated {
    #[prost(message, optional, tag = "1")]
    instructions: Option<Instructions>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Instructions {
    #[prost(string, tag = "1")]
    build_id: String,
    #[prost(string, tag = "2")]
    upload_id: String,
    /// 1: by the method Upload, 2: by PUT.
    #[prost(int32, tag = "3")]
    strategy: i32,
    #[prost(string, tag = "4")]
    signed_url: String,
}

/// UploadRequest: its information first, then its bytes.
#[derive(Clone, PartialEq, Eq, Message)]
struct Upload {
    #[prost(oneof = "Data", tags = "1, 2")]
    data: Option<Data>,
}

#[derive(Clone, PartialEq, Eq, Oneof)]
enum Data {
    #[prost(message, tag = "1")]
    Info(Id),
    #[prost(bytes, tag = "2")]
    Chunk(Vec<u8>),
}

/// UploadInfo, and MarkUploadFinishedRequest.
#[derive(Clone, PartialEq, Eq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    build_id: String,
    #[prost(string, tag = "2")]
    upload_id: String,
}

/// An answer whose fields nobody needs.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Done {}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    Sent,
    NotWanted,
    Useless,
    TooLarge,
}

/// Offers files.
#[derive(Debug)]
pub(in crate::upload) struct Service {
    channel: Channel,
    /// For addresses that are signed: they are of another server, which must not see our token.
    plain: reqwest::Client,
}

impl Service {
    pub(super) fn new(target: &Target) -> io::Result<Service> {
        let channel = Channel::new(target)?;
        let plain = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(io::Error::other)?;
        Ok(Service { channel, plain })
    }

    /// Offers a file of at most so many bytes.
    pub(super) async fn offer(&self, candidate: Candidate, most: u64) -> Result<Offered, Refusal> {
        let Candidate { build_id, file, .. } = candidate;
        let never = |error: io::Error| Refusal::Never { why: error.to_string() };
        let size = file.metadata().map_err(never)?.len();
        if !elf::has_names(&file, &build_id) {
            return Ok(Offered::Useless);
        }
        if size > most {
            return Ok(Offered::TooLarge);
        }
        let hash = hash(&file, size).map_err(never)?;
        let should = ShouldInitiateUpload { build_id: build_id.clone(), hash: hash.clone() };
        let should: Should = self.ask("ShouldInitiateUpload", &should).await?;
        if !should.should_initiate_upload {
            tracing::debug!("symbols of {build_id} are not wanted: {}", should.reason);
            return Ok(Offered::NotWanted);
        }
        let size_there = i64::try_from(size).unwrap_or(i64::MAX);
        let initiate = InitiateUpload { build_id: build_id.clone(), size: size_there, hash };
        let initiated: Initiated = self.ask("InitiateUpload", &initiate).await?;
        let instructions = initiated.instructions.unwrap_or_default();
        let id = Id { build_id, upload_id: instructions.upload_id.clone() };
        match instructions.strategy {
            1 => {
                let info = Upload { data: Some(Data::Info(id.clone())) };
                let head = Some(frame(0, &info.encode_to_vec()));
                let body = body(file, size, head, |chunk| {
                    frame(0, &Upload { data: Some(Data::Chunk(chunk.to_vec())) }.encode_to_vec())
                });
                self.channel.send::<Done>(&format!("{SERVICE}/Upload"), body, TIMEOUT).await?;
            }
            2 => self.put(&instructions.signed_url, file, size).await?,
            other => {
                return Err(Refusal::Never { why: format!("there is no way {other} to upload a file") });
            }
        }
        self.ask::<Done>("MarkUploadFinished", &id).await?;
        Ok(Offered::Sent)
    }

    async fn ask<Answer: Message + Default>(
        &self,
        method: &str,
        message: &impl Message,
    ) -> Result<Answer, Refusal> {
        self.channel.ask_plain(&format!("{SERVICE}/{method}"), message).await
    }

    async fn put(&self, url: &str, file: std::fs::File, size: u64) -> Result<(), Refusal> {
        let request = self.plain.put(url).header("content-length", size);
        let answer = request.body(body(file, size, None, <[u8]>::to_vec)).send().await.map_err(failed)?;
        of_status(answer.status().as_u16(), None, "")
    }
}

/// A checksum of a file, for the receiver to tell one that was damaged from others.
fn hash(file: &std::fs::File, size: u64) -> io::Result<String> {
    let (mut sum, mut at, mut chunk) = (CHECKSUM_OF_NOTHING, 0, vec![0; 64 << 10]);
    while at < size {
        let count = file.read_at(&mut chunk, at)?;
        if count == 0 {
            return Err(io::Error::other("the file became shorter"));
        }
        sum = continued(sum, chunk.get(..count).unwrap_or_default());
        at += count as u64;
    }
    Ok(format!("{sum:016x}"))
}
