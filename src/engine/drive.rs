//! Carries one deletion as far as it can go now: decide, record, act; decide again.
//!
//! Every decision is [`decide::next`]'s; this file obeys. Nothing is acted on that is not recorded, and nothing is
//! recorded that the state would not take.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::effect::Effect;
use super::lane::{Ask, Told};
use super::limits::Permit;
use super::passage::Entered;
use super::record::{self, Keep};
use crate::clock;
use crate::crash::{self, CrashPoint, Scene};
use crate::decide::{self, Circumstances, Move, STARTS_MAX, Signal};
use crate::deletion::{Aim, End, Entry, ParkReason, State, StepNumber};
use crate::plan::Values;
use crate::stopper::Gate;
use crate::store::{Claimed, NEVER, Opened, Release, StoredPlan};

/// Decisions in a row that note something and do nothing are a fault of ours: parked, not spun.
const NOTES_MAX: usize = 200;

pub(super) struct Drive {
    pub(super) shared: Shared,
    pub(super) opened: Opened,
    pub(super) plan: Option<Arc<StoredPlan>>,
    pub(super) state: State,
    pub(super) signals: Vec<Signal>,
    pub(super) gate: Gate,
    lane: mpsc::Sender<Ask>,
    /// Decided or found out, applied to the state, and not yet durable.
    pub(super) unwritten: Vec<Entry>,
    /// As far as it is durable: what Postgres cannot keep is taken back to here.
    pub(super) durable: State,
    /// What `when` may ask for beside the facts.
    pub(super) given: Arc<Values>,
    /// Decisions in a row that only noted something.
    notes: usize,
    /// Held for the next effect on its system.
    pub(super) permit: Option<(usize, Option<Permit>)>,
    /// An attempt whose intent was admitted with the deletion.
    pub(super) at_once: Option<Entered>,
}

/// Nothing more to do here.
pub(super) struct Over;

