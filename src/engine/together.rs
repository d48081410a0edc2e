//! The same step of many deletions, carried out together where the connector can do that more cheaply.
//!
//! One line for each step of each plan: what arrives while one group is under way is the next group. Nothing waits
//! for company. A line takes one permit of its system for a group, not one for each deletion. Deletions that have chosen
//! differently follow plans of their own, and so never meet in a group.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::SendError;
use tokio::sync::{mpsc, oneshot};

use super::begun::Begun;
use super::limits::{Limits, Now, Permit};
use crate::clock::Boottime;
use crate::connectors::{Attempt, Systems};
use crate::deletion::{Aim, StepNumber, Verdict};
use crate::plan::Call;
use crate::store::StoredPlan;

/// Attempts of one group: enough that a commit shared by them no longer counts, few enough that they end together
/// well within a step's timeout.
const GROUP_MAX: usize = 100;
/// Waiting attempts of one line; the engine never has more deletions than this in flight on a line by much.
const LINE_MAX: usize = 1_000;
/// A line to which nobody came for so long ends, and lets go of its plan: there are as many chosen plans as requests
/// choose, and most of them are met once a day. A busy one never waits so long.
const LINE_IDLE: Duration = Duration::from_secs(60);
/// A line may end just before its next attempt arrives; a new one does not. More fail only where the process ends.
const LINES_TRIED: usize = 2;

pub(super) struct Together {
    lines: Mutex<HashMap<Step, mpsc::Sender<Waiting>>>,
    idle: Duration,
}

impl Default for Together {
    fn default() -> Self {
        Together {
            lines: Mutex::default(),
            idle: LINE_IDLE,
        }
    }
}

/// Which step of which plan.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Step {
    /// Which plan, which course of it and what was chosen in it: where the book keeps it. No other can be kept there while
    /// there is a line, which holds it.
    pub plan: usize,
    pub number: StepNumber,
    pub aim: Aim,
}

/// An attempt that waits for its turn in a group.
pub(super) struct Turn {
    pub attempt: Attempt,
    /// What the wait in line took is gone from the attempt's time.
    pub until: Boottime,
    pub begun: Begun,
}

struct Waiting {
    turn: Turn,
    answer: oneshot::Sender<Verdict>,
}

impl Together {
    pub(super) async fn run(
        &self,
        systems: &Arc<Systems>,
        limits: &Arc<Limits>,
        stored: &Arc<StoredPlan>,
        step: Step,
        turn: Turn,
    ) -> Verdict {
        let (answer, said) = oneshot::channel();
        let mut waiting = Some(Waiting { turn, answer });
        for _ in 0..LINES_TRIED {
            let Some(comes) = waiting.take() else { break };
            let line = self.line(systems, limits, stored, step);
            waiting = line.send(comes).await.err().map(|SendError(back)| back);
        }
        if waiting.is_some() {
            return Verdict::Stopped;
        }
        // A group that panicked answers nothing; whether it acted is not known.
        said.await
            .unwrap_or_else(|_| Verdict::unknown("the group this attempt was in gave no answer"))
    }

    fn line(
        &self,
        systems: &Arc<Systems>,
        limits: &Arc<Limits>,
        stored: &Arc<StoredPlan>,
        step: Step,
    ) -> mpsc::Sender<Waiting> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.get(&step) {
            Some(line) if !line.is_closed() => line.clone(),
            _ => {
                let (sender, waiting) = mpsc::channel(LINE_MAX);
                let line = Line {
                    systems: systems.clone(),
                    limits: limits.clone(),
                    stored: stored.clone(),
                    step,
                    idle: self.idle,
                };
                tokio::spawn(line.work(waiting));
                lines.retain(|_, line| !line.is_closed());
                lines.insert(step, sender.clone());
                sender
            }
        }
    }
}

struct Line {
    systems: Arc<Systems>,
    limits: Arc<Limits>,
    stored: Arc<StoredPlan>,
    step: Step,
    idle: Duration,
}

