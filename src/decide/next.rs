//! What a deletion does next: a pure function of (plan, state, signals, time).
//!
//! Read from the top: signals first, then what is unresolved, then forward or backward along the steps.

use time::OffsetDateTime;

use super::ends::{all_settled, not_found, nothing_to_restore};
use crate::deletion::{
    Action, Aim, End, Entry, Facts, ParkReason, Phase, Settled, SignalKind, State, StepNumber, Track, Turn,
    Verdict,
};
use crate::plan::{IfFailed, LookupNone, Overdue, Plan, Retry, Step, Values};

/// A step that was begun this often, and each time its worker was lost, is not begun again without a person.
pub const STARTS_MAX: u32 = 5;

/// A signal as the store knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    pub id: i64,
    pub kind: SignalKind,
}

/// All that is not in the plan or the journal.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    pub now: OffsetDateTime,
    /// Which course of the plan this is.
    pub action: Action,
    /// A restore or a purge has the window of the soft deletion that it is about.
    pub has_window: bool,
    pub deadline: Option<OffsetDateTime>,
    pub signals: &'a [Signal],
    /// What `when` may ask for beside the facts: params, given or not, and built-in names.
    pub given: &'a Values,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Move {
    /// Carry out the plan's lookup.
    Look,
    /// Record the intent, then let the connector act.
    Run {
        step: StepNumber,
        aim: Aim,
        attempt: u32,
    },
    /// An attempt's outcome is unknown: look before anything else.
    Find {
        step: StepNumber,
        aim: Aim,
        attempt: u32,
    },
    /// Record this and decide again.
    Note(Vec<Entry>),
    Wait {
        until: OffsetDateTime,
    },
    /// Until somebody says something.
    Rest,
    End(End),
    /// It has ended.
    Nothing,
}

pub fn next(plan: &Plan, state: &State, cx: &Circumstances<'_>) -> Move {
    if matches!(state.phase, Phase::Ended(_)) {
        return Move::Nothing;
    }
    if let Some(signal) = cx
        .signals
        .iter()
        .find(|signal| !state.signals.contains(&signal.id))
    {
        return take_in(*signal, plan, state);
    }
    if state.parked.is_some() || state.halted {
        return Move::Rest;
    }
    // Also while an outcome is unknown: that may last for hours, and a person may want to know.
    if !state.overdue && cx.deadline.is_some_and(|deadline| deadline <= cx.now) {
        let mut said = vec![Entry::Overdue];
        if plan
            .deadline
            .as_ref()
            .is_some_and(|deadline| deadline.then == Overdue::Park)
        {
            said.push(Entry::Parked {
                reason: ParkReason::Deadline,
            });
        }
        return Move::Note(said);
    }
    let chosen = match &state.phase {
        _ if let Some((step, aim)) = state.open_intent() => resolve(step, aim, plan, state, cx),
        Phase::Unwinding(why) => backward(plan, state, why, cx),
        _ => forward(plan, state, cx),
    };
    match chosen {
        // A wait never sleeps through the deadline.
        Move::Wait { until } if !state.overdue => Move::Wait {
            until: cx.deadline.map_or(until, |deadline| until.min(deadline)),
        },
        chosen => chosen,
    }
}

fn take_in(signal: Signal, plan: &Plan, state: &State) -> Move {
    let heeded = match signal.kind {
        SignalKind::Cancel => state.phase == Phase::Forward && !past_pivot(plan, state),
        // Adoption is written by the operator's own lane; a worker that meets the word has nothing to add.
        SignalKind::Adopt => false,
        SignalKind::Retry | SignalKind::Halt | SignalKind::Resume => true,
    };
    let mut said = vec![Entry::Signalled {
        id: signal.id,
        signal: signal.kind,
        heeded,
    }];
    if heeded && signal.kind == SignalKind::Cancel {
        said.push(Entry::Turned { why: Turn::Cancel });
    }
    Move::Note(said)
}

