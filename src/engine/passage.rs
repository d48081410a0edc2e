//! A deletion at the doors of the systems that its next step needs: in, or handed back until they are tried again; and
//! afterwards, what it was told there.

use std::time::Duration;

use super::doors::{Met, Pass, Where};
use super::drive::Drive;
use super::limits::Permit;
use crate::connectors::Blame;
use crate::deletion::{Aim, StepNumber, Verdict};
use crate::plan::{Call, Step, SystemName};

/// An attempt that may begin: its place at its system, and in at all doors, for as long as this is kept.
pub(super) struct Entered {
    pub step: StepNumber,
    pub aim: Aim,
    pub attempt: u32,
    pub permit: Option<Permit>,
    pub passes: Vec<Pass>,
}

/// For how long to stay away, if the system's trouble is not this deletion's own.
pub(super) struct Told {
    pub verdict: Verdict,
    pub away: Option<Duration>,
}

impl Drive {
    /// In everywhere, or for how long to stay away.
    pub(super) fn enter<'s>(
        &self,
        systems: impl Iterator<Item = &'s SystemName>,
        at: &dyn Fn() -> Where,
    ) -> Result<Vec<Pass>, Duration> {
        let limits = systems.filter_map(|system| self.shared.limits.of(system));
        limits.map(|limit| limit.doors().enter(at)).collect()
    }

    /// What the doors make of a verdict: credentials that fail are the system's, until others are let in.
    pub(super) fn met<'s>(
        &self,
        systems: impl Iterator<Item = &'s SystemName>,
        at: &dyn Fn() -> Where,
        blame: &Blame,
        on: &SystemName,
        verdict: Verdict,
    ) -> Told {
        let of = blame.on().unwrap_or(on);
        let denied = self.denied(of, at, &verdict);
        if let Some(met) = denied {
            return match (met, verdict) {
                (Met::Own, Verdict::Blocked { why, unblock, .. }) => Told {
                    verdict: Verdict::blocked(why, unblock),
                    away: None,
                },
                (Met::Wait(away), verdict) => Told {
                    verdict,
                    away: Some(away),
                },
                (Met::Own, verdict) => Told { verdict, away: None },
            };
        }
        if let Some(trouble) = blame.trouble() {
            // The step's own verdict stands; but whoever needs that system next shall wait for it.
            let _ = self.denied(of, at, trouble);
        } else if verdict.is_trouble() == Some(false) {
            for limit in systems.filter_map(|system| self.shared.limits.of(system)) {
                limit.doors().let_in(at, self.opened.id);
            }
        }
        Told { verdict, away: None }
    }

    fn denied(&self, of: &SystemName, at: &dyn Fn() -> Where, verdict: &Verdict) -> Option<Met> {
        let Verdict::Blocked {
            why,
            unblock,
            denied: Some(whom),
        } = verdict
        else {
            return None;
        };
        let doors = self.shared.limits.of(of)?.doors();
        Some(doors.denied(at, self.opened.id, *whom, why, unblock))
    }

    /// What one step wants of a system, as its doors tell it apart.
    pub(super) fn place(&self, step: &str, aim: Aim) -> Where {
        Where::Step {
            of: self.opened.target.kind.as_str().to_owned(),
            step: step.to_owned(),
            aim,
        }
    }
}

/// All systems that an attempt at this step goes to.
pub(super) fn systems_of(step: &Step, aim: Aim) -> impl Iterator<Item = &SystemName> + Clone {
    let forward = aim == Aim::Do;
    let store = match &step.call {
        Call::Archive { store, .. } if forward => Some(store),
        _ => None,
    };
    let read = step.read.as_ref().filter(|_| forward).map(|read| &read.on);
    let verify = step.verify.as_ref().filter(|_| forward).map(|read| &read.on);
    // Each once: whoever tries a door must not meet itself there.
    let store = store.filter(|store| **store != step.on);
    let read = read.filter(|read| **read != step.on && Some(*read) != store);
    let verify = verify.filter(|other| **other != step.on && Some(*other) != store && Some(*other) != read);
    std::iter::once(&step.on).chain([store, read, verify].into_iter().flatten())
}
