//! Why a deletion is not done: since when, what comes next, and what a person could do about it.
//!
//! A pure function of (plan, state, row), so that every answer can be tried without a database. It never guesses: what
//! no table tells, like an open circuit breaker in another process, is said to be unknown here and where to look.

use serde::Serialize;
use time::OffsetDateTime;

use super::next::past_pivot;
use super::parking::parked;
use crate::deletion::{Aim, Count, Facts, Phase, State, Verdict};
use crate::plan::Plan;

/// What stands in the tables beside plan and journal.
#[derive(Clone, Debug)]
pub struct Row {
    pub now: OffsetDateTime,
    pub admitted_at: OffsetDateTime,
    pub due_at: OffsetDateTime,
    /// Due never: only somebody's word brings it back.
    pub at_rest: bool,
    /// When the journal last grew.
    pub recorded_at: Option<OffsetDateTime>,
    pub parked_at: Option<OffsetDateTime>,
    /// Claims since the last record.
    pub starts: u32,
    pub holder: Option<HeldBy>,
    /// The open deletion whose end it waits for.
    pub behind: Option<String>,
    /// Signals that no record has taken in yet, as `cancel by anna`.
    pub unheard: Vec<String>,
}

/// The lane that has it, and whether its worker is still there.
#[derive(Clone, Debug)]
pub struct HeldBy {
    /// As a person finds it: `lane 4 of host:pid`.
    pub name: String,
    pub lease_until: Option<OffsetDateTime>,
}

/// The closed list of words.
pub const WHY_WORDS: [&str; 14] = [
    "ended",
    "queued",
    "parked",
    "halted",
    "under_way",
    "in_hand",
    "worker_lost",
    "not_before",
    "retrying",
    "throttled",
    "pending",
    "unknown",
    "held_back",
    "due",
];

/// The answer. `word` is one of [`WHY_WORDS`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Why {
    pub word: &'static str,
    /// A sentence for a person.
    pub because: String,
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// What happens without anybody's doing, or that nothing does.
    pub next: String,
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub next_at: Option<OffsetDateTime>,
    /// What a person would have to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unblock: Option<String>,
    /// What else is to be known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// A cancel would still be heeded.
    pub can_cancel: bool,
}

pub fn why(plan: &Plan, state: &State, row: &Row) -> Why {
    let mut why = chosen(plan, state, row);
    why.can_cancel = state.phase == Phase::Forward && row.behind.is_none() && !past_pivot(plan, state);
    if !matches!(state.phase, Phase::Ended(_)) {
        why.also = also(state, row);
    }
    why
}

fn chosen(plan: &Plan, state: &State, row: &Row) -> Why {
    let recorded = row.recorded_at.unwrap_or(row.admitted_at);
    let answer = |word, because: String, next: String| Why {
        word,
        because,
        since: recorded,
        next,
        next_at: None,
        unblock: None,
        also: Vec::new(),
        can_cancel: false,
    };
    if let Phase::Ended(end) = &state.phase {
        return answer(
            "ended",
            format!("it has ended as {}", end.word()),
            "nothing".into(),
        );
    }
    if let Some(behind) = &row.behind {
        let because = format!("another deletion of the same target is open: {behind}");
        return Why {
            since: row.admitted_at,
            ..answer("queued", because, "begins when that one has ended".into())
        };
    }
    if let Some(reason) = &state.parked {
        let (because, unblock) = parked(plan, reason);
        return Why {
            since: row.parked_at.unwrap_or(recorded),
            unblock: Some(unblock),
            ..answer("parked", because, "nothing, until a person has looked".into())
        };
    }
    if state.halted {
        return Why {
            unblock: Some("lift the halt".into()),
            ..answer(
                "halted",
                "somebody has halted it".into(),
                "nothing, until the halt is lifted".into(),
            )
        };
    }
    let current = current(plan, state);
    let place = current.map_or_else(|| "its end".to_owned(), |(step, aim)| place(plan, step, aim));
    if let Some(holder) = &row.holder {
        if holder.lease_until.is_none_or(|until| until < row.now) {
            let because = format!("{} had it and has not been heard of since", holder.name);
            let next = "another worker takes over, and looks what became of the last attempt".into();
            return answer("worker_lost", because, next);
        }
        return match state.open_intent() {
            Some((step, aim)) => {
                let attempt = state.track(step, aim).map_or(0, |track| track.attempt);
                let because = format!("attempt {attempt} of {place} is under way, by {}", holder.name);
                answer("under_way", because, "its verdict".into())
            }
            None => {
                let because = format!("{} has it; next is {place}", holder.name);
                let next = "it is carried out as soon as its system has room; `sexton systems list` tells whether one is shut";
                answer("in_hand", because, next.into())
            }
        };
    }
    if row.due_at > row.now {
        let (word, because, next) = waiting(plan, state, row, current, &place);
        let last = current
            .and_then(|(step, aim)| state.track(step, aim))
            .and_then(|track| track.last.as_ref());
        let unblock = match last {
            Some(Verdict::Blocked { unblock, .. }) => Some(unblock.clone()),
            _ => None,
        };
        return Why {
            next_at: (!row.at_rest).then_some(row.due_at),
            unblock,
            ..answer(word, because, next)
        };
    }
    Why {
        since: row.due_at.max(recorded),
        ..answer(
            "due",
            format!("nobody has it; next is {place}"),
            "a running worker whose settings have the systems of its plan takes it; `sexton systems list` tells whether one is shut"
                .into(),
        )
    }
}

