//! The settings of systems: `[systems.NAME]`, one kind each.
//!
//! They are checked whole before anything is opened. Secrets live only here, in types that do not print.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::plan::SystemName;
use crate::{secret, tls};

/// More connections or calls than this to one target help nobody and can bring it down.
const LIMIT_MAX: u32 = 1_000;
/// A shorter one cuts off healthy statements, and 0 means "never" to Postgres.
const TIMEOUT_MIN_MS: u64 = 10;

/// One wrong setting: which key, what was found, what is wanted.
#[derive(Debug, thiserror::Error)]
#[error("setting `systems.{system}.{key}`: found {found}; wanted {wanted}")]
pub struct WrongSystem {
    pub system: String,
    pub key: &'static str,
    pub found: String,
    pub wanted: String,
}

/// One `[systems.NAME]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SystemSettings {
    /// A database of somebody else's, also if it is the same server as Sexton's own.
    Postgres(PostgresSettings),
    /// A service called by its profile.
    Http(HttpSettings),
    /// An object store that archives go to.
    Archive(ArchiveSettings),
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresSettings {
    /// Where it is and as whom: `postgres://user:password@host:port/database`.
    #[serde(serialize_with = "secret::hidden")]
    pub url: SecretString,
    /// The most connections this worker opens to it.
    #[serde(default = "ten")]
    pub max_connections: u32,
    /// How long to wait for a connection before the attempt is put off.
    #[serde(default = "five_seconds", with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// The longest that one statement may run, whatever the step allows.
    #[serde(default = "thirty_seconds", with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// The longest that a statement waits for somebody else's lock.
    #[serde(default = "five_seconds", with = "humantime_serde")]
    pub lock_timeout: Duration,
    /// After this long without a word from us inside a transaction, the server ends it and frees its locks.
    #[serde(default = "ten_seconds", with = "humantime_serde")]
    pub idle_in_transaction_timeout: Duration,
    /// The most calls of this worker in flight at once.
    #[serde(default = "ten")]
    pub limit: u32,
    /// So many failures in a row open the circuit breaker.
    #[serde(default = "ten")]
    pub breaker_failures: u32,
    /// How long an open breaker stays open before one call tries again.
    #[serde(default = "ten_seconds", with = "humantime_serde")]
    pub breaker_pause: Duration,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// The service's base address; the profile's paths are appended to it.
    pub url: String,
    /// The file of its service profile; a relative path starts at the folder of the settings file.
    pub profile: PathBuf,
    /// Certificates (PEM) of whoever signs the service's own; then nobody else is believed. For https://.
    pub ca_file: Option<PathBuf>,
    /// How to show who we are.
    #[serde(default)]
    pub auth: Auth,
    /// Names that the profile's templates may use, such as the account that the credentials must belong to.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// How long opening a connection may take.
    #[serde(default = "five_seconds", with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// The most calls of this worker in flight at once.
    #[serde(default = "ten")]
    pub limit: u32,
    /// So many failures in a row open the circuit breaker.
    #[serde(default = "ten")]
    pub breaker_failures: u32,
    /// How long an open breaker stays open before one call tries again.
    #[serde(default = "ten_seconds", with = "humantime_serde")]
    pub breaker_pause: Duration,
}

