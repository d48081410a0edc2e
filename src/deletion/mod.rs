//! The words of a deletion, and the one function by which a deletion changes.
//!
//! Nothing here waits, reads a clock or touches the outside: live work and replay use the same code.
#![allow(
    clippy::result_large_err,
    reason = "a rejection is as rare as it is detailed, and a request, its other side, is larger still"
)]

mod ids;
pub use ids::{
    BadName, Count, DeletionId, EventId, Key, PlanHash, RequestId, Target, TargetId, TargetType, Tenant,
};

mod request;
pub use request::{Action, Envelope, Rejection, RejectionReason, Request, WindowTicket};

mod call;
pub use call::CallId;

mod reading;
pub use reading::{REQUEST_BODY_MAX_BYTES, read_request, read_requests};
mod object;
pub use object::read_object;
mod bulk;
pub use bulk::{BULK_BODY_MAX_BYTES, BULK_TARGETS_MAX};
mod request_fields;
pub use request_fields::{
    BATCH_MAX_CHARS, PARAMS_DEPTH_MAX, PARAMS_MAX_ENTRIES, REASON_MAX_CHARS, REQUEST_VERSION,
    REQUESTED_BY_MAX_CHARS,
};
mod cloud_event;
mod strict_json;

mod verdict;
pub use verdict::{Denied, Verdict, WHY_MAX_CHARS};

mod journal;
pub use journal::{
    Aim, CompletedResult, End, Entry, Orphan, ParkReason, Recorded, SignalKind, StepNumber, Turn,
};

pub mod shorthand;

mod state;
pub use state::{Facts, Phase, Settled, State, Track, TransitionError};

mod turned_away;
pub use turned_away::TurnedAway;

mod trace;
pub use trace::TraceContext;

mod event_kind;
pub use event_kind::EventKind;
mod outcome;
pub use outcome::{
    Announcement, EVENT_CONTENT_TYPE, Event, HEADER_BATCH, HEADER_EVENT, HEADER_FIELD, HEADER_KEY,
    HEADER_REASON, HEADER_REQUEST, HEADER_TENANT, HEADER_TRACEPARENT, HEADER_TRACESTATE, HEADER_TYPE,
    HEADER_WHY,
};
pub mod wire;
