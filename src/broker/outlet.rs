//! Messages go out here, each with a fate: confirmed, unroutable, nacked, refused, or lost.
//!
//! Senders hand their messages to a bounded queue; a few lanes take from it whatever is there, write it in one
//! go and wait for the broker's answers together. A lone message goes at once, and many senders share round
//! trips without knowing of each other. While the broker is away every message is answered `Lost` at once:
//! who keeps messages (the outbox) decides when to try again, and asks [`Outlet::ready`].

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::connection::Link;
use super::lane::{Forbidden, LANE_BATCH_MAX, Lane};
use super::message::{Message, PublishOutcome};
use super::tally::Tally;

/// While one lane waits for a quorum queue to sync, the others write. More than this only takes cores away
/// from those who have work.
const LANES: usize = 4;
/// Messages accepted and not answered. Beyond it a sender waits, and the outbox in Postgres is the buffer.
pub const IN_FLIGHT_MAX: usize = 2 * LANES * LANE_BATCH_MAX;

#[derive(Clone)]
pub struct Outlet {
    queue: mpsc::Sender<Parcel>,
    link: Link,
}

struct Parcel {
    message: Message,
    answer: oneshot::Sender<PublishOutcome>,
}

impl Outlet {
    pub(super) fn start(link: Link, tally: Arc<Tally>, stop: CancellationToken) -> Outlet {
        let (queue, parcels) = mpsc::channel(IN_FLIGHT_MAX - LANES * LANE_BATCH_MAX);
        let parcels = Arc::new(Mutex::new(parcels));
        let forbidden = Arc::<Forbidden>::default();
        for _ in 0..LANES {
            // Tasks of their own: a sender that stops waiting must not take a batch's confirms with it.
            tokio::spawn(run_lane(
                Lane::new(link.clone(), tally.clone(), Arc::clone(&forbidden)),
                parcels.clone(),
                tally.clone(),
                stop.clone(),
            ));
        }
        Outlet { queue, link }
    }

    pub async fn publish(&self, message: Message) -> PublishOutcome {
        match self.enqueue(message).await {
            Some(answer) => answer.await.unwrap_or(PublishOutcome::Lost),
            None => PublishOutcome::Lost,
        }
    }

    /// One outcome for each message, in their order. Written all before the first answer is waited for. No
    /// order on the wire is promised: each message carries what its reader needs to put it in order.
    pub async fn publish_all(&self, messages: Vec<Message>) -> Vec<PublishOutcome> {
        let mut answers = Vec::with_capacity(messages.len());
        for message in messages {
            answers.push(self.enqueue(message).await);
        }
        let mut outcomes = Vec::with_capacity(answers.len());
        for answer in answers {
            outcomes.push(match answer {
                Some(answer) => answer.await.unwrap_or(PublishOutcome::Lost),
                None => PublishOutcome::Lost,
            });
        }
        outcomes
    }

    /// Waits until there is a connection. `false` means that there will be none: the broker was stopped.
    pub async fn ready(&self) -> bool {
        self.link.up().await.is_some()
    }

    async fn enqueue(&self, message: Message) -> Option<oneshot::Receiver<PublishOutcome>> {
        let (answer, told) = oneshot::channel();
        self.queue.send(Parcel { message, answer }).await.ok()?;
        Some(told)
    }
}

async fn run_lane(
    mut lane: Lane,
    parcels: Arc<Mutex<mpsc::Receiver<Parcel>>>,
    tally: Arc<Tally>,
    stop: CancellationToken,
) {
    let mut taken = Vec::with_capacity(LANE_BATCH_MAX);
    let mut messages = Vec::with_capacity(LANE_BATCH_MAX);
    let mut answers = Vec::with_capacity(LANE_BATCH_MAX);
    loop {
        let take = async { parcels.lock().await.recv_many(&mut taken, LANE_BATCH_MAX).await };
        let Some(some) = stop.run_until_cancelled(take).await else {
            // What is still queued is answered `Lost` by its dropped sender.
            parcels.lock().await.close();
            return;
        };
        if some == 0 {
            return;
        }
        for parcel in taken.drain(..) {
            messages.push(parcel.message);
            answers.push(parcel.answer);
        }
        let outcomes = lane.send(&messages).await;
        messages.clear();
        for (outcome, answer) in outcomes.into_iter().zip(answers.drain(..)) {
            count(&tally, &outcome);
            let _nobody_waits_any_more = answer.send(outcome);
        }
    }
}

fn count(tally: &Tally, outcome: &PublishOutcome) {
    match outcome {
        PublishOutcome::Confirmed => tally.confirmed(1),
        PublishOutcome::Unroutable => tally.unroutable(1),
        PublishOutcome::Nacked => tally.nacked(1),
        PublishOutcome::Refused(_) => tally.refused(1),
        PublishOutcome::Lost => tally.lost(1),
    }
}
