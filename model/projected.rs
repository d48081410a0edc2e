//! What one of two deletions sees of everything, and that it meets nothing that others could not do to it (`beside.rs`).

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use stateright::Model;

use super::Message;
use super::cluster::{Cluster, Late, Row};
use super::luck::Luck;
use super::protocol::Protocol;

impl Cluster {
    /// What there is of one target, for whoever sees nothing but it.
    pub(super) fn of_target(&self, target: u8, messages: &[Message]) -> Cluster {
        let mut all = self.clone();
        let of = |row: &Row| row.target == target;
        let number: Vec<Option<u8>> = self
            .rows
            .iter()
            .scan(0, |next, row| {
                let number = of(row).then_some(*next);
                *next += u8::from(of(row));
                Some(number)
            })
            .collect();
        let numbered = |row: u8| number[usize::from(row)];
        let message: Vec<usize> = (0..messages.len())
            .filter(|at| messages[*at].target == target)
            .collect();
        let renamed = |at: u8| {
            let place = message
                .iter()
                .position(|one| *one == usize::from(at))
                .expect("its own");
            u8::try_from(place).expect("few")
        };
        all.rows.retain(of);
        for row in &mut all.rows {
            row.target = 0;
            row.answers = row.answers.iter().map(|at| renamed(*at)).collect();
        }
        all.queue = message.iter().map(|at| self.queue[*at]).collect();
        all.fates = message
            .iter()
            .map(|at| self.fates[*at].and_then(numbered))
            .collect();
        all.outbox = message.iter().map(|at| self.outbox[*at]).collect();
        all.targets = vec![self.targets[usize::from(target)].clone()];
        for one in &mut all.targets {
            one.taken_back_by = one.taken_back_by.and_then(numbered);
        }
        let keep = |row: &mut u8| numbered(*row).map(|now| *row = now).is_some();
        for process in &mut all.processes {
            process.carried.retain_mut(|one| keep(&mut one.row));
        }
        all.orphans.retain_mut(|one| keep(&mut one.row));
        all.late = all.late.and_then(|mut late: Late| {
            late.records.retain_mut(|one| keep(&mut one.row));
            (!late.records.is_empty()).then_some(late)
        });
        all.is_named_in_order();
        all
    }
}

type Fingerprint = u64;

fn fingerprint(all: &Cluster) -> Fingerprint {
    let mut hasher = DefaultHasher::new();
    all.hash(&mut hasher);
    hasher.finish()
}

/// Every state, without what may still go wrong in it; and how much may, in all the ways to come there. Of states there is
/// kept a digest, as `stateright` does.
type Seen = HashMap<Fingerprint, Vec<Luck>>;

/// `meets` is given each state once; `false` ends the search.
fn all_of(model: &Protocol, mut meets: impl FnMut(&Cluster) -> bool) {
    let mut known: HashSet<Fingerprint> = HashSet::new();
    let mut waiting = model.init_states();
    let mut acts = Vec::new();
    while let Some(all) = waiting.pop() {
        if !known.insert(fingerprint(&all)) {
            continue;
        }
        if !meets(&all) {
            return;
        }
        model.actions(&all, &mut acts);
        waiting.extend(acts.drain(..).filter_map(|act| model.next_state(&all, act)));
    }
}

fn apart(mut all: Cluster) -> (Fingerprint, Luck) {
    let luck = std::mem::take(&mut all.luck);
    (fingerprint(&all), luck)
}

/// The first state of one of two deletions that one deletion beside others does not come to, with as much still to go wrong;
/// and how many there were before.
pub(super) fn unforeseen(two: &Protocol, beside: &Protocol) -> (usize, Option<Cluster>) {
    let mut foreseen = Seen::new();
    all_of(beside, |all| {
        let (one, luck) = apart(all.clone());
        let lucks = foreseen.entry(one).or_default();
        if !lucks.iter().any(|other| other.has(&luck)) {
            lucks.push(luck);
        }
        true
    });
    let (mut states, mut first) = (0, None);
    all_of(two, |all| {
        states += 1;
        let seen = all.of_target(0, two.messages);
        let (one, luck) = apart(seen.clone());
        let known = foreseen.get(&one).map(Vec::as_slice).unwrap_or_default();
        if !known.iter().any(|other| other.has(&luck)) {
            first = Some(seen);
        }
        first.is_none()
    });
    (states, first)
}
