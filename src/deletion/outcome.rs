//! What the world is told, composed from what is known and from nothing else.
//!
//! The same announcement gives the same bytes, so that an event published twice is one event with one id. An
//! announcement has no room for params, reasons given by people or who asked: what is not in it cannot leak.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::wire::{EventBody, EventData, EventTarget};
use super::{
    Action, DeletionId, EventId, EventKind, PlanHash, Rejection, RequestId, TargetType, Tenant, TraceContext,
};

/// Headers of an event, for headers bindings. A header whose value is not known is left out.
pub const HEADER_EVENT: &str = "sexton-event";
pub const HEADER_TENANT: &str = "sexton-tenant";
pub const HEADER_TYPE: &str = "sexton-type";
pub const HEADER_BATCH: &str = "sexton-batch";
pub const HEADER_KEY: &str = "sexton-key";
pub const HEADER_REQUEST: &str = "sexton-request";
pub const HEADER_TRACEPARENT: &str = "traceparent";
pub const HEADER_TRACESTATE: &str = "tracestate";

/// Headers of a rejected request, which keeps its body as it came: why, where, and the sentence for a person.
pub const HEADER_REASON: &str = "sexton-reason";
pub const HEADER_FIELD: &str = "sexton-field";
pub const HEADER_WHY: &str = "sexton-why";

pub const EVENT_CONTENT_TYPE: &str = "application/cloudevents+json";

/// What stands in a routing key for a word that is not known, so that the number of words stays the same.
const UNKNOWN_WORD: &str = "-";

/// Everything that is known when an event is composed, in the transaction that makes it true.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    pub event_id: EventId,
    pub kind: EventKind,
    pub at: OffsetDateTime,
    pub request_id: RequestId,
    pub deletion_id: Option<DeletionId>,
    /// The deletion's own sequence. No order is promised across events: a reader orders by this.
    pub sequence: Option<u32>,
    /// These three are not known of every rejected request.
    pub tenant: Option<String>,
    pub target_type: Option<String>,
    pub target_id: Option<String>,
    pub action: Option<Action>,
    pub key: Option<String>,
    pub batch: Option<String>,
    pub message_id: Option<String>,
    pub correlation_id: Option<String>,
    pub trace: TraceContext,
    pub plan: Option<PlanHash>,
    /// `result`, `orphans`, `why`, `reason`, `field`: what this kind has to say beyond the rest.
    pub detail: Map<String, Value>,
}

/// An event as it goes to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: EventId,
    pub routing_key: String,
    pub headers: BTreeMap<String, String>,
    pub message_id: String,
    pub correlation_id: Option<String>,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

impl Announcement {
    pub fn compose(&self) -> Event {
        Event {
            id: self.event_id,
            routing_key: self.routing_key(),
            headers: self.headers(),
            message_id: self.event_id.to_string(),
            correlation_id: self.correlation_id.clone(),
            content_type: EVENT_CONTENT_TYPE,
            body: self.body(),
        }
    }

    /// `TENANT.TYPE.EVENT`. Names are bounded where they are parsed, so this stays below the 255 bytes AMQP has.
    fn routing_key(&self) -> String {
        let tenant = self.tenant.as_deref().and_then(|name| Tenant::parse(name).ok());
        let kind = self
            .target_type
            .as_deref()
            .and_then(|name| TargetType::parse(name).ok());
        let word = |word: Option<String>| word.unwrap_or_else(|| UNKNOWN_WORD.to_owned());
        format!(
            "{}.{}.{}",
            word(tenant.map(|name| name.routing_word())),
            word(kind.map(|name| name.routing_word())),
            self.kind.word()
        )
    }

