//! The model as `stateright` wants it: which actions there are, what each leads to, and what must hold.

use stateright::{Model, Property};

use super::Message;
use super::batch::Answer;
use super::beside::Beside;
use super::cluster::{Cluster, Delivery, Event, Harm, LEASE, Life, Orphan, Process, Stage, TIMEOUT};
use super::effects::Outcome;
use super::guards::{Guard, Guards};
use super::luck::Luck;
use super::words::Attempt;

pub(super) struct Protocol {
    pub(super) messages: &'static [Message],
    pub(super) admitted: bool,
    /// An admission may carry the first intent of what is new: where its system has room at once.
    pub(super) at_once: bool,
    pub(super) luck: Luck,
    /// From where nothing can go wrong any more, one way is followed: all others only change the order of what has nothing to
    /// do with each other.
    pub(super) one_way: bool,
    /// Other deletions are in the same lanes ([`super::beside`]).
    pub(super) beside: bool,
    pub(super) guards: Guards,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Act {
    Deliver(u8, u8),
    /// With the first intent of each that is new, or without.
    Admit(u8, Answer, bool),
    Acknowledge(u8),
    Commit(u8, Answer),
    Ask(u8),
    HandBackStrays(u8),
    Begin(u8, usize, Attempt),
    Conclude(u8, usize, Attempt, Outcome),
    Look(u8, usize, Attempt, bool),
    Claim(u8, u8),
    TakeOver(u8),
    Publish(u8),
    PublishIsLost(u8),
    Sweep(u8),
    Cancel(u8),
    OrphanLands(usize),
    LateBatch,
    Crash(u8),
    SignOff(u8),
    Stall(u8),
    StallAtTheLastLook(u8, usize),
    Wake(u8),
    Tick,
    Beside(Beside),
}

impl Model for Protocol {
    type State = Cluster;
    type Action = Act;

    fn init_states(&self) -> Vec<Cluster> {
        let targets = self
            .messages
            .iter()
            .map(|one| one.target)
            .max()
            .map_or(0, |most| most + 1);
        let all = Cluster::new(self.messages.len(), usize::from(targets), self.luck);
        if !self.admitted {
            return vec![all];
        }
        let admitted = |at_once: &bool| {
            let mut all = all.clone();
            all.queue.fill(Delivery::With(0));
            self.happens(&mut all, Act::Admit(0, Answer::Heard, *at_once));
            self.happens(&mut all, Act::Acknowledge(0));
            all
        };
        self.ways_to_admit().iter().map(admitted).collect()
    }

    fn actions(&self, all: &Cluster, acts: &mut Vec<Act>) {
        if all.harm.is_some() {
            return;
        }
        // What is published goes out beside everything else, and nothing else minds: where it cannot go wrong it is not
        // tried in every order.
        if all.luck.lost_publishes == 0
            && let Some(act) = self.of_the_relay(all).into_iter().next()
        {
            return acts.push(act);
        }
        acts.extend(self.of_the_relay(all));
        self.of_the_outside(all, acts);
        for at in 0..all.processes.len() {
            let process = u8::try_from(at).expect("few");
            match all.processes[at].life {
                Life::Well => self.of_a_process(all, process, acts),
                Life::Stalled => acts.push(Act::Wake(process)),
            }
        }
        if self.beside && !(self.one_way && all.is_calm()) {
            acts.extend(self.of_others(all).map(Act::Beside));
        }
        if self.one_way && all.is_calm() {
            // Time passes last, when nobody has anything to do.
            let first = acts.iter().position(|act| *act != Act::Tick).unwrap_or_default();
            *acts = acts.drain(..).skip(first).take(1).collect();
        }
    }

    fn next_state(&self, last: &Cluster, act: Act) -> Option<Cluster> {
        let mut all = last.clone();
        self.happens(&mut all, act);
        all.luck.is_counted(&last.luck);
        let undecided =
            |(queued, fate): (&Delivery, &Option<u8>)| *queued == Delivery::Acknowledged && fate.is_none();
        let undecided = all.queue.iter().zip(&all.fates).any(undecided);
        all.harmed(Harm::AcknowledgedUndecided, undecided);
        let unsaid = all.rows.iter().filter(|row| row.ended.is_some()).any(|row| {
            row.answers
                .iter()
                .any(|message| all.outbox[usize::from(*message)] == Event::None)
        });
        all.harmed(Harm::OutcomeUnsaid, unsaid);
        all.harmed(Harm::CopyIsAnother, self.has_copies_apart(&all));
        all.is_named_in_order();
        Some(all)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing comes to harm", |_, all: &Cluster| all.harm.is_none()),
            Property::always("every end is a good one", |model: &Protocol, all: &Cluster| {
                // Nobody may need luck, bad or good, to get there.
                let mut acts = Vec::new();
                model.actions(all, &mut acts);
                let goes_on = |act: &Act| !act.goes_wrong() && !matches!(act, Act::Beside(_));
                acts.iter().any(goes_on) || all.harm.is_some() || all.is_over()
            }),
        ]
    }
}

