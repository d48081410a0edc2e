//! Any number of other deletions in the same lanes, as one deletion notices them.
//!
//! They share its batches, its leases and its lanes' generation of signals, and nothing else: no table's row, no target. So
//! what they can do to it is little: a batch without it has its answer lost, or hears that the lane is lost or spoken to;
//! one of them is cancelled; time passes since one of them waits. That this is all, is searched as well: whatever one of two
//! deletions meets, it meets beside these (`projected.rs`).

use super::batch::Answer;
use super::cluster::{Carried, Cluster, Life, Stage};
use super::effects::Outcome;
use super::protocol::{Act, Protocol};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Beside {
    /// A batch of theirs alone.
    Commit(u8, Answer),
    Cancel(u8),
    Tick,
}

impl Protocol {
    pub(super) fn of_others<'a>(&'a self, all: &'a Cluster) -> impl Iterator<Item = Beside> + 'a {
        let lane_of = |process: u8| &all.lanes[usize::from(all.processes[usize::from(process)].lane)];
        let number = |at: usize| u8::try_from(at).expect("few");
        let well = (0..all.processes.len())
            .map(number)
            .filter(|at| all.processes[usize::from(*at)].life == Life::Well);
        let commits = well.clone().flat_map(move |at| {
            let me = &all.processes[usize::from(at)];
            let alone = !me.asking && !me.carried.iter().any(Carried::writes);
            let news = lane_of(at).taken || lane_of(at).generation != me.generation;
            let heard = (alone && news).then_some(Beside::Commit(at, Answer::Heard));
            let lost = (alone && all.luck.lost_answers > 0).then_some(Beside::Commit(at, Answer::LostBefore));
            heard.into_iter().chain(lost)
        });
        let cancels = (0..all.lanes.len())
            .map(number)
            .filter(|_| all.luck.cancels > 0)
            .map(Beside::Cancel);
        let is_moved = |at: u8| {
            let acts = |one: &Carried| matches!(one.stage, Stage::Acts(..));
            lane_of(at).taken || all.processes[usize::from(at)].carried.iter().any(acts)
        };
        let tick = well.clone().any(is_moved) && self.time_may_pass(all);
        commits.chain(cancels).chain(tick.then_some(Beside::Tick))
    }

    pub(super) fn happens_beside(&self, all: &mut Cluster, beside: Beside) {
        match beside {
            Beside::Commit(process, answer) => {
                all.luck.lost_answers -= u8::from(answer != Answer::Heard);
                self.commit(all, process, answer);
            }
            Beside::Cancel(lane) => {
                all.luck.cancels -= 1;
                all.lanes[usize::from(lane)].generation += 1;
            }
            Beside::Tick => self.tick(all),
        }
    }
}

impl Act {
    /// It is one of what there is a budget for.
    pub(super) fn goes_wrong(self) -> bool {
        match self {
            Act::Crash(_)
            | Act::SignOff(_)
            | Act::Stall(_)
            | Act::StallAtTheLastLook(..)
            | Act::PublishIsLost(_)
            | Act::Cancel(_)
            | Act::Beside(Beside::Cancel(_)) => true,
            Act::Admit(_, answer, _) | Act::Commit(_, answer) | Act::Beside(Beside::Commit(_, answer)) => {
                answer != Answer::Heard
            }
            Act::Conclude(_, _, _, outcome) => outcome != Outcome::Heard,
            _ => false,
        }
    }
}
