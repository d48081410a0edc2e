//! From what a drive decided to the one durable record of it, and the event that follows from it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::Shared;
use crate::clock;
use crate::deletion::{
    Announcement, CompletedResult, End, Entry, EventId, EventKind, ParkReason, Phase, SignalKind, State,
    StepNumber,
};
use crate::plan::Retry;
use crate::store::{Opened, Outgoing, OutgoingBody, Record, StoredPlan};

/// Reading is harmless, so a lookup goes on until the deadline or a person; at most a minute apart.
pub(super) const LOOKUP_RETRY: Retry = Retry {
    attempts: u32::MAX,
    base: Duration::from_millis(500),
    max: Duration::from_secs(60),
};

/// Whether the lane goes on with the deletion after this record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keep {
    Lane {
        effect: Option<Duration>,
    },
    Until {
        due: OffsetDateTime,
        effect: Option<Duration>,
    },
}

pub(super) fn compose(
    opened: &Opened,
    plan: &Option<Arc<StoredPlan>>,
    state: &State,
    entries: &[Entry],
    keep: Keep,
) -> (Record, Option<Outgoing>) {
    let end = match &state.phase {
        Phase::Ended(end) => Some(end),
        _ => None,
    };
    let detail = match end {
        Some(end) => end_detail(end, plan),
        None => parked_detail(state, plan),
    };
    let announce = announced(end, state, entries).map(|kind| (kind, EventId(Uuid::now_v7())));
    let (due, effect) = match keep {
        Keep::Lane { effect } => (None, effect),
        Keep::Until { due, effect } => (Some(due), effect),
    };
    let record = Record {
        deletion: opened.id,
        tenure: opened.tenure,
        seq: opened.seq,
        entries: entries.to_vec(),
        due,
        effect,
        unwinding: matches!(state.phase, Phase::Unwinding(_)),
        parked: state
            .parked
            .as_ref()
            .map(|reason| Value::Object(park_detail(reason, plan)).to_string()),
        result: end.map(result_word),
        until: end.and_then(|end| until(end, plan)),
        look_every: plan
            .as_ref()
            .and_then(|stored| Some(stored.plan.watch.as_ref()?.every)),
        detail: Value::Object(detail.clone()),
        announce: announce.map(|(kind, id)| (kind.word(), id)),
    };
    let outgoing = announce.map(|(kind, id)| Outgoing {
        id: id.0,
        body: OutgoingBody::Event(Box::new(Announcement {
            event_id: id,
            kind,
            at: clock::now(),
            request_id: opened.request,
            deletion_id: Some(opened.id),
            sequence: u32::try_from(opened.seq + 1).ok(),
            tenant: Some(opened.target.tenant.as_str().to_owned()),
            target_type: Some(opened.target.kind.as_str().to_owned()),
            target_id: Some(opened.target.id.as_str().to_owned()),
            action: Some(opened.action),
            key: opened.key.clone(),
            batch: opened.batch.clone(),
            message_id: opened.envelope.message_id.clone(),
            correlation_id: opened.envelope.correlation_id.clone(),
            trace: opened.envelope.trace.clone(),
            plan: plan.as_ref().map(|stored| stored.hash.clone()),
            detail,
        })),
    });
    (record, outgoing)
}

/// The event that this record makes true, if any.
fn announced(end: Option<&End>, state: &State, entries: &[Entry]) -> Option<EventKind> {
    if let Some(end) = end {
        return Some(match end {
            End::Completed { .. } => EventKind::Completed,
            End::CompletedWithOrphans { .. } => EventKind::CompletedWithOrphans,
            End::SoftDeleted { .. } => EventKind::SoftDeleted,
            End::Restored => EventKind::Restored,
            End::Cancelled => EventKind::Cancelled,
            End::Refused { .. } => EventKind::Refused,
        });
    }
    if entries.iter().any(|entry| matches!(entry, Entry::Parked { .. })) && state.parked.is_some() {
        return Some(EventKind::Parked);
    }
    let lifted = |entry: &Entry| match entry {
        Entry::Signalled { signal, heeded, .. } => {
            *heeded && matches!(signal, SignalKind::Retry | SignalKind::Resume)
        }
        _ => false,
    };
    entries.iter().any(lifted).then_some(EventKind::Resumed)
}

