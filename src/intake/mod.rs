//! The door in: requests from AMQP, admitted in batches, acknowledged after the commit and not before.
//!
//! Every delivery ends in one of two ways, both durable before the acknowledgement: admitted, or rejected with its
//! reason. When neither can be had (the database is away), nothing is requeued one by one: consuming stops, the
//! broker keeps everything, and it begins again when the tables answer.
//!
//! A bulk is admitted beside the others (`bulks.rs`), so that nobody waits for ten thousand.

mod bulks;
mod read;
mod reception;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::broker::{Acked, Batch, Inlet};
use crate::decide::access::ALL_TENANTS;
use crate::deletion::Tenant;
use crate::stopper::Stopper;
use crate::store::StoreError;
use bulks::Bulks;
pub use reception::Reception;

/// A batch of fewer than these says that what comes comes alone: nobody waits for company then.
const COMPANY_MIN: usize = 8;

/// Between a batch that could not be decided and the next try: so long at first, twice as long each time, never longer
/// than the last. Every try costs each message a delivery, and those are limited (see `broker/topology.rs`).
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LAST: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Requests of one admission, which is one transaction.
    pub batch_max: usize,
    /// How long a batch waits for company after its first request, while requests come in company at all.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// Whether the world is told of every accepted request as well, beside its outcome.
    pub announce_accepted: bool,
    /// For which tenants each user of the broker may speak, `*` for all. Left out, whoever may publish speaks for all.
    pub users: BTreeMap<String, Vec<String>>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            batch_max: 500,
            linger: Duration::from_millis(2),
            announce_accepted: false,
            users: BTreeMap::new(),
        }
    }
}

impl Settings {
    pub fn check(&self) -> Result<(), String> {
        if !(1..=5_000).contains(&self.batch_max) {
            return Err(format!(
                "intake.batch_max: found {}; wanted 1 to 5000",
                self.batch_max
            ));
        }
        let mut named = self.users.values().flatten();
        if let Some(bad) = named.find(|name| *name != ALL_TENANTS && Tenant::parse(name.as_str()).is_err()) {
            return Err(format!(
                "intake.users: found {bad:?}; wanted names of tenants, or \"*\" for all"
            ));
        }
        if self.linger > Duration::from_secs(1) {
            return Err(format!(
                "intake.linger: found {:?}; wanted at most 1s",
                self.linger
            ));
        }
        Ok(())
    }
}

pub struct Intake {
    pub inlet: Inlet,
    pub stopper: Stopper,
    pub reception: Reception,
}

/// Nothing was decided about the batch.
struct Undecided(Option<StoreError>);

impl From<StoreError> for Undecided {
    fn from(error: StoreError) -> Self {
        Undecided(Some(error))
    }
}

impl Intake {
    pub async fn run(mut self) {
        let mut voice = self.reception.store.outage().voice("admitting requests");
        let mut undecided = 0;
        let mut bulks = Bulks::default();
        let batch_max = self.reception.settings.batch_max;
        // At the start there may be a queue.
        let mut linger = self.reception.settings.linger;
        loop {
            let outcome = tokio::select! {
                done = bulks.done(), if !bulks.is_empty() => done,
                batch = self.inlet.next_batch(batch_max, linger) => {
                    let Some(mut batch) = batch else { break };
                    linger = match batch.deliveries().len() {
                        0..COMPANY_MIN => Duration::ZERO,
                        _ => self.reception.settings.linger,
                    };
                    match self.reception.decide(batch.take()).await {
                        Ok(many) if many.is_empty() => Ok(batch),
                        Ok(many) => {
                            bulks.add(batch, many, &self.reception, &self.stopper);
                            continue;
                        }
                        Err(error) => {
                            batch.give_back();
                            Err(error)
                        }
                    }
                }
            };
            match outcome {
                Ok(batch) => {
                    voice.works();
                    // While a bulk is under way, what comes alone says nothing of how that will go.
                    if bulks.is_empty() {
                        undecided = 0;
                    }
                    acknowledge(batch).await;
                }
                Err(Undecided(error)) => {
                    // Their channel goes, and with it whatever is undecided on it.
                    bulks.give_back();
                    self.inlet.hold().await;
                    match error {
                        Some(error) => voice.failed(&error),
                        None => {
                            tracing::debug!("requests were not admitted; the broker keeps them meanwhile")
                        }
                    }
                    self.until_the_tables_answer(undecided).await;
                    undecided += 1;
                }
            }
        }
        if let Some(Ok(batch)) = bulks.last().await {
            acknowledge(batch).await;
        }
        self.inlet.close().await;
    }

    async fn until_the_tables_answer(&self, undecided: u32) {
        let ceiling = RETRY_FIRST.saturating_mul(1 << undecided.min(16)).min(RETRY_LAST);
        loop {
            let wait = ceiling.mul_f64(rand::rng().random_range(0.5..=1.0));
            tokio::select! {
                () = self.stopper.draining() => return,
                () = tokio::time::sleep(wait) => {}
            }
            if self.reception.store.takes_writes().await.is_ok() {
                return;
            }
        }
    }
}

async fn acknowledge(batch: Batch) {
    match batch.ack().await {
        // It waits for an earlier one, of which a bulk is still being admitted: that one takes it along.
        Acked::Sent | Acked::Waits => {}
        // The channel is gone; what was committed is committed, and the redelivery is a copy of it.
        Acked::NotSent => {
            tracing::debug!("an acknowledgement could not be sent; expecting the redelivery")
        }
    }
}