/// The pivot's intent was granted and is not proven to have had no effect; from there on there is no way back.
pub(super) fn past_pivot(plan: &Plan, state: &State) -> bool {
    state
        .tracks
        .iter()
        .skip(plan.pivot() + 1)
        .any(|track| track.open || track.touched)
}

fn resolve(step: usize, aim: Aim, plan: &Plan, state: &State, cx: &Circumstances<'_>) -> Move {
    let Some(track) = state.track(step, aim) else {
        return Move::Rest;
    };
    let find = Move::Find {
        step: number(step),
        aim,
        attempt: track.attempt,
    };
    if matches!(track.last, Some(Verdict::Unknown { .. })) {
        let retry = plan.steps.get(step.saturating_sub(1)).map(|step| &step.retry);
        return match given_up(number(step), aim, track, retry) {
            Some(reason) => Move::Note(vec![Entry::Parked { reason }]),
            None => wait_or(track, cx, find),
        };
    }
    let starts = track.lost + u32::from(!track.excused);
    if starts >= STARTS_MAX {
        return Move::Note(vec![Entry::Parked {
            reason: ParkReason::Killer {
                step: number(step),
                aim,
                starts,
            },
        }]);
    }
    find
}

fn forward(plan: &Plan, state: &State, cx: &Circumstances<'_>) -> Move {
    if let Some(refused) = nothing_to_restore(cx) {
        return Move::End(refused);
    }
    let nothing_known = Values::new();
    let facts = match (&state.facts, &plan.lookup) {
        (None, Some(_)) => return look(state, cx),
        (None, None) => &nothing_known,
        (Some(Facts::Found(facts)), _) => facts,
        (Some(Facts::NotFound { known }), lookup) => {
            return Move::End(not_found(
                *known,
                lookup.as_ref().map_or(LookupNone::Absent, |lookup| lookup.none),
            ));
        }
    };
    for (index, step) in plan.steps.iter().enumerate() {
        let Some(track) = state.tracks.get(index + 1) else {
            continue;
        };
        match track.settled {
            Some(Settled::Refused) => return turn_or_park(index, plan, state, track),
            Some(_) => continue,
            None => {}
        }
        if track.attempt == 0
            && let Some(when) = &step.when
        {
            let mut values = facts.clone();
            values.extend(cx.given.iter().map(|(name, value)| (name.clone(), value.clone())));
            match when.holds(&values) {
                Ok(true) => {}
                Ok(false) => return Move::Note(vec![skip(number(index + 1))]),
                Err(why) => {
                    let unblock =
                        "give the lookup the column that `when` asks for, then adopt the new plan".into();
                    let reason = ParkReason::Blocked {
                        step: number(index + 1),
                        aim: Aim::Do,
                        why: why.to_string(),
                        unblock,
                    };
                    return Move::Note(vec![Entry::Parked { reason }]);
                }
            }
        }
        return attempt(index, step, Aim::Do, track, plan, state, cx);
    }
    Move::End(all_settled(plan, state, cx))
}

fn backward(plan: &Plan, state: &State, why: &Turn, cx: &Circumstances<'_>) -> Move {
    for (index, step) in plan.steps.iter().enumerate().rev() {
        let (Some(done), Some(track)) = (state.tracks.get(index + 1), state.undos.get(index + 1)) else {
            continue;
        };
        if !done.touched || step.undo.is_none() {
            continue;
        }
        match track.settled {
            Some(Settled::Refused) => return park_failed(index, Aim::Undo, track),
            Some(_) => continue,
            None => return attempt(index, step, Aim::Undo, track, plan, state, cx),
        }
    }
    Move::End(match why {
        Turn::Cancel => End::Cancelled,
        Turn::Guard { why, step } | Turn::Failure { why, step } => End::Refused {
            why: why.clone(),
            step: *step,
        },
    })
}