/// Nobody has it, and the time has not come.
fn waiting(
    plan: &Plan,
    state: &State,
    row: &Row,
    current: Option<(usize, Aim)>,
    place: &str,
) -> (&'static str, String, String) {
    let track = current.and_then(|(step, aim)| state.track(step, aim));
    let last = track.and_then(|track| track.last.as_ref().map(|last| (track, last)));
    if row.recorded_at.is_none() && row.starts == 0 {
        return (
            "not_before",
            "its request asks not to begin before then".into(),
            format!("then {place}"),
        );
    }
    match last {
        Some((track, Verdict::Unknown { why })) => {
            let because = format!(
                "what became of attempt {} of {place} is not known: {why}",
                track.attempt
            );
            (
                "unknown",
                because,
                "a look at the target, before anything else".into(),
            )
        }
        _ if track.is_some_and(|track| track.open) => {
            let because =
                format!("the worker that had begun {place} was lost before it could say how it went");
            let next = "a look at the target, once that attempt can no longer be under way".into();
            ("unknown", because, next)
        }
        Some((track, Verdict::Again { why, .. })) if track.due.is_some() => {
            let of = current
                .and_then(|(step, _)| plan.steps.get(step.wrapping_sub(1)))
                .map_or(String::new(), |step| format!(" of {}", step.retry.attempts));
            let spent = track.spent;
            let because = format!("{place} did not succeed yet ({spent}{of} attempts spent): {why}");
            ("retrying", because, "another attempt".into())
        }
        Some((_, Verdict::Blocked { why, .. })) => (
            "held_back",
            format!("{place} was not let in by its system: {why}"),
            "another try, once the system lets somebody in, or to see whether it does; `sexton systems list` tells".into(),
        ),
        Some((_, Verdict::Throttled { .. })) => (
            "throttled",
            format!("the other side asked for patience in {place}"),
            "another attempt".into(),
        ),
        Some((_, Verdict::Pending { .. })) => {
            let because = format!("{place} is under way at the other side, or done in part");
            ("pending", because, "another look".into())
        }
        _ => {
            let because = format!(
                "{place} is held back: its system is at its limit, its circuit breaker is open or it is shut, in a \
                 worker's memory; `sexton systems list` and the metric sexton_breaker_open of the workers tell"
            );
            ("held_back", because, "another try".into())
        }
    }
}

fn also(state: &State, row: &Row) -> Vec<String> {
    let mut also: Vec<String> = Vec::new();
    match &state.phase {
        Phase::Unwinding(_) => also.push("it is on its way back: what was done is being undone".into()),
        _ if state.overdue => also.push("its deadline has passed".into()),
        _ => {}
    }
    also.extend(
        row.unheard
            .iter()
            .map(|said| format!("{said} is said, and not taken in yet")),
    );
    if row.starts > 1 {
        let starts = Count(row.starts.into(), "worker");
        also.push(format!("{starts} in a row took it and wrote nothing"));
    }
    also
}

/// The step that is open or comes next, as the journal counts.
fn current(plan: &Plan, state: &State) -> Option<(usize, Aim)> {
    if let Some(open) = state.open_intent() {
        return Some(open);
    }
    if matches!(state.phase, Phase::Unwinding(_)) {
        return (1..=plan.steps.len()).rev().find_map(|step| {
            let touched = state.tracks.get(step).is_some_and(|track| track.touched);
            let undone = state.undos.get(step).is_some_and(|track| track.settled.is_some());
            (touched && !undone && plan.steps[step - 1].undo.is_some()).then_some((step, Aim::Undo))
        });
    }
    if plan.lookup.is_some() && !matches!(state.facts, Some(Facts::Found(_) | Facts::NotFound { .. })) {
        return Some((0, Aim::Do));
    }
    (1..=plan.steps.len())
        .find(|step| {
            state
                .tracks
                .get(*step)
                .is_some_and(|track| track.settled.is_none())
        })
        .map(|step| (step, Aim::Do))
}

/// `step 3 "archive" at platform`, for a person.
pub(super) fn place(plan: &Plan, step: usize, aim: Aim) -> String {
    let back = if aim == Aim::Undo { "the undo of " } else { "" };
    match plan.steps.get(step.wrapping_sub(1)) {
        _ if step == 0 => "the lookup".to_owned(),
        Some(named) => format!("{back}step {step} {:?} at {}", named.name, named.on.0),
        None => format!("{back}step {step}"),
    }
}

#[cfg(test)]
#[path = "why_tests.rs"]
mod tests;
