//! Does a system let us in? A door for each system, and one for each step there.
//!
//! Credentials that fail concern whoever comes next as well, so the *system* is shut, once, with its one reason: what
//! needs it waits, and is neither parked nor asked in vain. After a pause that grows, one deletion tries again, and what
//! it hears opens the door or shuts it for longer. A step's own door is shut only by several in a row; where others are
//! let in, whoever is turned away twice has a trouble of its own, and a person must look at that one.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use super::pause::Pause;
use crate::clock;
use crate::deletion::{Aim, DeletionId, Denied};
use crate::store::ShutSystem;
use crate::telemetry::Instruments;

/// One of them may be one target's own trouble; so many in a row, with nobody let in between, are everybody's.
const DENIED_IN_A_ROW: u32 = 3;
/// Deletions remembered by a door; who is forgotten is turned away once more before it is parked.
const WAITED_MAX: usize = 10_000;

/// What was denied: the whole system, or what one step wants of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Where {
    Everything,
    Step { of: String, step: String, aim: Aim },
}

/// The doors of one system.
pub(super) struct Doors {
    system: String,
    doors: Mutex<HashMap<Where, Door>>,
    /// Doors that have a history; none is the usual case, and costs nothing.
    known: AtomicUsize,
    changed: AtomicBool,
    pause: Duration,
    instruments: Instruments,
}

#[derive(Default)]
struct Door {
    in_a_row: u32,
    /// Somebody was let in after the last who was not.
    lets_in: bool,
    shut: Option<Shut>,
    /// Who was turned away here and has not been let in since.
    waited: HashSet<DeletionId>,
}

struct Shut {
    why: String,
    unblock: String,
    since: OffsetDateTime,
    tries: u32,
    pause: Pause,
    trying: bool,
}

/// The right to go in now. Tells the doors nothing when it is dropped; a try that it was is then free for others.
#[derive(Default)]
pub(super) struct Pass(Option<(Arc<Doors>, Vec<Where>)>);

/// What not being let in means for a deletion.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// The system's trouble: come back after this long.
    Wait(Duration),
    /// Others are let in: it is this deletion's own.
    Own,
}

impl Doors {
    pub(super) fn new(system: String, pause: Duration, instruments: Instruments) -> Self {
        Doors {
            system,
            doors: Mutex::default(),
            known: AtomicUsize::new(0),
            changed: AtomicBool::new(false),
            pause,
            instruments,
        }
    }

    /// In, now; or how long to stay away.
    pub(super) fn enter(self: &Arc<Self>, at: impl Fn() -> Where) -> Result<Pass, Duration> {
        if self.known.load(Ordering::Relaxed) == 0 {
            return Ok(Pass::default());
        }
        let mut tries = Vec::new();
        let mut doors = self.doors();
        for place in [Where::Everything, at()] {
            let Some(shut) = doors.get_mut(&place).and_then(|door| door.shut.as_mut()) else {
                continue;
            };
            if shut.trying || !shut.pause.is_over() {
                let left = shut.pause.stay_away();
                drop(doors);
                // A try of another door that was found just before is free again.
                drop(Pass(Some((self.clone(), tries))));
                return Err(left);
            }
            shut.trying = true;
            tries.push(place);
        }
        drop(doors);
        Ok(Pass(Some((self.clone(), tries))))
    }

    /// Somebody was let in there.
    pub(super) fn let_in(&self, at: impl Fn() -> Where, who: DeletionId) {
        if self.known.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut doors = self.doors();
        for place in [Where::Everything, at()] {
            let Some(door) = doors.get_mut(&place) else {
                continue;
            };
            door.in_a_row = 0;
            door.lets_in = true;
            door.waited.remove(&who);
            if door.shut.take().is_some() {
                self.changed.store(true, Ordering::Relaxed);
                tracing::info!(
                    system = self.system,
                    place = place.told(),
                    "system open again: it lets Sexton in"
                );
            }
            if door.waited.is_empty() {
                doors.remove(&place);
            }
        }
        self.count(&doors);
    }

