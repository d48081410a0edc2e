//! What a process does: it admits, decides, writes in batches, acts, claims and publishes.
//!
//! Each function stands for a part of the product, which it names; what it decides, the product's own functions decide.

use sexton::decide::{Place, SlotView, place};
use sexton::deletion::{Action, DeletionId, Envelope, Request, read_request};
use uuid::Uuid;

use super::cluster::{
    Carried, Cluster, Delivery, Event, Harm, LEASE, Late, Life, Process, Row, Stage, TIMEOUT,
};
use super::guards::Guard;
use super::words::{Attempt, Decision, Ended, PIVOT, Said, Word, decided, is_unwinding};
use super::{Message, Protocol};

/// How an effect goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Heard,
    /// It took place, and nobody heard.
    UnknownDid,
    UnknownDidNot,
}

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
    // ── intake/reception.rs, store/admit.rs: a batch of messages, one transaction behind the lane's fence ──

    pub(super) fn admit(&self, all: &mut Cluster, process: u8, answer: Answer) {
        let lane = all.processes[usize::from(process)].lane;
        if all.lanes[usize::from(lane)].taken && self.guards.has(Guard::Epoch) {
            return self.begin_again(all, process);
        }
        let with = |delivery: &Delivery| *delivery == Delivery::With(process);
        let messages: Vec<usize> = (0..all.queue.len()).filter(|at| with(&all.queue[*at])).collect();
        if answer != Answer::LostBefore {
            for at in &messages {
                self.decide_where(all, *at, lane);
            }
        }
        for at in messages {
            all.queue[at] = match answer {
                Answer::Heard => Delivery::Admitted(process),
                // What was not decided, as far as anybody knows, is given back.
                _ => Delivery::Queued,
            };
        }
        match answer {
            Answer::Heard => {
                for (at, row) in all.rows.clone().iter().enumerate() {
                    let at = u8::try_from(at).expect("few");
                    let is_new = row.owner == Some(lane) && row.words.is_empty() && row.tenure == 1;
                    let process = &mut all.processes[usize::from(process)];
                    if is_new && !process.carried.iter().any(|one| one.row == at) {
                        process.carried.push(Carried::of(at, row));
                    }
                }
                self.go_on(all, process);
            }
            _ => all.processes[usize::from(process)].asking = true,
        }
    }

    /// `decide::place`, of what is read under the slot's lock.
    fn decide_where(&self, all: &mut Cluster, at: usize, lane: u8) {
        let Message { target, key } = self.messages[at];
        let same_key =
            |other: usize| key.is_some() && self.messages[other].key == key && all.fates[other].is_some();
        if self.guards.has(Guard::Keys)
            && let Some(known) = (0..self.messages.len()).find(|other| same_key(*other))
        {
            all.fates[at] = all.fates[known];
            return;
        }
        let open = |row: &Row| row.target == target && row.ended.is_none();
        let slot = all
            .rows
            .iter()
            .position(open)
            .filter(|_| self.guards.has(Guard::Slot));
        let view = slot.map(|row| SlotView {
            deletion: id_of(row),
            action: Action::Delete,
            fold_digest: [1; 16],
            unwinding: is_unwinding(&all.rows[row].words),
            successor: None,
        });
        let message = u8::try_from(at).expect("few");
        match place(&asked(), false, [1; 16], view.as_ref(), None) {
            Place::New | Place::Follow(_) if slot.is_none() => {
                all.fates[at] = Some(u8::try_from(all.rows.len()).expect("few"));
                let two = all.rows.iter().any(open);
                all.rows.push(Row {
                    target,
                    owner: Some(lane),
                    tenure: 1,
                    seq: 0,
                    words: Vec::new(),
                    wait: 0,
                    rests: false,
                    signal: false,
                    ended: None,
                    answers: vec![message],
                });
                all.harmed(Harm::TwoOpenForOneTarget, two);
            }
            Place::Join(_) => {
                let row = slot.expect("it was found");
                all.fates[at] = Some(u8::try_from(row).expect("few"));
                all.rows[row].answers.push(message);
            }
            // It waits as the successor, and is placed anew once the slot is free: here, by its redelivery.
            Place::Follow(_) => {}
            other => panic!("the model's requests are not placed {other:?}"),
        }
    }

    // ── engine/drive.rs: decide, note, decide again, until something has to be written or done ──

    /// Every deletion in memory that can decide does.
    pub(super) fn go_on(&self, all: &mut Cluster, process: u8) {
        for at in 0..all.processes[usize::from(process)].carried.len() {
            let mut carried = all.processes[usize::from(process)].carried[at].clone();
            if carried.stage == Stage::READY && !matches!(carried.words.last(), Some(Word::Ended(_))) {
                drive(&mut carried, all);
                all.processes[usize::from(process)].carried[at] = carried;
            }
        }
    }

    // ── engine/lane_batch.rs, sexton.write_records: one batch, one commit ──

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

    // ── engine/lane_writer.rs: rows that name this lane and that nobody here carries ──

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

    // ── engine/act.rs, engine/effect.rs, stopper.rs: the effect, within the lease ──

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

    // ── store/claim.rs: what is due and nobody has ──

    pub(super) fn claim(&self, all: &mut Cluster, process: u8, row: u8) {
        let me = all.processes[usize::from(process)].lane;
        if all.lanes[usize::from(me)].taken {
            return self.begin_again(all, process);
        }
        let claimed = &mut all.rows[usize::from(row)];
        claimed.owner = Some(me);
        claimed.tenure += 1;
        claimed.rests = false;
        let carried = Carried::of(row, claimed);
        let process_of = &mut all.processes[usize::from(process)];
        process_of.carried.push(carried);
        process_of.carried.sort_by_key(|one| one.row);
        self.go_on(all, process);
    }

    // ── engine/mod.rs: a process that lost its lane begins again under a new name ──

    pub(super) fn begin_again(&self, all: &mut Cluster, process: u8) {
        all.lets_go_of_everything(process);
        let lane = u8::try_from(all.lanes.len()).expect("few");
        all.lanes.push(super::cluster::Lane::new());
        all.processes[usize::from(process)] = Process::new(lane);
    }
}

