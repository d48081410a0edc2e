//! The acting half of a drive: looking a target up, letting a step's connector act, and looking after what became of
//! an attempt whose outcome is unknown.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tracing::Instrument;

use super::drive::{Drive, Over};
use super::effect::Effect;
use super::lane::Told as Wrote;
use super::limits::{Now, Permit, SystemLimit};
use super::passage::{Entered, Told, systems_of};
use super::record::{self, Keep};
use crate::clock;
use crate::connectors::{Blame, Looked};
use crate::crash::{self, CrashPoint};
use crate::decide;
use crate::deletion::{Aim, Entry, StepNumber, Verdict};
use crate::plan::{Lookup, Step};
use crate::store::StoredPlan;
use crate::telemetry;

/// So long a deletion waits in flight for room at a busy system, before it makes room itself.
const TURN_WAIT_MAX: Duration = Duration::from_secs(5);
/// What made room comes back within this, spread out, so that the queue of a busy system keeps moving.
const TURN_PAUSE: Duration = Duration::from_secs(2);
/// Between two tries while the lease is too short for a step: about one renewal.
const LEASE_PAUSE: Duration = Duration::from_secs(1);

impl Drive {
    pub(super) async fn look(&mut self, stored: &StoredPlan) -> Result<(), Over> {
        let Some(lookup) = &stored.plan.lookup else {
            return self.rest().await;
        };
        let limit = self.shared.limits.of(&lookup.on).cloned();
        let Some(permit) = self.permit_for(0, limit).await? else {
            return Ok(());
        };
        let passes = match self.enter(std::iter::once(&lookup.on), &|| self.place("lookup", Aim::Do)) {
            Ok(passes) => passes,
            Err(left) => return self.hand_back(clock::now() + left).await,
        };
        let values = Effect::values(&self.state, &self.given);
        let looked = self.shared.parts.systems.look(lookup, &values).await;
        match looked {
            Looked::Found(facts) => {
                self.looked(lookup, permit.as_ref());
                self.note(Entry::Looked {
                    facts: Some(facts),
                    known: false,
                });
            }
            Looked::NotFound => {
                self.looked(lookup, permit.as_ref());
                let age = stored.plan.tombstone;
                let meant_by = self.shared.parts.book.meant_by(&self.opened);
                let store = &self.shared.parts.store;
                match Box::pin(store.tombstone_knows(&self.opened.target, &meant_by, age)).await {
                    Ok(known) => self.note(Entry::Looked { facts: None, known }),
                    Err(_) => self.lookup_trouble(Verdict::again(
                        "Sexton's own tables could not be asked for a tombstone",
                    )),
                }
            }
            Looked::Trouble(verdict) => {
                if let Some(permit) = &permit {
                    permit.said(&verdict);
                }
                let at = || self.place("lookup", Aim::Do);
                let on = std::iter::once(&lookup.on);
                let told = self.met(on, &at, &Blame::default(), &lookup.on, verdict);
                drop(passes);
                match told.away {
                    // It only read: there is nothing to record.
                    Some(away) => return self.hand_back(clock::now() + away).await,
                    None => self.lookup_trouble(told.verdict),
                }
            }
        }
        Ok(())
    }

    /// A lookup that was answered, whatever the answer: the system is well.
    fn looked(&self, lookup: &Lookup, permit: Option<&Permit>) {
        let done = Verdict::done();
        if let Some(permit) = permit {
            permit.said(&done);
        }
        let at = || self.place("lookup", Aim::Do);
        let on = std::iter::once(&lookup.on);
        let _ = self.met(on, &at, &Blame::default(), &lookup.on, done);
    }

    fn lookup_trouble(&mut self, verdict: Verdict) {
        let attempt = self.state.tracks.first().map_or(1, |track| track.attempt + 1);
        let due = decide::due(
            &verdict,
            &record::LOOKUP_RETRY,
            attempt,
            clock::now(),
            rand::random(),
        );
        self.note(Entry::Verdict {
            step: 0,
            aim: Aim::Do,
            attempt,
            verdict,
            found_out: false,
            due,
        });
    }

