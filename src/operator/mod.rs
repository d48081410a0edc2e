//! What a person may ask, whichever door they came through.
//!
//! Whatever changes something is written to `sexton.audit` with who asked; looking changes nothing and leaves no row.
//! Nothing here writes a deletion past its fence: signals are rows of their own, and an adoption takes a lane.

mod account;
pub use account::{Account, RequestAccount, SignalAccount, StepAccount, Told};
mod adopt;
pub use adopt::{Adopted, Adoption, NotAdopted};
mod requeue;
pub use requeue::{Requeued, Turned, WantedRejected};

use uuid::Uuid;

use crate::broker::BrokerError;
use crate::deletion::{DeletionId, SignalKind, Tenant};
use crate::store::{
    Filter, Listed, ListedKey, ListedShut, NewKey, RejectedRequest, Said, Store, StoreError, StoredPlan,
    Wanted,
};

/// Somebody with the right to ask.
#[derive(Clone, Debug)]
pub struct Operator {
    store: Store,
    /// As the audit names them.
    by: String,
}

#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error("cannot use Sexton's own database")]
    Store { source: StoreError },
    #[error("cannot use RabbitMQ")]
    Broker { source: BrokerError },
    #[error("no deletion is known as {what}")]
    Unknown { what: String },
    #[error("deletion {id} has ended, and nothing can change that")]
    Ended { id: DeletionId },
    #[error("deletion {id} has not begun: it waits for the end of {behind}, which is open")]
    Queued { id: DeletionId, behind: DeletionId },
    #[error("no key that stands has the id {id}")]
    NoKey { id: Uuid },
    #[error("no worker that is there finds the system {system:?} shut")]
    NotShut { system: String },
    #[error("this worker was taken for lost in the middle of the work; nothing is half done, begin again")]
    Lost,
}

impl From<StoreError> for OperatorError {
    fn from(source: StoreError) -> Self {
        OperatorError::Store { source }
    }
}

impl From<BrokerError> for OperatorError {
    fn from(source: BrokerError) -> Self {
        OperatorError::Broker { source }
    }
}

impl Operator {
    pub fn new(store: Store, by: impl Into<String>) -> Self {
        Operator { store, by: by.into() }
    }

    /// A page of deletions, newest first.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Listed>, OperatorError> {
        Ok(self.store.list(filter).await?)
    }

    /// All that may be meant, newest first; none is no error.
    pub async fn find(&self, wanted: &Wanted) -> Result<Vec<DeletionId>, OperatorError> {
        Ok(self.store.find(wanted).await?)
    }

    /// Where it stands, what was done, why it is not done and what comes next.
    pub async fn inspect(&self, id: DeletionId) -> Result<Account, OperatorError> {
        match self.store.sheet(id).await? {
            Some(sheet) => Ok(Account::of(sheet)),
            None => Err(OperatorError::Unknown { what: id.to_string() }),
        }
    }

    /// A request that never became a deletion.
    pub async fn rejected_request(&self, id: Uuid) -> Result<Option<RejectedRequest>, OperatorError> {
        Ok(self.store.rejected_request(id).await?)
    }

    /// A parked deletion goes on with a fresh set of attempts; a waiting one goes on now.
    pub async fn retry(&self, id: DeletionId, reason: Option<&str>) -> Result<(), OperatorError> {
        self.signal(id, SignalKind::Retry, reason).await
    }

    /// Undone and ended, unless the point of no return was reached first. Which of the two, its outcome tells.
    pub async fn cancel(&self, id: DeletionId, reason: Option<&str>) -> Result<(), OperatorError> {
        self.signal(id, SignalKind::Cancel, reason).await
    }

    async fn signal(
        &self,
        id: DeletionId,
        kind: SignalKind,
        reason: Option<&str>,
    ) -> Result<(), OperatorError> {
        // The signal writes its audit row itself, in its own transaction.
        match self.store.signal(id, kind, &self.by, reason).await? {
            Said::Heard => Ok(()),
            Said::NotOpen => Err(self.why_not_open(id).await?),
        }
    }

    async fn why_not_open(&self, id: DeletionId) -> Result<OperatorError, OperatorError> {
        use crate::store::Place;
        Ok(match self.store.sheet(id).await?.map(|sheet| sheet.place) {
            None => OperatorError::Unknown { what: id.to_string() },
            Some(Place::Queued { behind, .. }) => OperatorError::Queued { id, behind },
            Some(Place::Ended { .. } | Place::Open { .. }) => OperatorError::Ended { id },
        })
    }

    /// Keeps what recognises a key; the key itself is only known to whoever made it.
    pub async fn make_key(&self, key: &NewKey) -> Result<(), OperatorError> {
        Ok(self.store.make_key(key, &self.by).await?)
    }

    pub async fn revoke_key(&self, id: Uuid) -> Result<(), OperatorError> {
        match self.store.revoke_key(id, &self.by).await? {
            true => Ok(()),
            false => Err(OperatorError::NoKey { id }),
        }
    }

    pub async fn keys(&self, tenant: Option<&Tenant>) -> Result<Vec<ListedKey>, OperatorError> {
        Ok(self.store.keys(tenant).await?)
    }

    /// Systems that do not let Sexton in, for each worker that is there.
    pub async fn shut_systems(&self) -> Result<Vec<ListedShut>, OperatorError> {
        Ok(self.store.list_shut().await?)
    }

    /// It is repaired: its workers try it at once.
    pub async fn retry_system(&self, system: &str) -> Result<(), OperatorError> {
        match self.store.retry_system(system, &self.by).await? {
            0 => Err(OperatorError::NotShut {
                system: system.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Keeps a plan, so that deletions can follow it.
    pub async fn introduce(&self, plan: &crate::plan::Plan) -> Result<StoredPlan, OperatorError> {
        Ok(self.store.introduce_plan(plan).await?)
    }
}
