//! What a process has in its hands: it decides (engine/drive.rs), claims (store/claim.rs), and begins again under a new name
//! when its lane is lost (engine/mod.rs).

use super::Protocol;
use super::cluster::{Carried, Cluster, Delivery, Event, LEASE, Life, Process, Row, Stage};
use super::words::{Attempt, Decision, Word, decided};

impl Protocol {
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

    pub(super) fn begin_again(&self, all: &mut Cluster, process: u8) {
        all.lets_go_of_everything(process);
        let lane = u8::try_from(all.lanes.len()).expect("few");
        all.lanes.push(super::cluster::Lane::new());
        all.processes[usize::from(process)] = Process::new(lane);
    }
}

/// Until something has to be written or done.
pub(super) fn drive(carried: &mut Carried, all: &Cluster) {
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
        // What has just been admitted with an intent begins at once; a claim finds such an intent, and looks.
        let stage = match row.words.last() {
            Some(Word::Intent(attempt)) if row.tenure == 1 => Stage::Granted(*attempt),
            _ => Stage::READY,
        };
        Carried {
            row: at,
            tenure: row.tenure,
            seq: row.seq,
            words: row.words.clone(),
            unwritten: 0,
            told: row.signal,
            heard: row.signal,
            stage,
        }
    }

    pub(super) fn note(&mut self, word: Word) {
        self.words.push(word);
        self.unwritten += 1;
    }

    pub(super) fn new_words(&self) -> &[Word] {
        &self.words[self.words.len() - usize::from(self.unwritten)..]
    }

    /// What it does now; whether there is more to do for this process.
    pub(super) fn is_told_written(&mut self, intent: Option<Attempt>, lets_go: bool) -> bool {
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
