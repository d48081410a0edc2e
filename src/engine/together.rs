//! The same step of many deletions, carried out together where the connector can do that more cheaply.
//!
//! One line for each step of each plan: what arrives while one group is under way is the next group. Nothing waits
//! for company. A line takes one permit of its system for a group, not one for each deletion.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

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

#[derive(Default)]
pub(super) struct Together {
    lines: Mutex<HashMap<Step, mpsc::Sender<Waiting>>>,
}

/// Which step of which plan.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Step {
    /// Which plan, which course of it and what was chosen in it: where the book keeps it.
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
        let line = self.line(systems, limits, stored, step);
        let (answer, said) = oneshot::channel();
        if line.send(Waiting { turn, answer }).await.is_err() {
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
                };
                tokio::spawn(line.work(waiting));
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
}

impl Line {
    async fn work(self, mut waiting: mpsc::Receiver<Waiting>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while waiting.recv_many(&mut group, GROUP_MAX).await > 0 {
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
