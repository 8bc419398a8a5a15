//! Requests over gRPC (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md): one message, one answer, by the client that all uploads
//! have. A library for it would bring a second client with a second way to trust certificates.

mod status;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use prost::Message;
use reqwest::header::HeaderMap;
use reqwest::{Body, Response};

use super::answer::{Refusal, of_status};
use super::client::{Sender, endpoint, failed, retry_after};
use super::gzip;
use super::target::{Compression, Target};
pub(super) use status::Code;
use status::Status;

/// The longest answer that is read; those of receivers are almost empty.
const ANSWER: usize = 1 << 20;

/// A flag for compression and the length, in front of each message.
const FRAME: usize = 5;

/// Messages shorter than this are sent as they are.
const WORTH_COMPRESSING: usize = 1 << 10;

/// A server.
#[derive(Debug)]
pub(super) struct Channel {
    address: String,
    sender: Sender,
    /// Until the server says that it cannot read it.
    compresses: AtomicBool,
}

impl Channel {
    /// Of a target. Nothing is asked yet.
    ///
    /// # Errors
    /// A file that the target names cannot be used, or its URL is none.
    pub(super) fn new(target: &Target) -> std::io::Result<Channel> {
        endpoint(&target.url, "")?;
        let compresses = AtomicBool::new(target.compression != Some(Compression::None));
        Ok(Channel { address: target.url.clone(), sender: Sender::over_http2(target)?, compresses })
    }

    /// Asks a method such as `/package.Service/Method`, with a message that compression makes shorter.
    ///
    /// # Errors
    /// What has not arrived, and why.
    pub(super) async fn ask<Answer: Message + Default>(
        &self,
        method: &str,
        message: &impl Message,
    ) -> Result<Answer, Refusal> {
        let plain = message.encode_to_vec();
        if !self.compresses.load(Ordering::Relaxed) || plain.len() < WORTH_COMPRESSING {
            return self.ask_with(method, Body::from(frame(0, &plain)), Form::Plain).await?.refusal();
        }
        let packed = gzip::pack(&plain)?;
        let answer = self.ask_with(method, Body::from(frame(1, &packed)), Form::Gzip).await?;
        if answer.status.code == Code::UNIMPLEMENTED && answer.status.message.contains("gzip") {
            tracing::info!("{method}: the server reads no gzip; messages are sent without");
            self.compresses.store(false, Ordering::Relaxed);
            return self.ask_with(method, Body::from(frame(0, &plain)), Form::Plain).await?.refusal();
        }
        answer.refusal()
    }

    /// Likewise, with a message that is compressed already.
    ///
    /// # Errors
    /// Likewise.
    pub(super) async fn ask_plain<Answer: Message + Default>(
        &self,
        method: &str,
        message: &impl Message,
    ) -> Result<Answer, Refusal> {
        self.ask_with(method, Body::from(frame(0, &message.encode_to_vec())), Form::Plain).await?.refusal()
    }

    /// Sends messages with what is in front of each, which may take so long.
    ///
    /// # Errors
    /// Likewise.
    pub(super) async fn send<Answer: Message + Default>(
        &self,
        method: &str,
        messages: Body,
        timeout: Duration,
    ) -> Result<Answer, Refusal> {
        self.ask_with(method, messages, Form::Stream(timeout)).await?.refusal()
    }

    async fn ask_with(&self, method: &str, body: Body, form: Form) -> Result<Answered, Refusal> {
        let url =
            endpoint(&self.address, method).map_err(|error| Refusal::Never { why: error.to_string() })?;
        let request = |client: &reqwest::Client| {
            let request = client
                .post(url)
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .header("grpc-accept-encoding", "identity")
                .body(body);
            match form {
                Form::Plain => request,
                Form::Gzip => request.header("grpc-encoding", "gzip"),
                Form::Stream(timeout) => request.timeout(timeout),
            }
        };
        Answered::read(self.sender.answer(request).await?).await
    }
}

/// What a request is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One message.
    Plain,
    /// One message that is compressed.
    Gzip,
    /// Many, which may take so long.
    Stream(Duration),
}

/// What came back.
#[derive(Debug)]
struct Answered {
    status: Status,
    bytes: Vec<u8>,
}

impl Answered {
    async fn read(response: Response) -> Result<Answered, Refusal> {
        let later = |why: &str| Refusal::Later { after: None, why: why.to_owned() };
        let http_status = response.status().as_u16();
        let after = retry_after(&response).map(str::to_owned);
        // A server that has nothing to say puts the status in front.
        let mut status = Status::of(response.headers());
        if status.is_none() && http_status != 200 {
            // Somebody on the way who does not know gRPC.
            of_status(http_status, after.as_deref(), "")?;
        }
        let mut bytes = Vec::new();
        let mut body = Body::from(response);
        while let Some(frame) = body.frame().await {
            let frame = match frame {
                Ok(frame) => frame,
                Err(_) if status.is_some() => break,
                Err(error) => return Err(failed(error)),
            };
            match frame.into_data() {
                Ok(more) if bytes.len() + more.len() > ANSWER => {
                    return Err(later(
                        "the answer is longer than any that is expected: is it a gRPC server?",
                    ));
                }
                Ok(more) => bytes.extend_from_slice(&more),
                Err(frame) => status = frame.trailers_ref().and_then(Status::of).or(status),
            }
        }
        let status = status.ok_or_else(|| later("the answer has no grpc-status: is it a gRPC server?"))?;
        Ok(Answered { status, bytes })
    }

    /// The message of an answer that says yes.
    fn refusal<Answer: Message + Default>(self) -> Result<Answer, Refusal> {
        self.status.refusal()?;
        // Who says yes has taken it, whatever else is said.
        let message = self.bytes.split_at_checked(FRAME).filter(|(head, _)| head.first() == Some(&0));
        Ok(message.and_then(|(_, message)| Answer::decode(message).ok()).unwrap_or_default())
    }
}

/// A message with what is in front of it.
pub(super) fn frame(compressed: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(FRAME + message.len());
    bytes.push(compressed);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(message);
    bytes
}

/// Header lines, as a status is read of them.
type Headers = HeaderMap;
