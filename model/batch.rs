//! One batch, one commit (engine/lane_batch.rs, engine/lane_writer.rs, sexton.write_records).

use super::Protocol;
use super::cluster::{Carried, Cluster, Event, Harm, Late, Row, Stage};
use super::guards::Guard;
use super::words::{Attempt, Decision, Ended, PIVOT, Word, decided};

/// What becomes of a commit's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Heard,
    /// Nothing was committed, and nobody knows.
    LostBefore,
    /// It was committed, and nobody knows.
    LostAfter,
    /// It has not begun on the server when the process gives up waiting, and is carried out later.
    Late,
}

impl Protocol {
    pub(super) fn commit(&self, all: &mut Cluster, process: u8, answer: Answer) {
        let lane = all.lanes[usize::from(all.processes[usize::from(process)].lane)].clone();
        if lane.taken && self.guards.has(Guard::Epoch) {
            return self.begin_again(all, process);
        }
        // A grant whose deletion was spoken to meanwhile goes back; the others are written.
        self.turn_back(all, process);
        let me = all.processes[usize::from(process)].clone();
        if answer == Answer::Late {
            all.late = Some(Late {
                lane: me.lane,
                generation: me.generation,
                records: me.carried.iter().filter(|one| one.writes()).cloned().collect(),
            });
        }
        if matches!(answer, Answer::LostBefore | Answer::Late) {
            all.processes[usize::from(process)].asking = true;
            return;
        }
        if lane.generation != me.generation && self.guards.has(Guard::Generation) {
            return self.take_signals(all, process);
        }
        let mut left = Vec::new();
        let before = all.outbox.clone();
        for mut carried in me.carried {
            let Stage::Writes { intent, lets_go } = carried.stage else {
                left.push(carried);
                continue;
            };
            let written = self.write(all, me.lane, lane.taken, &carried, lets_go);
            if answer == Answer::LostAfter {
                left.push(carried);
                continue;
            }
            if written && carried.is_told_written(intent, lets_go) {
                left.push(carried);
            }
        }
        let me = &mut all.processes[usize::from(process)];
        me.carried = left;
        me.asking = answer == Answer::LostAfter;
        // The first event of each end goes to the relay from memory as well.
        let firsts: Vec<u8> = all.rows.iter().map(|row| row.answers[0]).collect();
        for message in firsts.into_iter().map(usize::from) {
            if answer == Answer::Heard && all.outbox[message] != before[message] {
                all.outbox[message] = Event::Unsent(Some(process));
            }
        }
        self.go_on(all, process);
    }

    /// The guarded write of one record. Whether it was written.
    fn write(&self, all: &mut Cluster, lane: u8, stale: bool, carried: &Carried, lets_go: bool) -> bool {
        let row = &mut all.rows[usize::from(carried.row)];
        let expected = row.tenure == carried.tenure && row.seq == carried.seq && row.owner == Some(lane);
        if row.ended.is_some() || (self.guards.has(Guard::TenureAndSequence) && !expected) {
            return false;
        }
        let new = carried.new_words();
        let overtaken = row.signal
            && !row
                .words
                .iter()
                .chain(new)
                .any(|word| matches!(word, Word::Cancel { .. }))
            && new.iter().any(|word| {
                matches!(
                    word,
                    Word::Intent(Attempt {
                        step: PIVOT,
                        undo: false,
                        ..
                    })
                )
            });
        row.words.extend(new);
        row.seq += u8::from(!new.is_empty());
        if lets_go {
            row.owner = None;
            row.rests = true;
        }
        let ended = new.iter().find_map(|word| match word {
            Word::Ended(end) => Some(*end),
            _ => None,
        });
        if let Some(end) = ended {
            row.ended = Some(end);
            row.owner = None;
        }
        let (row, broken) = (row.clone(), decided(&row.words, false) == Decision::Broken);
        all.harmed(Harm::StaleWrite, stale || !expected);
        all.harmed(Harm::JournalBroken, broken);
        all.harmed(Harm::PivotAfterCancel, overtaken);
        if let Some(end) = ended {
            self.ended(all, carried.row, &row, end);
        }
        true
    }

