//! How a deletion ends, from what its journal shows. `deleted` is said only where something of ours was done.

use super::next::number;
use crate::deletion::{CompletedResult, End, Orphan, Settled, State, Verdict};
use crate::plan::LookupNone;

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
        },
    }
}

pub(super) fn completed(state: &State) -> End {
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
        };
    }
    let any_done = state
        .tracks
        .iter()
        .any(|track| track.settled == Some(Settled::Done));
    End::Completed {
        result: if any_done {
            CompletedResult::Deleted
        } else {
            CompletedResult::AlreadyGone
        },
    }
}
