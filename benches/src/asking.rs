//! Single requests at steady moments, whatever became of those before: a stall is felt by all who ask meanwhile.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::Fail;
use crate::messages::{Asker, Outcomes, body_for, random};

/// Those who ask are a tenant of their own, so their outcomes go to a queue of their own.
const TENANT: &str = "asker";
/// Ten times as many as one who waits for each would ask, and no load beside thousands.
const EVERY: Duration = Duration::from_millis(20);
const SILENCE_MAX: Duration = Duration::from_secs(30);

pub(crate) fn lasts(requests: usize) -> Duration {
    EVERY.saturating_mul(u32::try_from(requests).unwrap_or(u32::MAX))
}

pub(crate) async fn listen(amqp_url: &str) -> Result<Outcomes, Fail> {
    Outcomes::listen_for(amqp_url, "bench.asked", &format!("{TENANT}.#")).await
}

/// How long each had to wait, from the moment at which it was due to be asked.
pub(crate) async fn ask(
    amqp_url: &str,
    mut outcomes: Outcomes,
    requests: usize,
) -> Result<Vec<Duration>, Fail> {
    let asker = Asker::open(amqp_url).await?;
    let waiting: RefCell<HashMap<String, Instant>> = RefCell::default();
    let asking = async {
        let mut ticks = tokio::time::interval(EVERY);
        for _ in 0..requests {
            let due = ticks.tick().await.into_std();
            let key = random().to_string();
            waiting.borrow_mut().insert(key.clone(), due);
            asker.say(&body_for(TENANT, &key)).await?;
        }
        Ok::<(), Fail>(())
    };
    let answers = async {
        let mut waits = Vec::with_capacity(requests);
        while waits.len() < requests {
            let Some(outcome) = outcomes.next(SILENCE_MAX).await? else {
                return Err(
                    format!("{} of {requests} who asked were answered, then none", waits.len()).into(),
                );
            };
            let key = outcome.key.ok_or("an outcome without its key")?;
            // One that comes twice was answered before.
            if let Some(due) = waiting.borrow_mut().remove(&key) {
                waits.push(due.elapsed());
            }
        }
        outcomes.acknowledge().await?;
        Ok(waits)
    };
    Ok(tokio::try_join!(asking, answers)?.1)
}
