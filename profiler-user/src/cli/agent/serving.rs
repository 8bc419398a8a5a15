//! What the agent serves, and to whom.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};

use super::super::{capturing, logging};
use crate::{
    http::{
        debug::{self, Debug},
        listen::Address,
        metrics::{self, Measured},
        server::{Access, Server},
        tls,
        view::{self, Limits, Page, Side},
    },
    pipeline::on_demand::OnDemand,
    report::subject::Lens,
    secret::SecretFile,
    source::moment::Moment,
    status::Status,
    upload::Delivery,
};

/// How much of the folder the page shows. More of it would not fit the agent's budget; `profiler view` shows all.
const SHOWN: &str = "15m";

/// Options of the server.
#[derive(clap::Args, Clone, Debug, Default, PartialEq)]
pub(super) struct HttpArgs {
    /// Serve /debug/pprof/, /metrics and a page at this address, or at unix:PATH.
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<Address>,
    /// Serve with this certificate (PEM, with those that lead to its authority).
    #[arg(long, value_name = "FILE")]
    http_tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE")]
    http_tls_key: Option<PathBuf>,
    /// Answer only clients with a certificate of one of these authorities (PEM).
    #[arg(long, value_name = "FILE")]
    http_client_ca: Option<PathBuf>,
    /// Answer only those who send the token in this file; it is read again when it changes.
    #[arg(long, value_name = "FILE")]
    http_token_file: Option<PathBuf>,
    /// Allow other hosts to ask without encryption.
    #[arg(long)]
    http_insecure_plaintext: bool,
    /// Allow anybody who can reach the address to read profiles.
    #[arg(long)]
    http_insecure_no_auth: bool,
}

impl HttpArgs {
    /// The Unix socket that it is served at.
    pub(super) fn socket(&self) -> Option<&Path> {
        match &self.http {
            Some(Address::Unix(path)) => Some(path),
            _ => None,
        }
    }

    /// Whether it is served at a port that wants a privilege (ip(7)).
    pub(super) fn has_low_port(&self) -> bool {
        matches!(&self.http, Some(Address::Tcp(address)) if (1..1024).contains(&address.port()))
    }

    /// Who may ask where; `None` where nothing is served.
    pub(super) fn access(&self) -> anyhow::Result<Option<Access>> {
        // Not left to clap: what is given here may belong to what the file or the environment has.
        let needs = [
            ("http-tls-cert", self.http_tls_cert.is_some(), "http-tls-key", self.http_tls_key.is_some()),
            ("http-tls-key", self.http_tls_key.is_some(), "http-tls-cert", self.http_tls_cert.is_some()),
            ("http-client-ca", self.http_client_ca.is_some(), "http-tls-cert", self.http_tls_cert.is_some()),
            ("http-tls-cert", self.http_tls_cert.is_some(), "http", self.http.is_some()),
            ("http-token-file", self.http_token_file.is_some(), "http", self.http.is_some()),
            ("http-insecure-plaintext", self.http_insecure_plaintext, "http", self.http.is_some()),
            ("http-insecure-no-auth", self.http_insecure_no_auth, "http", self.http.is_some()),
        ];
        for (given, is_given, needed, is_there) in needs {
            if is_given && !is_there {
                bail!("--{given} needs --{needed} beside it");
            }
        }
        let Some(address) = &self.http else { return Ok(None) };
        let local = address.is_local();
        if !local && self.http_tls_cert.is_none() && !self.http_insecure_plaintext {
            bail!(
                "{address} can be reached from other hosts: give a certificate with --http-tls-cert and --http-tls-key, \
                 or say --http-insecure-plaintext"
            );
        }
        let known = self.http_token_file.is_some() || self.http_client_ca.is_some();
        if !local && !known && !self.http_insecure_no_auth {
            bail!(
                "{address} can be reached from other hosts: give a token with --http-token-file, ask for certificates \
                 with --http-client-ca, or say --http-insecure-no-auth"
            );
        }
        let tls = match (&self.http_tls_cert, &self.http_tls_key) {
            (Some(certificates), Some(key)) => {
                let (certificates, key) = (certificates.clone(), key.clone());
                let files = tls::Files { certificates, key, clients: self.http_client_ca.clone() };
                Some(tls::Encryption::new(files).context("encryption is not possible")?)
            }
            _ => None,
        };
        let token = self.http_token_file.as_deref().map(|path| {
            SecretFile::open(path)
                .with_context(|| format!("the token cannot be read from {}", path.display()))
        });
        Ok(Some(Access { address: address.clone(), tls, token: token.transpose()? }))
    }
}

/// What the endpoints tell of.
pub(super) struct Host {
    pub(super) status: Arc<Status>,
    pub(super) on_demand: Arc<OnDemand>,
    pub(super) deliveries: Vec<Arc<Delivery>>,
    pub(super) frequency: u32,
}

/// Starts serving, with a page for the last windows in `folder`.
pub(super) fn start(access: Access, host: Host, folder: &Path) -> anyhow::Result<Server> {
    let Host { status, on_demand, deliveries, frequency } = host;
    let mut about = capturing::about(frequency, Duration::ZERO);
    about.retain(|text| !text.starts_with("window="));
    let folders = [folder.to_string_lossy().into_owned()];
    let since: Moment = SHOWN.parse().map_err(|error| anyhow!("{error}"))?;
    let limits = Limits { since: Some(since), ..Limits::default() };
    let page = Page { other: Side::unread(&folders, limits), base: None, lens: Lens::default() };
    let measured = Measured { status: Arc::clone(&status), on_demand: Arc::clone(&on_demand), deliveries };
    let router = view::router(page)
        .merge(debug::router(Debug { on_demand, status, about }))
        .merge(metrics::router(measured));
    let address = access.address.clone();
    let server = Server::start(access, router).with_context(|| {
        format!("nothing can be served at {address}: choose another address or port with --http")
    })?;
    // Port 0 is one that the kernel chooses.
    logging::say(format_args!("serving at {}", server.address()));
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(address: &str) -> HttpArgs {
        HttpArgs { http: Some(address.parse().unwrap()), ..HttpArgs::default() }
    }

    #[test]
    fn other_hosts_need_encryption_and_a_secret() {
        assert!(HttpArgs::default().access().unwrap().is_none());
        for local in ["127.0.0.1:0", "[::1]:0", "unix:/x"] {
            assert!(args(local).access().unwrap().is_some(), "{local}");
        }
        let refused = |args: HttpArgs| args.access().unwrap_err().to_string();
        let open = args("0.0.0.0:0");
        assert!(refused(open.clone()).contains("--http-tls-cert"));
        assert!(
            refused(HttpArgs { http_insecure_plaintext: true, ..open.clone() }).contains("--http-token-file")
        );
        assert!(
            refused(HttpArgs { http_insecure_no_auth: true, ..open.clone() }).contains("--http-tls-cert")
        );
        let careless =
            HttpArgs { http_insecure_plaintext: true, http_insecure_no_auth: true, ..open.clone() };
        assert!(careless.access().unwrap().is_some());
        let alone = HttpArgs { http_tls_key: Some("k".into()), ..args("127.0.0.1:0") };
        assert!(refused(alone).contains("--http-tls-key needs --http-tls-cert"));
        let missing = HttpArgs { http_token_file: Some("/nowhere/token".into()), ..args("127.0.0.1:0") };
        assert!(refused(missing).contains("/nowhere/token"));
    }
}
