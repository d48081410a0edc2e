//! Stands in front of a connector, so that a test may let one step of one deletion go wrong in a named way, whatever its
//! connector. In a release build it only passes on.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};

use super::{Attempt, Connector};
use crate::crash::{self, Fault};
use crate::deletion::Verdict;
use crate::plan::Call;

/// Late enough that whoever looked has seen nothing, and repeated it.
const LATER: Duration = Duration::from_millis(300);
/// Past the hard timeout, and then it answers: a group must not wait for ever.
const PAST_THE_TIMEOUT: Duration = Duration::from_millis(200);

pub(super) struct Rehearsed<C>(Arc<C>);

impl<C: Connector + 'static> Rehearsed<C> {
    pub(super) fn new(connector: C) -> Self {
        Rehearsed(Arc::new(connector))
    }

    pub(super) fn inner(&self) -> &C {
        &self.0
    }

    async fn wrong(&self, fault: Fault, call: &Call, attempt: &Attempt) -> Verdict {
        let unknown = || Verdict::unknown("rehearsed: nobody heard");
        match fault {
            Fault::Fails => Verdict::failed("rehearsed: it fails for good"),
            Fault::FailsOnce => Verdict::again("rehearsed: it fails this time"),
            Fault::Throttled => Verdict::Throttled {
                retry_after: Duration::from_millis(50),
            },
            Fault::UnknownDid | Fault::UnknownUnseen => {
                self.0.run(call, attempt).await;
                unknown()
            }
            Fault::UnknownDidNot => unknown(),
            Fault::UnknownLater => {
                let (connector, call, attempt) = (self.0.clone(), call.clone(), attempt.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(LATER).await;
                    connector.run(&call, &attempt).await;
                });
                unknown()
            }
            Fault::GoneBefore => {
                self.0.run(call, attempt).await;
                self.0.run(call, attempt).await
            }
            Fault::Twice => {
                let first = self.0.run(call, attempt).await;
                match self.0.run(call, attempt).await {
                    Verdict::Done { .. }
                    | Verdict::AlreadyGone
                    | Verdict::Absent
                    | Verdict::Pending { .. } => first,
                    second => Verdict::failed(format!("rehearsed: the second time it says {second:?}")),
                }
            }
            Fault::Slow => {
                self.0.run(call, attempt).await;
                tokio::time::sleep(attempt.timeout + PAST_THE_TIMEOUT).await;
                unknown()
            }
            Fault::Panics => {
                self.0.run(call, attempt).await;
                panic!("rehearsed: a connector panics");
            }
        }
    }
}

impl<C: Connector + 'static> Connector for Rehearsed<C> {
    fn run<'a>(&'a self, call: &'a Call, attempt: &'a Attempt) -> BoxFuture<'a, Verdict> {
        match crash::fault(&attempt.scene()) {
            None => self.0.run(call, attempt),
            Some(fault) => Box::pin(self.wrong(fault, call, attempt)),
        }
    }

    fn probe<'a>(&'a self, call: &'a Call, attempt: &'a Attempt) -> BoxFuture<'a, Verdict> {
        if crash::is_unseen(&attempt.scene()) {
            return Box::pin(async { Verdict::unknown("rehearsed: the look sees nothing") });
        }
        self.0.probe(call, attempt)
    }

    fn batches(&self, call: &Call) -> bool {
        self.0.batches(call)
    }

    fn run_many<'a>(&'a self, call: &'a Call, attempts: &'a [Attempt]) -> BoxFuture<'a, Vec<Verdict>> {
        let faults: Vec<_> = attempts
            .iter()
            .map(|attempt| crash::fault(&attempt.scene()))
            .collect();
        if faults.iter().all(Option::is_none) {
            return self.0.run_many(call, attempts);
        }
        // What goes wrong goes wrong alone; its neighbours are a group as ever.
        Box::pin(async move {
            let well: Vec<Attempt> = attempts
                .iter()
                .zip(&faults)
                .filter(|(_, fault)| fault.is_none())
                .map(|(attempt, _)| attempt.clone())
                .collect();
            let wrong = attempts
                .iter()
                .zip(&faults)
                .filter_map(|(attempt, fault)| fault.map(|fault| self.wrong(fault, call, attempt)));
            let group = async {
                match well.is_empty() {
                    true => Vec::new(),
                    false => self.0.run_many(call, &well).await,
                }
            };
            let (group, wrong) = tokio::join!(group, join_all(wrong));
            let (mut group, mut wrong) = (group.into_iter(), wrong.into_iter());
            let of = |fault: &Option<Fault>| match fault {
                None => group.next(),
                Some(_) => wrong.next(),
            };
            faults.iter().filter_map(of).collect()
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), String>> {
        self.0.check()
    }
}
