//! One attempt at one step: read what it needs, look at the gate, let the connector act, verify.
//!
//! All of it stands under the step's hard timeout, and that lies below the lease; what is cut off is *unknown*.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tracing::Span;

use super::begun::Begun;
use super::drive::Drive;
use super::limits::{Now, Permit};
use super::{Shared, together};
use crate::clock::Boottime;
use crate::connectors::{Attempt, Blame, ReadOutcome, Verified};
use crate::deletion::{Aim, Facts, State, StepNumber, Verdict};
use crate::plan::{Call, Step, SystemName, Values};
use crate::store::{Opened, StoredPlan};
use crate::telemetry;

pub(super) struct Effect<'a> {
    shared: &'a Shared,
    stored: &'a Arc<StoredPlan>,
    number: StepNumber,
    step: &'a Step,
    aim: Aim,
    given: Arc<Values>,
    attempt: Attempt,
    begun: Begun,
}

impl<'a> Effect<'a> {
    pub(super) fn new(
        drive: &'a Drive,
        stored: &'a Arc<StoredPlan>,
        number: StepNumber,
        aim: Aim,
    ) -> Option<Self> {
        let opened = &drive.opened;
        let step = stored.plan.steps.get(usize::from(number).checked_sub(1)?)?;
        let track = drive.state.track(usize::from(number), aim);
        let given = match aim {
            Aim::Do => drive.given.clone(),
            Aim::Undo => Arc::new(Effect::given(opened, stored, aim)),
        };
        let attempt = Attempt {
            deletion: opened.id,
            step: step.name.clone(),
            number: track.map_or(1, |track| track.attempt),
            // The same for every attempt: the other side can tell a repeat from a second wish.
            idempotency_key: format!("{}:{}:{}", opened.id, step.name, aim.word()),
            values: Effect::values(&drive.state, &given),
            may_have_worked: track.is_some_and(|track| track.touched),
            handle: track.and_then(|track| track.handle.clone()),
            timeout: step.timeout,
            gate: drive.gate.clone(),
            trace: telemetry::onward(&Span::current(), &opened.envelope.trace),
            blame: Blame::default(),
        };
        Some(Effect {
            shared: &drive.shared,
            stored,
            number,
            step,
            aim,
            given,
            attempt,
            begun: Begun::default(),
        })
    }

    /// Built-in names, params and facts. The undo side has the higher generation, so that a late do cannot win.
    pub(super) fn values(state: &State, given: &Arc<Values>) -> Arc<Values> {
        match &state.facts {
            Some(Facts::Found(facts)) => {
                let mut values = facts.clone();
                values.extend(Values::clone(given));
                Arc::new(values)
            }
            _ => given.clone(),
        }
    }

    /// What no fact and no read may stand in for.
    pub(super) fn given(opened: &Opened, stored: &StoredPlan, aim: Aim) -> Values {
        let mut values = stored.plan.param_values(&opened.params);
        let generation = opened.generation + i64::from(aim == Aim::Undo);
        let built_in: [(&str, Value); 5] = [
            ("id", opened.target.id.as_str().into()),
            ("tenant", opened.target.tenant.as_str().into()),
            ("type", opened.target.kind.as_str().into()),
            ("deletion_id", opened.id.to_string().into()),
            ("generation", generation.into()),
        ];
        values.extend(built_in.map(|(name, value)| (name.to_owned(), value)));
        values
    }

    /// Carries the step out, or back.
    pub(super) async fn run(&mut self) -> Verdict {
        let (timeout, begun) = (self.step.timeout, self.begun.clone());
        match tokio::time::timeout(timeout, self.attempt()).await {
            Ok(verdict) => verdict,
            // A long wait in line, or for a read, is no attempt.
            Err(_) if begun.give_up() => Verdict::Stopped,
            Err(_) => Verdict::unknown(format!("cut off at its hard timeout of {}", seconds(timeout))),
        }
    }

