//! How a deletion ends, from what its journal shows. `deleted` is said only where something of ours was done.

use super::next::{Circumstances, number};
use crate::deletion::{Action, CompletedResult, End, Orphan, Settled, State, Track, Verdict};
use crate::plan::{LookupNone, Plan};

pub(super) fn not_found(known: bool, none: LookupNone) -> End {
    match none {
        LookupNone::Absent if !known => End::Completed {
            result: CompletedResult::Absent,
        },
        LookupNone::Absent | LookupNone::AlreadyGone => End::Completed {
            result: CompletedResult::AlreadyGone,
        },
        LookupNone::Refused => End::Refused {
            why: "the lookup found no such target".into(),
            step: None,
        },
    }
}

/// A restore whose soft deletion is not there (any more) has nothing to do, and must not touch what is there now.
pub(super) fn nothing_to_restore(cx: &Circumstances<'_>) -> Option<End> {
    (cx.action != Action::Delete && !cx.has_window).then(|| End::Refused {
        why: "there is no soft deletion of this target that could be taken back or ended".into(),
        step: None,
    })
}

/// Every step of the course is settled.
pub(super) fn all_settled(plan: &Plan, state: &State, cx: &Circumstances<'_>) -> End {
    match (cx.action, &plan.restorable) {
        (Action::Restore, _) if ours(plan, state) => End::Restored,
        (Action::Restore, _) => End::Refused {
            why: "nothing of this target was there to be restored".into(),
            step: None,
        },
        (Action::Delete, Some(restorable)) if ours(plan, state) => End::SoftDeleted {
            until: cx.now + restorable.window,
        },
        _ => completed(plan, state),
    }
}

/// Something was done by this deletion, or may have been before an answer was lost: it counts as ours. Else what it made
/// would have no window and be left for ever, and who asked would hear that somebody else had been faster.
fn ours(plan: &Plan, state: &State) -> bool {
    let ours = |track: &Track| match track.settled {
        Some(Settled::Done) => true,
        Some(Settled::AlreadyGone) => track.touched,
        _ => false,
    };
    acting(plan, state).any(ours)
}

/// The tracks of the steps that do something.
fn acting<'a>(plan: &'a Plan, state: &'a State) -> impl Iterator<Item = &'a Track> {
    let steps = plan.steps.iter().zip(state.tracks.iter().skip(1));
    steps
        .filter(|(step, _)| !step.only_asks())
        .map(|(_, track)| track)
}

fn completed(plan: &Plan, state: &State) -> End {
    let orphans: Vec<Orphan> = state
        .tracks
        .iter()
        .enumerate()
        .filter(|(_, track)| track.settled == Some(Settled::Orphaned))
        .map(|(step, track)| Orphan {
            step: number(step),
            why: track
                .last
                .as_ref()
                .and_then(Verdict::why)
                .unwrap_or_default()
                .to_owned(),
        })
        .collect();
    if !orphans.is_empty() {
        return End::CompletedWithOrphans { orphans };
    }
    let steps = state.tracks.iter().skip(1);
    if steps.clone().next().is_some() && steps.clone().all(|track| track.settled == Some(Settled::Skipped)) {
        // It was found and nothing was done to it: neither deleted nor gone.
        return End::Refused {
            why: "every step of the plan was skipped: nothing in it applies to this target".into(),
            step: None,
        };
    }
    let any = |settled| acting(plan, state).any(|track| track.settled == Some(settled));
    End::Completed {
        result: if ours(plan, state) {
            CompletedResult::Deleted
        } else if any(Settled::Absent) {
            // Nothing that was found gone could vouch for what nobody could see.
            CompletedResult::Absent
        } else {
            CompletedResult::AlreadyGone
        },
    }
}
