//! The store of a target, as object_store has it.
//!
//! Credentials come from the file that the target names; without one from what object_store finds: the environment
//! (`AWS_…`, `GOOGLE_…`, `AZURE_…`), a web identity, or the metadata of the instance.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, PutOptions, PutPayload, RetryConfig};

use super::super::target::{Kind, Target};
use super::super::tls::{Connector, Http, named};
use super::credentials;
use super::service::{Service, sentence};
use crate::sys::version::FileVersion;

/// A store by its type. Were it a `dyn ObjectStore`, all that stores can do would be in the binary: reading, listing, copying.
#[derive(Clone, Debug)]
pub(super) enum Putting {
    S3(Arc<AmazonS3>),
    Gcs(Arc<GoogleCloudStorage>),
    Azure(Arc<MicrosoftAzure>),
    Folder(Arc<LocalFileSystem>),
}

impl Putting {
    /// Puts an object in the place of whatever has its key.
    pub(super) async fn put(&self, key: &Key, bytes: Vec<u8>) -> object_store::Result<()> {
        let (payload, options) = (PutPayload::from(bytes), PutOptions::default());
        let put = match self {
            Putting::S3(store) => store.put_opts(key, payload, options).await,
            Putting::Gcs(store) => store.put_opts(key, payload, options).await,
            Putting::Azure(store) => store.put_opts(key, payload, options).await,
            Putting::Folder(store) => store.put_opts(key, payload, options).await,
        };
        put.map(drop)
    }
}

/// A store whose credentials may change.
#[derive(Debug)]
pub(super) struct Store {
    target: Target,
    /// The target's address without the path.
    base: String,
    service: Service,
    held: Mutex<Held>,
}

/// The store by the credentials that were read last.
#[derive(Debug)]
struct Held {
    store: Putting,
    version: Option<FileVersion>,
}

impl Store {
    /// For a target; with it comes what keys begin with.
    ///
    /// # Errors
    /// A file that the target names cannot be used, or its address names nothing.
    pub(super) fn open(target: &Target) -> io::Result<(Store, String)> {
        let service = Service::new(Connector::new(target, Http::One)?);
        let (base, prefix) = parts(target)?;
        let version = target.credentials_file.as_deref().and_then(|path| FileVersion::of(path).ok());
        let store = build(target, &base, &service)?;
        let held = Mutex::new(Held { store, version });
        Ok((Store { target: target.clone(), base, service, held }, prefix))
    }

    /// The store by the credentials as they are now.
    ///
    /// # Errors
    /// They have changed and cannot be used.
    pub(super) fn current(&self) -> io::Result<Putting> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = self.target.credentials_file.as_deref() {
            // While it is being replaced, the last one counts.
            let now = FileVersion::of(path).ok().or(held.version);
            if now != held.version {
                held.store = build(&self.target, &self.base, &self.service)?;
                held.version = now;
                tracing::info!("{} has changed: requests are signed with it", path.display());
            }
        }
        Ok(held.store.clone())
    }

    /// What the last answer asked to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.service.retry_after()
    }
}

/// The folder that a target of the kind `folder` keeps its objects in.
pub(in crate::upload) fn folder(target: &Target) -> Option<PathBuf> {
    let (folder, _) = parts(target).ok()?;
    (target.kind == Kind::Folder).then(|| PathBuf::from(folder))
}

/// An address without its path, and what keys begin with. Of a folder the part with names in braces belongs to the keys.
fn parts(target: &Target) -> io::Result<(String, String)> {
    let url = target.url.as_str();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if target.kind == Kind::Folder {
        let split = rest.find('{').and_then(|brace| rest.get(..brace)?.rfind('/')).unwrap_or(rest.len());
        let (folder, prefix) = rest.split_at(split);
        return Ok((folder.to_owned(), prefix.to_owned()));
    }
    let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.is_empty() {
        return Err(io::Error::other(format!("the url {url:?} names no bucket")));
    }
    Ok((format!("{scheme}://{authority}"), prefix.to_owned()))
}

