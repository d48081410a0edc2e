//! Carries one deletion as far as it can go now: decide, record, act; decide again.
//!
//! Every decision is [`decide::next`]'s; this file obeys. Nothing is acted on that is not recorded, and nothing is
//! recorded that the state would not take.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;

use super::Shared;
use super::effect::Effect;
use super::lane::{Ask, Told};
use super::limits::{Now, Permit, SystemLimit};
use super::record::{self, Keep};
use crate::clock;
use crate::crash::{self, CrashPoint};
use crate::decide::{self, Circumstances, Move, STARTS_MAX, Signal};
use crate::deletion::{Aim, End, Entry, ParkReason, State, StepNumber, Verdict};
use crate::stopper::Gate;
use crate::store::{Claimed, NEVER, Opened, Release, StoredPlan};
use crate::telemetry;

/// A decision that notes and notes and never acts is a fault of ours; it is parked, not spun.
const NOTES_MAX: usize = 200;

pub(super) struct Drive {
    shared: Shared,
    opened: Opened,
    plan: Option<Arc<StoredPlan>>,
    state: State,
    signals: Vec<Signal>,
    gate: Gate,
    lane: mpsc::Sender<Ask>,
    /// Decided or found out, applied to the state, and not yet durable.
    unwritten: Vec<Entry>,
    /// Held for the next effect on its system.
    permit: Option<(usize, Option<Permit>)>,
}

/// Nothing more to do here.
struct Over;

impl Drive {
    pub(super) fn new(shared: Shared, claimed: Claimed, gate: Gate, lane: mpsc::Sender<Ask>) -> Self {
        let plan = shared.parts.book.get(claimed.opened.plan);
        let steps = plan.as_ref().map_or(0, |stored| stored.plan.steps.len());
        gate.say(claimed.signals.len());
        gate.hear(claimed.signals.len());
        let mut drive = Drive {
            shared,
            opened: claimed.opened,
            plan,
            state: State::new(steps),
            signals: claimed.signals,
            gate,
            lane,
            unwritten: Vec::new(),
            permit: None,
        };
        let replayed = claimed
            .journal
            .and_then(|entries| State::replay(steps, &entries).map_err(|error| error.to_string()));
        match replayed {
            Ok(state) => drive.state = state,
            Err(why) => drive.park_unreadable(why),
        }
        if u32::from(claimed.starts.unsigned_abs()) >= STARTS_MAX && drive.state.parked.is_none() {
            let (step, aim) = drive.state.open_intent().unwrap_or((0, Aim::Do));
            let starts = u32::from(claimed.starts.unsigned_abs());
            let step = StepNumber::try_from(step).unwrap_or_default();
            drive.note(Entry::Parked {
                reason: ParkReason::Killer { step, aim, starts },
            });
        }
        drive
    }

    pub(super) async fn run(mut self) {
        let Some(stored) = self.plan.clone() else {
            // Claims name only plans of the book; one that has gone is handed back for others.
            let _ = self.hand_back(clock::now() + Duration::from_secs(60)).await;
            return;
        };
        for _ in 0..NOTES_MAX {
            match self.go(&stored).await {
                Ok(()) => {}
                Err(Over) => return,
            }
        }
        tracing::error!(deletion.id = %self.opened.id, "a deletion goes round in circles");
        self.park_unreadable("the engine decided again and again and never came to an end".into());
        let _ = self.rest().await;
    }

    async fn go(&mut self, stored: &StoredPlan) -> Result<(), Over> {
        let now = clock::now();
        let circumstances = Circumstances {
            now,
            deadline: self.opened.deadline,
            signals: &self.signals,
            params: &self.opened.params,
        };
        let chosen = decide::next(&stored.plan, &self.state, &circumstances);
        // A drain lets what runs finish and begins nothing.
        if self.shared.stopper.is_draining()
            && matches!(chosen, Move::Look | Move::Run { .. } | Move::Find { .. })
        {
            return self.hand_back(now).await;
        }
        match chosen {
            Move::Note(entries) => {
                entries.into_iter().for_each(|entry| self.note(entry));
                Ok(())
            }
            Move::Look => self.look(stored).await,
            Move::Run { step, aim, attempt } => self.act(stored, step, aim, attempt).await,
            Move::Find { step, aim, attempt } => self.find(stored, step, aim, attempt).await,
            Move::Wait { until } => self.hand_back(until).await,
            Move::Rest => self.rest().await,
            Move::End(end) => self.end(end).await,
            Move::Nothing => Err(Over),
        }
    }

