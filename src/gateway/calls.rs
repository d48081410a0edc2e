//! What every dialect does with a request: it is kept, published, and waited for.
//!
//! There is one way in. A call becomes a row and a message in one transaction; the message goes to the queue of requests
//! and is taken in like anybody's. What is waited for is the row that admission makes of it.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use super::waiting::Waiting;
use crate::deletion::{CallId, Envelope, Rejection, Request, Tenant, TraceContext, read_requests};
use crate::store::{
    BatchStand, CallMessage, Called, KeptCall, NewCall, Outgoing, OutgoingBody, Store, StoreError,
};

/// Cheap to clone: all of it is shared with its clones.
#[derive(Clone)]
pub struct Calls {
    pub(super) store: Store,
    pub(super) waiting: Waiting,
    /// To the relay, which publishes from memory what is kept.
    pub(super) tap: mpsc::Sender<Outgoing>,
}

/// What came around the request, and goes back with its outcome.
#[derive(Clone, Debug, Default)]
pub struct About {
    pub correlation_id: Option<String>,
    pub trace: TraceContext,
}

/// A call that is kept, and will be carried out whatever becomes of the caller.
#[derive(Clone, Debug)]
pub struct Published {
    pub id: CallId,
    /// Of a bulk.
    pub batch: Option<(Tenant, String)>,
    /// It came before.
    pub again: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It can never be a request; where and why.
    #[error("{0}")]
    Wrong(Rejection),
    #[error("the key came before with other content")]
    Conflict,
    #[error("cannot use Sexton's own database")]
    Store {
        #[from]
        source: StoreError,
    },
}

impl Calls {
    /// Keeps a request, or a bulk, and publishes it. Without a key of its own it gets one: its message may be delivered
    /// twice, and must still be one request.
    pub async fn publish(&self, mut body: Map<String, Value>, about: About) -> Result<Published, CallError> {
        let id = CallId(Uuid::now_v7());
        if !body.contains_key("key") {
            body.insert("key".to_owned(), format!("http:{id}").into());
        }
        let is_bulk = body.contains_key("targets");
        let body = Value::Object(body);
        let requests =
            read_requests(body.to_string().as_bytes(), &Envelope::default()).map_err(CallError::Wrong)?;
        let Some(first) = requests.first() else {
            unreachable!("what is read has one request at least");
        };
        let tenant = first.target.tenant.clone();
        let batch = is_bulk.then(|| first.batch.clone()).flatten();
        let kept = self
            .store
            .keep_call(&NewCall {
                id,
                tenant: tenant.clone(),
                digest: first.key_digest().unwrap_or_default(),
                content: content(&requests),
                batch: batch.clone(),
                message: message(&body, &about),
            })
            .await?;
        let published = |id, again| Published {
            id,
            batch: batch.clone().map(|batch| (tenant.clone(), batch)),
            again,
        };
        match kept {
            KeptCall::New => {
                let outgoing = Outgoing {
                    id: id.0,
                    body: OutgoingBody::Call(Box::new(message(&body, &about))),
                };
                // A full memory is no loss: the sweep finds it in the table.
                let _ = self.tap.try_send(outgoing);
                Ok(published(id, false))
            }
            KeptCall::Again(id) => Ok(published(id, true)),
            KeptCall::Conflict => Err(CallError::Conflict),
        }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Until its outcome is known, a person must look, or the time is over (`None`); the request goes on in any case.
    pub async fn outcome(&self, published: &Published, until: Instant) -> Option<Called> {
        // What came before may have its outcome already, and no hint comes twice.
        if published.again
            && let Ok(mut seen) = self.store.look_at_calls(&[published.id]).await
            && let Some(called) = seen.pop().filter(|called| called.stand.is_told())
        {
            return Some(called);
        }
        self.waiting.call(published.id, until).await
    }

    /// Likewise of a bulk, as a whole.
    pub async fn outcome_of_all(&self, batch: (Tenant, String), until: Instant) -> Option<BatchStand> {
        self.waiting.batch(batch, until).await
    }
}

/// Its envelope is made fit to travel, as that of every message is when it comes in.
fn message(body: &Value, about: &About) -> CallMessage {
    let envelope = Envelope::new(None, about.correlation_id.as_deref(), about.trace.clone());
    CallMessage {
        body: body.clone(),
        correlation_id: envelope.correlation_id,
        trace: envelope.trace,
    }
}

/// Of one request its own digest, by which admission knows it; of many, one for all.
fn content(requests: &[Request]) -> [u8; 16] {
    if let [one] = requests {
        return one.digest();
    }
    let mut hash = Sha256::new();
    for request in requests {
        hash.update(request.digest());
    }
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}
