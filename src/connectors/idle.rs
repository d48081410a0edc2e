//! Does nothing, and says done: for measuring the engine alone.
//!
//! Safe to repeat because there is no effect.

use futures::future::BoxFuture;

use super::{Attempt, Connector};
use crate::deletion::Verdict;
use crate::plan::Call;

pub(super) struct IdleConnector;

impl Connector for IdleConnector {
    fn run<'a>(&'a self, _call: &'a Call, attempt: &'a Attempt) -> BoxFuture<'a, Verdict> {
        let verdict = verdict(attempt);
        Box::pin(async move { verdict })
    }

    fn probe<'a>(&'a self, _call: &'a Call, _attempt: &'a Attempt) -> BoxFuture<'a, Verdict> {
        Box::pin(async { Verdict::done() })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

fn verdict(attempt: &Attempt) -> Verdict {
    if attempt.gate.is_open_for(attempt.timeout) {
        Verdict::done()
    } else {
        Verdict::Stopped
    }
}
