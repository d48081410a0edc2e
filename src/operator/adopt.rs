//! Moving parked deletions to another version of their plan.
//!
//! Nobody writes a deletion past its fence, and an operator is no exception: this registers as a worker of one lane,
//! claims exactly the deletion it is to move, writes one guarded record and hands it back. What does not fit is left as
//! it was, with one reason.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Operator, OperatorError};
use crate::clock;
use crate::crash::{self, CrashPoint};
use crate::deletion::{DeletionId, Entry, EventId, Phase, State};
use crate::plan::{Incompatible, Plan, compatible};
use crate::store::{
    Asked, BatchOutcome, Claimed, Heartbeat, LaneWriter, NEVER, Place, Release, Sheet, StoreError,
    StoredPlan, Worker,
};

/// The right to write lasts this long without a sign of life; it is renewed well before.
const LEASE: Duration = Duration::from_secs(30);
/// Signals that arrive in the middle are met by writing again; a person does not signal more often than this.
const TRIES_MAX: usize = 10;

/// A lane of the operator's own, for as long as the work takes.
pub struct Adoption<'o> {
    operator: &'o Operator,
    worker: Worker,
    writer: LaneWriter,
    generation: i64,
}

/// What became of one deletion.
#[derive(Clone, Debug, Serialize)]
pub struct Adopted {
    pub id: Uuid,
    pub adopted: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Why a deletion stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum NotAdopted {
    #[error("it is not parked; only what a person must look at is moved")]
    NotParked,
    #[error("it has ended")]
    Ended,
    #[error("there is no such deletion")]
    Unknown,
    #[error("it follows that version already")]
    Same,
    #[error("that version has no such course: what this deletion does is not in it")]
    NoCourse,
    #[error("it is on its way back, and a plan cannot change that")]
    Unwinding,
    #[error("{0}")]
    Incompatible(#[from] Incompatible),
    #[error("its journal cannot be read by this release: {0}")]
    Unreadable(String),
    #[error("a worker has it just now, or somebody else moves it; look again")]
    Busy,
}

impl Operator {
    /// Opens a lane. Close it, or others wait for its lease.
    pub async fn begin_adoption(&self) -> Result<Adoption<'_>, OperatorError> {
        let worker = self.store.register(1, LEASE).await?;
        let lane = worker.lanes.first().copied().ok_or(OperatorError::Lost)?;
        let mut writer = self.store.open_lane(lane).await?;
        let generation = writer.generation().await?.ok_or(OperatorError::Lost)?;
        Ok(Adoption {
            operator: self,
            worker,
            writer,
            generation,
        })
    }
}

impl Adoption<'_> {
    /// Moves one deletion to `to`, if it is parked and fits. The error is about the tables; the reason why it stays as
    /// it is, is an answer.
    pub async fn adopt(
        &mut self,
        id: DeletionId,
        to: &StoredPlan,
        reason: Option<&str>,
    ) -> Result<Result<(), NotAdopted>, OperatorError> {
        // Looked at before it is touched, so that what does not fit is not even claimed.
        if let Err(why) = self.look(id, to).await? {
            return Ok(Err(why));
        }
        self.keep_lease().await?;
        let Some(claimed) = self.writer.claim_one(id).await.map_err(lost)? else {
            return Ok(Err(NotAdopted::Busy));
        };
        let from = self.operator.store.plan(claimed.opened.plan).await?;
        let action = claimed.opened.action;
        let to = &StoredPlan {
            plan: to.plan.course(action),
            ..to.clone()
        };
        let entries = claimed
            .journal
            .as_deref()
            .map_err(|why| NotAdopted::Unreadable(why.clone()));
        if let Err(why) = entries.and_then(|entries| {
            fits(
                &from.plan.course(action),
                entries,
                &to.plan,
                &claimed.opened.params,
            )
        }) {
            self.hand_back(&claimed).await?;
            return Ok(Err(why));
        }
        let asked = Asked {
            by: &self.operator.by,
            reason,
        };
        let event = EventId(Uuid::now_v7());
        crash::point(CrashPoint::AdoptionBeforeRecord);
        for _ in 0..TRIES_MAX {
            let outcome = self
                .writer
                .adopt_plan(self.generation, &claimed.opened, to, event, clock::now(), asked)
                .await?;
            match outcome {
                BatchOutcome::Lost => return Err(OperatorError::Lost),
                // Whoever claims it next takes the signal in; it is not for us to judge.
                BatchOutcome::Signalled { generation } => self.generation = generation,
                BatchOutcome::Applied { .. } => return Ok(Ok(())),
            }
        }
        self.hand_back(&claimed).await?;
        Ok(Err(NotAdopted::Busy))
    }

