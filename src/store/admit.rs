//! Admission: many requests, one transaction, behind the same fence as every other write.
//!
//! The order inside is what keeps it free of deadlocks: the lane's fence, then keys by digest, then slots by target,
//! then rows that are already there by id. What each request becomes is decided by [`crate::decide::place`] on what
//! these statements found under lock.

use std::collections::HashMap;

use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::admit_new::is_kept;
use super::journal::FIRST_EPOCH;
use super::slots::Slots;
use super::{LaneWriter, Opened, Record, StoreError, batches, calls, keys, requests};
use crate::crash::{self, CrashPoint};
use crate::decide::{Place, place};
use crate::deletion::{Action, DeletionId, Rejection, RejectionReason, Request, RequestId};

/// A well-formed request that the plans allow, with the ids it will have if it is new.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub request: Request,
    pub request_id: RequestId,
    pub deletion_id: DeletionId,
    pub plan: i32,
    /// What its type's plan deletes can be restored.
    pub restorable: bool,
    pub deadline: Option<OffsetDateTime>,
    /// The lane takes it at once; else it waits for whoever claims it.
    pub keep: bool,
}

impl Candidate {
    /// As it will be if the lane keeps it, but for its generation.
    pub fn kept_at(&self, now: OffsetDateTime) -> Option<Opened> {
        is_kept(self, now).then(|| Opened::new(self, now, 0))
    }
}

/// What became of a candidate, in the order in which they were given.
#[derive(Clone, Debug)]
pub enum Admission {
    /// A deletion of its own, and the lane has it.
    Kept(Box<Opened>),
    /// A deletion of its own, for whoever claims it.
    Left,
    /// The same request was here before; nothing new exists. A copied cancel is signalled again.
    Copy {
        request: RequestId,
        signal: Option<DeletionId>,
    },
    Folded,
    /// Waits until the slot is free.
    Waits,
    /// A cancel: the deletion to signal once this is committed.
    Signals(DeletionId),
    Away(Box<Rejection>),
}

impl Admission {
    /// A request that Postgres cannot keep, found alone after its batch was halved.
    pub fn unkeepable(candidate: &Candidate) -> Admission {
        Admission::Away(Box::new(Rejection::of(
            &candidate.request,
            RejectionReason::WrongShape,
            "",
            "something that Postgres cannot keep; wanted text without NUL and numbers within its range",
        )))
    }
}

impl LaneWriter {
    /// One transaction for all of them. On an error nothing is known of any: do not acknowledge.
    ///
    /// `firsts` are as many, the first record of each that has one already. What is kept with it says so by its `seq`.
    pub async fn admit(
        &mut self,
        now: OffsetDateTime,
        announce: bool,
        candidates: &[Candidate],
        firsts: &[Option<Record>],
    ) -> Result<Vec<Admission>, StoreError> {
        if !announce && let Some(fates) = self.admit_new(now, candidates, firsts).await? {
            return Ok(fates);
        }
        let lane = self.lane;
        let mut tx = self
            .connection
            .begin()
            .await
            .map_err(StoreError::doing("beginning an admission"))?;
        let fenced: Option<i64> = sqlx::query_scalar(
            "/* admit_fence */ select lane from sexton.lanes where lane = $1 and epoch = $2 for no key update",
        )
        .bind(lane)
        .bind(FIRST_EPOCH)
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::doing("locking the fence for an admission"))?;
        if fenced.is_none() {
            return Err(StoreError::Lost);
        }

        let mut fates: Vec<Option<Admission>> = keys::remember(&mut tx, candidates).await?;
        let fresh: Vec<usize> = (0..candidates.len()).filter(|at| fates[*at].is_none()).collect();
        let mut slots = Slots::take(&mut tx, lane, now, candidates, &fresh).await?;
        let mut written = Written::default();
        for at in fresh {
            let candidate = &candidates[at];
            fates[at] = Some(written.settle(now, candidate, &mut slots));
        }
        copies_of_the_turned_away(candidates, &mut fates);
        written.store(&mut tx, announce, now).await?;
        keys::forget(&mut tx, &written.forgotten).await?;
        calls::answered(&mut tx, candidates, &fates).await?;
        crash::point(CrashPoint::AdmissionBeforeCommit);
        tx.commit()
            .await
            .map_err(StoreError::doing("committing an admission"))?;
        crash::point(CrashPoint::AdmissionAfterCommit);
        StoreError::heard("committing an admission", fates.into_iter().flatten().collect())
    }
}