/// Credentials of an HTTP service.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Auth {
    /// Sent as `Authorization: Bearer …`.
    #[serde(default, serialize_with = "secret::hidden_if_given")]
    pub bearer: Option<SecretString>,
    /// The name of a header of the service's own.
    pub header: Option<String>,
    /// What goes into that header.
    #[serde(default, serialize_with = "secret::hidden_if_given")]
    pub value: Option<SecretString>,
    /// Further secret headers by name, for services that want more than one.
    #[serde(default, serialize_with = "secret::all_hidden")]
    pub headers: BTreeMap<String, SecretString>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveSettings {
    /// A folder of this machine (or a mounted one), relative to the settings file; either this or `s3`.
    pub folder: Option<PathBuf>,
    /// A bucket; either this or `folder`.
    pub s3: Option<S3Settings>,
    /// The most archives of this worker under way at once.
    #[serde(default = "ten")]
    pub limit: u32,
    /// So many failures in a row open the circuit breaker.
    #[serde(default = "ten")]
    pub breaker_failures: u32,
    /// How long an open breaker stays open before one call tries again.
    #[serde(default = "ten_seconds", with = "humantime_serde")]
    pub breaker_pause: Duration,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct S3Settings {
    pub bucket: String,
    /// Put before every path in the bucket.
    #[serde(default)]
    pub prefix: String,
    #[serde(default = "us_east_1")]
    pub region: String,
    /// For S3-compatible stores; empty means AWS.
    pub endpoint: Option<String>,
    #[serde(default, serialize_with = "secret::hidden_if_given")]
    pub access_key_id: Option<SecretString>,
    #[serde(default, serialize_with = "secret::hidden_if_given")]
    pub secret_access_key: Option<SecretString>,
    /// Plain HTTP is refused unless this says yes: for stores on the same machine.
    #[serde(default)]
    pub allow_http: bool,
}

impl SystemSettings {
    pub fn limit(&self) -> u32 {
        match self {
            SystemSettings::Postgres(of) => of.limit,
            SystemSettings::Http(of) => of.limit,
            SystemSettings::Archive(of) => of.limit,
        }
    }

    pub fn breaker_failures(&self) -> u32 {
        match self {
            SystemSettings::Postgres(of) => of.breaker_failures,
            SystemSettings::Http(of) => of.breaker_failures,
            SystemSettings::Archive(of) => of.breaker_failures,
        }
    }

    pub fn breaker_pause(&self) -> Duration {
        match self {
            SystemSettings::Postgres(of) => of.breaker_pause,
            SystemSettings::Http(of) => of.breaker_pause,
            SystemSettings::Archive(of) => of.breaker_pause,
        }
    }

    /// The paths of this section by key; whoever read the settings knows where they start.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut PathBuf)> {
        let paths = match self {
            SystemSettings::Postgres(_) => [None, None],
            SystemSettings::Http(of) => [
                Some(("profile", &mut of.profile)),
                of.ca_file.as_mut().map(|file| ("ca_file", file)),
            ],
            SystemSettings::Archive(of) => [of.folder.as_mut().map(|folder| ("folder", folder)), None],
        };
        paths.into_iter().flatten()
    }

    /// Everything that can be said without opening anything.
    pub fn check(&self, system: &SystemName) -> Result<(), WrongSystem> {
        let wrong = |key, found: String, wanted: &str| WrongSystem {
            system: system.0.clone(),
            key,
            found,
            wanted: wanted.to_owned(),
        };
        if !(1..=LIMIT_MAX).contains(&self.limit()) {
            return Err(wrong("limit", self.limit().to_string(), "1 to 1000"));
        }
        if self.breaker_failures() == 0 {
            return Err(wrong("breaker_failures", "0".into(), "1 or more"));
        }
        match self {
            SystemSettings::Postgres(of) => of.check(&wrong),
            SystemSettings::Http(of) => of.check(&wrong),
            SystemSettings::Archive(of) => of.check(&wrong),
        }
    }
}

type Wrong<'a> = dyn Fn(&'static str, String, &str) -> WrongSystem + 'a;

impl PostgresSettings {
    fn check(&self, wrong: &Wrong) -> Result<(), WrongSystem> {
        const URL: &str = "an address like `postgres://user:password@host:5432/database`, with a user";
        // The text itself is a secret, so what was found is told by kind.
        let url = reqwest::Url::parse(self.url.expose_secret())
            .map_err(|_| wrong("url", "something that is not an address".into(), URL))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(wrong("url", format!("scheme `{}`", url.scheme()), URL));
        }
        // Without a user the driver would take the name of whoever started the process.
        if url.username().is_empty() && !url.query_pairs().any(|(key, _)| key == "user") {
            return Err(wrong("url", "no user".into(), URL));
        }
        tls::postgres_url(self.url.expose_secret()).map_err(|why| {
            let (found, wanted) = why.split_once("; wanted ").unwrap_or((why.as_str(), URL));
            wrong("url", found.trim_start_matches("found ").to_owned(), wanted)
        })?;
        if !(1..=LIMIT_MAX).contains(&self.max_connections) {
            return Err(wrong(
                "max_connections",
                self.max_connections.to_string(),
                "1 to 1000",
            ));
        }
        for (key, found) in [
            ("connect_timeout", self.connect_timeout),
            ("statement_timeout", self.statement_timeout),
            ("lock_timeout", self.lock_timeout),
            ("idle_in_transaction_timeout", self.idle_in_transaction_timeout),
        ] {
            if found < Duration::from_millis(TIMEOUT_MIN_MS) {
                return Err(wrong(key, format!("{found:?}"), "10ms or more"));
            }
        }
        Ok(())
    }
}

