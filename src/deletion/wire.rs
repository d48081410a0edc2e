//! The shapes on the wire: what publishers write and what readers of events get.
//!
//! `deploy/contract/` is made from these types, so a change here is a change of the contract and shows as one.
//! Requests are *written* through [`RequestBody`] and *read* by [`super::read_request`], which tells strangers more
//! than a derived reader could; a test holds the two to each other.

use std::collections::BTreeMap;

use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::{Action, EventKind, Request};

/// A request: what is to be deleted, restored or cancelled, and for whom.
///
/// It may be sent as many times as it takes: with a key (or, failing that, an AMQP `message_id`) all of its copies
/// are one request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(
    title = "Request",
    deny_unknown_fields,
    extend("oneOf" = [{"required": ["target"], "properties": {"target": {"type": "object"}, "targets": {"type": "null"}}},
                      {"required": ["targets"], "properties": {"targets": {"type": "array"}, "target": {"type": "null"}}}])
)]
pub struct RequestBody {
    /// The version of this contract. Left out, it is 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [super::REQUEST_VERSION, null]))]
    pub version: Option<u64>,
    /// What is asked for. Left out, it is `delete`. `purge` is kept for Sexton itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// What is to go. A request has this or `targets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<RequestTarget>,
    /// Many at once: a bulk, whose requests are one batch. Its key (or `message_id`) is needed; that of each is made of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 10_000))]
    pub targets: Option<Vec<RequestTarget>>,
    /// To whom the target belongs: 1 to 128 bytes without control characters.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"))]
    pub tenant: String,
    /// The publisher's own name for this request: 1 to 255 bytes. All requests of one tenant with one key are one
    /// request. Left out, the AMQP `message_id` takes its place. Needed for types that can be restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"))]
    pub key: Option<String>,
    /// Requests with the same batch have, beside their own outcomes, one for the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"))]
    pub batch: Option<String>,
    /// How many requests the batch has; it is over when so many have their outcomes. A bulk has at least its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub batch_size: Option<u32>,
    /// Who asked, for the audit. Never shown in events, logs or metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"))]
    pub requested_by: Option<String>,
    /// Why, for the audit. Never shown in events, logs or metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = r"^[^\x00]*$"))]
    pub reason: Option<String>,
    /// Nothing is done before this time, given as in RFC 3339, from the year 1970 on and before 9000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub not_before: Option<String>,
    /// Not done by this time, given as in RFC 3339 and within the same years, somebody is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub deadline: Option<String>,
    /// What the plan of the type declares, at most 64 entries and 8 levels deep.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    pub params: Option<Map<String, Value>>,
    /// Of a restore or a cancel: the deletion that is meant. If the target has another one by now, this is turned away.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "uuid"))]
    pub deletion: Option<Uuid>,
    /// Kept for Sexton itself, as `purge` is: which soft deletion this one ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<RequestWindow>,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "Window", deny_unknown_fields)]
pub struct RequestWindow {
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub deletion: Uuid,
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub ticket: Uuid,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "Target", deny_unknown_fields)]
pub struct RequestTarget {
    /// What kind of thing it is, like `factory.computer`. Each type has one plan.
    #[serde(rename = "type")]
    #[schemars(length(max = 64), regex(pattern = r"^[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)*$"))]
    pub kind: String,
    /// Which one: 1 to 512 bytes without control characters.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"))]
    pub id: String,
}

