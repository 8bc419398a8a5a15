//! Where profiles go, as the configuration says.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr, time::Duration};

use serde::Deserialize;

use super::spool::Bounds;
use crate::profile::labels::LabelFilter;
use crate::units;

/// Labels that make a series of their own.
const GROUP_BY: [&str; 9] =
    ["service", "version", "namespace", "environment", "pod", "container", "unit", "process", "host"];

/// What speaks at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Grafana Pyroscope, by its Push service.
    Pyroscope,
    /// Parca, by the gateway of its WriteRaw service.
    Parca,
    /// OTLP profiles: Pyroscope, Parca, an OpenTelemetry collector.
    Otlp,
    /// Anything that takes pprof files by POST or PUT.
    Http,
    /// A bucket of Amazon S3, or of anything that speaks like it.
    S3,
    /// A bucket of Google Cloud Storage.
    Gcs,
    /// A container of Azure Blob Storage.
    Azure,
    /// A folder, such as one that hosts have in common.
    Folder,
}

impl Kind {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Pyroscope => "pyroscope",
            Kind::Parca => "parca",
            Kind::Otlp => "otlp",
            Kind::Http => "http",
            Kind::S3 => "s3",
            Kind::Gcs => "gcs",
            Kind::Azure => "azure",
            Kind::Folder => "folder",
        }
    }

    /// How its addresses begin.
    fn schemes(self) -> &'static [&'static str] {
        match self {
            Kind::Pyroscope | Kind::Parca | Kind::Otlp | Kind::Http => &["http://", "https://"],
            Kind::S3 => &["s3://"],
            Kind::Gcs => &["gs://"],
            Kind::Azure => &["az://", "abfss://"],
            Kind::Folder => &["file:///"],
        }
    }

    /// Whether it keeps objects under keys: one for each host and window.
    #[must_use]
    pub fn keeps_objects(self) -> bool {
        match self {
            Kind::Pyroscope | Kind::Parca | Kind::Otlp | Kind::Http => false,
            Kind::S3 | Kind::Gcs | Kind::Azure | Kind::Folder => true,
        }
    }
}

/// What requests are made of, where the receiver understands both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// gRPC.
    Grpc,
}

/// How requests are made smaller, where profiles are not compressed by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// By gzip, which every receiver should read.
    Gzip,
    /// Not at all.
    None,
}

/// How a pprof file is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// POST.
    #[default]
    Post,
    /// PUT.
    Put,
}

/// One receiver. Read from a TOML table, see docs/operations.md.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Target {
    /// What speaks there.
    pub kind: Kind,
    /// Where.
    pub url: String,
    /// What it is called in metrics and in the spool; its kind where it is not said.
    #[serde(default)]
    pub name: String,
    /// How it is sent, for [`Kind::Http`].
    #[serde(default)]
    pub method: Method,
    /// What is spoken, for [`Kind::Otlp`] (HTTP where it is not said) and [`Kind::Parca`] (gRPC).
    #[serde(default)]
    pub protocol: Option<Protocol>,
    /// How requests are made smaller, for [`Kind::Otlp`]: by gzip where it is not said.
    #[serde(default)]
    pub compression: Option<Compression>,
    /// How much time one upload covers, at least; 0 for each window.
    #[serde(default, deserialize_with = "duration")]
    pub interval: Duration,
    /// Only samples with these labels.
    #[serde(default, rename = "where")]
    pub samples: Option<String>,
    /// Labels that make a series of their own; all others are summed up.
    #[serde(default = "group_by")]
    pub group_by: Vec<String>,
    /// Labels for every series.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `X-Scope-OrgID`, for [`Kind::Pyroscope`].
    #[serde(default)]
    pub tenant: Option<String>,
    /// More header lines.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A file with a token: `Authorization: Bearer`.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Basic authentication.
    #[serde(default)]
    pub user: Option<String>,
    /// Its password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Trust these authorities, and no other (PEM).
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// A certificate to show (PEM).
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// Its key (PEM).
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Where the objects are, if it is not where their service is by itself.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Region of a bucket, for [`Kind::S3`].
    #[serde(default)]
    pub region: Option<String>,
    /// Storage account, for [`Kind::Azure`].
    #[serde(default)]
    pub account: Option<String>,
    /// What may write objects: a file of the service's own form.
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
    /// Offer files with symbols of objects that have frames without names, to [`Kind::Parca`].
    #[serde(default)]
    pub debuginfo: bool,
    /// Of at most so many bytes.
    #[serde(default = "spool_size", deserialize_with = "bytes")]
    pub debuginfo_size: u64,
    /// How long a request may take.
    #[serde(default = "ten_seconds", deserialize_with = "duration")]
    pub timeout: Duration,
    /// How many bytes may wait on disk.
    #[serde(default = "spool_size", deserialize_with = "bytes")]
    pub spool_size: u64,
    /// How old windows may become there.
    #[serde(default = "spool_age", deserialize_with = "duration")]
    pub spool_age: Duration,
    /// How long to wait after the first failure.
    #[serde(default = "one_second", deserialize_with = "duration")]
    pub retry_min: Duration,
    /// How long to wait after many.
    #[serde(default = "five_minutes", deserialize_with = "duration")]
    pub retry_max: Duration,
}

