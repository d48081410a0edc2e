//! How much one system bears: what the engine's limits and breakers are made from.

use std::time::Duration;

use super::SystemSettings;
use crate::plan::SystemName;

#[derive(Clone, Debug)]
pub struct Bounds {
    pub name: SystemName,
    /// Calls of this worker in flight at once.
    pub limit: usize,
    /// So many failures in a row open the breaker.
    pub breaker_failures: u32,
    /// How long it stays open before one call tries again.
    pub breaker_pause: Duration,
}

impl Bounds {
    pub(super) fn of(name: &SystemName, settings: &SystemSettings) -> Self {
        let (limit, breaker_failures, breaker_pause) = match settings {
            SystemSettings::Postgres(of) => (of.limit, of.breaker_failures, of.breaker_pause),
            SystemSettings::Http(of) => (of.limit, of.breaker_failures, of.breaker_pause),
            SystemSettings::Archive(of) => (of.limit, of.breaker_failures, of.breaker_pause),
        };
        Bounds {
            name: name.clone(),
            limit: limit as usize,
            breaker_failures,
            breaker_pause,
        }
    }
}
