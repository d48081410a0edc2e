//! Requests that were turned away: a look at them, and the way back once the cause is repaired.
//!
//! A message is let go at its old place only when the broker has confirmed it at the new one.

use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{Operator, OperatorError};
use crate::broker::{Delivery, Desk, Message, PublishOutcome, REJECTED_QUEUE, REQUESTS_EXCHANGE, Unrouted};
use crate::deletion::{HEADER_FIELD, HEADER_REASON, HEADER_REQUEST, HEADER_WHY};

/// What is looked at and does not match is held until the end, with its body; more than this is another run.
const LOOKED_AT_MAX: u32 = 10_000;
/// The audit names this many messages of one run; it always has their number.
const AUDITED_IDS_MAX: usize = 100;
const ROUTING_KEY: &str = "requeued";

/// A rejected request as a person sees it. Its body is another matter.
#[derive(Clone, Debug, Serialize)]
pub struct Turned {
    pub message_id: Option<String>,
    /// The id under which its rejection was announced.
    pub request_id: Option<String>,
    pub reason: Option<String>,
    /// Where in the body, as a JSON pointer; empty for the whole.
    pub field: Option<String>,
    pub why: Option<String>,
    pub body_bytes: usize,
    /// The body, where it was asked for and is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// Which rejected requests.
#[derive(Clone, Debug, Default)]
pub struct WantedRejected {
    /// By message id or request id; none means all.
    pub ids: Vec<String>,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Requeued {
    /// Message ids, in order.
    pub moved: Vec<String>,
    pub left: u32,
    /// The bound was reached before the end of the queue.
    pub more: bool,
    /// Why it ended early, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

impl Turned {
    pub fn of(delivery: &Delivery, with_body: bool) -> Self {
        let header = |name: &str| {
            delivery
                .headers
                .get(name)
                .and_then(|value| value.as_text())
                .map(str::to_owned)
        };
        Turned {
            message_id: delivery.message_id.clone(),
            request_id: header(HEADER_REQUEST),
            reason: header(HEADER_REASON),
            field: header(HEADER_FIELD),
            why: header(HEADER_WHY),
            body_bytes: delivery.body.len(),
            body: with_body.then(|| String::from_utf8_lossy(&delivery.body).into_owned()),
        }
    }
}

impl WantedRejected {
    pub fn wants(&self, turned: &Turned) -> bool {
        let named = |id: &Option<String>| id.as_ref().is_some_and(|id| self.ids.contains(id));
        let by_id = self.ids.is_empty() || named(&turned.message_id) || named(&turned.request_id);
        by_id && (self.reason.is_none() || self.reason == turned.reason)
    }
}

impl Operator {
    /// Moves what is wanted back to where requests go, as it is. Audited before and after: what happens in between is
    /// the broker's, and a crash leaves at worst a message in both places, which its key makes harmless.
    pub async fn requeue(&self, desk: &mut Desk, wanted: &WantedRejected) -> Result<Requeued, OperatorError> {
        let detail = json!({"ids": wanted.ids, "reason": wanted.reason});
        self.store.audit(&self.by, "requeue", None, &detail).await?;
        let done = self.move_wanted(desk, wanted).await;
        desk.put_back().await;
        let done = done?;
        let ids: Vec<&String> = done.moved.iter().take(AUDITED_IDS_MAX).collect();
        let detail = json!({"moved": done.moved.len(), "ids": ids});
        self.store.audit(&self.by, "requeued", None, &detail).await?;
        Ok(done)
    }

    async fn move_wanted(&self, desk: &mut Desk, wanted: &WantedRejected) -> Result<Requeued, OperatorError> {
        // What is turned away again meanwhile comes in behind, and is not for this run.
        let standing = desk.depth(REJECTED_QUEUE).await?.ready;
        let mut done = Requeued {
            more: standing > LOOKED_AT_MAX,
            ..Requeued::default()
        };
        for _ in 0..standing.min(LOOKED_AT_MAX) {
            let Some(taken) = desk.take(REJECTED_QUEUE).await? else {
                break;
            };
            let turned = Turned::of(&taken.delivery, false);
            if !wanted.wants(&turned) {
                done.left += 1;
                continue;
            }
            let message = again(&taken.delivery);
            let id = message.message_id.clone();
            match desk.move_on(taken, &message).await? {
                PublishOutcome::Confirmed => done.moved.push(id),
                outcome => {
                    done.stopped = Some(not_taken(&outcome));
                    break;
                }
            }
        }
        Ok(done)
    }
}

/// The request as it came, without what its rejection added.
fn again(delivery: &Delivery) -> Message {
    let mut headers = delivery.headers.clone();
    // Names that begin so are the broker's own tale of how it came here.
    headers.retain(|name, _| !name.starts_with("sexton-") && !name.starts_with("x-"));
    Message {
        exchange: REQUESTS_EXCHANGE.to_owned(),
        routing_key: ROUTING_KEY.to_owned(),
        headers,
        // A repeat of this move must be known as one.
        message_id: delivery
            .message_id
            .clone()
            .unwrap_or_else(|| Uuid::now_v7().to_string()),
        correlation_id: delivery.correlation_id.clone(),
        content_type: delivery.content_type.clone(),
        body: delivery.body.clone(),
        persistent: true,
        unrouted: Unrouted::Tell,
    }
}

fn not_taken(outcome: &PublishOutcome) -> String {
    match outcome {
        PublishOutcome::Confirmed => "nothing".into(),
        PublishOutcome::Unroutable => "no queue is bound to the exchange deletion.requests".into(),
        PublishOutcome::Nacked => "the broker cannot take it now".into(),
        PublishOutcome::Refused(why) => why.clone(),
        PublishOutcome::Lost => "the connection was lost before the broker's answer".into(),
    }
}
