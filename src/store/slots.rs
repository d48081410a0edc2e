//! Slots: one open deletion a target. Taken in the order of targets, read under lock in the order of ids.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::admit_new::is_kept;
use super::windows::Windows;
use super::{Candidate, StoreError};
use crate::decide::SlotView;
use crate::deletion::{Action, DeletionId, Target};

/// A slot can be freed between two statements; it is then tried again. More often than this is no accident.
const TRIES_MAX: usize = 3;

/// The slots of all targets of one admission, as locked by its transaction.
pub(super) struct Slots {
    /// Won by this transaction: the deletion, and its generation if the lane keeps it.
    won: HashMap<DeletionId, Option<i64>>,
    views: HashMap<Target, SlotView>,
    /// What restores and purges of this admission are about.
    pub(super) windows: Windows,
}

struct Existing {
    target: Target,
    view: SlotView,
}

impl Slots {
    pub(super) async fn take(
        tx: &mut PgConnection,
        lane: i64,
        now: OffsetDateTime,
        candidates: &[Candidate],
        fresh: &[usize],
    ) -> Result<Self, StoreError> {
        let windows = Windows::read(tx, candidates, fresh).await?;
        // For each target the first of this batch that may have the slot tries for it.
        let mut open: BTreeMap<&Target, &Candidate> = BTreeMap::new();
        let mut targets: HashSet<&Target> = HashSet::new();
        for at in fresh {
            let candidate = &candidates[*at];
            targets.insert(&candidate.request.target);
            if windows.allow(candidate) {
                open.entry(&candidate.request.target).or_insert(candidate);
            }
        }
        let mut slots = Slots {
            won: HashMap::new(),
            views: HashMap::new(),
            windows,
        };
        let mut winners = Vec::new();
        for _ in 0..TRIES_MAX {
            if !open.is_empty() {
                let won = insert(tx, lane, now, &slots.windows, open.values().copied()).await?;
                winners.extend(
                    open.values()
                        .filter(|c| won.contains_key(&c.deletion_id))
                        .copied(),
                );
                targets.retain(|target| {
                    !open
                        .get(*target)
                        .is_some_and(|c| won.contains_key(&c.deletion_id))
                });
                open.retain(|_, candidate| !won.contains_key(&candidate.deletion_id));
                slots.won.extend(won);
            }
            if !targets.is_empty() {
                let found = lock_existing(tx, &targets).await?;
                slots
                    .views
                    .extend(found.into_iter().map(|existing| (existing.target, existing.view)));
            }
            open.retain(|target, _| !slots.views.contains_key(*target));
            if open.is_empty() {
                slots.windows.take(tx, &winners).await?;
                return Ok(slots);
            }
        }
        Err(StoreError::Busy {
            what: "taking slots that keep changing hands",
        })
    }

    /// This candidate's deletion got the slot.
    pub(super) fn is_first_of(&self, candidate: &Candidate) -> bool {
        self.won.contains_key(&candidate.deletion_id)
    }

    /// From here on later requests of the batch see the slot taken. The generation, if the lane keeps the deletion.
    pub(super) fn begin(&mut self, candidate: &Candidate, fold_digest: [u8; 16]) -> Option<i64> {
        let view = SlotView {
            deletion: candidate.deletion_id,
            action: candidate.request.action,
            fold_digest,
            unwinding: false,
            successor: None,
        };
        self.views.insert(candidate.request.target.clone(), view);
        self.won.get(&candidate.deletion_id).copied().flatten()
    }

    pub(super) fn view(&self, target: &Target) -> Option<&SlotView> {
        self.views.get(target)
    }

    pub(super) fn follow(&mut self, target: &Target, deletion: DeletionId, fold: [u8; 16]) {
        if let Some(view) = self.views.get_mut(target) {
            view.successor = Some((deletion, fold));
        }
    }
}