impl Protocol {
    /// Two messages under one key are answered by two deletions.
    fn has_copies_apart(&self, all: &Cluster) -> bool {
        let decided = |at: usize| self.messages[at].key.zip(all.fates[at]);
        let pairs = (0..self.messages.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
        let apart = |(one, other)| match (decided(one), decided(other)) {
            (Some((key, fate)), Some((same, otherwise))) => key == same && fate != otherwise,
            _ => false,
        };
        pairs.into_iter().any(apart)
    }

    fn ways_to_admit(&self) -> &'static [bool] {
        if self.at_once { &[false, true] } else { &[false] }
    }

    fn of_a_process(&self, all: &Cluster, process: u8, acts: &mut Vec<Act>) {
        let me = &all.processes[usize::from(process)];
        if all.luck.crashes > 0 {
            acts.push(Act::Crash(process));
            acts.push(Act::SignOff(process));
        }
        if all.luck.stalls > 0 {
            acts.push(Act::Stall(process));
        }
        if me.asking {
            acts.push(Act::Ask(process));
        } else {
            self.of_a_lane(all, process, acts);
        }
        for (at, carried) in me.carried.iter().enumerate() {
            match carried.stage {
                Stage::Granted(attempt) => {
                    // A lease that is short is waited for; one that is lost is heard of at the next batch.
                    let lost = all.lanes[usize::from(me.lane)].taken;
                    if lost || me.lease > TIMEOUT || !self.guards.has(Guard::Lease) {
                        acts.push(Act::Begin(process, at, attempt));
                    }
                    if all.luck.stalls > 0 && self.may_begin(all, process, carried) {
                        acts.push(Act::StallAtTheLastLook(process, at));
                    }
                }
                Stage::Writes {
                    intent: Some(attempt),
                    ..
                } if !self.guards.has(Guard::IntentFirst) => acts.push(Act::Begin(process, at, attempt)),
                Stage::Acts(attempt, _) => {
                    acts.push(Act::Conclude(process, at, attempt, Outcome::Heard));
                    if all.luck.unknowns > 0 {
                        acts.push(Act::Conclude(process, at, attempt, Outcome::UnknownDid));
                        acts.push(Act::Conclude(process, at, attempt, Outcome::UnknownDidNot));
                    }
                }
                Stage::Looks(attempt, silent) => acts.push(Act::Look(process, at, attempt, silent)),
                Stage::Writes { .. } | Stage::Sends(_) => {}
            }
        }
    }

    /// From the memory of a process that is well, or by anybody's sweep.
    fn of_the_relay(&self, all: &Cluster) -> Vec<Act> {
        let mut acts = Vec::new();
        for (message, event) in all.outbox.iter().enumerate() {
            let message = u8::try_from(message).expect("few");
            match *event {
                Event::Unsent(Some(by)) if all.processes[usize::from(by)].life == Life::Well => {
                    acts.push(Act::Publish(message));
                    if all.luck.lost_publishes > 0 {
                        acts.push(Act::PublishIsLost(message));
                    }
                }
                Event::Unsent(None) if self.guards.has(Guard::Sweep) => acts.push(Act::Sweep(message)),
                _ => {}
            }
        }
        acts
    }

    /// What goes over the lane's one connection.
    fn of_a_lane(&self, all: &Cluster, process: u8, acts: &mut Vec<Act>) {
        let me = &all.processes[usize::from(process)];
        let mut answers = vec![Answer::Heard];
        if all.luck.lost_answers > 0 {
            answers.extend([Answer::LostBefore, Answer::LostAfter]);
        }
        if me.carried.iter().any(super::cluster::Carried::writes) {
            acts.extend(answers.iter().map(|answer| Act::Commit(process, *answer)));
            if all.luck.lost_answers > 0 {
                acts.push(Act::Commit(process, Answer::Late));
            }
        }
        if all.queue.contains(&Delivery::With(process)) {
            for at_once in self.ways_to_admit() {
                acts.extend(
                    answers
                        .iter()
                        .map(|answer| Act::Admit(process, *answer, *at_once)),
                );
            }
        }
        if all.queue.contains(&Delivery::Admitted(process)) {
            acts.push(Act::Acknowledge(process));
        }
        // In the order of the queue.
        if let Some(first) = all.queue.iter().position(|one| *one == Delivery::Queued) {
            acts.push(Act::Deliver(process, u8::try_from(first).expect("few")));
        }
        if !self.strays(all, process).is_empty() {
            acts.push(Act::HandBackStrays(process));
        }
        for (at, row) in all.rows.iter().enumerate() {
            if row.owner.is_none() && row.wait == 0 && row.ended.is_none() && !row.rests {
                acts.push(Act::Claim(process, u8::try_from(at).expect("few")));
            }
        }
        for (lane, one) in all.lanes.iter().enumerate() {
            if !one.taken && one.lease == 0 {
                acts.push(Act::TakeOver(u8::try_from(lane).expect("few")));
            }
        }
    }