/// A copy of what is turned away in this very batch is turned away with it: nothing remembers it.
fn copies_of_the_turned_away(candidates: &[Candidate], fates: &mut [Option<Admission>]) {
    let away: HashMap<RequestId, Box<Rejection>> = candidates
        .iter()
        .zip(fates.iter())
        .filter_map(|(candidate, fate)| match fate {
            Some(Admission::Away(rejection)) => Some((candidate.request_id, rejection.clone())),
            _ => None,
        })
        .collect();
    for fate in fates {
        if let Some(Admission::Copy { request, .. }) = fate
            && let Some(rejection) = away.get(request)
        {
            *fate = Some(Admission::Away(rejection.clone()));
        }
    }
}

/// What an admission adds beside the slots.
#[derive(Default)]
struct Written<'a> {
    requests: Vec<(&'a Candidate, DeletionId)>,
    joined: Vec<(DeletionId, RequestId, Option<OffsetDateTime>)>,
    successors: Vec<(DeletionId, &'a Candidate)>,
    /// Keys of requests that were turned away after all: the publisher may repair and send again.
    forgotten: Vec<(Uuid, RequestId)>,
}

impl<'a> Written<'a> {
    fn settle(&mut self, now: OffsetDateTime, candidate: &'a Candidate, slots: &mut Slots) -> Admission {
        let request = &candidate.request;
        let fold = request.fold_digest();
        if slots.is_first_of(candidate) {
            self.requests.push((candidate, candidate.deletion_id));
            let Some(generation) = slots.begin(candidate, fold) else {
                return Admission::Left;
            };
            let window = slots.windows.of(candidate);
            let mut opened = Opened::new(candidate, now, generation);
            if let Some(window) = window {
                opened.window_of = Some(window.id());
                opened.plan = window.plan;
                opened.params.clone_from(&window.params);
            }
            return Admission::Kept(Box::new(opened));
        }
        let window = slots.windows.view(&request.target);
        match place(
            request,
            candidate.restorable,
            fold,
            slots.view(&request.target),
            window,
        ) {
            // A delete without a slot of its own always finds the one it lost to; see `Slots::take`.
            Place::New => self.turn_away(candidate, RejectionReason::SlotTaken),
            Place::Join(deletion) => {
                self.requests.push((candidate, deletion));
                self.joined
                    .push((deletion, candidate.request_id, candidate.deadline));
                Admission::Folded
            }
            Place::Follow(blocking) => {
                self.requests.push((candidate, candidate.deletion_id));
                self.successors.push((blocking, candidate));
                slots.follow(&request.target, candidate.deletion_id, fold);
                Admission::Waits
            }
            Place::Signal(deletion) => {
                self.requests.push((candidate, deletion));
                self.joined.push((deletion, candidate.request_id, None));
                Admission::Signals(deletion)
            }
            Place::Away(reason) => self.turn_away(candidate, reason),
        }
    }

    fn turn_away(&mut self, candidate: &'a Candidate, reason: RejectionReason) -> Admission {
        if let Some(digest) = candidate.request.key_digest() {
            self.forgotten
                .push((Uuid::from_bytes(digest), candidate.request_id));
        }
        let action = candidate.request.action;
        let detail = match (reason, action) {
            (RejectionReason::NothingToDo, Action::Cancel) => {
                "no deletion of this target is open; wanted one that can still be cancelled"
            }
            (RejectionReason::NothingToDo, Action::Restore) => {
                "no soft deletion of this target stands; wanted one within its restore window"
            }
            (RejectionReason::NothingToDo, _) => {
                "its soft deletion does not stand any more, or something else has the target; wanted one to end"
            }
            (RejectionReason::WindowOver, _) => {
                "its restore window has ended, or its purge has begun; wanted a restore within the window"
            }
            (RejectionReason::NotAllowed, _) => {
                "its restore window has not ended, or this is not Sexton's own request; wanted no purge"
            }
            _ => "another request that differs already waits for this target; wanted one at a time",
        };
        Admission::Away(Box::new(Rejection::of(
            &candidate.request,
            reason,
            "/target",
            detail,
        )))
    }

    async fn store(
        &self,
        tx: &mut PgConnection,
        announce: bool,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        if !self.requests.is_empty() {
            requests::insert(tx, &self.requests, announce, now).await?;
        }
        if !self.joined.is_empty() {
            sqlx::query(
                "/* admit_join */ with i as (select * from unnest($1::uuid[], $2::uuid[], $3::timestamptz[])
                     as i (deletion, request, deadline)
                 ), nearest as (
                     select deletion, min(deadline) as deadline from i where deadline is not null group by deletion
                 ), nearer as (
                     update sexton.open_deletions d
                     set deadline = i.deadline,
                         -- A wait is cut short by it, but for an open intent and for what waits for somebody's word.
                         due_at = case when d.lane is null and d.effect_ms is null and d.parked is null
                                            and d.due_at < '9999-01-01' then least(d.due_at, i.deadline)
                                       else d.due_at end
                     from nearest i
                     where d.id = any (array[i.deletion]) and (d.deadline is null or i.deadline < d.deadline)
                 ), waits as (
                     update sexton.successors s set deadline = i.deadline from nearest i
                     where s.deletion_id = any (array[i.deletion]) and (s.deadline is null or i.deadline < s.deadline)
                 )
                 insert into sexton.joined (deletion_id, request_id) select deletion, request from i",
            )
            .bind(self.joined.iter().map(|(deletion, ..)| deletion.0).collect::<Vec<_>>())
            .bind(self.joined.iter().map(|(_, request, _)| request.0).collect::<Vec<_>>())
            .bind(self.joined.iter().map(|(.., deadline)| *deadline).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await
            .map_err(StoreError::doing("folding requests into open deletions"))?;
        }
        batches::told(tx, &self.requests).await?;
        if !self.successors.is_empty() {
            sqlx::query(
                "/* admit_follow */ insert into sexton.successors
                     (blocking, deletion_id, request_id, plan, fold, deadline, due_at, action, batched)
                 select i.blocking, i.deletion_id, i.request_id, i.plan, i.fold, i.deadline, i.due_at, i.action::\"char\",
                        i.batched
                 from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::integer[], $5::uuid[],
                             $6::timestamptz[], $7::timestamptz[], $8::text[], $9::boolean[])
                     as i (blocking, deletion_id, request_id, plan, fold, deadline, due_at, action, batched)",
            )
            .bind(
                self.successors
                    .iter()
                    .map(|(blocking, _)| blocking.0)
                    .collect::<Vec<_>>(),
            )
            .bind(
                self.successors
                    .iter()
                    .map(|(_, c)| c.deletion_id.0)
                    .collect::<Vec<_>>(),
            )
            .bind(
                self.successors
                    .iter()
                    .map(|(_, c)| c.request_id.0)
                    .collect::<Vec<_>>(),
            )
            .bind(self.successors.iter().map(|(_, c)| c.plan).collect::<Vec<_>>())
            .bind(
                self.successors
                    .iter()
                    .map(|(_, c)| Uuid::from_bytes(c.request.fold_digest()))
                    .collect::<Vec<_>>(),
            )
            .bind(
                self.successors
                    .iter()
                    .map(|(_, c)| c.deadline)
                    .collect::<Vec<_>>(),
            )
            .bind(
                self.successors
                    .iter()
                    .map(|(_, c)| c.request.not_before.unwrap_or(now))
                    .collect::<Vec<_>>(),
            )
            .bind(
                self.successors
                    .iter()
                    .map(|(_, c)| c.request.action.letter())
                    .collect::<Vec<_>>(),
            )
            .bind(
                self.successors
                    .iter()
                    .map(|(_, c)| c.request.batch.is_some())
                    .collect::<Vec<_>>(),
            )
            .execute(&mut *tx)
            .await
            .map_err(StoreError::doing("letting requests wait for their slots"))?;
        }
        Ok(())
    }
}
