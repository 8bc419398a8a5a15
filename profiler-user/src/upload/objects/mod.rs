//! Object storage: S3, Google Cloud Storage, Azure, and folders, by the object_store crate.
//!
//! A host writes one object for each window (or interval), for requests cost money and a fleet has many hosts:
//! `<prefix>/<YYYY-MM-DD>/<HHMMSS>Z/<host>-<id>.cpu.pb.gz`. That is how the agent's own folder looks, so that what was
//! copied from a bucket is read like one. The id is a hash of host, boot, target and window: no two objects have the same
//! key, and what is sent again replaces itself.

mod credentials;
mod service;
mod store;

use std::io;

pub(super) use store::folder;

use object_store::path::{Path, PathPart};
use time::macros::format_description;

use super::address::{fill, moment};
use super::answer::Refusal;
use super::batch::{Batch, Series};
use super::receiver::{Receiver, Sending};
use super::split::Limits;
use super::target::Target;
use store::Store;

/// No limits but sense: a host's window is some hundred kilobytes.
const LIMITS: Limits = Limits { request_bytes: 256 << 20, profile_bytes: 256 << 20, series: 1 };

/// Digits of the id in a key: with a host's name and a second, 64 bits are no other window's.
const ID_DIGITS: usize = 16;

/// Puts.
#[derive(Debug)]
pub(super) struct Objects {
    /// What keys begin with, with names in braces.
    prefix: String,
    store: Store,
}

impl Objects {
    pub(super) fn new(target: &Target) -> io::Result<Objects> {
        let (store, prefix) = Store::open(target)?;
        Ok(Objects { prefix, store })
    }

    fn key(&self, batch: &Batch, series: &Series) -> Path {
        let format = |form| moment(batch.start_unix_ns).format(form).unwrap_or_default();
        let day = format(format_description!("[year]-[month]-[day]"));
        let time = format(format_description!("[hour][minute][second]Z"));
        let host = series.label("host").unwrap_or("host");
        let id: String = series.uuid().replace('-', "").chars().rev().take(ID_DIGITS).collect();
        let name = format!("{host}-{id}.cpu.pb.gz");
        // Whatever is put in for a name is one step: its slashes are written otherwise.
        let prefix = self.prefix.split('/').filter(|step| !step.is_empty());
        let prefix: Vec<String> = prefix.map(|step| fill(step, batch, series, str::to_owned)).collect();
        let steps = prefix.iter().map(String::as_str).chain([day.as_str(), &time, &name]);
        steps.map(PathPart::from).collect()
    }
}

impl Receiver for Objects {
    fn limits(&self) -> Limits {
        LIMITS
    }

    fn send<'a>(&'a self, batch: &'a Batch, series: &'a [Series]) -> Sending<'a> {
        Box::pin(async move {
            let later = |why: String, after| Refusal::Later { after, why };
            let store = self.store.current().map_err(|error| later(error.to_string(), None))?;
            for series in series {
                let key = self.key(batch, series);
                let put = store.put(&key, series.profile.clone()).await;
                // A store takes any bytes: what it refuses are credentials, names and clocks, and somebody will mend them.
                put.map_err(|error| later(service::sentence(&error), self.store.retry_after()))?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Pair, tests::batch};
    use super::*;

    fn objects(url: &str) -> Objects {
        let target: Target = format!(r#"kind = "folder", url = "{url}""#).parse().unwrap();
        Objects::new(&target).unwrap()
    }

    #[test]
    fn keys_tell_when_and_whose() {
        let folder = tempfile::tempdir().unwrap();
        let one = objects(&format!("file://{}/{{region}}/x", folder.path().display()));
        let mut batch = batch(1_700_000_000_000_000_000, &["shop"]);
        let series = &mut batch.series[0];
        series.labels = [("host", "web-1"), ("region", "eu/../1")]
            .map(|(name, value)| Pair { name: name.to_owned(), value: value.to_owned() })
            .into();
        series.id = (0..16).collect();
        let key = one.key(&batch, &batch.series[0]).to_string();
        assert_eq!(key, "eu%2F..%2F1/x/2023-11-14/221320Z/web-1-f0e0d0c0b0a09080.cpu.pb.gz");
    }

    #[tokio::test]
    async fn what_is_put_twice_is_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let one = objects(&format!("file://{}", folder.path().display()));
        let batch = batch(1_700_000_000_000_000_000, &["shop"]);
        for _ in 0..2 {
            one.send(&batch, &batch.series).await.unwrap();
        }
        let window = folder.path().join("2023-11-14/221320Z");
        let files: Vec<_> = std::fs::read_dir(window).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(std::fs::read(&files[0]).unwrap(), batch.series[0].profile);
    }
}
