//! The spans of the house, made in one place, so that they are named alike and carry ids and nothing else.
//!
//! | span | fields | where |
//! |---|---|---|
//! | `admit` | `requests` | one admission batch; links to what its requests came from |
//! | `step` | `deletion.id`, `correlation.id`, `step`, `attempt`, `undo`, `verdict` | one attempt |
//! | `publish` | `event.id`, `deletion.id` | one event on its way to the broker |
//! | `transaction` | `name` | one transaction of ours; its name is also the SQL comment and the metric's label |

use tracing::field::Empty;
use tracing::{Span, debug_span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::trace_headers::{link, parent_from};
use crate::deletion::{Aim, DeletionId, Envelope, EventId, StepNumber, TraceContext, Verdict};

/// A span holds so many links; the batch's other requests are found by their own traces.
const LINKS_MAX: usize = 32;

/// One batch stands for many traces, so it is nobody's child and links to all.
pub fn admission<'t>(requests: usize, traces: impl IntoIterator<Item = &'t TraceContext>) -> Span {
    let span = info_span!("admit", otel.kind = "consumer", requests);
    if !span.is_disabled() {
        traces
            .into_iter()
            .take(LINKS_MAX)
            .for_each(|trace| link(&span, trace));
    }
    span
}

/// The first attempt goes on with the publisher's trace; a later one is a trace of its own that links to it.
/// It also has the id by which the asker knows it.
pub fn step(id: DeletionId, step: StepNumber, aim: Aim, attempt: u32, asked: &Envelope) -> Span {
    let trace = &asked.trace;
    let span = info_span!(
        parent: None,
        "step",
        deletion.id = %id,
        correlation.id = asked.correlation_id,
        step,
        attempt,
        undo = aim == Aim::Undo,
        verdict = Empty,
        otel.status_code = Empty
    );
    if attempt <= 1 {
        continue_trace(&span, trace);
    } else {
        link(&span, trace);
    }
    span
}

/// Tells the span how the attempt went; only the word, since a reason may quote what must stay inside.
pub fn said(span: &Span, verdict: &Verdict) {
    span.record("verdict", verdict.word());
    if verdict.spends_attempt() {
        span.record("otel.status_code", "ERROR");
    }
}

pub fn publish(event: EventId, deletion: Option<DeletionId>, trace: &TraceContext) -> Span {
    let span =
        info_span!(parent: None, "publish", otel.kind = "producer", event.id = %event, deletion.id = Empty);
    if let Some(id) = deletion {
        span.record("deletion.id", tracing::field::display(id));
    }
    continue_trace(&span, trace);
    span
}

pub fn transaction(name: &'static str) -> Span {
    debug_span!("transaction", otel.name = name, name)
}

fn continue_trace(span: &Span, trace: &TraceContext) {
    if trace.traceparent.is_some() {
        // It fails only where no trace is exported, and then there is nothing to continue.
        let _ = span.set_parent(parent_from(trace));
    }
}
