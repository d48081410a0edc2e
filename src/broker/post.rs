//! From the words of floor 0 to messages: an outcome event, and a request that was turned away.

use bytes::Bytes;
use uuid::Uuid;

use super::message::{Headers, Message, Unrouted, Value};
use super::topology::{EVENTS_EXCHANGE, REJECTED_QUEUE, REQUESTS_EXCHANGE, UNHEARD_EXCHANGE};
use crate::deletion::{
    CallId, Event, HEADER_TRACEPARENT, HEADER_TRACESTATE, RequestId, TraceContext, TurnedAway,
};

impl Message {
    /// For whoever is bound; what nobody is bound to counts as sent and is kept, bounded, for a person to see.
    pub fn event(event: Event) -> Message {
        Message {
            exchange: EVENTS_EXCHANGE.to_owned(),
            routing_key: event.routing_key,
            headers: event
                .headers
                .into_iter()
                .map(|(name, value)| (name, Value::Text(value)))
                .collect(),
            message_id: event.message_id,
            correlation_id: event.correlation_id,
            content_type: Some(event.content_type.to_owned()),
            body: Bytes::from(event.body),
            persistent: true,
            unrouted: Unrouted::Divert(UNHEARD_EXCHANGE),
        }
    }

    /// One of Sexton's own: taken in like everybody's.
    pub fn request(id: Uuid, body: Bytes) -> Message {
        Message {
            exchange: REQUESTS_EXCHANGE.to_owned(),
            routing_key: "sexton".to_owned(),
            headers: Headers::new(),
            message_id: id.to_string(),
            correlation_id: None,
            content_type: Some("application/json".to_owned()),
            body,
            persistent: true,
            // It stays in the outbox until somebody takes requests in.
            unrouted: Unrouted::Tell,
        }
    }

    /// What came by HTTP; its id tells admission whose call it answers.
    pub fn call(call: CallId, body: Bytes, correlation_id: Option<String>, trace: &TraceContext) -> Message {
        let headers = [
            (HEADER_TRACEPARENT, &trace.traceparent),
            (HEADER_TRACESTATE, &trace.tracestate),
        ];
        Message {
            headers: headers
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), Value::Text(value.clone()?))))
                .collect(),
            message_id: call.message_id(),
            correlation_id,
            ..Message::request(call.0, body)
        }
    }

    /// The body as it came, the reason in headers: a person reads why, repairs, and sends it again.
    pub fn rejected(turned_away: &TurnedAway, body: Bytes, id: RequestId) -> Message {
        let mut headers: Headers = turned_away
            .rejection
            .headers(id)
            .into_iter()
            .map(|(name, value)| (name, Value::Text(value)))
            .collect();
        if let Some(traceparent) = &turned_away.traceparent {
            headers.insert(HEADER_TRACEPARENT.to_owned(), Value::Text(traceparent.clone()));
        }
        Message {
            exchange: String::new(),
            routing_key: REJECTED_QUEUE.to_owned(),
            headers,
            message_id: turned_away.message_id.clone().unwrap_or_else(|| id.to_string()),
            correlation_id: turned_away.correlation_id.clone(),
            content_type: turned_away.content_type.clone(),
            body,
            persistent: true,
            // Without its queue it must stay in the outbox: nothing that was sent to us is dropped.
            unrouted: Unrouted::Tell,
        }
    }
}
