//! The client of a target: whom it trusts and who it says it is, by files that may be replaced at any time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Certificate, Client, Identity, redirect};

use super::target::Target;
use crate::sys::version::FileVersion;

/// What is spoken over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Http {
    /// HTTP/1.1.
    One,
    /// HTTP/2 from the first byte on, which gRPC needs.
    Two,
}

/// Makes clients.
#[derive(Debug)]
pub(super) struct Connector {
    http: Http,
    timeout: Duration,
    ca: Option<PathBuf>,
    /// A certificate and its key.
    identity: Option<(PathBuf, PathBuf)>,
    seen: Mutex<Seen>,
}

/// The last client, and the files that it was made of.
#[derive(Debug)]
struct Seen {
    client: Client,
    versions: Versions,
    /// Files that cannot be used, so that they are complained of once.
    refused: Option<Versions>,
}

/// Of the authority, the certificate and the key; `None` for a file that is not there.
type Versions = Vec<Option<FileVersion>>;

impl Connector {
    /// For a target.
    ///
    /// # Errors
    /// A file that the target names cannot be used; the error names it.
    pub(super) fn new(target: &Target, http: Http) -> io::Result<Connector> {
        let identity = target.cert.clone().zip(target.key.clone());
        let ca = target.ca.clone();
        let versions = versions(ca.as_deref(), identity.as_ref());
        let client = build(http, target.timeout, ca.as_deref(), identity.as_ref())?;
        let seen = Mutex::new(Seen { client, versions, refused: None });
        Ok(Connector { http, timeout: target.timeout, ca, identity, seen })
    }

    /// A client by the files as they are now. While they cannot be used, which happens when they are being replaced, the
    /// last ones count.
    pub(super) fn client(&self) -> Client {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = versions(self.ca.as_deref(), self.identity.as_ref());
        if now != seen.versions && seen.refused.as_ref() != Some(&now) {
            match build(self.http, self.timeout, self.ca.as_deref(), self.identity.as_ref()) {
                Ok(client) => {
                    tracing::info!("certificates have changed: new connections use them");
                    *seen = Seen { client, versions: now, refused: None };
                }
                Err(error) => {
                    tracing::warn!("certificates stay what they were: {error}");
                    seen.refused = Some(now);
                }
            }
        }
        seen.client.clone()
    }
}

fn versions(ca: Option<&Path>, identity: Option<&(PathBuf, PathBuf)>) -> Versions {
    let identity = identity.into_iter().flat_map(|(cert, key)| [cert.as_path(), key.as_path()]);
    ca.into_iter().chain(identity).map(|path| FileVersion::of(path).ok()).collect()
}

fn build(
    http: Http,
    timeout: Duration,
    ca: Option<&Path>,
    identity: Option<&(PathBuf, PathBuf)>,
) -> io::Result<Client> {
    // Once for the process; who was first is the same.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .timeout(timeout)
        // A token would go along.
        .redirect(redirect::Policy::none())
        .user_agent(concat!("profiler/", env!("CARGO_PKG_VERSION")));
    let mut builder = match http {
        Http::One => builder.http1_only(),
        Http::Two => builder.http2_prior_knowledge(),
    };
    if let Some(path) = ca {
        let certificates = Certificate::from_pem_bundle(&read(path)?).map_err(|error| named(path, &error))?;
        if certificates.is_empty() {
            return Err(named(path, &"it has no certificate in PEM form"));
        }
        builder = builder.tls_certs_only(certificates);
    }
    if let Some((cert, key)) = identity {
        let mut pem = read(cert)?;
        pem.push(b'\n');
        pem.extend(read(key)?);
        builder = builder.identity(Identity::from_pem(&pem).map_err(|error| named(cert, &error))?);
    }
    builder.build().map_err(io::Error::other)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| named(path, &error))
}

pub(super) fn named(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::http::tls;

    /// Makes `<authority>.pem`, and with its signature `<authority>-here.pem` for 127.0.0.1; each with its key.
    fn certificates(folder: &Path, authority: &str) {
        let make = |args: &str| {
            let mut openssl = Command::new("openssl");
            openssl
                .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '));
            let made = openssl.args(args.split(' ')).current_dir(folder).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        };
        make(&format!("-subj /CN={authority} -keyout {authority}.key -out {authority}.pem"));
        make(&format!(
            "-subj /CN=here -CA {authority}.pem -CAkey {authority}.key -keyout {authority}-here.key -out {authority}-here.pem \
             -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
        ));
    }

    /// A server that shows the authority's certificate and wants one of the client; its address.
    async fn server(folder: &Path, authority: &str) -> String {
        let file = |name: &str| folder.join(name.replace('A', authority));
        let (certificates, key, clients) = (file("A-here.pem"), file("A-here.key"), Some(file("A.pem")));
        let acceptor = TlsAcceptor::from(
            tls::Encryption::new(tls::Files { certificates, key, clients }).unwrap().config(),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 204 Yes\r\nConnection: close\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        });
        format!("https://{address}")
    }

    #[tokio::test]
    async fn certificates_are_read_again_when_they_change() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for authority in ["one", "two"] {
            certificates(folder, authority);
        }
        let have = |authority: &str| {
            for (from, to) in [(".pem", "trusted.pem"), ("-here.pem", "mine.pem"), ("-here.key", "mine.key")]
            {
                fs::copy(folder.join(format!("{authority}{from}")), folder.join("new")).unwrap();
                fs::rename(folder.join("new"), folder.join(to)).unwrap();
            }
        };
        have("one");
        let path = |name: &str| folder.join(name).display().to_string();
        let text = format!(
            r#"kind = "http", url = "https://h", ca = "{}", cert = "{}", key = "{}""#,
            path("trusted.pem"),
            path("mine.pem"),
            path("mine.key")
        );
        let connector = Connector::new(&text.parse().unwrap(), Http::One).unwrap();
        let ask =
            async |url: &str| connector.client().get(url).send().await.map(|answer| answer.status().as_u16());
        let (one, two) = (server(folder, "one").await, server(folder, "two").await);
        assert_eq!(ask(&one).await.unwrap(), 204);
        assert!(ask(&two).await.is_err(), "a server that is not trusted");
        have("two");
        assert_eq!(ask(&two).await.unwrap(), 204);
        assert!(ask(&one).await.is_err(), "it is not trusted any more");
        // What cannot be read changes nothing.
        fs::write(folder.join("trusted.pem"), "nonsense").unwrap();
        assert_eq!(ask(&two).await.unwrap(), 204);
    }
}
