//! The effect, within the lease (engine/act.rs, engine/effect.rs, stopper.rs).

use super::Protocol;
use super::cluster::{Carried, Cluster, Harm, Life, Stage, TIMEOUT};
use super::guards::Guard;
use super::words::{Attempt, Said, Word};

/// How an effect goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Heard,
    /// It took place, and nobody heard.
    UnknownDid,
    UnknownDidNot,
}

impl Protocol {
    pub(super) fn may_begin(&self, all: &Cluster, process: u8, carried: &Carried) -> bool {
        let me = &all.processes[usize::from(process)];
        (!self.guards.has(Guard::Lease) || me.lease > TIMEOUT) && (!carried.told || carried.heard)
    }

    pub(super) fn begin(&self, all: &mut Cluster, process: u8, at: usize, attempt: Attempt) {
        let carried = all.processes[usize::from(process)].carried[at].clone();
        if !self.may_begin(all, process, &carried) {
            // The last look: it is as it was, and decided again once the signal is heard.
            let carried = &mut all.processes[usize::from(process)].carried[at];
            carried.note(Word::Verdict {
                attempt,
                said: Said::Stopped,
                found_out: false,
            });
            carried.heard = carried.told;
            carried.stage = Stage::READY;
            return self.go_on(all, process);
        }
        let row = all.rows[usize::from(carried.row)].clone();
        let settled = row.words.iter().any(|word| match word {
            Word::Verdict {
                attempt: of, said, ..
            } => {
                (of.step, of.undo) == (attempt.step, attempt.undo) && matches!(said, Said::Done | Said::Gone)
            }
            _ => false,
        });
        all.harmed(Harm::SettledStepRunAgain, settled);
        all.harmed(
            Harm::EffectWithoutIntent,
            !row.words.contains(&Word::Intent(attempt)),
        );
        all.harmed(
            Harm::EffectsOverlap,
            all.is_under_way(process, carried.row, attempt.step),
        );
        all.processes[usize::from(process)].carried[at].stage = Stage::Acts(attempt, TIMEOUT);
    }

    /// What a sleeper sends when it wakes, whoever may have the deletion by then. Only its target can tell that it is late.
    pub(super) fn sends_late(&self, all: &mut Cluster, process: u8) {
        for at in 0..all.processes[usize::from(process)].carried.len() {
            let carried = &all.processes[usize::from(process)].carried[at];
            let (row, Stage::Sends(attempt)) = (carried.row, carried.stage) else {
                continue;
            };
            self.lands(all, row, attempt.step, attempt.undo);
            let carried = &mut all.processes[usize::from(process)].carried[at];
            carried.note(Word::Verdict {
                attempt,
                said: Said::Unknown,
                found_out: false,
            });
            carried.stage = Stage::READY;
        }
    }

    pub(super) fn conclude(
        &self,
        all: &mut Cluster,
        process: u8,
        at: usize,
        attempt: Attempt,
        outcome: Outcome,
    ) {
        let row = all.processes[usize::from(process)].carried[at].row;
        let changed = outcome != Outcome::UnknownDidNot && self.lands(all, row, attempt.step, attempt.undo);
        let said = match outcome {
            Outcome::Heard if changed => Said::Done,
            Outcome::Heard => Said::Gone,
            _ => Said::Unknown,
        };
        let carried = &mut all.processes[usize::from(process)].carried[at];
        carried.note(Word::Verdict {
            attempt,
            said,
            found_out: false,
        });
        carried.stage = Stage::READY;
        self.go_on(all, process);
    }

    /// Looks what became of an attempt, and changes nothing.
    pub(super) fn look(&self, all: &mut Cluster, process: u8, at: usize, attempt: Attempt, silent: bool) {
        let carried = &all.processes[usize::from(process)].carried[at];
        let (row, of) = (carried.row, &all.rows[usize::from(carried.row)]);
        // One who has lost it may look, and nobody takes their word for anything.
        let adopted =
            of.tenure == carried.tenure && of.owner == Some(all.processes[usize::from(process)].lane);
        all.harmed(
            Harm::EffectsOverlap,
            adopted && all.is_under_way(process, row, attempt.step),
        );
        let carried = &mut all.processes[usize::from(process)].carried[at];
        carried.note(Word::Verdict {
            attempt,
            said: Said::NotYet,
            found_out: silent,
        });
        carried.stage = Stage::READY;
        self.go_on(all, process);
    }

    /// An effect takes place at its target: idempotent, and by generation where a deletion takes something back.
    pub(super) fn lands(&self, all: &mut Cluster, row: u8, step: u8, undo: bool) -> bool {
        let target = &mut all.targets[usize::from(all.rows[usize::from(row)].target)];
        let place = usize::from(step) - 1;
        if undo {
            target.taken_back_by = Some(row);
            return std::mem::replace(&mut target.done[place], false);
        }
        let too_late = step == 1 && target.taken_back_by == Some(row);
        if too_late && self.guards.has(Guard::TargetGeneration) {
            return false;
        }
        let changed = !std::mem::replace(&mut target.done[place], true);
        all.harmed(Harm::ChangedTwice, too_late && changed);
        changed
    }
}

impl Cluster {
    /// Somebody else's effect on the same step is under way.
    fn is_under_way(&self, process: u8, row: u8, step: u8) -> bool {
        let others = self
            .processes
            .iter()
            .enumerate()
            .filter(|(at, one)| *at != usize::from(process) && one.life != Life::Stalled);
        let acts =
            |one: &Carried| one.row == row && matches!(one.stage, Stage::Acts(of, _) if of.step == step);
        others.flat_map(|(_, one)| &one.carried).any(acts)
            || self.orphans.iter().any(|one| one.row == row && one.step == step)
    }
}
