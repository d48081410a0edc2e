//! Tells Sexton's tables which systems are shut for this worker, and hears there that somebody has repaired one.

use std::collections::HashMap;
use std::time::Duration;

use time::OffsetDateTime;

use super::Shared;
use super::watch::Patience;
use crate::store::Worker;

/// How soon a person sees that a system is shut, and how soon what they say about it is heard. Nothing is asked while no
/// system is shut.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Does not end by itself.
pub(super) async fn tell(shared: &Shared, worker: &Worker) {
    let mut patience = Patience::new(&shared.parts.store, "telling which systems are shut");
    let mut heard: HashMap<String, OffsetDateTime> = HashMap::new();
    let mut every = tokio::time::interval(TELL_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut to_be_told = false;
    loop {
        every.tick().await;
        for (_, doors) in shared.limits.doors() {
            to_be_told |= doors.has_changed();
        }
        let shut: Vec<_> = shared
            .limits
            .doors()
            .flat_map(|(_, doors)| doors.shut_now())
            .collect();
        if shut.is_empty() && !to_be_told {
            continue;
        }
        match shared.parts.store.tell_shut(worker, &shut).await {
            Ok(repaired) => {
                patience.succeeded();
                to_be_told = false;
                for (system, at) in repaired {
                    if heard.insert(system.clone(), at) != Some(at) {
                        let named = shared.limits.doors().filter(|(name, _)| name.0 == system);
                        named.for_each(|(_, doors)| doors.try_now());
                        tracing::info!(system, "somebody says that this system is repaired; trying it");
                        shared.parts.wake.poke();
                    }
                }
            }
            Err(error) => patience.failed(&error, &shared.stopper).await,
        }
    }
}