    async fn attempt(&mut self) -> Verdict {
        let deadline = Boottime::now().plus(self.step.timeout);
        if let Err(verdict) = self.read().await {
            return verdict;
        }
        let in_the_store = match self.permit_of_the_store().await {
            Ok(permit) => permit,
            Err(verdict) => return verdict,
        };
        // What the read took is gone: the connector's own limits must come before the cut.
        self.attempt.timeout = deadline.left();
        let Some(call) = self.call() else {
            return Verdict::done();
        };
        let connector = match self.shared.parts.systems.connector(&self.step.on, call) {
            Ok(connector) => connector,
            Err(verdict) => return verdict,
        };
        // The last look: a signal may have come, a stop, or the lease may no longer outlast the hard timeout.
        if !self.attempt.gate.is_open_for(self.attempt.timeout) {
            return Verdict::Stopped;
        }
        let verdict = if connector.batches(call) {
            let step = together::Step {
                plan: Arc::as_ptr(self.stored).addr(),
                number: self.number,
                aim: self.aim,
            };
            let (systems, limits) = (&self.shared.parts.systems, &self.shared.limits);
            let turn = together::Turn {
                attempt: self.attempt.clone(),
                until: deadline,
                begun: self.begun.clone(),
            };
            // In a box of its own: it would be most of what every step that waits for its answer takes.
            Box::pin(self.shared.together.run(systems, limits, self.stored, step, turn)).await
        } else if self.begun.begin() {
            connector.run(call, &self.attempt).await
        } else {
            Verdict::Stopped
        };
        // An archive that came to be was well received; whose trouble another verdict tells of is the blame's to say.
        if let Some(permit) = in_the_store
            && verdict.is_trouble() == Some(false)
        {
            permit.said(&verdict);
        }
        self.verified(verdict).await
    }

    /// Whether attempts at this step are carried out in groups, which take their own permits.
    pub(super) fn in_groups(shared: &Shared, step: &Step, aim: Aim) -> bool {
        let call = match aim {
            Aim::Do => Some(&step.call),
            Aim::Undo => step.undo.as_ref(),
        };
        call.is_some_and(|call| {
            shared
                .parts
                .systems
                .connector(&step.on, call)
                .is_ok_and(|connector| connector.batches(call))
        })
    }

    /// What became of an attempt whose outcome is unknown. Only looks.
    pub(super) async fn find(&mut self) -> Verdict {
        if self.aim == Aim::Do && self.step.only_asks() {
            return Verdict::undone("it only asks, and can ask again");
        }
        let timeout = self.step.timeout;
        let looking = async {
            match self.read().await {
                // What the step would read is gone or not there yet: nothing to ask the other side with, so repeat.
                Err(verdict @ Verdict::Again { in_order: true, .. }) => return verdict,
                // It could not be read: what became of the attempt is as unknown as before.
                Err(Verdict::Again { why, .. }) => return Verdict::unknown(why),
                Err(Verdict::Throttled { .. }) => {
                    return Verdict::unknown("what the step reads could not be read yet");
                }
                Err(verdict) => return verdict,
                Ok(()) => {}
            }
            let Some(call) = self.call() else {
                return Verdict::done();
            };
            let verdict = match self.shared.parts.systems.connector(&self.step.on, call) {
                Ok(connector) => connector.probe(call, &self.attempt).await,
                Err(verdict) => verdict,
            };
            match verdict {
                // What a repeat would call refused could be our own doing; what the plan wants to be true tells.
                // Of any other call a verify is no proof: it says what must hold, not that this was done.
                Verdict::Blocked { .. } if call.repeat_may_mislead() && self.step.verify.is_some() => {
                    match self.verified(Verdict::done()).await {
                        done @ Verdict::Done { .. } => done,
                        _ => verdict,
                    }
                }
                // The guard has locked its row, so nothing of an earlier attempt is under way any more. What had to be true
                // after it is not: it never was.
                Verdict::Refused { .. } if call.is_guarded() => match self.verified(Verdict::done()).await {
                    Verdict::Again { why, .. } if self.step.verify.is_some() => Verdict::undone(why),
                    _ => {
                        Verdict::not_yet("the statement may not have taken effect; repeating it is harmless")
                    }
                },
                verdict => self.verified(verdict).await,
            }
        };
        match tokio::time::timeout(timeout, looking).await {
            Ok(verdict) => verdict,
            Err(_) => Verdict::unknown("looking took longer than the step's hard timeout"),
        }
    }

