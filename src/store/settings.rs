//! `[store]`: where Sexton's own tables are, and the times on which leases rest.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::{secret, tls};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `postgres://user:password@host:port/database`; `DATABASE_URL` is used if this is not set.
    #[serde(serialize_with = "secret::hidden")]
    pub url: SecretString,
    /// Connections beside the lanes' own.
    pub pool_max: u32,
    /// Writer connections. Two keep one batch forming while the other commits; more help only with slow disks.
    pub lanes: u16,
    /// How long a silent worker keeps its lanes.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// How many days a key is remembered at least (and twice as long at most): within them the same key is the same request.
    pub key_days: u16,
    /// Any statement of ours that takes longer is cut off by the server; below the lease, so that a stalled writer
    /// lets go of its locks before anybody takes over.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            url: SecretString::from(String::new()),
            pool_max: 8,
            lanes: 2,
            lease: Duration::from_secs(30),
            key_days: 7,
            statement_timeout: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// One sentence that names the key, what was found and what is wanted.
    pub fn check(&self) -> Result<(), String> {
        if self.url.expose_secret().is_empty() {
            return Err(
                "store.url: found nothing; wanted postgres://user:password@host:port/database, \
                        or the environment variable DATABASE_URL"
                    .into(),
            );
        }
        tls::postgres_url(self.url.expose_secret()).map_err(|why| format!("store.url: {why}"))?;
        if !(1..=64).contains(&self.lanes) {
            return Err(format!("store.lanes: found {}; wanted 1 to 64", self.lanes));
        }
        if !(1..=365).contains(&self.key_days) {
            return Err(format!(
                "store.key_days: found {}; wanted 1 to 365",
                self.key_days
            ));
        }
        if self.pool_max < 2 {
            return Err(format!(
                "store.pool_max: found {}; wanted 2 or more",
                self.pool_max
            ));
        }
        if self.lease < Duration::from_secs(2) {
            return Err(format!("store.lease: found {:?}; wanted 2s or more", self.lease));
        }
        if self.statement_timeout.is_zero() || self.statement_timeout >= self.lease {
            return Err(format!(
                "store.statement_timeout: found {:?}; wanted more than zero and less than store.lease ({:?})",
                self.statement_timeout, self.lease
            ));
        }
        Ok(())
    }
}
