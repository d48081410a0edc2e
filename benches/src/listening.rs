//! Somebody who counts outcomes all the while, so that whoever measures can look at the count when he likes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Fail;
use crate::messages::Outcomes;

/// Nothing has come for this long: nothing more will.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub(crate) struct Listening {
    distinct: Arc<AtomicUsize>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Fail>>,
}

impl Listening {
    pub(crate) fn start(outcomes: Outcomes) -> Listening {
        let (distinct, stop) = (Arc::<AtomicUsize>::default(), CancellationToken::new());
        let task = tokio::spawn(listen(outcomes, distinct.clone(), stop.clone()));
        Listening { distinct, stop, task }
    }

    /// How many different ones have come. Fails if nobody counts any more.
    pub(crate) fn count(&self) -> Result<usize, Fail> {
        if self.task.is_finished() {
            return Err("nobody counts the outcomes any more".into());
        }
        Ok(self.distinct.load(Ordering::Relaxed))
    }

    /// Until so many have come, as long as more do.
    pub(crate) async fn until(&self, wanted: usize) -> Result<(), Fail> {
        let (mut last, mut since) = (self.count()?, Instant::now());
        let mut ticks = tokio::time::interval(LOOK_AGAIN);
        while last < wanted {
            ticks.tick().await;
            let now = self.count()?;
            if now > last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > SILENCE_MAX {
                return Err(format!("{now} of {wanted} outcomes came, then none").into());
            }
        }
        Ok(())
    }

    pub(crate) async fn stop(self) -> Result<(), Fail> {
        self.stop.cancel();
        self.task.await?
    }
}

async fn listen(
    mut outcomes: Outcomes,
    distinct: Arc<AtomicUsize>,
    stop: CancellationToken,
) -> Result<(), Fail> {
    let mut seen: HashSet<Uuid> = HashSet::new();
    while !stop.is_cancelled() {
        match outcomes.next(LOOK_AGAIN).await? {
            Some(outcome) => {
                seen.insert(outcome.event);
                distinct.store(seen.len(), Ordering::Relaxed);
            }
            None => outcomes.acknowledge().await?,
        }
    }
    outcomes.acknowledge().await
}
