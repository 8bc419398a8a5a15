//! What every receiver can do.

use std::future::Future;
use std::io;
use std::pin::Pin;

use super::answer::Refusal;
use super::batch::{Batch, Series};
use super::client::Sender;
use super::objects::Objects;
use super::otlp::Otlp;
use super::parca;
use super::plain::Plain;
use super::pyroscope::Pyroscope;
use super::split::Limits;
use super::target::{Kind, Protocol, Target};

/// A result that comes later.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send + 'a>>;

/// Takes profiles.
pub trait Receiver: Send + Sync {
    /// What it takes at once.
    fn limits(&self) -> Limits;

    /// Sends some series of a batch in one request, which arrives as a whole or not at all.
    fn send<'a>(&'a self, batch: &'a Batch, series: &'a [Series]) -> Sending<'a>;
}

/// The receiver of a target.
///
/// # Errors
/// A file that the target names cannot be used, or its URL is none.
pub fn receiver(target: &Target) -> io::Result<Box<dyn Receiver>> {
    let sender = || Sender::new(target);
    Ok(match target.kind {
        Kind::Pyroscope => Box::new(Pyroscope::new(&target.url, sender()?)?),
        Kind::Parca if target.protocol == Some(Protocol::Http) => {
            Box::new(parca::Gateway::new(&target.url, sender()?)?)
        }
        Kind::Parca => Box::new(parca::Grpc::new(target)?),
        Kind::Otlp => Box::new(Otlp::new(target)?),
        Kind::Http => Box::new(Plain::new(target, sender()?)?),
        Kind::S3 | Kind::Gcs | Kind::Azure | Kind::Folder => Box::new(Objects::new(target)?),
    })
}