fn build(target: &Target, base: &str, service: &Service) -> io::Result<Putting> {
    let failed = |error: object_store::Error| io::Error::other(sentence(&error));
    // Deliveries have a back-off of their own, and a spool to wait in.
    let once = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let secrets = secrets(target)?;
    let wrong = |why: String| {
        let path = target.credentials_file.as_deref().unwrap_or(Path::new(""));
        named(path, &why)
    };
    Ok(match target.kind {
        Kind::S3 => {
            let mut builder = AmazonS3Builder::from_env()
                .with_url(base)
                .with_http_connector(service.clone())
                .with_retry(once);
            if let Some(endpoint) = &target.endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            if let Some(region) = &target.region {
                builder = builder.with_region(region);
            }
            if let Some(text) = &secrets {
                builder = credentials::s3(builder, text).map_err(wrong)?;
            }
            Putting::S3(Arc::new(builder.build().map_err(failed)?))
        }
        Kind::Gcs => {
            let mut builder = GoogleCloudStorageBuilder::from_env()
                .with_url(base)
                .with_http_connector(service.clone())
                .with_retry(once);
            if let Some(endpoint) = &target.endpoint {
                builder = builder.with_base_url(endpoint);
            }
            if let Some(text) = &secrets {
                builder = credentials::gcs(builder, text);
            }
            Putting::Gcs(Arc::new(builder.build().map_err(failed)?))
        }
        Kind::Azure => {
            let mut builder = MicrosoftAzureBuilder::from_env()
                .with_url(base)
                .with_http_connector(service.clone())
                .with_retry(once);
            if let Some(endpoint) = &target.endpoint {
                builder = builder.with_endpoint(endpoint.clone());
            }
            if let Some(account) = &target.account {
                builder = builder.with_account(account);
            }
            if let Some(text) = &secrets {
                builder = credentials::azure(builder, text).map_err(wrong)?;
            }
            Putting::Azure(Arc::new(builder.build().map_err(failed)?))
        }
        Kind::Folder => {
            let folder = PathBuf::from(base);
            fs::create_dir_all(&folder).map_err(|error| named(&folder, &error))?;
            let store = LocalFileSystem::new_with_prefix(&folder).map_err(failed)?;
            Putting::Folder(Arc::new(store.with_fsync(true)))
        }
        Kind::Pyroscope | Kind::Parca | Kind::Otlp | Kind::Http => {
            return Err(io::Error::other(format!("the kind {} keeps no objects", target.kind.name())));
        }
    })
}

/// What the credentials file has.
fn secrets(target: &Target) -> io::Result<Option<String>> {
    let read = |path: &PathBuf| fs::read_to_string(path).map_err(|error| named(path, &error));
    target.credentials_file.as_ref().map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_have_a_store_and_a_prefix() {
        let of =
            |kind: &str, url: &str| parts(&target(&format!(r#"kind = "{kind}", url = "{url}""#))).unwrap();
        let pair = |base: &str, prefix: &str| (base.to_owned(), prefix.to_owned());
        assert_eq!(of("s3", "s3://bucket"), pair("s3://bucket", ""));
        assert_eq!(of("s3", "s3://bucket/a/{region}"), pair("s3://bucket", "a/{region}"));
        assert_eq!(
            of("azure", "abfss://c@a.dfs.core.windows.net/x"),
            pair("abfss://c@a.dfs.core.windows.net", "x")
        );
        assert_eq!(of("folder", "file:///srv/p"), pair("/srv/p", ""));
        assert_eq!(of("folder", "file:///srv/p/x-{region}/y"), pair("/srv/p", "/x-{region}/y"));
        assert!(parts(&target(r#"kind = "s3", url = "s3:///x""#)).is_err());
    }

    #[test]
    fn every_kind_can_be_built_and_a_missing_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let aws = file("aws", "[default]\naws_access_key_id = a\naws_secret_access_key = b\n");
        let azure = file("azure", "a2V5");
        let account =
            r#"{"private_key": "p", "private_key_id": "i", "client_email": "e", "disable_oauth": true}"#;
        let google = file("google", account);
        for text in [
            format!(r#"kind = "s3", url = "s3://b/p", endpoint = "http://h:1", credentials-file = "{aws}""#),
            format!(r#"kind = "azure", url = "az://c/p", account = "a", credentials-file = "{azure}""#),
            format!(r#"kind = "gcs", url = "gs://b/p", credentials-file = "{google}""#),
        ] {
            assert!(Store::open(&target(&text)).is_ok(), "{text}: {:?}", Store::open(&target(&text)).err());
        }
        let missing = target(r#"kind = "s3", url = "s3://b", credentials-file = "/missing""#);
        assert!(Store::open(&missing).unwrap_err().to_string().contains("/missing"));
        let empty = file("empty", "");
        let empty = target(&format!(r#"kind = "s3", url = "s3://b", credentials-file = "{empty}""#));
        assert!(Store::open(&empty).unwrap_err().to_string().contains("aws_access_key_id"));
    }
}