    async fn look(&self, id: DeletionId, to: &StoredPlan) -> Result<Result<(), NotAdopted>, OperatorError> {
        let Some(sheet) = self.operator.store.sheet(id).await? else {
            return Ok(Err(NotAdopted::Unknown));
        };
        Ok(judge(&sheet, to))
    }

    async fn hand_back(&mut self, claimed: &Claimed) -> Result<(), OperatorError> {
        let mut release = Release {
            deletion: claimed.opened.id,
            tenure: claimed.opened.tenure,
            due: NEVER,
            fault: false,
        };
        for _ in 0..TRIES_MAX {
            match self.writer.release(self.generation, &[release]).await? {
                BatchOutcome::Applied { .. } => return Ok(()),
                BatchOutcome::Lost => return Err(OperatorError::Lost),
                BatchOutcome::Signalled { generation } => {
                    self.generation = generation;
                    // Somebody said something meanwhile: a worker must look.
                    release.due = clock::now();
                }
            }
        }
        // Signing off lets others adopt what is still held.
        Ok(())
    }

    async fn keep_lease(&self) -> Result<(), OperatorError> {
        if self.worker.lease.left() > LEASE / 2 {
            return Ok(());
        }
        match self.operator.store.heartbeat(&self.worker).await? {
            Heartbeat::Renewed => Ok(()),
            Heartbeat::Lost => Err(OperatorError::Lost),
        }
    }

    /// Gives the lane up at once.
    pub async fn close(self) -> Result<(), OperatorError> {
        self.writer.close().await;
        Ok(self.operator.store.sign_off(&self.worker).await?)
    }
}

fn lost(error: StoreError) -> OperatorError {
    match error {
        StoreError::Lost => OperatorError::Lost,
        source => OperatorError::Store { source },
    }
}

fn judge(sheet: &Sheet, to: &StoredPlan) -> Result<(), NotAdopted> {
    if let Place::Ended { .. } = sheet.place {
        return Err(NotAdopted::Ended);
    }
    let journal = sheet
        .journal
        .as_ref()
        .map_err(|why| NotAdopted::Unreadable(why.clone()))?;
    let from = sheet
        .plan
        .as_ref()
        .map_err(|why| NotAdopted::Unreadable(why.clone()))?;
    let entries: Vec<Entry> = journal.iter().flat_map(|record| record.entries.clone()).collect();
    fits(&from.plan, &entries, &to.plan.course(sheet.action), &sheet.params)
}

/// Pure: what stands in the journal against both plans.
fn fits(from: &Plan, entries: &[Entry], to: &Plan, params: &Map<String, Value>) -> Result<(), NotAdopted> {
    let state = State::replay(from.steps.len(), entries)
        .map_err(|error| NotAdopted::Unreadable(error.to_string()))?;
    match state.phase {
        Phase::Forward => {}
        Phase::Unwinding(_) => return Err(NotAdopted::Unwinding),
        Phase::Ended(_) => return Err(NotAdopted::Ended),
    }
    if to.steps.is_empty() {
        return Err(NotAdopted::NoCourse);
    }
    if state.parked.is_none() {
        return Err(NotAdopted::NotParked);
    }
    if from == to {
        return Err(NotAdopted::Same);
    }
    // Where nothing has begun the lookup is made anew, so that even it may differ.
    let next = if state.has_begun() {
        1 + state
            .tracks
            .iter()
            .rposition(|track| track.has_begun())
            .unwrap_or(0)
    } else {
        0
    };
    Ok(compatible(from, to, next, params)?)
}