    fn headers(&self) -> BTreeMap<String, String> {
        [
            (HEADER_EVENT, Some(self.kind.word().to_owned())),
            (HEADER_TENANT, self.tenant.clone()),
            (HEADER_TYPE, self.target_type.clone()),
            (HEADER_BATCH, self.batch.clone()),
            (HEADER_KEY, self.key.clone()),
            (
                HEADER_REQUEST,
                Some(self.request_id)
                    .filter(|id| !id.0.is_nil())
                    .map(|id| id.to_string()),
            ),
            (HEADER_TRACEPARENT, self.trace.traceparent.clone()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }

    fn body(&self) -> Vec<u8> {
        let body = EventBody {
            specversion: super::cloud_event::SPEC_VERSION,
            id: self.event_id.0,
            source: "/sexton",
            kind: format!("sexton.deletion.{}", self.kind.word()),
            // The specification wants no empty subject.
            subject: self.target_id.as_deref().filter(|id| !id.is_empty()),
            // Only a year beyond 9999 has no such form; the attribute is optional.
            time: self.at.format(&Rfc3339).ok(),
            datacontenttype: "application/json",
            traceparent: self.trace.traceparent.as_deref(),
            tracestate: self.trace.tracestate.as_deref(),
            data: EventData {
                event: self.kind,
                request_id: self.request_id.0,
                deletion_id: self.deletion_id.map(|id| id.0),
                sequence: self.sequence,
                tenant: self.tenant.as_deref(),
                target: EventTarget {
                    kind: self.target_type.as_deref(),
                    id: self.target_id.as_deref(),
                },
                action: self.action,
                key: self.key.as_deref(),
                batch: self.batch.as_deref(),
                message_id: self.message_id.as_deref(),
                correlation_id: self.correlation_id.as_deref(),
                plan: self.plan.as_ref().map(|plan| plan.0.as_str()),
                detail: &self.detail,
            },
        };
        serde_json::to_vec(&body).expect("text, numbers and maps with text for keys always have a JSON form")
    }
}

impl Rejection {
    /// What goes with the untouched body into `deletion.rejected`.
    pub fn headers(&self, request: RequestId) -> BTreeMap<String, String> {
        [
            (HEADER_REQUEST, request.to_string()),
            (HEADER_REASON, self.reason.word().to_owned()),
            (HEADER_FIELD, self.field.clone()),
            (HEADER_WHY, self.detail.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// What the event `rejected` says as its detail.
    pub fn event_detail(&self) -> Map<String, Value> {
        [
            ("reason", self.reason.word()),
            ("field", &self.field),
            ("why", &self.detail),
        ]
        .map(|(name, value)| (name.to_owned(), value.into()))
        .into_iter()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn announcement() -> Announcement {
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        Announcement {
            event_id: EventId(Uuid::from_u128(1)),
            kind: EventKind::Completed,
            at: datetime!(2030-01-31 12:00:00.5 UTC),
            request_id: RequestId(Uuid::from_u128(2)),
            deletion_id: Some(DeletionId(Uuid::from_u128(3))),
            sequence: Some(7),
            tenant: Some("org.1".into()),
            target_type: Some("factory.computer".into()),
            target_id: Some("cmp_123".into()),
            action: Some(Action::Delete),
            key: Some("b1f6".into()),
            batch: Some("night".into()),
            message_id: Some("m1".into()),
            correlation_id: Some("c1".into()),
            trace: TraceContext::new(Some(PARENT), None),
            plan: Some(PlanHash("ab".repeat(32))),
            detail: object(json!({"result": "deleted"})),
        }
    }

    #[test]
    fn an_event_is_a_cloud_event_that_names_what_happened_to_what() {
        let event = announcement().compose();
        assert_eq!(event.message_id, Uuid::from_u128(1).to_string());
        assert_eq!(event.correlation_id.as_deref(), Some("c1"));
        assert_eq!(event.routing_key, "org-1.factory-computer.completed");
        let body: Value = serde_json::from_slice(&event.body).expect("JSON");
        assert_eq!(
            body,
            json!({
                "specversion": "1.0", "id": event.message_id, "source": "/sexton", "type": "sexton.deletion.completed",
                "subject": "cmp_123", "time": "2030-01-31T12:00:00.5Z", "datacontenttype": "application/json",
                "traceparent": PARENT,
                "data": {
                    "event": "completed", "request_id": Uuid::from_u128(2), "deletion_id": Uuid::from_u128(3), "sequence": 7,
                    "tenant": "org.1", "target": {"type": "factory.computer", "id": "cmp_123"}, "action": "delete",
                    "key": "b1f6", "batch": "night", "message_id": "m1", "correlation_id": "c1", "plan": "ab".repeat(32),
                    "detail": {"result": "deleted"}
                }
            })
        );
        let headers: Vec<(&str, &str)> = event
            .headers
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        let request = Uuid::from_u128(2).to_string();
        assert_eq!(
            headers,
            [
                ("sexton-batch", "night"),
                ("sexton-event", "completed"),
                ("sexton-key", "b1f6"),
                ("sexton-request", request.as_str()),
                ("sexton-tenant", "org.1"),
                ("sexton-type", "factory.computer"),
                ("traceparent", PARENT),
            ]
        );
    }

    #[test]
    fn a_rejection_that_knows_nothing_still_has_its_event() {
        let nothing = Announcement {
            kind: EventKind::Rejected,
            deletion_id: None,
            sequence: None,
            tenant: None,
            target_type: None,
            target_id: None,
            action: None,
            key: None,
            batch: None,
            message_id: None,
            correlation_id: None,
            trace: TraceContext::default(),
            plan: None,
            detail: Map::new(),
            ..announcement()
        };
        let event = nothing.compose();
        assert_eq!(event.routing_key, "-.-.rejected");
        assert_eq!(
            event.headers.keys().collect::<Vec<_>>(),
            ["sexton-event", "sexton-request"]
        );
        let body: Value = serde_json::from_slice(&event.body).expect("JSON");
        assert!(body.get("subject").is_none() && body.get("traceparent").is_none());
        assert_eq!(body["data"]["target"], json!({}));
    }

    #[test]
    fn invariant_06_the_same_announcement_gives_the_same_bytes() {
        let mut one = announcement();
        let mut other = announcement();
        for name in ["b", "a"] {
            one.detail.insert(name.into(), json!(1));
        }
        for name in ["a", "b"] {
            other.detail.insert(name.into(), json!(1));
        }
        assert_eq!(one, other);
        assert_eq!(one.compose(), other.compose());
    }

    #[test]
    fn a_routing_key_has_its_words_and_fits_whatever_the_names_are() {
        for kind in EventKind::ALL {
            for (tenant, target_type) in [
                ("t".repeat(128), "x".repeat(64)),
                ("a.*.#.b c".into(), "a.b.c".into()),
                ("é".repeat(500), "Not A Type".into()),
                ("a\0\nb".into(), String::new()),
            ] {
                let event = Announcement {
                    kind,
                    tenant: Some(tenant),
                    target_type: Some(target_type),
                    ..announcement()
                }
                .compose();
                let key = event.routing_key;
                assert!(key.len() <= 255 && !key.contains(char::is_control), "{key}");
                let words: Vec<&str> = key.splitn(3, '.').collect();
                assert_eq!(words[2], kind.word(), "{key}");
                assert!(
                    words
                        .iter()
                        .all(|word| !word.is_empty() && !word.contains(['*', '#'])),
                    "{key}"
                );
            }
        }
    }
}
