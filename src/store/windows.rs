//! Windows: soft deletions that can be taken back, or wait to be erased.
//!
//! Whoever holds the slot of a target holds its window too. So a restore and a purge that race are decided by the slot,
//! in one transaction: the second finds the first one there. A window that is looked at without the slot may have
//! changed by the time the slot is won; then nothing of the batch is admitted, and it is tried again.

use std::collections::HashMap;

use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Candidate, StoreError};
use crate::decide::{Place, WindowView, place};
use crate::deletion::{Action, DeletionId, Target};

/// The windows of the targets that one admission's restores and purges are about.
#[derive(Default)]
pub(super) struct Windows(HashMap<Target, Window>);

pub(super) struct Window {
    view: WindowView,
    /// The version of the plan that deleted it, and the params that it was deleted with.
    pub(super) plan: i32,
    pub(super) params: Map<String, Value>,
}

/// Restores and purges are about a soft deletion.
fn is_about_one(action: Action) -> bool {
    matches!(action, Action::Restore | Action::Purge)
}

impl Windows {
    /// As they are now, without a lock.
    pub(super) async fn read(
        tx: &mut PgConnection,
        candidates: &[Candidate],
        fresh: &[usize],
    ) -> Result<Self, StoreError> {
        let targets: Vec<&Target> = fresh
            .iter()
            .map(|at| &candidates[*at].request)
            .filter(|request| is_about_one(request.action))
            .map(|request| &request.target)
            .collect();
        if targets.is_empty() {
            return Ok(Windows::default());
        }
        let rows: Vec<(i64, Uuid, i32, Option<Value>, bool, Uuid)> = sqlx::query_as(
            "/* admit_windows */ select i.place, w.deletion_id, w.plan, w.params, w.until <= now(), w.ticket
             from unnest($1::text[], $2::text[], $3::text[]) with ordinality as i (tenant, target_type, target_id, place)
             cross join lateral (
                 select w.* from sexton.windows w
                 where w.tenant = i.tenant and w.target_type = i.target_type and w.target_id = i.target_id offset 0
             ) w",
        )
        .bind(targets.iter().map(|target| target.tenant.as_str()).collect::<Vec<_>>())
        .bind(targets.iter().map(|target| target.kind.as_str()).collect::<Vec<_>>())
        .bind(targets.iter().map(|target| target.id.as_str()).collect::<Vec<_>>())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::doing("reading which soft deletions stand"))?;
        let found = rows
            .into_iter()
            .filter_map(|(place, id, plan, params, over, ticket)| {
                let target = targets.get(usize::try_from(place - 1).ok()?)?;
                let view = WindowView {
                    deletion: DeletionId(id),
                    over,
                    ticket,
                };
                let params = match params {
                    Some(Value::Object(params)) => params,
                    _ => Map::new(),
                };
                Some(((*target).clone(), Window { view, plan, params }))
            });
        Ok(Windows(found.collect()))
    }

    pub(super) fn view(&self, target: &Target) -> Option<&WindowView> {
        self.0.get(target).map(|window| &window.view)
    }

    /// What a restore or a purge is about.
    pub(super) fn of(&self, candidate: &Candidate) -> Option<&Window> {
        let request = &candidate.request;
        is_about_one(request.action)
            .then(|| self.0.get(&request.target))
            .flatten()
    }

    /// Whether it may try for the slot of its target, if that is free.
    pub(super) fn allow(&self, candidate: &Candidate) -> bool {
        let request = &candidate.request;
        request.action != Action::Cancel
            && place(
                request,
                candidate.restorable,
                request.fold_digest(),
                None,
                self.view(&request.target),
            ) == Place::New
    }

    /// Takes the windows of those that won their slots. What was read before must still be so.
    pub(super) async fn take(&self, tx: &mut PgConnection, won: &[&Candidate]) -> Result<(), StoreError> {
        let mut wanted: Vec<(Uuid, Uuid, bool)> = won
            .iter()
            .filter_map(|candidate| {
                let restores = candidate.request.action == Action::Restore;
                Some((self.of(candidate)?.id().0, candidate.deletion_id.0, restores))
            })
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        wanted.sort_unstable();
        let taken = sqlx::query(
            "/* admit_take_windows */ update sexton.windows w set taken_by = i.deletion
             from unnest($1::uuid[], $2::uuid[], $3::boolean[]) as i (window_of, deletion, restores)
             where w.deletion_id = any (array[i.window_of]) and w.taken_by is null and (w.until > now()) = i.restores",
        )
        .bind(wanted.iter().map(|(window, ..)| *window).collect::<Vec<_>>())
        .bind(
            wanted
                .iter()
                .map(|(_, deletion, _)| *deletion)
                .collect::<Vec<_>>(),
        )
        .bind(wanted.iter().map(|(.., restores)| *restores).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await
        .map_err(StoreError::doing("taking windows"))?;
        if taken.rows_affected() != wanted.len() as u64 {
            return Err(StoreError::Busy {
                what: "taking windows that changed hands",
            });
        }
        Ok(())
    }
}

impl Window {
    pub(super) fn id(&self) -> DeletionId {
        self.view.deletion
    }
}