    async fn look(&mut self, stored: &StoredPlan) -> Result<(), Over> {
        let Some(lookup) = &stored.plan.lookup else {
            return self.rest().await;
        };
        let limit = self.shared.limits.of(&lookup.on).cloned();
        let Some(permit) = self.permit_for(0, limit).await? else {
            return Ok(());
        };
        let values = Effect::values(&self.opened, stored, &self.state, Aim::Do);
        let looked = self.shared.parts.systems.look(lookup, &values).await;
        match looked {
            crate::connectors::Looked::Found(facts) => {
                self.note(Entry::Looked {
                    facts: Some(facts),
                    known: false,
                });
            }
            crate::connectors::Looked::NotFound => {
                match self.shared.parts.store.tombstone_knows(&self.opened.target).await {
                    Ok(known) => self.note(Entry::Looked { facts: None, known }),
                    Err(_) => self.lookup_trouble(Verdict::again(
                        "Sexton's own tables could not be asked for a tombstone",
                    )),
                }
            }
            crate::connectors::Looked::Trouble(verdict) => {
                if let Some(permit) = &permit {
                    permit.said(&verdict);
                }
                self.lookup_trouble(verdict);
            }
        }
        Ok(())
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

    async fn act(
        &mut self,
        stored: &StoredPlan,
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
        let before = self.state.clone();
        self.note(Entry::Intent { step, aim, attempt });
        match self
            .write(Keep::Lane {
                effect: Some(planned.timeout),
            })
            .await?
        {
            Told::Signals(signals) => {
                // The intent was refused; the verdict that stood before it in the same record was not, and is kept.
                self.unwritten
                    .retain(|entry| !matches!(entry, Entry::Intent { .. }));
                self.state = before;
                self.hear(signals);
                return Ok(());
            }
            Told::Unkeepable(why) => return self.unkeepable(before, why),
            Told::Written | Told::LetGo => {}
        }
        let Some(effect) = Effect::new(
            &self.shared,
            &self.opened,
            stored,
            &self.state,
            step,
            aim,
            &self.gate,
        ) else {
            return self.rest().await;
        };
        let span = telemetry::spans::step(self.opened.id, step, aim, attempt, &self.opened.envelope.trace);
        let acting = AssertUnwindSafe(effect.run().instrument(span.clone())).catch_unwind();
        let began = std::time::Instant::now();
        let verdict = tokio::select! {
            verdict = acting => verdict.unwrap_or_else(|_| Verdict::unknown("the connector panicked")),
            () = self.halted_for_good() => {
                return self.interrupted(step, aim, attempt, planned.timeout).await;
            }
        };
        crash::point(CrashPoint::EffectAfterBegin);
        if let Some(permit) = &permit {
            permit.said(&verdict);
        }
        telemetry::spans::said(&span, &verdict);
        self.shared.parts.instruments.step(&verdict, began.elapsed());
        self.concluded(stored, step, aim, attempt, verdict, false);
        Ok(())
    }

    async fn find(
        &mut self,
        stored: &StoredPlan,
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
        let unknown = self
            .state
            .track(usize::from(step), aim)
            .and_then(|track| track.last.as_ref());
        let found_out = !matches!(unknown, Some(Verdict::Unknown { .. }));
        let Some(effect) = Effect::new(
            &self.shared,
            &self.opened,
            stored,
            &self.state,
            step,
            aim,
            &self.gate,
        ) else {
            return self.rest().await;
        };
        let verdict = AssertUnwindSafe(effect.find()).catch_unwind().await;
        let verdict = verdict.unwrap_or_else(|_| Verdict::unknown("looking panicked"));
        if let Some(permit) = &permit {
            permit.said(&verdict);
        }
        self.concluded(stored, step, aim, attempt, verdict, found_out);
        Ok(())
    }

    fn concluded(
        &mut self,
        stored: &StoredPlan,
        step: StepNumber,
        aim: Aim,
        attempt: u32,
        verdict: Verdict,
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
        let due = retry.and_then(|retry| decide::due(&verdict, retry, spent, clock::now(), rand::random()));
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
        self.commit(Keep::Until {
            due: clock::now() + timeout,
            effect: Some(timeout),
        })
        .await?;
        Err(Over)
    }

    async fn hand_back(&mut self, due: OffsetDateTime) -> Result<(), Over> {
        if self.unwritten.is_empty() {
            let release = Release {
                deletion: self.opened.id,
                tenure: self.opened.tenure,
                due,
                fault: false,
            };
            let (answer, told) = oneshot::channel();
            self.lane
                .send(Ask::Release(release, answer))
                .await
                .map_err(|_| Over)?;
            return match told.await.map_err(|_| Over)? {
                Told::Signals(signals) => {
                    self.hear(signals);
                    Ok(())
                }
                _ => Err(Over),
            };
        }
        self.commit(Keep::Until { due, effect: None }).await?;
        // Signals were taken in instead: decide again. Else it is somebody else's now.
        if self.unwritten.is_empty() {
            Err(Over)
        } else {
            Ok(())
        }
    }

    async fn rest(&mut self) -> Result<(), Over> {
        self.hand_back(NEVER).await
    }

    async fn end(&mut self, end: End) -> Result<(), Over> {
        self.note(Entry::Ended { end });
        self.commit(Keep::Lane { effect: None }).await?;
        Err(Over)
    }

    /// Writes what is unwritten. If signals came instead, they are taken in and everything stays unwritten.
    async fn commit(&mut self, keep: Keep) -> Result<(), Over> {
        let before = self.state.clone();
        match self.write(keep).await? {
            Told::Signals(signals) => {
                self.hear(signals);
                Ok(())
            }
            Told::Unkeepable(why) => self.unkeepable(before, why),
            Told::Written | Told::LetGo => Ok(()),
        }
    }

    async fn write(&mut self, keep: Keep) -> Result<Told, Over> {
        let (record, outgoing) =
            record::compose(&self.opened, &self.plan, &self.state, &self.unwritten, keep);
        let (answer, told) = oneshot::channel();
        self.lane
            .send(Ask::Write(Box::new(record), outgoing.map(Box::new), answer))
            .await
            .map_err(|_| Over)?;
        match told.await.map_err(|_| Over)? {
            Told::Written => {
                self.opened.seq += 1;
                let written = std::mem::take(&mut self.unwritten);
                record::count(&self.shared, &self.opened, &self.state, &written);
                Ok(Told::Written)
            }
            Told::LetGo => Err(Over),
            told => Ok(told),
        }
    }

    /// Postgres refuses what a step said: that much is recorded, and a person must look.
    fn unkeepable(&mut self, before: State, why: String) -> Result<(), Over> {
        self.state = before;
        self.unwritten.clear();
        self.park_unreadable(format!("Postgres cannot keep what was to be recorded: {why}"));
        Ok(())
    }

    fn park_unreadable(&mut self, why: String) {
        self.note(Entry::Parked {
            reason: ParkReason::Unreadable { why },
        });
    }

    fn hear(&mut self, signals: Vec<Signal>) {
        self.gate.hear(signals.len());
        self.signals = signals;
    }

    fn note(&mut self, entry: Entry) {
        match self.state.apply(&entry) {
            Ok(()) => self.unwritten.push(entry),
            Err(error) => {
                tracing::error!(deletion.id = %self.opened.id, error = %error, "a decision did not fit the state");
                let reason = ParkReason::Unreadable {
                    why: error.to_string(),
                };
                self.state.parked = Some(reason.clone());
                self.unwritten.push(Entry::Parked { reason });
            }
        }
    }
}