/// A request as CloudEvents 1.0, structured mode.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(
    title = "Request as a CloudEvent",
    transform = open_to_extensions,
    extend("oneOf" = [{"required": ["data"], "properties": {"data": {"type": "object"}}},
                      {"required": ["data_base64"], "properties": {"data_base64": {"type": "string"}}}])
)]
pub struct RequestEvent {
    #[schemars(extend("const" = "1.0"))]
    pub specversion: String,
    #[schemars(length(min = 1))]
    pub id: String,
    #[schemars(length(min = 1))]
    pub source: String,
    /// Any type: the request says itself what is asked for.
    #[serde(rename = "type")]
    #[schemars(length(min = 1))]
    pub kind: String,
    #[schemars(length(min = 1))]
    pub subject: Option<String>,
    #[schemars(extend("format" = "date-time"))]
    pub time: Option<String>,
    #[schemars(regex(pattern = r"^(application/|[^;]*\+)json\s*(;.*)?$"))]
    pub datacontenttype: Option<String>,
    #[schemars(length(min = 1))]
    pub dataschema: Option<String>,
    /// Where the request came from, used if the message's headers have none.
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
    pub data: Option<RequestBody>,
    /// The same as `data`, in base64 with padding.
    #[schemars(extend("contentEncoding" = "base64"))]
    pub data_base64: Option<String>,
}

/// A request, bare or as a CloudEvent.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "A request to Sexton")]
#[expect(clippy::large_enum_variant, reason = "only its schema is used")]
pub enum RequestMessage {
    Bare(RequestBody),
    CloudEvent(RequestEvent),
}

/// What Sexton tells, as CloudEvents 1.0, structured mode.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "An event from Sexton")]
pub struct EventBody<'e> {
    #[schemars(extend("const" = "1.0"))]
    pub specversion: &'e str,
    /// The same on every publish of this event: readers drop what they have seen.
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub id: Uuid,
    #[schemars(extend("const" = "/sexton"))]
    pub source: &'e str,
    /// `sexton.deletion.` and the event.
    #[serde(rename = "type")]
    pub kind: String,
    /// The target's id, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<&'e str>,
    /// When it became true.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub time: Option<String>,
    #[schemars(extend("const" = "application/json"))]
    pub datacontenttype: &'e str,
    /// The trace of the request, for a reader to go on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<&'e str>,
    pub data: EventData<'e>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(title = "What happened")]
pub struct EventData<'e> {
    pub event: EventKind,
    /// Absent of `batch.completed`, which is about many.
    #[serde(skip_serializing_if = "Uuid::is_nil")]
    #[schemars(with = "Option<String>", extend("format" = "uuid"))]
    pub request_id: Uuid,
    /// Absent if the request never became a deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "uuid"))]
    pub deletion_id: Option<Uuid>,
    /// Rises within one deletion, or one batch. Events may arrive in another order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<&'e str>,
    pub target: EventTarget<'e>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// The request's key, else its `message_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<&'e str>,
    /// The request's `message_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<&'e str>,
    /// The request's `correlation_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<&'e str>,
    /// The version of the plan, by its hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<&'e str>,
    #[schemars(with = "EventDetail")]
    pub detail: &'e Map<String, Value>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(title = "What it happened to, as far as it is known")]
pub struct EventTarget<'e> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'e str>,
}

/// What an event says beyond the rest. Later versions may say more.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Detail")]
pub struct EventDetail {
    /// Of the ends: `deleted`, `already_gone` or `absent`.
    pub result: Option<String>,
    /// Of `soft_deleted`: until when it can be restored.
    #[schemars(extend("format" = "date-time"))]
    pub restorable_until: Option<String>,
    /// Of `batch.completed`: its requests, and of those that were promised the ones that never came.
    pub size: Option<u32>,
    pub missing: Option<u32>,
    /// Of `batch.completed`: how many requests ended how: `deleted`, `already_gone`, `absent`, `rejected`, and so on.
    pub counts: Option<BTreeMap<String, u32>>,
    /// Of `reappeared`: how often by now.
    pub times: Option<u32>,
    /// Of `reappeared`: the key of the request that removes it again; none if Sexton has given up.
    pub removal: Option<String>,
    /// Of `completed_with_orphans`: what could not be removed.
    pub orphans: Option<Vec<EventOrphan>>,
    /// Of `parked`, `refused`, `rejected`: a sentence for a person.
    pub why: Option<String>,
    /// Of `parked`: why, out of a closed list.
    pub because: Option<String>,
    /// Of `parked`: the step of the plan that stopped. Of `refused`: the one that said no, if one did.
    pub step: Option<String>,
    /// Of `parked`: `undo`, if it was on the way back.
    pub aim: Option<String>,
    /// Of `parked`: what would help.
    pub unblock: Option<String>,
    /// Of `parked`: the attempts that were made.
    pub attempts: Option<u32>,
    /// Of `rejected`: why, out of a closed list.
    pub reason: Option<super::RejectionReason>,
    /// Of `rejected`: where in the request, as a JSON pointer; empty for the whole.
    pub field: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(title = "Orphan")]
