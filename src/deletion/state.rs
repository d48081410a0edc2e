//! Where a deletion stands, and the one function by which that changes.
//!
//! The live worker and replay both go through [`State::apply`]; what its `match` does not name is an error that
//! says both sides, never a panic: old journals meet new releases.

use serde_json::Value;
use time::OffsetDateTime;

use super::journal::StepNumber;
use super::{Aim, End, Entry, ParkReason, SignalKind, Verdict, journal::Turn};
use crate::plan::Values;

#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub phase: Phase,
    /// Set while a person must look; the phase says where it goes on.
    pub parked: Option<ParkReason>,
    /// A halt is in force: nothing begins.
    pub halted: bool,
    pub facts: Option<Facts>,
    /// Index 0 is the lookup.
    pub tracks: Vec<Track>,
    /// The same steps on the way back; index 0 stays unused.
    pub undos: Vec<Track>,
    pub overdue: bool,
    /// Signals already taken in.
    pub signals: Vec<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    Forward,
    Unwinding(Turn),
    Ended(End),
}

impl Phase {
    fn word(&self) -> &'static str {
        match self {
            Phase::Forward => "forward",
            Phase::Unwinding(_) => "unwinding",
            Phase::Ended(_) => "ended",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Facts {
    Found(Values),
    NotFound { known: bool },
}

/// One step in one direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Track {
    /// The number of the latest attempt; 0 before the first.
    pub attempt: u32,
    /// An intent without a verdict.
    pub open: bool,
    /// Attempts that counted against the plan's retry policy.
    pub spent: u32,
    /// Starts in a row whose worker was lost before it could say how they went.
    pub lost: u32,
    /// The open start was cut short by a stop that was asked for; it does not count as lost.
    pub excused: bool,
    /// An effect may have taken place.
    pub touched: bool,
    /// As it was when the last attempt began: a look may prove that this one changed nothing.
    touched_before: bool,
    pub settled: Option<Settled>,
    pub last: Option<Verdict>,
    pub due: Option<OffsetDateTime>,
    /// What the next look at a pending effect needs.
    pub handle: Option<Value>,
}

impl Track {
    pub fn has_begun(&self) -> bool {
        self.attempt > 0 || self.settled.is_some()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Done,
    AlreadyGone,
    /// There was nothing of it, as far as anybody could see.
    Absent,
    Skipped,
    Refused,
    Orphaned,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a deletion that is {state} cannot take {entry}")]
pub struct TransitionError {
    pub state: String,
    pub entry: String,
}

impl State {
    pub fn new(steps: usize) -> Self {
        State {
            phase: Phase::Forward,
            parked: None,
            halted: false,
            facts: None,
            tracks: vec![Track::default(); steps + 1],
            undos: vec![Track::default(); steps + 1],
            overdue: false,
            signals: Vec::new(),
        }
    }

    /// Folds a whole journal.
    pub fn replay<'a>(
        steps: usize,
        entries: impl IntoIterator<Item = &'a Entry>,
    ) -> Result<Self, TransitionError> {
        let mut state = State::new(steps);
        for entry in entries {
            state.apply(entry)?;
        }
        Ok(state)
    }

    /// Takes in what was recorded; where it does not fit, nothing has changed.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), TransitionError> {
        self.take_in(entry).ok_or_else(|| self.mismatch(entry))
    }

    fn take_in(&mut self, entry: &Entry) -> Option<()> {
        match (&self.phase, entry) {
            (Phase::Forward, Entry::Looked { facts, known }) if self.facts.is_none() => {
                self.facts = Some(match facts {
                    Some(facts) => Facts::Found(facts.clone()),
                    None => Facts::NotFound { known: *known },
                });
                Some(())
            }
            (
                Phase::Forward,
                Entry::Intent {
                    step,
                    aim: aim @ Aim::Do,
                    attempt,
                },
            )
            | (
                Phase::Unwinding(_),
                Entry::Intent {
                    step,
                    aim: aim @ Aim::Undo,
                    attempt,
                },
            ) if self.parked.is_none() => self.begin(*step, *aim, *attempt),
            // A verdict is a fact and is always taken, also for an attempt that was open when the saga turned.
            (Phase::Forward | Phase::Unwinding(_), Entry::Verdict { .. }) => self.conclude(entry),
            (Phase::Forward | Phase::Unwinding(_), Entry::Interrupted { step, aim, attempt }) => {
                let track = self
                    .track_mut(*step, *aim)
                    .filter(|track| track.open && track.attempt == *attempt);
                track?.excused = true;
                Some(())
            }
            (Phase::Forward | Phase::Unwinding(_), Entry::Signalled { id, signal, heeded }) => {
                self.signals.push(*id);
                if *heeded {
                    self.heed(*signal);
                }
                Some(())
            }
            (Phase::Forward, Entry::Turned { why }) => {
                self.phase = Phase::Unwinding(why.clone());
                self.parked = None;
                Some(())
            }
            (Phase::Forward, Entry::Orphaned { step, .. }) => {
                let track = self.tracks.get_mut(usize::from(*step))?;
                track.settled = Some(Settled::Orphaned);
                self.parked = None;
                Some(())
            }
            (Phase::Forward | Phase::Unwinding(_), Entry::Overdue) => {
                self.overdue = true;
                Some(())
            }
            (Phase::Forward | Phase::Unwinding(_), Entry::Parked { reason }) => {
                self.parked = Some(reason.clone());
                Some(())
            }
            (Phase::Forward, Entry::Adopted { steps, .. }) => {
                let wanted = usize::from(*steps) + 1;
                self.tracks.resize(wanted, Track::default());
                self.undos.resize(wanted, Track::default());
                if !self.has_begun() {
                    // Nothing rests on the old facts yet: the new plan's own lookup says what the target is.
                    self.facts = None;
                    self.tracks[0] = Track::default();
                }
                // Whoever gives it a new plan wants it to go on.
                self.heed(SignalKind::Retry);
                Some(())
            }
            (Phase::Forward | Phase::Unwinding(_), Entry::Ended { end }) => {
                self.phase = Phase::Ended(end.clone());
                self.parked = None;
                Some(())
            }
            _ => None,
        }
    }

