//! What there is: the tables, the processes, the broker's queue, and the world outside. Time is ticks that are left.

use super::luck::Luck;
use super::words::{Attempt, Ended, Said, Word};

/// A lease, in ticks. It is renewed whenever time passes for a process that is well.
pub(super) const LEASE: u8 = 3;
/// The hard timeout of every step, in ticks: what is under way is over before so many have passed.
pub(super) const TIMEOUT: u8 = 2;
pub(super) const PROCESSES: usize = 2;

/// A row of `open_deletions` and, once it has ended, of `deletions`; with its journal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) target: u8,
    /// The lane that has it.
    pub(super) owner: Option<u8>,
    pub(super) tenure: u8,
    pub(super) seq: u8,
    pub(super) words: Vec<Word>,
    /// Until it is due.
    pub(super) wait: u8,
    /// Nothing will be due before somebody says something.
    pub(super) rests: bool,
    /// A cancel is committed.
    pub(super) signal: bool,
    pub(super) ended: Option<Ended>,
    /// The messages that it answers, the first one first.
    pub(super) answers: Vec<u8>,
}

/// A row of `lanes`, and the lease of its worker by the database's clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) taken: bool,
    pub(super) generation: u8,
    pub(super) lease: u8,
}

/// A message in the broker's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Delivery {
    Queued,
    /// In the hands of this process.
    With(u8),
    /// The same, and its admission is committed as far as the process knows.
    Admitted(u8),
    Acknowledged,
}

