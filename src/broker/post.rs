//! From the words of floor 0 to messages: an outcome event, and a request that was turned away.

use bytes::Bytes;
use uuid::Uuid;

use super::message::{Headers, Message, Unrouted, Value};
use super::topology::{EVENTS_EXCHANGE, REJECTED_QUEUE, UNHEARD_EXCHANGE};
use crate::deletion::{Event, HEADER_FIELD, HEADER_REASON, HEADER_TRACEPARENT, HEADER_WHY, TurnedAway};

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

    /// The body as it came, the reason in headers: a person reads why, repairs, and sends it again.
    pub fn rejected(turned_away: &TurnedAway, body: Bytes, id: Uuid) -> Message {
        let mut headers = Headers::new();
        let rejection = &turned_away.rejection;
        for (name, text) in [
            (HEADER_REASON, Some(rejection.reason.word())),
            (HEADER_FIELD, Some(rejection.field.as_str())),
            (HEADER_WHY, Some(rejection.detail.as_str())),
            (HEADER_TRACEPARENT, turned_away.traceparent.as_deref()),
        ] {
            if let Some(text) = text {
                headers.insert(name.to_owned(), Value::Text(text.to_owned()));
            }
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