fn look(state: &State, cx: &Circumstances<'_>) -> Move {
    let Some(track) = state.tracks.first() else {
        return Move::Look;
    };
    match given_up(0, Aim::Do, track, None) {
        Some(reason) => Move::Note(vec![Entry::Parked { reason }]),
        None => wait_or(track, cx, Move::Look),
    }
}

fn attempt(
    index: usize,
    step: &Step,
    aim: Aim,
    track: &Track,
    plan: &Plan,
    state: &State,
    cx: &Circumstances<'_>,
) -> Move {
    let number = number(index + 1);
    if let Some(reason) = given_up(number, aim, track, Some(&step.retry)) {
        let why = track
            .last
            .as_ref()
            .and_then(Verdict::why)
            .unwrap_or("every attempt is spent")
            .to_owned();
        return Move::Note(vec![match step.if_failed {
            IfFailed::Undo if aim == Aim::Do && index <= plan.pivot() && !past_pivot(plan, state) => {
                Entry::Turned {
                    why: Turn::Failure {
                        why,
                        step: Some(number),
                    },
                }
            }
            IfFailed::Orphan if aim == Aim::Do => Entry::Orphaned { step: number, why },
            _ => Entry::Parked { reason },
        }]);
    }
    let fresh = Move::Run {
        step: number,
        aim,
        attempt: track.attempt + 1,
    };
    wait_or(track, cx, fresh)
}

fn wait_or(track: &Track, cx: &Circumstances<'_>, ready: Move) -> Move {
    match track.due {
        Some(due) if due > cx.now => Move::Wait { until: due },
        _ => ready,
    }
}

/// The lookup has no retry policy of its own: reading is harmless, so it goes on until the deadline or a person.
fn given_up(step: StepNumber, aim: Aim, track: &Track, retry: Option<&Retry>) -> Option<ParkReason> {
    match track.last.as_ref()? {
        Verdict::Failed { why } => Some(ParkReason::Failed {
            step,
            aim,
            why: why.clone(),
        }),
        // Who is not let in waits for the system: nobody need look at each of them.
        Verdict::Blocked {
            why,
            unblock,
            denied: None,
        } => Some(ParkReason::Blocked {
            step,
            aim,
            why: why.clone(),
            unblock: unblock.clone(),
        }),
        last if last.spends_attempt() && retry.is_some_and(|retry| track.spent >= retry.attempts) => {
            let why = last.why().unwrap_or_default().to_owned();
            Some(ParkReason::Exhausted {
                step,
                aim,
                attempts: track.spent,
                why,
            })
        }
        _ => None,
    }
}

fn turn_or_park(index: usize, plan: &Plan, state: &State, track: &Track) -> Move {
    if past_pivot(plan, state) {
        return park_failed(index, Aim::Do, track);
    }
    let why = track
        .last
        .as_ref()
        .and_then(Verdict::why)
        .unwrap_or_default()
        .to_owned();
    Move::Note(vec![Entry::Turned {
        why: Turn::Guard {
            why,
            step: Some(number(index + 1)),
        },
    }])
}

fn park_failed(index: usize, aim: Aim, track: &Track) -> Move {
    let why = track
        .last
        .as_ref()
        .and_then(Verdict::why)
        .unwrap_or_default()
        .to_owned();
    Move::Note(vec![Entry::Parked {
        reason: ParkReason::Failed {
            step: number(index + 1),
            aim,
            why,
        },
    }])
}

fn skip(step: StepNumber) -> Entry {
    Entry::Verdict {
        step,
        aim: Aim::Do,
        attempt: 0,
        verdict: Verdict::Skipped,
        found_out: false,
        due: None,
    }
}

/// Plans have at most 32 steps, so a step's number always fits.
pub(super) fn number(step: usize) -> StepNumber {
    StepNumber::try_from(step).unwrap_or(StepNumber::MAX)
}

#[cfg(test)]
#[path = "next_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "trouble_tests.rs"]
mod trouble_tests;