    /// Whether any step of the plan was as much as skipped; the lookup does not count.
    pub fn has_begun(&self) -> bool {
        self.tracks.iter().skip(1).any(Track::has_begun)
    }

    pub fn track(&self, step: usize, aim: Aim) -> Option<&Track> {
        match aim {
            Aim::Do => self.tracks.get(step),
            Aim::Undo => self.undos.get(step),
        }
    }

    /// The intent without a verdict, if there is one. There is never more than one.
    pub fn open_intent(&self) -> Option<(usize, Aim)> {
        let find = |tracks: &[Track], aim| tracks.iter().position(|track| track.open).map(|step| (step, aim));
        find(&self.tracks, Aim::Do).or_else(|| find(&self.undos, Aim::Undo))
    }

    fn track_mut(&mut self, step: StepNumber, aim: Aim) -> Option<&mut Track> {
        match aim {
            Aim::Do => self.tracks.get_mut(usize::from(step)),
            Aim::Undo => self.undos.get_mut(usize::from(step)),
        }
    }

    fn begin(&mut self, step: StepNumber, aim: Aim, attempt: u32) -> Option<()> {
        if self.open_intent().is_some() {
            return None;
        }
        let track = self.track_mut(step, aim)?;
        if track.settled.is_some() || attempt != track.attempt + 1 {
            return None;
        }
        track.attempt = attempt;
        track.open = true;
        track.touched_before = track.touched;
        track.due = None;
        Some(())
    }

    fn conclude(&mut self, entry: &Entry) -> Option<()> {
        let Entry::Verdict {
            step,
            aim,
            attempt,
            verdict,
            found_out,
            due,
        } = entry
        else {
            return None;
        };
        let track = self.track_mut(*step, *aim)?;
        // Skips, and the lookup's troubles, have no effect and so no intent.
        let needs_intent = *step != 0 && *verdict != Verdict::Skipped;
        if track.settled.is_some() || (needs_intent && !(track.open && track.attempt == *attempt)) {
            return None;
        }
        let excused = track.excused;
        // An attempt is spent once: what a look finds out about it is no second one. A look that finds nothing out is.
        let resolves = track.open
            && matches!(track.last, Some(Verdict::Unknown { .. }))
            && !matches!(verdict, Verdict::Unknown { .. });
        track.attempt = *attempt;
        // What is unknown stays open: it is looked at before anything else may happen.
        track.open = needs_intent && matches!(verdict, Verdict::Unknown { .. });
        track.due = *due;
        track.lost = if *found_out {
            track.lost + u32::from(!track.excused)
        } else {
            0
        };
        track.excused = false;
        if verdict.spends_attempt() && !excused && !resolves {
            track.spent += 1;
        }
        if (*found_out || resolves) && verdict.finds_nothing_done() {
            // Whatever its answer had to be taken for, it is known now.
            track.touched = track.touched_before;
        } else if !verdict.proves_no_effect() || *found_out {
            track.touched |= *step != 0;
        }
        if let Verdict::Pending { handle, .. } = verdict {
            track.handle.clone_from(handle);
        }
        track.settled = match verdict {
            Verdict::Done { .. } => Some(Settled::Done),
            Verdict::AlreadyGone => Some(Settled::AlreadyGone),
            Verdict::Absent => Some(Settled::Absent),
            Verdict::Skipped => Some(Settled::Skipped),
            Verdict::Refused { .. } => Some(Settled::Refused),
            _ => None,
        };
        track.last = Some(verdict.clone());
        Some(())
    }

    fn heed(&mut self, signal: SignalKind) {
        match signal {
            SignalKind::Retry => {
                let stopped_at = self.parked.take().and_then(|reason| reason.step());
                if let Some((step, aim)) = stopped_at
                    && let Some(track) = self.track_mut(step, aim)
                {
                    track.spent = 0;
                    track.lost = 0;
                    track.settled = track.settled.filter(|settled| *settled != Settled::Refused);
                    if !track.open {
                        track.last = None;
                    }
                }
                for track in self.tracks.iter_mut().chain(&mut self.undos) {
                    track.due = None;
                }
            }
            SignalKind::Halt => self.halted = true,
            SignalKind::Resume => self.halted = false,
            // What follows from these is said by entries of its own.
            SignalKind::Cancel | SignalKind::Adopt => {}
        }
    }

    fn mismatch(&self, entry: &Entry) -> TransitionError {
        let parked = if self.parked.is_some() { " and parked" } else { "" };
        let place = match entry {
            Entry::Intent { step, attempt, .. } | Entry::Verdict { step, attempt, .. } => {
                format!(" for attempt {attempt} of step {step}")
            }
            Entry::Orphaned { step, .. } => format!(" for step {step}"),
            _ => String::new(),
        };
        TransitionError {
            state: format!("{}{parked}", self.phase.word()),
            entry: format!("{:?}{place}", entry.word()),
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
