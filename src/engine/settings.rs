//! `[engine]`: how much at once, and how patient.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Deletions carried at once by this process. Each costs a few kilobytes; what they do outside is limited by the
    /// systems' own limits.
    pub in_flight_max: usize,
    /// Records in one batch. At 500 a commit is shared so widely that more gains nothing, and the bisection of a bad
    /// batch stays short.
    pub batch_max: usize,
    /// How long a batch waits for company while many deletions are in flight; alone nothing waits.
    #[serde(with = "humantime_serde")]
    pub linger_max: Duration,
    /// How often a lane looks for due work without a hint.
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
    /// How long a stop waits for steps in progress before it hands them back.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            in_flight_max: 1_000,
            batch_max: 500,
            linger_max: Duration::from_millis(4),
            poll: Duration::from_millis(250),
            drain: Duration::from_secs(25),
        }
    }
}

impl Settings {
    pub fn check(&self) -> Result<(), String> {
        if !(1..=100_000).contains(&self.in_flight_max) {
            return Err(format!(
                "engine.in_flight_max: found {}; wanted 1 to 100000",
                self.in_flight_max
            ));
        }
        if !(1..=5_000).contains(&self.batch_max) {
            return Err(format!(
                "engine.batch_max: found {}; wanted 1 to 5000",
                self.batch_max
            ));
        }
        if self.linger_max > Duration::from_millis(100) {
            return Err(format!(
                "engine.linger_max: found {:?}; wanted at most 100ms",
                self.linger_max
            ));
        }
        if self.poll < Duration::from_millis(10) || self.poll > Duration::from_secs(60) {
            return Err(format!("engine.poll: found {:?}; wanted 10ms to 60s", self.poll));
        }
        Ok(())
    }
}