    fn call(&self) -> Option<&'a Call> {
        match self.aim {
            Aim::Do => Some(&self.step.call),
            Aim::Undo => self.step.undo.as_ref(),
        }
    }

    async fn read(&mut self) -> Result<(), Verdict> {
        let (Some(read), Aim::Do) = (&self.step.read, self.aim) else {
            return Ok(());
        };
        match self
            .shared
            .parts
            .systems
            .read(read, &self.attempt.values, self.step.timeout)
            .await
        {
            ReadOutcome::Row(row) => {
                self.well(&read.on);
                let values = Arc::make_mut(&mut self.attempt.values);
                values.extend(row);
                // A `select *` may bring an `id` or a `generation` of its own; the request's and ours stand.
                values.extend(Values::clone(&self.given));
                Ok(())
            }
            ReadOutcome::NoRow => {
                self.well(&read.on);
                Err(Verdict::not_yet("the step's read found no row yet"))
            }
            ReadOutcome::NullIn(column) => {
                self.well(&read.on);
                Err(Verdict::not_yet(format!("{column} is not known yet")))
            }
            ReadOutcome::Trouble(verdict) => {
                self.attempt.blame.lay_on(&read.on);
                Err(verdict)
            }
        }
    }

    /// An archive works in two systems: its rows' permit is held already, its store's is waited for here.
    async fn permit_of_the_store(&self) -> Result<Option<Permit>, Verdict> {
        let Some(Call::Archive { store, .. }) = self.call() else {
            return Ok(None);
        };
        let Some(limit) = self.shared.limits.of(store) else {
            return Ok(None);
        };
        match limit.in_turn().await {
            Now::Granted(permit) => Ok(Some(permit)),
            Now::Later(left) => Err(Verdict::Throttled { retry_after: left }),
            Now::Busy => Err(Verdict::Stopped),
        }
    }

    /// Another system than the step's own has answered; for its own, the step's verdict speaks.
    fn well(&self, on: &SystemName) {
        if *on != self.step.on
            && let Some(limit) = self.shared.limits.of(on)
        {
            limit.met(&Verdict::done());
        }
    }

    /// Whom the breakers should count this verdict against, or for.
    pub(super) fn blame(&self) -> Blame {
        self.attempt.blame.clone()
    }

    /// A step is believed only if what its plan wants to be true is true.
    async fn verified(&self, verdict: Verdict) -> Verdict {
        let (Some(verify), Aim::Do) = (&self.step.verify, self.aim) else {
            return verdict;
        };
        if !matches!(
            verdict,
            Verdict::Done { .. } | Verdict::AlreadyGone | Verdict::Absent
        ) {
            return verdict;
        }
        match self
            .shared
            .parts
            .systems
            .verify(verify, &self.attempt.values, self.step.timeout)
            .await
        {
            Verified::Holds => {
                self.well(&verify.on);
                verdict
            }
            Verified::DoesNotHold => Verdict::again("it said done, but the step's verify does not hold"),
            // It may well be done; the next look tells.
            Verified::Trouble(trouble) => {
                self.attempt.blame.lay_on_for(&verify.on, trouble);
                Verdict::unknown("it said done, but the step's verify could not be asked")
            }
        }
    }
}

fn seconds(span: Duration) -> String {
    format!("{} s", span.as_secs_f64())
}