/// A request like all of the model's: a delete without a word more.
fn asked() -> Request {
    let body = br#"{"target": {"type": "model.thing", "id": "1"}, "tenant": "t"}"#;
    read_request(body, &Envelope::default()).expect("well formed")
}

fn id_of(row: usize) -> DeletionId {
    DeletionId(Uuid::from_u128(row as u128 + 1))
}

/// Until something has to be written or done.
fn drive(carried: &mut Carried, all: &Cluster) {
    loop {
        match decided(&carried.words, carried.heard) {
            Decision::Note(words) => words.into_iter().for_each(|word| carried.note(word)),
            Decision::Look => {
                let row = &all.rows[usize::from(carried.row)];
                let found = !all.targets[usize::from(row.target)].done[2];
                let known = all
                    .rows
                    .iter()
                    .any(|one| one.target == row.target && one.ended.is_some());
                carried.note(Word::Looked { found, known });
            }
            Decision::Run(attempt) => {
                carried.note(Word::Intent(attempt));
                carried.stage = Stage::Writes {
                    intent: Some(attempt),
                    lets_go: false,
                };
                return;
            }
            Decision::Find(attempt, silent) => {
                carried.stage = Stage::Looks(attempt, silent);
                return;
            }
            Decision::Rest | Decision::Nothing | Decision::Broken => {
                carried.stage = Stage::Writes {
                    intent: None,
                    lets_go: true,
                };
                return;
            }
            Decision::End(end) => {
                carried.note(Word::Ended(end));
                carried.stage = Stage::READY;
                return;
            }
        }
    }
}

impl Stage {
    /// It decides next; of an end, it is written.
    pub(super) const READY: Stage = Stage::Writes {
        intent: None,
        lets_go: false,
    };
}

impl Carried {
    pub(super) fn of(at: u8, row: &Row) -> Self {
        Carried {
            row: at,
            tenure: row.tenure,
            seq: row.seq,
            words: row.words.clone(),
            unwritten: 0,
            told: row.signal,
            heard: row.signal,
            stage: Stage::READY,
        }
    }

    pub(super) fn note(&mut self, word: Word) {
        self.words.push(word);
        self.unwritten += 1;
    }

    fn new_words(&self) -> &[Word] {
        &self.words[self.words.len() - usize::from(self.unwritten)..]
    }

    /// What it does now; whether there is more to do for this process.
    fn is_told_written(&mut self, intent: Option<Attempt>, lets_go: bool) -> bool {
        self.seq += u8::from(self.unwritten > 0);
        self.unwritten = 0;
        self.stage = match intent {
            Some(attempt) => Stage::Granted(attempt),
            None => Stage::READY,
        };
        !lets_go && !matches!(self.words.last(), Some(Word::Ended(_)))
    }

    /// There is something in it for the next batch.
    pub(super) fn writes(&self) -> bool {
        matches!(self.stage, Stage::Writes { lets_go, .. } if lets_go || self.unwritten > 0)
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

    /// Another deletion of the same target had its pivot.
    fn was_done_before(&self, row: u8, target: u8) -> bool {
        self.rows[..usize::from(row)]
            .iter()
            .any(|one| one.target == target)
    }

    /// What it held is nobody's for now; its effects go on without it until their timeouts.
    pub(super) fn lets_go_of_everything(&mut self, process: u8) {
        let me = &mut self.processes[usize::from(process)];
        let carried = std::mem::take(&mut me.carried);
        // Those of one who sleeps go on without it already.
        if me.life != Life::Stalled {
            self.orphans.extend(carried.iter().filter_map(Carried::orphan));
        }
        self.orphans.sort_unstable();
        for delivery in &mut self.queue {
            if matches!(delivery, Delivery::With(by) | Delivery::Admitted(by) if *by == process) {
                *delivery = Delivery::Queued;
            }
        }
        for event in &mut self.outbox {
            if *event == Event::Unsent(Some(process)) {
                *event = Event::Unsent(None);
            }
        }
    }
}

/// Renewed, as far as anybody knows.
pub(super) fn renew(all: &mut Cluster, process: u8) {
    let me = &mut all.processes[usize::from(process)];
    me.lease = LEASE;
    all.lanes[usize::from(me.lane)].lease = LEASE;
}
