//! Between the trace context that travels as text and the spans of this process.
//!
//! The first attempt is a child of the publisher's span. A retry hours later is a new trace that links back: a span
//! that lasts a night helps nobody, and most collectors drop it.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::deletion::TraceContext;

/// The context to give to `set_parent`; an empty one if there is nothing to go on with.
pub fn parent_from(trace: &TraceContext) -> Context {
    match remote(trace) {
        Some(remote) => Context::new().with_remote_span_context(remote),
        None => Context::new(),
    }
}

/// Points from a span to a trace that came before it.
pub fn link(span: &Span, trace: &TraceContext) {
    if let Some(remote) = remote(trace) {
        span.add_link(remote);
    }
}

/// The trace as it stands here, for what goes out. Empty if no trace is exported.
pub fn current() -> TraceContext {
    of(&Span::current())
}

/// What goes out of `span`: its own context, else what came in, so that a trace also passes through a Sexton that
/// exports none.
pub fn onward(span: &Span, came_in: &TraceContext) -> TraceContext {
    let own = of(span);
    if own.traceparent.is_some() {
        own
    } else {
        came_in.clone()
    }
}

fn of(span: &Span) -> TraceContext {
    let context = span.context();
    let here = context.span().span_context().clone();
    if !here.is_valid() {
        return TraceContext::default();
    }
    let parent = format!(
        "00-{}-{}-{:02x}",
        here.trace_id(),
        here.span_id(),
        (here.trace_flags() & TraceFlags::SAMPLED).to_u8()
    );
    TraceContext::new(
        Some(&parent),
        Some(&here.trace_state().header())
            .filter(|state| !state.is_empty())
            .map(|s| s.as_str()),
    )
}

fn remote(trace: &TraceContext) -> Option<SpanContext> {
    let mut parts = trace.traceparent.as_deref()?.split('-').skip(1);
    let mut part = || parts.next();
    let trace_id = TraceId::from_hex(part()?).ok()?;
    let span_id = SpanId::from_hex(part()?).ok()?;
    let flags = u8::from_str_radix(part()?, 16).ok()?;
    let state = trace.tracestate.as_deref().unwrap_or_default();
    let context = SpanContext::new(
        trace_id,
        span_id,
        TraceFlags::new(flags) & TraceFlags::SAMPLED,
        true,
        // A state that cannot be read is dropped; the parent still counts.
        state.parse::<TraceState>().unwrap_or_default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_parent_in_text_is_the_same_parent_as_a_context() {
        let context = parent_from(&TraceContext::new(Some(PARENT), Some("a=b")));
        let remote = context.span().span_context().clone();
        assert_eq!(remote.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(remote.span_id().to_string(), "00f067aa0ba902b7");
        assert!(remote.is_sampled() && remote.is_remote());
        assert_eq!(remote.trace_state().header(), "a=b");
    }

    #[test]
    fn no_parent_is_an_empty_context() {
        assert!(
            !parent_from(&TraceContext::default())
                .span()
                .span_context()
                .is_valid()
        );
    }

    #[test]
    fn without_an_exporter_a_trace_passes_through() {
        let came_in = TraceContext::new(Some(PARENT), None);
        assert_eq!(onward(&Span::none(), &came_in), came_in);
        assert_eq!(current(), TraceContext::default());
    }
}