    /// The outbox rows of an end are born with it.
    fn ended(&self, all: &mut Cluster, number: u8, row: &Row, end: Ended) {
        let heard: &[u8] = match self.guards.has(Guard::Folded) {
            true => &row.answers,
            false => &row.answers[..1],
        };
        for message in heard {
            all.outbox[usize::from(*message)] = Event::Unsent(None);
        }
        let done = all.targets[usize::from(row.target)].done;
        let is_false = match end {
            Ended::Deleted | Ended::AlreadyGone | Ended::Absent => !done[2],
            // Nothing of it is left, and there is no way back from the pivot.
            Ended::Cancelled => {
                (done[0] || done[usize::from(PIVOT) - 1]) && !all.was_done_before(number, row.target)
            }
        };
        all.harmed(Harm::FalseOutcome, is_false);
    }

    /// Another generation: nothing was written. Who would grant or let go decides again, with the cancel heard.
    fn take_signals(&self, all: &mut Cluster, process: u8) {
        let lane = all.processes[usize::from(process)].lane;
        let generation = all.lanes[usize::from(lane)].generation;
        let rows: Vec<bool> = all.rows.iter().map(|row| row.signal).collect();
        let me = &mut all.processes[usize::from(process)];
        me.generation = generation;
        for carried in &mut me.carried {
            carried.told |= rows[usize::from(carried.row)];
        }
        self.turn_back(all, process);
    }

    fn turn_back(&self, all: &mut Cluster, process: u8) {
        for carried in &mut all.processes[usize::from(process)].carried {
            if let Stage::Writes { intent, lets_go } = carried.stage
                && (intent.is_some() || lets_go)
                && carried.told
                && !carried.heard
            {
                if intent.is_some() {
                    carried.words.pop();
                    carried.unwritten -= 1;
                }
                carried.heard = true;
                carried.stage = Stage::READY;
            }
        }
        self.go_on(all, process);
    }

    /// What was sent before the connection broke is carried out now: under the same guards, and nobody hears.
    pub(super) fn late_batch(&self, all: &mut Cluster) {
        let Some(late) = all.late.take() else { return };
        let lane = all.lanes[usize::from(late.lane)].clone();
        if (lane.taken && self.guards.has(Guard::Epoch))
            || (lane.generation != late.generation && self.guards.has(Guard::Generation))
        {
            return;
        }
        for carried in &late.records {
            if let Stage::Writes { lets_go, .. } = carried.stage {
                self.write(all, late.lane, lane.taken, carried, lets_go);
            }
        }
    }

    /// After a lost answer: those that were written all the same are told so, the others are written again.
    pub(super) fn ask(&self, all: &mut Cluster, process: u8) {
        let me = all.processes[usize::from(process)].clone();
        all.processes[usize::from(process)].asking = false;
        if all.lanes[usize::from(me.lane)].taken {
            return self.begin_again(all, process);
        }
        let mut left = Vec::new();
        for mut carried in me.carried {
            let row = &all.rows[usize::from(carried.row)];
            let Stage::Writes { intent, lets_go } = carried.stage else {
                left.push(carried);
                continue;
            };
            let mine = row.tenure == carried.tenure && row.words == carried.words && carried.unwritten > 0;
            if !mine || carried.is_told_written(intent, lets_go) {
                left.push(carried);
            }
        }
        all.processes[usize::from(process)].carried = left;
        self.hand_back_strays(all, process);
        self.go_on(all, process);
    }

    pub(super) fn strays(&self, all: &Cluster, process: u8) -> Vec<usize> {
        let me = &all.processes[usize::from(process)];
        let carried = |row: usize| me.carried.iter().any(|one| usize::from(one.row) == row);
        let is_stray = |row: usize| all.rows[row].owner == Some(me.lane) && !carried(row);
        (0..all.rows.len()).filter(|row| is_stray(*row)).collect()
    }

    pub(super) fn hand_back_strays(&self, all: &mut Cluster, process: u8) {
        for row in self.strays(all, process) {
            all.rows[row].owner = None;
        }
    }
}

impl Cluster {
    /// Another deletion of the same target had its pivot.
    fn was_done_before(&self, row: u8, target: u8) -> bool {
        self.rows[..usize::from(row)]
            .iter()
            .any(|one| one.target == target)
    }
}
