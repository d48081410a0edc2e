//! The first intent of a new deletion, decided before it is admitted: where its system has room for it now, one commit
//! admits it and lets its first effect begin. Whatever is in the way of that, it is admitted without, and goes on as ever.

use std::sync::Arc;

use super::drive::Drive;
use super::effect::Effect;
use super::limits::Now;
use super::passage::{Entered, systems_of};
use super::record::{self, Keep};
use crate::clock;
use crate::decide::Move;
use crate::deletion::{Aim, Entry};
use crate::store::Record;

impl Drive {
    /// The record to admit it with.
    pub(super) fn at_once(&mut self) -> Option<Record> {
        let stored = self.plan.clone()?;
        let Move::Run { step, aim, attempt } = self.chosen(&stored, clock::now()) else {
            return None;
        };
        let planned = stored.plan.steps.get(usize::from(step).checked_sub(1)?)?;
        // What a condition asks for may not be known before the deletion is there.
        if step > 1 || planned.when.is_some() {
            return None;
        }
        let permit = match self.limit_of(planned, aim).ok()? {
            Some(limit) => match limit.try_now() {
                Now::Granted(permit) => Some(permit),
                Now::Busy | Now::Later(_) => return None,
            },
            None => None,
        };
        let at = || self.place(&planned.name, aim);
        let passes = self.enter(systems_of(planned, aim), &at).ok()?;
        let intent = Entry::Intent { step, aim, attempt };
        self.state.apply(&intent).ok()?;
        self.unwritten.push(intent);
        let keep = Keep::Lane {
            effect: Some(planned.timeout),
        };
        let (record, _) = record::compose(&self.opened, &self.plan, &self.state, &self.unwritten, keep);
        self.at_once = Some(Entered {
            step,
            aim,
            attempt,
            permit,
            passes,
        });
        Some(record)
    }

    /// It was admitted with that record, and has its generation since then.
    pub(super) fn admitted(mut self, generation: i64) -> Self {
        self.opened.generation = generation;
        self.opened.seq += 1;
        let written = std::mem::take(&mut self.unwritten);
        self.is_durable(&written);
        if let Some(stored) = &self.plan {
            self.given = Arc::new(Effect::given(&self.opened, stored, Aim::Do));
        }
        self
    }
}
