//! Connectors: the hands that reach into foreign systems, one file each, all behind one trait.
//!
//! A connector carries out one typed call and answers with a verdict from the closed list. It keeps no state that
//! matters: what is durable lies with the engine (intents, verdicts, handles) or at the target itself. Each is safe to
//! repeat (invariant 5), and the file of each opens with why.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use serde_json::Value;

use crate::clock::Boottime;
use crate::crash::Scene;
use crate::deletion::{DeletionId, TraceContext, Verdict};
use crate::plan::{Call, SystemName, Values};
use crate::stopper::Gate;

mod bounds;
pub use bounds::Bounds;
mod calls;
mod systems;
pub use systems::{Looked, ReadOutcome, Systems, Verified};

mod settings;
pub use settings::{
    ArchiveSettings, Auth, HttpSettings, PostgresSettings, S3Settings, SystemSettings, WrongSystem,
};

mod archive;
mod http;
mod idle;
mod postgres;
mod rehearsed;
pub use archive::ArchiveConnector;
pub use http::{HttpConnector, Profile, ProfileError};
pub use postgres::PostgresConnector;

/// One attempt at one step. The engine has made its intent durable before a connector sees it.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub deletion: DeletionId,
    pub step: String,
    pub number: u32,
    /// The same for every attempt at this step, so that the other side can tell a repeat.
    pub idempotency_key: String,
    pub values: Arc<Values>,
    /// An earlier attempt at this step may have had its effect.
    pub may_have_worked: bool,
    /// From the last `Pending` of this step, if there was one.
    pub handle: Option<Value>,
    /// Hard: the engine cuts the attempt off here.
    pub timeout: Duration,
    pub gate: Gate,
    pub trace: TraceContext,
    pub blame: Blame,
}

impl Attempt {
    /// For those who let a step go wrong, or hold it.
    fn scene(&self) -> Scene<'_> {
        Scene {
            target: self.values.get("id").and_then(Value::as_str).unwrap_or_default(),
            step: self.step.as_str().into(),
            aim: self.idempotency_key.rsplit(':').next().unwrap_or_default(),
        }
    }

    /// The point by which this attempt must have answered, counted from now.
    fn deadline(&self) -> Boottime {
        Boottime::now().plus(self.timeout)
    }

    /// The last look before an effect: may what is left of this attempt still begin?
    fn may_begin(&self, deadline: Boottime) -> bool {
        self.gate.is_open_for(deadline.left())
    }
}

/// The system whose trouble a verdict tells of, if it is another than the step's own: circuit breakers count by system.
#[derive(Clone, Debug, Default)]
pub struct Blame(Arc<OnceLock<SystemName>>, Arc<OnceLock<Verdict>>);

impl Blame {
    /// The first trouble counts: what follows from it is no trouble of its own.
    pub fn lay_on(&self, system: &SystemName) {
        let _ = self.0.set(system.clone());
    }

    pub fn on(&self) -> Option<&SystemName> {
        self.0.get()
    }

    /// As [`Blame::lay_on`], where the attempt's own verdict does not say what that trouble was.
    pub fn lay_on_for(&self, system: &SystemName, trouble: Verdict) {
        self.lay_on(system);
        let _ = self.1.set(trouble);
    }

    pub fn trouble(&self) -> Option<&Verdict> {
        self.1.get()
    }
}

/// What every connector can do. `run` may be cut off at any await: dropping it must leave no effect unbounded.
pub trait Connector: Send + Sync {
    /// Carries the call out, or goes on from the attempt's handle.
    fn run<'a>(&'a self, call: &'a Call, attempt: &'a Attempt) -> BoxFuture<'a, Verdict>;

    /// What became of an attempt whose outcome is unknown: done, already gone, again (repeating is right), pending,
    /// blocked, or still unknown, also if looking failed. Never causes an effect.
    fn probe<'a>(&'a self, call: &'a Call, attempt: &'a Attempt) -> BoxFuture<'a, Verdict>;

    /// Whether `run_many` is cheaper for this call than so many `run`s.
    fn batches(&self, _call: &Call) -> bool {
        false
    }

    /// The same call for many deletions; exactly one verdict for each, in their order.
    fn run_many<'a>(&'a self, call: &'a Call, attempts: &'a [Attempt]) -> BoxFuture<'a, Vec<Verdict>> {
        Box::pin(join_all(attempts.iter().map(|attempt| self.run(call, attempt))))
    }

    /// Whether the system can be reached with its credentials; the error is fit for a person.
    fn check(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// A plan names a call that its system cannot carry out. The plan check refuses it; this is for the case that a
/// worker's settings have changed since.
fn misplaced(what: &str, call: &Call) -> Verdict {
    let wanted = match call {
        Call::Nothing => "no",
        Call::Sql { .. } | Call::Chunks { .. } | Call::Archive { .. } => "a postgres",
        Call::Http { .. } => "an http",
    };
    Verdict::blocked(
        format!("the step needs {wanted} system, but its system is {what}"),
        "correct the system's kind in the settings, then retry",
    )
}