/// Until when there is more to be done about it: its window, or its watch.
fn until(end: &End, plan: &Option<Arc<StoredPlan>>) -> Option<OffsetDateTime> {
    match end {
        End::SoftDeleted { until } => Some(*until),
        End::Completed {
            result: CompletedResult::Deleted,
        } => {
            let watch = plan.as_ref().and_then(|stored| stored.plan.watch.as_ref())?;
            Some(clock::now() + watch.span)
        }
        _ => None,
    }
}

/// The word by which an ended deletion is found again.
fn result_word(end: &End) -> &'static str {
    match end {
        End::Completed { result } => result.word(),
        other => other.word(),
    }
}

fn end_detail(end: &End, plan: &Option<Arc<StoredPlan>>) -> Map<String, Value> {
    let mut detail = Map::new();
    match end {
        End::Completed { result } => {
            detail.insert("result".into(), result.word().into());
        }
        End::CompletedWithOrphans { orphans } => {
            let named = orphans
                .iter()
                .map(|orphan| json!({"step": step_name(plan, orphan.step), "why": orphan.why}))
                .collect::<Vec<_>>();
            detail.insert("orphans".into(), Value::Array(named));
        }
        End::SoftDeleted { until } => {
            // Years beyond 9999 cannot be written; a window is at most ten years long.
            let until = until.format(&Rfc3339).unwrap_or_default();
            detail.insert("restorable_until".into(), until.into());
        }
        End::Restored | End::Cancelled => {}
        End::Refused { why, step } => {
            if let Some(step) = step {
                detail.insert("step".into(), step_name(plan, *step).into());
            }
            detail.insert("why".into(), why.as_str().into());
        }
    }
    detail
}

fn parked_detail(state: &State, plan: &Option<Arc<StoredPlan>>) -> Map<String, Value> {
    state
        .parked
        .as_ref()
        .map(|reason| park_detail(reason, plan))
        .unwrap_or_default()
}

fn park_detail(reason: &ParkReason, plan: &Option<Arc<StoredPlan>>) -> Map<String, Value> {
    let mut detail = Map::new();
    detail.insert("because".into(), reason.word().into());
    if let Some((step, aim)) = reason.step() {
        detail.insert("step".into(), step_name(plan, step).into());
        if aim != crate::deletion::Aim::Do {
            detail.insert("aim".into(), aim.word().into());
        }
    }
    match reason {
        ParkReason::Failed { why, .. } | ParkReason::Unreadable { why } => {
            detail.insert("why".into(), why.as_str().into());
        }
        ParkReason::Blocked { why, unblock, .. } => {
            detail.insert("why".into(), why.as_str().into());
            detail.insert("unblock".into(), unblock.as_str().into());
        }
        ParkReason::Exhausted { why, attempts, .. } => {
            detail.insert("why".into(), why.as_str().into());
            detail.insert("attempts".into(), (*attempts).into());
        }
        ParkReason::Killer { starts, .. } => {
            let why =
                format!("{starts} workers in a row were lost in this step before they could say how it went");
            detail.insert("why".into(), why.into());
        }
        ParkReason::Deadline => {
            detail.insert("why".into(), "the deadline has passed".into());
        }
    }
    detail
}

fn step_name(plan: &Option<Arc<StoredPlan>>, step: StepNumber) -> String {
    if step == 0 {
        return "lookup".into();
    }
    let steps = plan.as_ref().map(|stored| &stored.plan.steps);
    steps
        .and_then(|steps| steps.get(usize::from(step) - 1))
        .map_or_else(|| format!("step {step}"), |step| step.name.clone())
}

/// Counts what a record has just made true.
pub(super) fn count(shared: &Shared, opened: &Opened, state: &State, entries: &[Entry]) {
    let instruments = &shared.parts.instruments;
    if let Phase::Ended(end) = &state.phase {
        let took = (clock::now() - opened.admitted_at).unsigned_abs();
        instruments.deletion_ended(end, took);
        tracing::debug!(deletion.id = %opened.id, end = end.word(), "ended");
    }
    for entry in entries {
        match entry {
            Entry::Parked { reason } => {
                instruments.deletion_parked();
                tracing::warn!(deletion.id = %opened.id, because = reason.word(), "parked: a person must look");
            }
            Entry::Overdue => {
                instruments.deletion_overdue();
                tracing::warn!(deletion.id = %opened.id, "the deadline has passed");
            }
            _ => {}
        }
    }
}
