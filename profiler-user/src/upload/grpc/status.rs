//! What a gRPC status means for what was sent.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use prost::Message;

use super::super::answer::{LONGEST_WAIT, Refusal, clean};
use super::Headers;

/// A status code (github.com/grpc/grpc, doc/statuscodes.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upload) struct Code(u32);

impl Code {
    const OK: Code = Code(0);
    const CANCELLED: Code = Code(1);
    const DEADLINE_EXCEEDED: Code = Code(4);
    const NOT_FOUND: Code = Code(5);
    const ALREADY_EXISTS: Code = Code(6);
    const PERMISSION_DENIED: Code = Code(7);
    const RESOURCE_EXHAUSTED: Code = Code(8);
    const ABORTED: Code = Code(10);
    const OUT_OF_RANGE: Code = Code(11);
    pub(in crate::upload) const UNIMPLEMENTED: Code = Code(12);
    const UNAVAILABLE: Code = Code(14);
    const DATA_LOSS: Code = Code(15);
    const UNAUTHENTICATED: Code = Code(16);
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) code: Code,
    pub(super) message: String,
    /// What the server asked to wait.
    after: Option<Duration>,
}

/// google.rpc.Status.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// google.protobuf.Any.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// google.rpc.RetryInfo.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

/// google.protobuf.Duration.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Status {
    /// Of header lines or trailers; `None` where they have none.
    pub(super) fn of(headers: &Headers) -> Option<Status> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let code = text("grpc-status")?.trim().parse().ok()?;
        let message = clean(&percent_decoded(text("grpc-message").unwrap_or_default()));
        let details = text("grpc-status-details-bin").and_then(decoded);
        let after = details.as_deref().and_then(retry_info).map(|delay| delay.min(LONGEST_WAIT));
        Some(Status { code: Code(code), message, after })
    }

    /// The classes of the OTLP specification ("Failures"), with three exceptions: what is forbidden or not there somebody
    /// will mend; what is there already has arrived; and what is too large arrives in pieces.
    pub(super) fn refusal(&self) -> Result<(), Refusal> {
        let why = format!("gRPC status {}: {}", self.code.0, self.message);
        let later = |after| Err(Refusal::Later { after, why: why.clone() });
        match self.code {
            Code::OK | Code::ALREADY_EXISTS => Ok(()),
            Code::CANCELLED
            | Code::DEADLINE_EXCEEDED
            | Code::ABORTED
            | Code::OUT_OF_RANGE
            | Code::UNAVAILABLE
            | Code::DATA_LOSS => later(self.after),
            // grpc-go: "received message larger than max (5 vs. 4)"; others: "message length too large".
            Code::RESOURCE_EXHAUSTED if self.after.is_none() && self.message.contains("larg") => {
                Err(Refusal::TooLarge { why })
            }
            Code::RESOURCE_EXHAUSTED => later(self.after),
            Code::NOT_FOUND | Code::PERMISSION_DENIED | Code::UNIMPLEMENTED | Code::UNAUTHENTICATED => {
                later(self.after)
            }
            _ => Err(Refusal::Never { why }),
        }
    }
}

/// Binary header lines are base64, with or without padding.
fn decoded(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text).or_else(|_| STANDARD.decode(text)).ok()
}

fn retry_info(details: &[u8]) -> Option<Duration> {
    let details = Details::decode(details).ok()?.details;
    let info = details.into_iter().find(|any| any.kind.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.delay?;
    Some(Duration::new(delay.seconds.try_into().ok()?, delay.nanos.try_into().ok()?))
}

/// `grpc-message` has bytes that are not printable as `%0A`.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&'static str, &str)]) -> Option<Status> {
        Status::of(
            &lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
        )
    }

    fn refusal(code: &str, message: &str) -> Result<(), Refusal> {
        of(&[("grpc-status", code), ("grpc-message", message)]).unwrap().refusal()
    }

    #[test]
    fn every_class() {
        let class = |code: u32, message: &str| match refusal(&code.to_string(), message) {
            Ok(()) => "taken",
            Err(Refusal::Later { .. }) => "later",
            Err(Refusal::TooLarge { .. }) => "too large",
            Err(Refusal::Never { .. }) => "never",
        };
        for (codes, wanted) in [
            (&[0, 6][..], "taken"),
            (&[1, 4, 5, 7, 8, 10, 11, 12, 14, 15, 16], "later"),
            (&[2, 3, 9, 13, 99], "never"),
        ] {
            for &code in codes {
                assert_eq!(class(code, "no"), wanted, "{code}");
            }
        }
        assert_eq!(class(8, "grpc: received message larger than max (5 vs. 4)"), "too large");
        assert_eq!(of(&[("content-type", "text/html")]), None);
        assert_eq!(of(&[("grpc-status", "x")]), None);
    }

    #[test]
    fn waits_as_long_as_it_is_told() {
        let info = RetryInfo { delay: Some(Delay { seconds: 7, nanos: 500_000_000 }) };
        let kind = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
        let details = Details { details: vec![Any { kind, value: info.encode_to_vec() }] }.encode_to_vec();
        for text in [STANDARD_NO_PAD.encode(&details), STANDARD.encode(&details)] {
            let status = of(&[
                ("grpc-status", "8"),
                ("grpc-message", "slow%0Adown%"),
                ("grpc-status-details-bin", &text),
            ]);
            let after = Some(Duration::from_millis(7500));
            let why = "gRPC status 8: slow down%".to_owned();
            assert_eq!(status.unwrap().refusal(), Err(Refusal::Later { after, why }));
        }
    }
}