    fn of_the_outside(&self, all: &Cluster, acts: &mut Vec<Act>) {
        if all.luck.cancels > 0 {
            let open = |row: &super::cluster::Row| row.ended.is_none() && !row.signal;
            let rows = all.rows.iter().enumerate().filter(|(_, row)| open(row));
            acts.extend(rows.map(|(at, _)| Act::Cancel(u8::try_from(at).expect("few"))));
        }
        acts.extend((0..all.orphans.len()).map(Act::OrphanLands));
        acts.extend(all.late.is_some().then_some(Act::LateBatch));
        if self.time_matters(all) {
            acts.push(Act::Tick);
        }
    }

    /// Somebody's silence, a wait or an orphan's timeout is running; and no effect of one who is well is at its timeout.
    fn time_matters(&self, all: &Cluster) -> bool {
        let of = |lane: &u8| &all.lanes[usize::from(*lane)];
        let silent = |one: &Process| one.life == Life::Stalled && (one.lease > 0 || of(&one.lane).lease > 0);
        let short = |one: &Process| one.life == Life::Well && !of(&one.lane).taken && one.lease < LEASE;
        let named: Vec<u8> = all.processes.iter().map(|one| one.lane).collect();
        let orphaned = |(at, lane): (usize, &super::cluster::Lane)| {
            !lane.taken && lane.lease > 0 && !named.iter().any(|one| usize::from(*one) == at)
        };
        let runs = all.processes.iter().any(|one| silent(one) || short(one))
            || all.lanes.iter().enumerate().any(orphaned)
            || all.rows.iter().any(|row| row.wait > 0)
            || !all.orphans.is_empty();
        runs && self.time_may_pass(all)
    }

    pub(super) fn time_may_pass(&self, all: &Cluster) -> bool {
        let at_timeout = |one: &Process| {
            one.life == Life::Well
                && one
                    .carried
                    .iter()
                    .any(|carried| matches!(carried.stage, Stage::Acts(_, 1)))
        };
        !all.processes.iter().any(at_timeout)
    }

    fn happens(&self, all: &mut Cluster, act: Act) {
        match act {
            Act::Deliver(process, message) => {
                all.queue[usize::from(message)] = match self.guards.has(Guard::AckAfterCommit) {
                    true => Delivery::With(process),
                    false => Delivery::Acknowledged,
                };
            }
            Act::Admit(process, answer, at_once) => {
                all.luck.lost_answers -= u8::from(answer != Answer::Heard);
                self.admit(all, process, answer, at_once);
            }
            Act::Acknowledge(process) => {
                for (at, delivery) in all.queue.iter_mut().enumerate() {
                    if *delivery == Delivery::Admitted(process) {
                        // What waits for its slot is not acknowledged here: it comes again once that is free.
                        *delivery = match all.fates[at] {
                            Some(_) => Delivery::Acknowledged,
                            None => Delivery::Queued,
                        };
                    }
                }
            }
            Act::Commit(process, answer) => {
                all.luck.lost_answers -= u8::from(answer != Answer::Heard);
                self.commit(all, process, answer);
            }
            Act::Ask(process) => self.ask(all, process),
            Act::HandBackStrays(process) => self.hand_back_strays(all, process),
            Act::Begin(process, at, attempt) => self.begin(all, process, at, attempt),
            Act::Conclude(process, at, attempt, outcome) => {
                all.luck.unknowns -= u8::from(outcome != Outcome::Heard);
                self.conclude(all, process, at, attempt, outcome);
            }
            Act::Look(process, at, attempt, silent) => self.look(all, process, at, attempt, silent),
            Act::Claim(process, row) => self.claim(all, process, row),
            Act::TakeOver(lane) => self.take_over(all, lane),
            Act::Publish(message) | Act::Sweep(message) => {
                all.outbox[usize::from(message)] = Event::Sent(true)
            }
            Act::PublishIsLost(message) => {
                all.luck.lost_publishes -= 1;
                all.outbox[usize::from(message)] = match self.guards.has(Guard::Confirm) {
                    true => Event::Unsent(None),
                    false => Event::Sent(false),
                };
            }
            Act::Cancel(row) => self.cancel(all, row),
            Act::LateBatch => self.late_batch(all),
            Act::OrphanLands(at) => {
                let Orphan { row, step, undo, .. } = all.orphans.remove(at);
                self.lands(all, row, step, undo);
            }
            Act::Crash(process) | Act::SignOff(process) => {
                // A new process comes at once; one that does nothing for a while is as good as none.
                all.luck.crashes -= 1;
                let lane = usize::from(all.processes[usize::from(process)].lane);
                if act == Act::SignOff(process) {
                    all.lanes[lane].lease = 0;
                }
                self.begin_again(all, process);
            }
            Act::Stall(process) => {
                all.luck.stalls -= 1;
                all.dozes_off(process);
            }
            Act::StallAtTheLastLook(process, at) => {
                all.luck.stalls -= 1;
                let carried = &mut all.processes[usize::from(process)].carried[at];
                if let Stage::Granted(attempt) = carried.stage {
                    carried.stage = Stage::Sends(attempt);
                }
                all.dozes_off(process);
            }
            Act::Wake(process) => {
                all.wakes(process);
                self.sends_late(all, process);
                self.go_on(all, process);
            }
            Act::Tick => self.tick(all),
            Act::Beside(beside) => self.happens_beside(all, beside),
        }
    }
}