    /// Somebody was not let in.
    pub(super) fn denied(
        &self,
        at: impl Fn() -> Where,
        who: DeletionId,
        whom: Denied,
        why: &str,
        unblock: &str,
    ) -> Met {
        let place = match whom {
            Denied::All => Where::Everything,
            Denied::Perhaps => at(),
        };
        let mut doors = self.doors();
        let door = doors.entry(place.clone()).or_default();
        if whom == Denied::Perhaps && door.lets_in && door.waited.contains(&who) {
            door.waited.remove(&who);
            return Met::Own;
        }
        door.in_a_row += 1;
        door.lets_in = false;
        if door.waited.len() >= WAITED_MAX {
            door.waited.clear();
        }
        door.waited.insert(who);
        let met = match &mut door.shut {
            Some(shut) => {
                // Those who were on their way in when it was shut say nothing new; a try does.
                if shut.pause.is_over() {
                    shut.tries += 1;
                    shut.pause.again();
                    shut.trying = false;
                    self.changed.store(true, Ordering::Relaxed);
                }
                Met::Wait(shut.pause.stay_away())
            }
            None if whom == Denied::All || door.in_a_row >= DENIED_IN_A_ROW => {
                tracing::warn!(
                    system = self.system,
                    place = place.told(),
                    why,
                    unblock,
                    "system shut: it does not let Sexton in; what needs it waits"
                );
                door.shut = Some(Shut {
                    why: why.to_owned(),
                    unblock: unblock.to_owned(),
                    since: clock::now(),
                    tries: 0,
                    pause: Pause::begin(self.pause),
                    trying: false,
                });
                self.changed.store(true, Ordering::Relaxed);
                Met::Wait(self.pause)
            }
            None => Met::Wait(self.pause),
        };
        self.count(&doors);
        met
    }

    /// Somebody says that it is repaired: the next one tries at once.
    pub(super) fn try_now(&self) {
        for shut in self.doors().values_mut().filter_map(|door| door.shut.as_mut()) {
            shut.pause.cut_short();
        }
        self.changed.store(true, Ordering::Relaxed);
    }

    /// Whether something is to be told anew.
    pub(super) fn has_changed(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }

    pub(super) fn shut_now(&self) -> Vec<ShutSystem> {
        if self.known.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let doors = self.doors();
        let shut = doors
            .iter()
            .filter_map(|(place, door)| Some((place, door.shut.as_ref()?)));
        shut.map(|(place, shut)| ShutSystem {
            system: self.system.clone(),
            place: place.told(),
            why: shut.why.clone(),
            unblock: shut.unblock.clone(),
            since: shut.since,
            tries: shut.tries,
            next_in: shut.pause.left(),
        })
        .collect()
    }

    fn count(&self, doors: &HashMap<Where, Door>) {
        self.known.store(doors.len(), Ordering::Relaxed);
        let shut = doors.values().any(|door| door.shut.is_some());
        self.instruments.system_shut(&self.system, shut);
    }

    fn doors(&self) -> MutexGuard<'_, HashMap<Where, Door>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Where {
    fn told(&self) -> String {
        match self {
            Where::Everything => "everything".to_owned(),
            Where::Step { of, step, aim } => {
                let back = if *aim == Aim::Undo { "the undo of " } else { "" };
                format!("{back}{step:?} of {of}")
            }
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let Some((doors, tries)) = self.0.take().filter(|(_, tries)| !tries.is_empty()) else {
            return;
        };
        let mut doors = doors.doors();
        for place in &tries {
            if let Some(shut) = doors.get_mut(place).and_then(|door| door.shut.as_mut()) {
                shut.trying = false;
            }
        }
    }
}

#[cfg(test)]
#[path = "doors_tests.rs"]
mod tests;
