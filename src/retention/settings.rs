//! `[retention]`: how often to look, and how much at once.

use std::time::Duration;

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Between two looks for what is due. A window is ended by this much too late at most, never too early.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// Windows, and watches, of one transaction. Small enough that a night on which a million windows end starves nobody.
    pub page_max: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            every: Duration::from_secs(1),
            page_max: 500,
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
        Ok(())
    }
}
