//! The words of a deletion, and the one function by which a deletion changes.
//!
//! Nothing here waits, reads a clock or touches the outside: live work and replay use the same code.

mod ids;
pub use ids::{
    BadName, Count, DeletionId, EventId, Key, PlanHash, RequestId, Target, TargetId, TargetType, Tenant,
};

mod request;
pub use request::{Action, Envelope, Rejection, RejectionReason, Request};

mod verdict;
pub use verdict::{Verdict, WHY_MAX_CHARS};

mod journal;
pub use journal::{Aim, CompletedResult, End, Entry, Orphan, ParkReason, SignalKind, StepNumber, Turn};

mod state;
pub use state::{Facts, Phase, Settled, State, Track, TransitionError};

mod trace;
pub use trace::TraceContext;