/// A row of the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Event {
    None,
    /// In the table, and in the memory of this process as well.
    Unsent(Option<u8>),
    /// Crossed off; whether the broker has it.
    Sent(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Life {
    Well,
    /// Stopped in the middle of everything; it may wake.
    Stalled,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Process {
    pub(super) life: Life,
    pub(super) lane: u8,
    /// As the process counts it.
    pub(super) lease: u8,
    pub(super) generation: u8,
    /// The answer to its last commit is lost: before anything else it asks what became of it.
    pub(super) asking: bool,
    pub(super) carried: Vec<Carried>,
}

/// A deletion in the memory of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Carried {
    pub(super) row: u8,
    pub(super) tenure: u8,
    pub(super) seq: u8,
    /// What it believes the journal to be, with what is not written yet at the end.
    pub(super) words: Vec<Word>,
    pub(super) unwritten: u8,
    /// It was told of the cancel, and has heard it in its decisions.
    pub(super) told: bool,
    pub(super) heard: bool,
    pub(super) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Stage {
    /// A record waits for the next batch: with an intent to be granted, or to let go.
    Writes { intent: Option<Attempt>, lets_go: bool },
    /// Its intent is written.
    Granted(Attempt),
    /// Its effect is under way; how long it still may be.
    Acts(Attempt, u8),
    /// It has had its last look, and fell asleep before the effect was sent: no lease and no timeout can help any more.
    Sends(Attempt),
    /// Its outcome is unknown; whether nobody has said a word of it.
    Looks(Attempt, bool),
}

/// An effect under way at the target whose process is gone or asleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Orphan {
    pub(super) row: u8,
    pub(super) step: u8,
    pub(super) undo: bool,
    pub(super) left: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Late {
    pub(super) lane: u8,
    pub(super) generation: u8,
    pub(super) records: Vec<Carried>,
}

/// A target, and who changed what of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) done: [bool; 3],
    /// The deletion that took its first step back.
    pub(super) taken_back_by: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Cluster {
    pub(super) rows: Vec<Row>,
    pub(super) lanes: Vec<Lane>,
    pub(super) processes: Vec<Process>,
    pub(super) queue: Vec<Delivery>,
    /// Which deletion answers a message, once that is committed.
    pub(super) fates: Vec<Option<u8>>,
    pub(super) outbox: Vec<Event>,
    pub(super) targets: Vec<Target>,
    pub(super) orphans: Vec<Orphan>,
    /// A batch that is on its way to the server, without whoever sent it.
    pub(super) late: Option<Late>,
    pub(super) luck: Luck,
    /// What must never be, and was.
    pub(super) harm: Option<Harm>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Harm {
    StaleWrite,
    JournalBroken,
    EffectsOverlap,
    EffectWithoutIntent,
    SettledStepRunAgain,
    ChangedTwice,
    PivotAfterCancel,
    AcknowledgedUndecided,
    OutcomeUnsaid,
    FalseOutcome,
    TwoOpenForOneTarget,
    CopyIsAnother,
}

impl Cluster {
    pub(super) fn new(messages: usize, targets: usize, luck: Luck) -> Self {
        let lanes = (0..PROCESSES).map(|_| Lane::new()).collect();
        let process = |lane: usize| Process::new(u8::try_from(lane).expect("few"));
        Cluster {
            rows: Vec::new(),
            lanes,
            processes: (0..PROCESSES).map(process).collect(),
            queue: vec![Delivery::Queued; messages],
            fates: vec![None; messages],
            outbox: vec![Event::None; messages],
            targets: vec![Target::default(); targets],
            orphans: Vec::new(),
            late: None,
            luck,
            harm: None,
        }
    }

    /// The first harm is told.
    pub(super) fn harmed(&mut self, harm: Harm, is: bool) {
        if is {
            self.harm.get_or_insert(harm);
        }
    }

    /// Nothing can go wrong any more, everybody is well, nothing is under way without whoever sent it, and nobody acts on
    /// what is not so any more.
    pub(super) fn is_calm(&self) -> bool {
        let knows = |process: &Process| {
            !process.asking
                && !self.lanes[usize::from(process.lane)].taken
                && process.generation == self.lanes[usize::from(process.lane)].generation
                && process.carried.iter().all(|carried| {
                    let row = &self.rows[usize::from(carried.row)];
                    row.owner == Some(process.lane) && (row.tenure, row.seq) == (carried.tenure, carried.seq)
                })
        };
        self.luck.is_used_up()
            && self.orphans.is_empty()
            && self.late.is_none()
            && self
                .processes
                .iter()
                .all(|one| one.life == Life::Well && knows(one))
    }

    pub(super) fn is_over(&self) -> bool {
        self.queue.iter().all(|one| *one == Delivery::Acknowledged)
            && self.fates.iter().all(Option::is_some)
            && self.rows.iter().all(|row| row.ended.is_some() || row.rests)
            && self.rows.iter().filter(|row| row.ended.is_some()).all(|row| {
                let said = |message: &u8| self.outbox[usize::from(*message)] == Event::Sent(true);
                row.answers.iter().all(said)
            })
            && self.orphans.is_empty()
            && self.late.is_none()
    }
}

impl Lane {
    pub(super) fn new() -> Self {
        Lane {
            taken: false,
            generation: 0,
            lease: LEASE,
        }
    }
}

impl Process {
    pub(super) fn new(lane: u8) -> Self {
        Process {
            life: Life::Well,
            lane,
            lease: LEASE,
            generation: 0,
            asking: false,
            carried: Vec::new(),
        }
    }
}

impl Row {
    pub(super) fn has_open_intent(&self) -> bool {
        let mut open = false;
        for word in &self.words {
            match word {
                Word::Intent(_) => open = true,
                Word::Verdict { said, .. } => open = *said == Said::Unknown,
                _ => {}
            }
        }
        open
    }
}

impl Cluster {
    /// Its effects go on without it, as long as their targets let them.
    pub(super) fn dozes_off(&mut self, process: u8) {
        let me = &mut self.processes[usize::from(process)];
        me.life = Life::Stalled;
        for carried in &me.carried {
            self.orphans.extend(carried.orphan());
        }
        self.orphans.sort_unstable();
    }

    /// What is still under way is in its hands again; of what is over it has not heard how it went.
    pub(super) fn wakes(&mut self, process: u8) {
        let me = &mut self.processes[usize::from(process)];
        me.life = Life::Well;
        for carried in &mut me.carried {
            let (Stage::Acts(attempt, _), Some(mine)) = (carried.stage, carried.orphan()) else {
                continue;
            };
            let same = |one: &Orphan| (one.row, one.step, one.undo) == (mine.row, mine.step, mine.undo);
            if let Some(at) = self.orphans.iter().position(same) {
                carried.stage = Stage::Acts(attempt, self.orphans.remove(at).left);
            } else {
                carried.note(Word::Verdict {
                    attempt,
                    said: Said::Unknown,
                    found_out: false,
                });
                carried.stage = Stage::READY;
            }
        }
    }
}

impl Carried {
    /// Its effect, for whom it goes on without.
    pub(super) fn orphan(&self) -> Option<Orphan> {
        match self.stage {
            Stage::Acts(attempt, left) => Some(Orphan {
                row: self.row,
                step: attempt.step,
                undo: attempt.undo,
                left,
            }),
            _ => None,
        }
    }
}

impl Cluster {
    /// Names carry no meaning: what nobody names any more goes, lanes are numbered as they are met, and of two processes
    /// that could as well be each other the lesser comes first. So a story is told once.
    pub(super) fn is_named_in_order(&mut self) {
        let mut other = self.clone();
        other.processes.swap(0, 1);
        let swapped = |process: u8| 1 - process;
        for delivery in &mut other.queue {
            *delivery = match *delivery {
                Delivery::With(by) => Delivery::With(swapped(by)),
                Delivery::Admitted(by) => Delivery::Admitted(swapped(by)),
                same => same,
            };
        }
        for event in &mut other.outbox {
            if let Event::Unsent(Some(by)) = event {
                *by = swapped(*by);
            }
        }
        self.number_lanes();
        other.number_lanes();
        if other < *self {
            *self = other;
        }
    }

    fn number_lanes(&mut self) {
        let owners = self.rows.iter().filter_map(|row| row.owner);
        let mut named: Vec<u8> = Vec::new();
        let late = self.late.iter().map(|late| late.lane);
        for lane in self
            .processes
            .iter()
            .map(|one| one.lane)
            .chain(owners)
            .chain(late)
        {
            if !named.contains(&lane) {
                named.push(lane);
            }
        }
        let number = |lane: u8| {
            let at = named.iter().position(|one| *one == lane).expect("it is named");
            u8::try_from(at).expect("few")
        };
        self.lanes = named
            .iter()
            .map(|lane| self.lanes[usize::from(*lane)].clone())
            .collect();
        for process in &mut self.processes {
            process.lane = number(process.lane);
        }
        for row in &mut self.rows {
            row.owner = row.owner.map(number);
        }
        if let Some(late) = &mut self.late {
            late.lane = number(late.lane);
        }
    }
}