impl Drive {
    pub(super) fn new(shared: Shared, claimed: Claimed, gate: Gate, lane: mpsc::Sender<Ask>) -> Self {
        let plan = shared.parts.book.course_of(&claimed.opened);
        let steps = plan.as_ref().map_or(0, |stored| stored.plan.steps.len());
        gate.say(claimed.signals.len());
        gate.hear(claimed.signals.len());
        let given = plan.as_ref().map_or_else(Values::new, |stored| {
            Effect::given(&claimed.opened, stored, Aim::Do)
        });
        let given = Arc::new(given);
        let mut drive = Drive {
            shared,
            opened: claimed.opened,
            plan,
            state: State::new(steps),
            durable: State::new(steps),
            given,
            notes: 0,
            signals: claimed.signals,
            gate,
            lane,
            unwritten: Vec::new(),
            permit: None,
            at_once: None,
        };
        let replayed = claimed
            .journal
            .and_then(|entries| State::replay(steps, &entries).map_err(|error| error.to_string()));
        match replayed {
            Ok(state) => {
                drive.durable.clone_from(&state);
                drive.state = state;
            }
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

    /// Not by value: what an `async fn` owns and changes is kept twice, for as long as it runs.
    pub(super) async fn run(&mut self) {
        crash::at(CrashPoint::ClaimAfterCommit, || self.scene("", Aim::Do)).await;
        let Some(stored) = self.plan.clone() else {
            // Claims name only plans of the book; one that has gone is handed back for others.
            let _ = self.hand_back(clock::now() + Duration::from_secs(60)).await;
            return;
        };
        if let Some(entered) = self.at_once.take() {
            self.recorded().await;
            if self.carry_out(&stored, entered).await.is_err() {
                return;
            }
        }
        while self.go(&stored).await.is_ok() {
            if self.notes >= NOTES_MAX {
                tracing::error!(deletion.id = %self.opened.id, "a deletion goes round in circles");
                self.park_unreadable("the engine decided again and again and never did anything".into());
                self.notes = 0;
            }
        }
    }

    pub(super) fn chosen(&self, stored: &StoredPlan, now: OffsetDateTime) -> Move {
        let circumstances = Circumstances {
            now,
            action: self.opened.action,
            has_window: self.opened.window_of.is_some(),
            deadline: self.opened.deadline,
            signals: &self.signals,
            given: &self.given,
        };
        decide::next(&stored.plan, &self.state, &circumstances)
    }

    async fn go(&mut self, stored: &Arc<StoredPlan>) -> Result<(), Over> {
        let now = clock::now();
        let chosen = self.chosen(stored, now);
        // A drain lets what runs finish and begins nothing.
        if self.shared.stopper.is_draining()
            && matches!(chosen, Move::Look | Move::Run { .. } | Move::Find { .. })
        {
            return self.hand_back(now).await;
        }
        self.notes = match chosen {
            Move::Note(_) => self.notes + 1,
            _ => 0,
        };
        match chosen {
            Move::Note(entries) => {
                if entries
                    .iter()
                    .any(|entry| matches!(entry, Entry::Signalled { .. }))
                {
                    crash::at(CrashPoint::SignalBeforeRecord, || self.scene("", Aim::Do)).await;
                }
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

    pub(super) async fn hand_back(&mut self, due: OffsetDateTime) -> Result<(), Over> {
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

    pub(super) async fn rest(&mut self) -> Result<(), Over> {
        self.hand_back(NEVER).await
    }

    async fn end(&mut self, end: End) -> Result<(), Over> {
        self.note(Entry::Ended { end });
        self.commit(Keep::Lane { effect: None }).await?;
        // Nothing is left to be written, unless Postgres could not keep the end: then it is parked instead.
        if self.unwritten.is_empty() {
            Err(Over)
        } else {
            Ok(())
        }
    }

    /// Writes what is unwritten. If signals came instead, they are taken in and everything stays unwritten.
    pub(super) async fn commit(&mut self, keep: Keep) -> Result<(), Over> {
        match self.write(keep).await? {
            Told::Signals(signals) => self.hear(signals),
            Told::Unkeepable(why) => self.unkeepable(why),
            Told::Written | Told::LetGo => {}
        }
        Ok(())
    }

    pub(super) async fn write(&mut self, keep: Keep) -> Result<Told, Over> {
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
                self.is_durable(&written);
                record::count(&self.shared, &self.opened, &self.state, &written);
                self.recorded().await;
                Ok(Told::Written)
            }
            Told::LetGo => Err(Over),
            told => Ok(told),
        }
    }

    /// The same as a copy of the state, without copying what did not change.
    pub(super) fn is_durable(&mut self, written: &[Entry]) {
        if written.iter().any(|entry| self.durable.apply(entry).is_err()) {
            self.durable.clone_from(&self.state);
        }
    }

    async fn recorded(&self) {
        crash::at(CrashPoint::RecordAfterCommit, || Scene {
            step: Cow::Owned(self.opened.seq.to_string()),
            ..self.scene("", Aim::Do)
        })
        .await;
    }

    /// For those who hold a deletion at a point, or end the process there.
    pub(super) fn scene<'a>(&'a self, step: &'a str, aim: Aim) -> Scene<'a> {
        Scene {
            target: self.opened.target.id.as_str(),
            step: step.into(),
            aim: aim.word(),
        }
    }

    /// Postgres refuses what a step said: that much is recorded, and a person must look.
    pub(super) fn unkeepable(&mut self, why: String) {
        self.state.clone_from(&self.durable);
        self.unwritten.clear();
        self.park_unreadable(format!("Postgres cannot keep what was to be recorded: {why}"));
    }

    fn park_unreadable(&mut self, why: String) {
        self.note(Entry::Parked {
            reason: ParkReason::Unreadable { why },
        });
    }

    pub(super) fn hear(&mut self, signals: Vec<Signal>) {
        self.gate.hear(signals.len());
        self.signals = signals;
    }

    pub(super) fn note(&mut self, entry: Entry) {
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
