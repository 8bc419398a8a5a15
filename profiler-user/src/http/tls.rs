//! Encryption of what is served.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::sys::version::FileVersion;

/// PEM files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The server's certificate, and those that lead to its authority.
    pub certificates: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// Authorities, one of which must have signed a client's certificate; without it, clients need none.
    pub clients: Option<PathBuf>,
}

/// How connections are encrypted, by files that may be replaced at any time.
pub struct Encryption {
    files: Files,
    seen: Mutex<Seen>,
}

/// What the files had, and which they were.
struct Seen {
    config: Arc<ServerConfig>,
    versions: Versions,
    /// Files that cannot be used, so that they are complained of once.
    refused: Option<Versions>,
}

/// Of all files; `None` for one that is not there.
type Versions = Vec<Option<FileVersion>>;

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryption").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Encryption {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not fit each other; the error names the file.
    pub fn new(files: Files) -> io::Result<Self> {
        let versions = files.versions();
        let seen = Mutex::new(Seen { config: server(&files)?, versions, refused: None });
        Ok(Self { files, seen })
    }

    /// How the next connection is encrypted. While the files cannot be used, which happens when they are being replaced, what
    /// they had counts.
    pub fn config(&self) -> Arc<ServerConfig> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.files.versions();
        if now != seen.versions && seen.refused.as_ref() != Some(&now) {
            match server(&self.files) {
                Ok(config) => {
                    tracing::info!("the server's certificate has changed: new connections use it");
                    *seen = Seen { config, versions: now, refused: None };
                }
                Err(error) => {
                    tracing::warn!("the server's certificate stays what it was: {error}");
                    seen.refused = Some(now);
                }
            }
        }
        Arc::clone(&seen.config)
    }
}

impl Files {
    fn versions(&self) -> Versions {
        let files = [Some(&self.certificates), Some(&self.key), self.clients.as_ref()];
        files.into_iter().flatten().map(|path| FileVersion::of(path).ok()).collect()
    }
}

fn server(files: &Files) -> io::Result<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = match &files.clients {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| named(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| named(path, &error))?)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| named(&files.key, &error))?;
    let mut config = builder
        .with_single_cert(certificates(&files.certificates)?, key)
        .map_err(|error| named(&files.certificates, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| named(path, &error))?;
    if certificates.is_empty() {
        return Err(io::Error::other(format!("{} has no certificate", path.display())));
    }
    Ok(certificates)
}

fn named(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_certificate_that_was_renewed_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let make = || {
            let mut openssl = Command::new("openssl");
            openssl
                .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '));
            openssl.args(["-subj", "/CN=here", "-keyout", "new-key.pem", "-out", "new.pem"]);
            assert!(openssl.current_dir(folder.path()).output().unwrap().status.success());
            for (new, name) in [("new.pem", "cert.pem"), ("new-key.pem", "key.pem")] {
                std::fs::rename(path(new), path(name)).unwrap();
            }
        };
        make();
        let files = Files { certificates: path("cert.pem"), key: path("key.pem"), clients: None };
        let encryption = Encryption::new(files).unwrap();
        let first = encryption.config();
        assert!(Arc::ptr_eq(&first, &encryption.config()), "nothing has changed");
        std::fs::write(path("cert.pem"), "no certificate").unwrap();
        assert!(Arc::ptr_eq(&first, &encryption.config()), "what cannot be used changes nothing");
        make();
        let second = encryption.config();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &encryption.config()));
    }
}