impl Line {
    async fn work(self, mut waiting: mpsc::Receiver<Waiting>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while self.next(&mut waiting, &mut group).await > 0 {
            let permit = match self.permit().await {
                Ok(permit) => permit,
                Err(verdict) => {
                    group
                        .drain(..)
                        .for_each(|one| drop(one.answer.send(verdict.clone())));
                    continue;
                }
            };
            // Whoever gave up waiting is not acted for.
            let (attempts, answers): (Vec<Attempt>, Vec<oneshot::Sender<Verdict>>) = group
                .drain(..)
                .filter(|one| one.turn.begun.begin())
                .map(|one| {
                    let timeout = one.turn.until.left();
                    (
                        Attempt {
                            timeout,
                            ..one.turn.attempt
                        },
                        one.answer,
                    )
                })
                .unzip();
            let verdicts = self.act(&attempts).await;
            if let Some(permit) = &permit {
                verdicts.iter().for_each(|verdict| permit.said(verdict));
            }
            for (verdict, answer) in verdicts.into_iter().zip(answers) {
                let _ = answer.send(verdict);
            }
        }
    }

    /// How many have come. None: the line is over, and nobody can come any more.
    async fn next(&self, waiting: &mut mpsc::Receiver<Waiting>, group: &mut Vec<Waiting>) -> usize {
        match tokio::time::timeout(self.idle, waiting.recv_many(group, GROUP_MAX)).await {
            Ok(come) => come,
            Err(_) => {
                // Who has come in this very moment is still carried out.
                waiting.close();
                waiting.recv_many(group, GROUP_MAX).await
            }
        }
    }

    /// One for the whole group. The error is what each of them has to say instead.
    async fn permit(&self) -> Result<Option<Permit>, Verdict> {
        let Some(limit) = self.call().and_then(|(on, _)| self.limits.of(on)) else {
            return Ok(None);
        };
        match limit.in_turn().await {
            Now::Granted(permit) => Ok(Some(permit)),
            Now::Later(left) => Err(Verdict::Throttled { retry_after: left }),
            Now::Busy => Err(Verdict::Stopped),
        }
    }

    async fn act(&self, attempts: &[Attempt]) -> Vec<Verdict> {
        let all = |verdict: Verdict| vec![verdict; attempts.len()];
        let Some((on, call)) = self.call() else {
            return all(Verdict::done());
        };
        match self.systems.connector(on, call) {
            Ok(connector) => connector.run_many(call, attempts).await,
            Err(verdict) => all(verdict),
        }
    }

    fn call(&self) -> Option<(&crate::plan::SystemName, &Call)> {
        let step = self
            .stored
            .plan
            .steps
            .get(usize::from(self.step.number).checked_sub(1)?)?;
        let call = match self.step.aim {
            Aim::Do => Some(&step.call),
            Aim::Undo => step.undo.as_ref(),
        };
        call.map(|call| (&step.on, call))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::connectors::Blame;
    use crate::deletion::{DeletionId, TraceContext};
    use crate::plan::{canonical, parse_plan};
    use crate::stopper::Gate;
    use crate::telemetry::Instruments;

    #[tokio::test]
    async fn a_line_that_nobody_comes_to_ends_with_its_plan_and_the_next_attempt_gets_another() {
        let plan = "target = \"a.b\"\non = \"db\"\n[[step]]\nname = \"x\"\nnothing = true";
        let plan = parse_plan(plan, "p.toml").expect("a plan");
        let (_, hash) = canonical(&plan);
        let stored = Arc::new(StoredPlan { id: 1, hash, plan });
        let systems = Arc::new(Systems::build(&BTreeMap::new(), Path::new(".")).expect("none"));
        let limits = Arc::new(Limits::new(&systems, Instruments::default()));
        let together = Together {
            idle: Duration::from_millis(1),
            ..Together::default()
        };
        let step = Step {
            plan: Arc::as_ptr(&stored).addr(),
            number: 1,
            aim: Aim::Do,
        };
        for _ in 0..2 {
            let turn = Turn {
                attempt: Attempt {
                    deletion: DeletionId(uuid::Uuid::now_v7()),
                    step: "x".into(),
                    number: 1,
                    idempotency_key: String::new(),
                    values: Arc::default(),
                    may_have_worked: false,
                    handle: None,
                    timeout: Duration::from_secs(10),
                    gate: Gate::always(),
                    trace: TraceContext::default(),
                    blame: Blame::default(),
                },
                until: Boottime::now().plus(Duration::from_secs(10)),
                begun: Begun::default(),
            };
            let verdict = together.run(&systems, &limits, &stored, step, turn).await;
            assert_eq!(verdict, Verdict::done());
            let line = together.lines.lock().expect("not poisoned").get(&step).cloned();
            let line = line.expect("it was made");
            tokio::time::timeout(Duration::from_secs(10), line.closed())
                .await
                .expect("it ends");
        }
        assert_eq!(Arc::strong_count(&stored), 1, "what is over keeps no plan");
    }
}