    pub(super) async fn act(
        &mut self,
        stored: &Arc<StoredPlan>,
        step: StepNumber,
        aim: Aim,
        attempt: u32,
    ) -> Result<(), Over> {
        let Some(planned) = stored.plan.steps.get(usize::from(step).wrapping_sub(1)) else {
            return self.rest().await;
        };
        let limit = match self.limit_of(planned, aim) {
            Ok(limit) => limit,
            Err(left) => return self.hand_back(clock::now() + left).await,
        };
        let Some(permit) = self.permit_for(usize::from(step), limit).await? else {
            return Ok(());
        };
        let passes = match self.enter(systems_of(planned, aim), &|| self.place(&planned.name, aim)) {
            Ok(passes) => passes,
            Err(left) => return self.hand_back(clock::now() + left).await,
        };
        let combined = !self.unwritten.is_empty();
        self.note(Entry::Intent { step, aim, attempt });
        match self
            .write(Keep::Lane {
                effect: Some(planned.timeout),
            })
            .await?
        {
            Wrote::Signals(signals) => {
                // The intent was refused; the verdict that stood before it in the same record was not, and is kept.
                self.unwritten
                    .retain(|entry| !matches!(entry, Entry::Intent { .. }));
                self.state.clone_from(&self.durable);
                for entry in std::mem::take(&mut self.unwritten) {
                    self.note(entry);
                }
                self.hear(signals);
                return Ok(());
            }
            Wrote::Unkeepable(why) => {
                self.unkeepable(why);
                return Ok(());
            }
            Wrote::Written | Wrote::LetGo => {}
        }
        if combined {
            crash::at(CrashPoint::CombinedAfterCommit, || self.scene(&planned.name, aim)).await;
        }
        self.carry_out(
            stored,
            Entered {
                step,
                aim,
                attempt,
                permit,
                passes,
            },
        )
        .await
    }

    /// What its limit is, where one attempt takes a permit of it; or for how long nothing may start there. A group takes a
    /// permit of its own; but nothing is begun that would only wait for an open breaker.
    pub(super) fn limit_of(&self, planned: &Step, aim: Aim) -> Result<Option<Arc<SystemLimit>>, Duration> {
        let limit = self.shared.limits.of(&planned.on).cloned();
        match limit {
            Some(limit) if Effect::in_groups(&self.shared, planned, aim) => {
                limit.shut_for().map_or(Ok(None), Err)
            }
            limit => Ok(limit),
        }
    }

    /// The effect of an intent that is durable, until its verdict is known.
    pub(super) async fn carry_out(&mut self, stored: &Arc<StoredPlan>, entered: Entered) -> Result<(), Over> {
        let Entered {
            step,
            aim,
            attempt,
            permit,
            passes,
        } = entered;
        let Some(planned) = stored.plan.steps.get(usize::from(step).wrapping_sub(1)) else {
            return self.rest().await;
        };
        crash::at(CrashPoint::IntentAfterCommit, || self.scene(&planned.name, aim)).await;
        let span = telemetry::spans::step(self.opened.id, step, aim, attempt, &self.opened.envelope);
        let Some(mut effect) = span.in_scope(|| Effect::new(self, stored, step, aim)) else {
            return self.rest().await;
        };
        let blame = effect.blame();
        let began = std::time::Instant::now();
        let verdict = tokio::select! {
            // Made in its place: what is named first is kept twice.
            verdict = AssertUnwindSafe(effect.run().instrument(span.clone())).catch_unwind() => Some(verdict),
            () = self.halted_for_good() => None,
        };
        drop(effect);
        let Some(verdict) = verdict else {
            return self.interrupted(step, aim, attempt, planned.timeout).await;
        };
        let verdict = verdict.unwrap_or_else(|_| Verdict::unknown("the connector panicked"));
        crash::at(CrashPoint::EffectAfterBegin, || self.scene(&planned.name, aim)).await;
        self.charge(&blame, permit.as_ref(), &verdict);
        let at = || self.place(&planned.name, aim);
        let told = self.met(systems_of(planned, aim), &at, &blame, &planned.on, verdict);
        drop(passes);
        telemetry::spans::said(&span, &told.verdict);
        self.shared.parts.instruments.step(&told.verdict, began.elapsed());
        self.concluded(stored, step, aim, attempt, told, false);
        Ok(())
    }

    pub(super) async fn find(
        &mut self,
        stored: &Arc<StoredPlan>,
        step: StepNumber,
        aim: Aim,
        attempt: u32,
    ) -> Result<(), Over> {
        let Some(planned) = stored.plan.steps.get(usize::from(step).wrapping_sub(1)) else {
            return self.rest().await;
        };
        let limit = self.shared.limits.of(&planned.on).cloned();
        let Some(permit) = self.permit_for(usize::from(step), limit).await? else {
            return Ok(());
        };
        let passes = match self.enter(systems_of(planned, aim), &|| self.place(&planned.name, aim)) {
            Ok(passes) => passes,
            Err(left) => return self.hand_back(clock::now() + left).await,
        };
        let unknown = self
            .state
            .track(usize::from(step), aim)
            .and_then(|track| track.last.as_ref());
        let found_out = !matches!(unknown, Some(Verdict::Unknown { .. }));
        let Some(mut effect) = Effect::new(self, stored, step, aim) else {
            return self.rest().await;
        };
        let blame = effect.blame();
        let verdict = AssertUnwindSafe(effect.find()).catch_unwind().await;
        drop(effect);
        let verdict = verdict.unwrap_or_else(|_| Verdict::unknown("looking panicked"));
        crash::at(CrashPoint::LookBeforeRecord, || self.scene(&planned.name, aim)).await;
        self.charge(&blame, permit.as_ref(), &verdict);
        let at = || self.place(&planned.name, aim);
        let told = self.met(systems_of(planned, aim), &at, &blame, &planned.on, verdict);
        drop(passes);
        if let Some(away) = told.away {
            // Nothing was found out: what became of the attempt is as unknown as before.
            return self.hand_back(clock::now() + away).await;
        }
        self.concluded(stored, step, aim, attempt, told, found_out);
        Ok(())
    }