impl FromStr for Target {
    type Err = String;

    /// A TOML table in one line, with or without its braces: `kind = "pyroscope", url = "http://…"`.
    fn from_str(text: &str) -> Result<Target, String> {
        units::table::<Target>(text)?.checked()
    }
}

impl Target {
    /// The folder that is written to, if it is one.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        super::objects::folder(self)
    }

    /// What the types cannot say.
    fn checked(mut self) -> Result<Target, String> {
        if self.name.is_empty() {
            self.name = self.kind.name().to_owned();
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if !self.name.bytes().all(plain) {
            return Err(format!("the name {:?} must be of letters, digits, - and _", self.name));
        }
        let schemes = self.kind.schemes();
        if !schemes.iter().any(|scheme| self.url.starts_with(scheme)) {
            return Err(format!("the url {:?} must begin with {}", self.url, schemes.join(" or ")));
        }
        for name in self.labels.keys().chain(&self.group_by) {
            let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty()
                || !name.bytes().all(word)
                || name.starts_with(|char: char| char.is_ascii_digit())
            {
                return Err(format!("{name:?} cannot be a label: letters, digits and _, no digit at first"));
            }
        }
        self.filter()?;
        if let Some(setting) = self.out_of_place() {
            let protocol = if self.protocol == Some(Protocol::Http) { " over HTTP" } else { "" };
            return Err(format!("{setting} does not belong to the kind {}{protocol}", self.kind.name()));
        }
        if self.cert.is_some() != self.key.is_some() {
            return Err("cert and key go together".to_owned());
        }
        if self.user.is_some() != self.password_file.is_some() {
            return Err("user and password-file go together".to_owned());
        }
        if self.user.is_some() && self.token_file.is_some() {
            return Err("there is a token-file and a user: one of them".to_owned());
        }
        if self.retry_min.is_zero() || self.retry_max < self.retry_min {
            return Err("retry-min must be more than 0, and retry-max no less".to_owned());
        }
        Ok(self)
    }

    /// A setting that would change nothing: whoever wrote it expects something else.
    fn out_of_place(&self) -> Option<&'static str> {
        let objects = self.kind.keeps_objects();
        let speaks_both = matches!(self.kind, Kind::Otlp | Kind::Parca);
        let settings = [
            ("protocol", self.protocol.is_some() && !speaks_both),
            (
                "debuginfo",
                self.debuginfo && !(self.kind == Kind::Parca && self.protocol != Some(Protocol::Http)),
            ),
            ("compression", self.compression.is_some() && self.kind != Kind::Otlp),
            ("tenant", self.tenant.is_some() && objects),
            ("headers", !self.headers.is_empty() && objects),
            ("token-file", self.token_file.is_some() && objects),
            ("user", self.user.is_some() && objects),
            ("endpoint", self.endpoint.is_some() && (!objects || self.kind == Kind::Folder)),
            ("region", self.region.is_some() && self.kind != Kind::S3),
            ("account", self.account.is_some() && self.kind != Kind::Azure),
            ("credentials-file", self.credentials_file.is_some() && (!objects || self.kind == Kind::Folder)),
        ];
        settings.into_iter().find(|(_, wrong)| *wrong).map(|(setting, _)| setting)
    }

    /// The selection.
    ///
    /// # Errors
    /// It is none.
    pub fn filter(&self) -> Result<LabelFilter, String> {
        self.samples.as_deref().map_or(Ok(LabelFilter::default()), |text| {
            text.parse().map_err(|error: crate::profile::labels::LabelFilterError| error.to_string())
        })
    }

    /// How much may wait.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds { bytes: self.spool_size, age: self.spool_age }
    }
}