async fn insert(
    tx: &mut PgConnection,
    lane: i64,
    now: OffsetDateTime,
    windows: &Windows,
    open: impl Iterator<Item = &Candidate> + Clone,
) -> Result<HashMap<DeletionId, Option<i64>>, StoreError> {
    let text = |of: &dyn Fn(&Candidate) -> String| open.clone().map(of).collect::<Vec<_>>();
    let kept = |candidate: &Candidate| is_kept(candidate, now);
    let rows: Vec<(Uuid, i64, bool)> = sqlx::query_as(
        "/* admit_slots */ with won as (
         insert into sexton.open_deletions
             (id, tenant, target_type, target_id, request_id, plan, fold, deadline, due_at, lane, epoch, admitted_at,
              action, window_of, batched)
         select i.id, i.tenant, i.target_type, i.target_id, i.request_id, i.plan, i.fold, i.deadline,
                case when i.kept then '9999-01-01' else i.due_at end, case when i.kept then $11 end, case when i.kept then 1 end, $12,
                i.action::\"char\", i.window_of, i.batched
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::integer[], $7::uuid[],
                     $8::timestamptz[], $9::timestamptz[], $10::boolean[], $13::text[], $14::uuid[],
                     $15::boolean[])
             with ordinality
             as i (id, tenant, target_type, target_id, request_id, plan, fold, deadline, due_at, kept, action, window_of, batched, place)
         order by i.place
         on conflict (tenant, target_type, target_id) do nothing
         returning id, generation, lane is not null as kept
         ), noted as (
             insert into sexton.claims (lane, ids) select $11, array_agg(id) from won where kept having count(*) > 0
         )
         select id, generation, kept from won",
    )
    .bind(open.clone().map(|c| c.deletion_id.0).collect::<Vec<_>>())
    .bind(text(&|c| c.request.target.tenant.as_str().to_owned()))
    .bind(text(&|c| c.request.target.kind.as_str().to_owned()))
    .bind(text(&|c| c.request.target.id.as_str().to_owned()))
    .bind(open.clone().map(|c| c.request_id.0).collect::<Vec<_>>())
    .bind(open.clone().map(|c| windows.of(c).map_or(c.plan, |window| window.plan)).collect::<Vec<_>>())
    .bind(open.clone().map(|c| Uuid::from_bytes(c.request.fold_digest())).collect::<Vec<_>>())
    .bind(open.clone().map(|c| c.deadline).collect::<Vec<_>>())
    .bind(open.clone().map(|c| c.request.not_before.unwrap_or(now).max(now)).collect::<Vec<_>>())
    .bind(open.clone().map(kept).collect::<Vec<_>>())
    .bind(lane)
    .bind(now)
    .bind(text(&|c| c.request.action.letter().to_owned()))
    .bind(open.clone().map(|c| windows.of(c).map(|window| window.id().0)).collect::<Vec<_>>())
    .bind(open.clone().map(|c| c.request.batch.is_some()).collect::<Vec<_>>())
    .fetch_all(&mut *tx)
    .await
    .map_err(StoreError::doing("taking slots"))?;
    Ok(rows
        .into_iter()
        .map(|(id, generation, kept)| (DeletionId(id), kept.then_some(generation)))
        .collect())
}

async fn lock_existing(
    tx: &mut PgConnection,
    targets: &HashSet<&Target>,
) -> Result<Vec<Existing>, StoreError> {
    let targets: Vec<&Target> = targets.iter().copied().collect();
    let rows: Vec<(i64, Uuid, Uuid, bool, String)> = sqlx::query_as(
        "/* admit_existing */ with found as materialized (
             select i.place, d.id
             from unnest($1::text[], $2::text[], $3::text[]) with ordinality as i (tenant, target_type, target_id, place)
             cross join lateral (
                 select d.id from sexton.open_deletions d
                 where d.tenant = i.tenant and d.target_type = i.target_type and d.target_id = i.target_id offset 0
             ) d
         )
         select f.place, d.id, d.fold, d.unwinding, d.action::text
         from found f join sexton.open_deletions d on d.id = any (array[f.id])
         order by f.id
         for update of d",
    )
    .bind(targets.iter().map(|target| target.tenant.as_str()).collect::<Vec<_>>())
    .bind(targets.iter().map(|target| target.kind.as_str()).collect::<Vec<_>>())
    .bind(targets.iter().map(|target| target.id.as_str()).collect::<Vec<_>>())
    .fetch_all(&mut *tx)
    .await
    .map_err(StoreError::doing("reading the slots that are taken"))?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    // A statement of its own: what was committed while the locks were waited for must be seen.
    let successors: Vec<(Uuid, Uuid, Uuid)> = sqlx::query_as(
        "/* admit_successors */ select blocking, deletion_id, fold from sexton.successors where blocking = any ($1)",
    )
    .bind(rows.iter().map(|(_, id, ..)| *id).collect::<Vec<_>>())
    .fetch_all(&mut *tx)
    .await
    .map_err(StoreError::doing("reading who waits for a slot"))?;
    let successors: HashMap<Uuid, (DeletionId, [u8; 16])> = successors
        .into_iter()
        .map(|(blocking, deletion, fold)| (blocking, (DeletionId(deletion), fold.into_bytes())))
        .collect();
    Ok(rows
        .into_iter()
        .filter_map(|(place, id, fold, unwinding, action)| {
            let target = targets.get(usize::try_from(place - 1).ok()?)?;
            let view = SlotView {
                deletion: DeletionId(id),
                action: Action::of_letter(&action)?,
                fold_digest: fold.into_bytes(),
                unwinding,
                successor: successors.get(&id).copied(),
            };
            Some(Existing {
                target: (*target).clone(),
                view,
            })
        })
        .collect())
}