impl HttpSettings {
    fn check(&self, wrong: &Wrong) -> Result<(), WrongSystem> {
        const URL: &str = "an address like `https://api.example.com/v1` without user, query or fragment";
        let url = reqwest::Url::parse(&self.url)
            .map_err(|_| wrong("url", "something that is not an address".into(), URL))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("url", format!("scheme `{}`", url.scheme()), URL));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("url", "credentials in it".into(), "credentials in `auth`"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("url", "a query or fragment".into(), URL));
        }
        if self.auth.header.is_some() != self.auth.value.is_some() {
            return Err(wrong(
                "auth",
                "one of `header` and `value`".into(),
                "both or none",
            ));
        }
        Ok(())
    }
}

impl ArchiveSettings {
    fn check(&self, wrong: &Wrong) -> Result<(), WrongSystem> {
        if self.folder.is_some() == self.s3.is_some() {
            let found = if self.s3.is_some() { "both" } else { "neither" };
            return Err(wrong("folder", found.into(), "either `folder` or `s3`"));
        }
        if let Some(s3) = &self.s3 {
            if s3.bucket.is_empty() {
                return Err(wrong("s3.bucket", "an empty name".into(), "a bucket's name"));
            }
            let has_credentials = |at: &str| {
                reqwest::Url::parse(at).is_ok_and(|at| !at.username().is_empty() || at.password().is_some())
            };
            if s3.endpoint.as_deref().is_some_and(has_credentials) {
                return Err(wrong(
                    "s3.endpoint",
                    "credentials in it".into(),
                    "credentials in `access_key_id` and `secret_access_key`",
                ));
            }
            let plain = s3.endpoint.as_deref().is_some_and(|at| at.starts_with("http://"));
            if plain && !s3.allow_http {
                return Err(wrong(
                    "s3.endpoint",
                    "plain http, over which keys and archives travel readable".into(),
                    "https, or `allow_http = true` for a store on the same machine",
                ));
            }
            if s3.access_key_id.is_some() != s3.secret_access_key.is_some() {
                return Err(wrong(
                    "s3.access_key_id",
                    "one half of the credentials".into(),
                    "`access_key_id` and `secret_access_key`, or neither",
                ));
            }
        }
        Ok(())
    }
}

fn ten() -> u32 {
    10
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

fn us_east_1() -> String {
    "us-east-1".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> SystemSettings {
        toml::from_str(text).expect("well-formed settings")
    }

    #[test]
    fn wrong_settings_name_the_key_and_never_the_secret() {
        for (text, key) in [
            ("kind='postgres'\nurl='postgres://h/db'", "url"),
            ("kind='postgres'\nurl='mysql://u:hunter2@h/db'", "url"),
            (
                "kind='postgres'\nurl='postgres://u:hunter2@h/db'\nlimit=0",
                "limit",
            ),
            (
                "kind='postgres'\nurl='postgres://u:hunter2@h/db'\nlock_timeout='0s'",
                "lock_timeout",
            ),
            ("kind='http'\nurl='https://u:hunter2@h'\nprofile='x'", "url"),
            (
                "kind='http'\nurl='https://h'\nprofile='x'\nauth={header='X'}",
                "auth",
            ),
            ("kind='archive'", "folder"),
            // Keys and archives would travel readable.
            (
                "kind='archive'\ns3={bucket='b',endpoint='http://h:9000'}",
                "s3.endpoint",
            ),
        ] {
            let error = parse(text)
                .check(&SystemName("platform".into()))
                .expect_err(text)
                .to_string();
            assert!(error.contains(&format!("systems.platform.{key}")), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused_and_a_secret_does_not_print() {
        let error =
            toml::from_str::<SystemSettings>("kind='archive'\nfolder='x'\ncolour='red'").expect_err("colour");
        assert!(error.to_string().contains("colour"), "{error}");
        let printed = format!("{:?}", parse("kind='postgres'\nurl='postgres://u:hunter2@h/db'"));
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