fn group_by() -> Vec<String> {
    GROUP_BY.map(str::to_owned).to_vec()
}

const fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

const fn one_second() -> Duration {
    Duration::from_secs(1)
}

const fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

const fn spool_age() -> Duration {
    Duration::from_secs(24 * 3600)
}

const fn spool_size() -> u64 {
    256 << 20
}

fn duration<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    units::duration(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

fn bytes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    units::bytes(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_in_one_line() {
        let text = r#"kind = "pyroscope", url = "http://127.0.0.1:4040", tenant = "a", labels = { region = "eu" }, spool-age = "1h""#;
        let target: Target = text.parse().unwrap();
        assert_eq!(format!("{{ {text} }}").parse::<Target>(), Ok(target.clone()));
        assert_eq!(
            (target.kind, target.name.as_str(), target.spool_age.as_secs()),
            (Kind::Pyroscope, "pyroscope", 3600)
        );
        assert_eq!(target.labels["region"], "eu");
        assert_eq!(target.group_by.len(), GROUP_BY.len());
    }

    #[test]
    fn mistakes_are_told() {
        let wrong = |more: &str| {
            let text = format!(r#"kind = "http", url = "http://h/p"{more}"#);
            text.parse::<Target>().unwrap_err()
        };
        for (more, says) in [
            (r#", urll = "x""#, "unknown field `urll`"),
            (r#", name = "../x""#, "letters, digits"),
            (r#", labels = { "a-b" = "x" }"#, "cannot be a label"),
            (r#", group-by = ["1"]"#, "cannot be a label"),
            (r#", where = "nginx""#, "selects no label"),
            (r#", cert = "x""#, "cert and key"),
            (r#", user = "x""#, "user and password-file"),
            (r#", timeout = "10 parsecs""#, "parsecs"),
            (r#", retry-min = "10s", retry-max = "1s""#, "retry-max"),
            (r#", protocol = "grpc""#, "protocol does not belong to the kind http"),
            (r#", region = "eu""#, "region does not belong"),
            (r#", debuginfo = true"#, "debuginfo does not belong"),
        ] {
            assert!(wrong(more).contains(says), "{more}: {}", wrong(more));
        }
        assert!(r#"kind = "gopher", url = "http://h""#.parse::<Target>().unwrap_err().contains("pyroscope"));
        assert!(r#"kind = "http", url = "ftp://h""#.parse::<Target>().unwrap_err().contains("http://"));
        assert!("kind".parse::<Target>().is_err());
        let s3 = |more: &str| format!(r#"kind = "s3", url = "s3://bucket/a"{more}"#).parse::<Target>();
        assert_eq!(s3("").unwrap().name, "s3");
        assert!(s3(r#", token-file = "x""#).unwrap_err().contains("token-file does not belong"));
        let wrong = r#"kind = "folder", url = "/srv""#.parse::<Target>().unwrap_err();
        assert!(wrong.contains("must begin with file:///"), "{wrong}");
    }
}