    /// Trouble of another system than the step's own is counted there, and says nothing of the step's own.
    fn charge(&self, blame: &Blame, permit: Option<&Permit>, verdict: &Verdict) {
        match blame.on() {
            Some(other) => {
                if let Some(limit) = self.shared.limits.of(other) {
                    limit.met(verdict);
                }
            }
            None => {
                if let Some(permit) = permit {
                    permit.said(verdict);
                }
            }
        }
    }

    fn concluded(
        &mut self,
        stored: &Arc<StoredPlan>,
        step: StepNumber,
        aim: Aim,
        attempt: u32,
        Told { verdict, away }: Told,
        found_out: bool,
    ) {
        let retry = stored
            .plan
            .steps
            .get(usize::from(step).wrapping_sub(1))
            .map(|step| &step.retry);
        let spent = self
            .state
            .track(usize::from(step), aim)
            .map_or(0, |track| track.spent);
        let spent = spent + u32::from(verdict.spends_attempt());
        // The lease is nearly out: nothing may begin, so let it be renewed, or taken over, before the next try.
        let idle = verdict == Verdict::Stopped && !self.shared.stopper.is_draining() && !self.gate.is_shut();
        let due = retry.and_then(|retry| decide::due(&verdict, retry, spent, clock::now(), rand::random()));
        let due = due.or_else(|| idle.then(|| clock::now() + LEASE_PAUSE));
        let due = away.map_or(due, |away| Some(clock::now() + away));
        self.note(Entry::Verdict {
            step,
            aim,
            attempt,
            verdict,
            found_out,
            due,
        });
    }

    /// A permit to start now; or `None` after what was found out so far is safe and a permit is held for next time.
    async fn permit_for(
        &mut self,
        step: usize,
        limit: Option<Arc<SystemLimit>>,
    ) -> Result<Option<Option<Permit>>, Over> {
        if let Some((_, permit)) = self.permit.take_if(|(held, _)| *held == step) {
            return Ok(Some(permit));
        }
        self.permit = None;
        let Some(limit) = limit else { return Ok(Some(None)) };
        let later = match limit.try_now() {
            Now::Granted(permit) => return Ok(Some(Some(permit))),
            Now::Later(left) => Some(left),
            Now::Busy => {
                // What is known must not wait in memory for somebody else's slow provider.
                if !self.unwritten.is_empty() {
                    self.commit(Keep::Lane { effect: None }).await?;
                }
                let granted = tokio::select! {
                    granted = limit.in_turn() => granted,
                    // A place in flight is not for waiting: others may have work for systems that have room.
                    () = tokio::time::sleep(TURN_WAIT_MAX) => Now::Later(TURN_PAUSE.mul_f64(rand::random::<f64>())),
                    () = self.shared.stopper.draining() => return Ok(None),
                };
                match granted {
                    Now::Granted(permit) => {
                        self.permit = Some((step, Some(permit)));
                        None
                    }
                    Now::Later(left) => Some(left),
                    Now::Busy => None,
                }
            }
        };
        match later {
            Some(left) => self.hand_back(clock::now() + left).await.map(|()| None),
            None => Ok(None),
        }
    }

    async fn halted_for_good(&self) {
        self.shared.stopper.halted().await;
    }

    /// The effect was cut in the middle. Its intent stays open; whoever goes on looks before anything else, and not
    /// before the effect can no longer be under way.
    async fn interrupted(
        &mut self,
        step: StepNumber,
        aim: Aim,
        attempt: u32,
        timeout: Duration,
    ) -> Result<(), Over> {
        self.note(Entry::Interrupted { step, aim, attempt });
        let keep = Keep::Until {
            due: clock::now() + timeout,
            effect: Some(timeout),
        };
        // It grants nothing, so signals that came in between are heard, and left to whoever goes on.
        while let Wrote::Signals(signals) = self.write(keep).await? {
            self.hear(signals);
        }
        Err(Over)
    }
}
