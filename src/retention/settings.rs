//! `[retention]`: how often to look, and how much at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Between two looks for what is due. A window is ended by this much too late at most, never too early.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// Windows, and watches, of one transaction. Small enough that a night on which a million windows end starves nobody.
    pub page_max: u16,
    /// A batch that does not say how large it is, is over when nothing was told of it for so long.
    #[serde(with = "humantime_serde")]
    pub batch_quiet: Duration,
    /// One that does, and of which requests are missing, is said to be over after so long all the same.
    #[serde(with = "humantime_serde")]
    pub batch_patience: Duration,
    /// What came by HTTP is known by the id of its call, and by its `Idempotency-Key`, for so long.
    #[serde(with = "humantime_serde")]
    pub calls_kept: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            every: Duration::from_secs(1),
            page_max: 500,
            batch_quiet: Duration::from_secs(60),
            batch_patience: Duration::from_secs(86_400),
            calls_kept: Duration::from_secs(30 * 86_400),
        }
    }
}

impl Settings {
    pub fn check(&self) -> Result<(), String> {
        if self.every < Duration::from_millis(10) || self.every > Duration::from_secs(3600) {
            return Err(format!(
                "retention.every: found {:?}; wanted 10ms to 1h",
                self.every
            ));
        }
        if !(1..=5_000).contains(&self.page_max) {
            return Err(format!(
                "retention.page_max: found {}; wanted 1 to 5000",
                self.page_max
            ));
        }
        for (name, span) in [
            ("batch_quiet", self.batch_quiet),
            ("batch_patience", self.batch_patience),
            ("calls_kept", self.calls_kept),
        ] {
            if span < Duration::from_millis(100) || span > Duration::from_secs(366 * 86_400) {
                return Err(format!("retention.{name}: found {span:?}; wanted 100ms to 366d"));
            }
        }
        Ok(())
    }
}