pub struct EventOrphan {
    /// The step of the plan that should have removed it.
    pub step: String,
    pub why: String,
}

impl RequestBody {
    /// The body that is read as this request again, envelope apart.
    pub fn of(request: &Request) -> Self {
        let time = |at: Option<OffsetDateTime>| at.and_then(|at| at.format(&Rfc3339).ok());
        RequestBody {
            version: None,
            action: Some(request.action),
            target: Some(RequestTarget {
                kind: request.target.kind.as_str().to_owned(),
                id: request.target.id.as_str().to_owned(),
            }),
            targets: None,
            tenant: request.target.tenant.as_str().to_owned(),
            key: request.key.as_ref().map(|key| key.as_str().to_owned()),
            batch: request.batch.clone(),
            batch_size: request.batch_size,
            requested_by: request.requested_by.clone(),
            reason: request.reason.clone(),
            not_before: time(request.not_before),
            deadline: time(request.deadline),
            params: (!request.params.is_empty()).then(|| request.params.clone()),
            deletion: request.meant.map(|meant| meant.0),
            window: request.window.map(|window| RequestWindow {
                deletion: window.deletion.0,
                ticket: window.ticket,
            }),
        }
    }

    /// The fields that are there.
    pub fn to_map(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text, numbers and maps with text for keys always have a JSON form")
    }
}

/// The JSON Schemas of the contract, by file name.
pub fn schemas() -> BTreeMap<&'static str, Schema> {
    let generator = || {
        schemars::generate::SchemaSettings::draft2020_12()
            .with_transform(RecursiveTransform(unwrap_lines))
            .into_generator()
    };
    BTreeMap::from([
        (
            "request.schema.json",
            generator().into_root_schema_for::<RequestMessage>(),
        ),
        (
            "event.schema.json",
            generator().into_root_schema_for::<EventBody<'static>>(),
        ),
    ])
}

/// CloudEvents lets anybody add attributes of a simple form; readers ignore what they do not know.
fn open_to_extensions(schema: &mut Schema) {
    schema.insert(
        "patternProperties".into(),
        json!({"^(?!data$)[a-z0-9]+$": {"type": ["string", "boolean", "integer", "null"]}}),
    );
    schema.insert("additionalProperties".into(), false.into());
}

/// The line breaks of a doc comment are those of the source file; a description has only its paragraphs.
fn unwrap_lines(schema: &mut Schema) {
    let Some(Value::String(text)) = schema.get_mut("description") else {
        return;
    };
    let paragraphs: Vec<String> = text.split("\n\n").map(|lines| lines.replace('\n', " ")).collect();
    *text = paragraphs.join("\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deletion::{Envelope, read_request};

    #[test]
    fn a_request_that_is_written_is_read_as_itself() {
        for text in [
            json!({"target": {"type": "a.b", "id": "1"}, "tenant": "t"}),
            json!({
                "action": "purge", "target": {"type": "a.b", "id": "1"}, "tenant": "t", "key": "k", "batch": "b",
                "requested_by": "u", "reason": "r", "not_before": "2030-01-01T00:00:00.000001Z",
                "deadline": "2030-01-02T00:00:00Z", "params": {"p": [1, {"q": null}]},
                "window": {"deletion": Uuid::from_u128(7), "ticket": Uuid::from_u128(8)}
            }),
        ] {
            let request =
                read_request(text.to_string().as_bytes(), &Envelope::default()).expect("well formed");
            let written = RequestBody::of(&request).to_bytes();
            assert_eq!(read_request(&written, &Envelope::default()), Ok(request));
        }
    }
}
