//! What is published, and what must become of each message: the whole of the demonstration's expectations.
//!
//! An outcome is told by the request's `message_id`, or by its key where a foreign client gives none; this is a
//! message's *name* here. Copies have the name of what they copy, because they must have no outcome of their own.

use bytes::Bytes;
use serde_json::{Value, json};
use sexton::broker::{Headers, Message, REQUESTS_EXCHANGE, Unrouted};
use sexton::deletion::REQUEST_BODY_MAX_BYTES;
use sexton::deletion::wire::{RequestBody, RequestTarget};

use crate::worlds::estate::{Computer, Estate, Provider};

pub(crate) const TYPE: &str = "factory.computer";
/// Of every so many computers, one is asked for in each of these ways.
const TWICE_EVERY: usize = 12;
const FOLDED_EVERY: usize = 15;
const UNKNOWN_COMPUTERS: usize = 6;
const STRANGERS_REQUESTS: usize = 4;
const CONFLICTS: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// `completed`, with this result.
    Completed(&'static str),
    /// As another request's, whose deletion it joins.
    Folded {
        into: String,
    },
    Rejected(&'static str),
    /// As this event, whatever it says beyond.
    Ended(&'static str),
    /// Nothing of its own.
    Copy,
}

pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) expected: Expected,
    pub(crate) message: Message,
}

/// The deletes of all computers that go but the last, with their copies and those that fold into them.
pub(crate) fn deletes(estate: &Estate) -> Vec<Asked> {
    let mut all = Vec::new();
    let all_but_one = estate.going().count().saturating_sub(1);
    for (number, computer) in estate.going().enumerate().take(all_but_one) {
        let first = delete(computer, number);
        if number % TWICE_EVERY == 2 {
            all.push(Asked {
                name: first.name.clone(),
                expected: Expected::Copy,
                message: first.message.clone(),
            });
        }
        // Only a machine's termination takes so long that a second request surely meets the open deletion.
        let folded = number % FOLDED_EVERY == 1 && matches!(computer.provider, Provider::Managed(_));
        let into = first.name.clone();
        all.push(first);
        if folded {
            let name = format!("again-{number:05}");
            let body = body(computer, Some(format!("another-key-{number:05}")));
            all.push(Asked {
                expected: Expected::Folded { into },
                message: message(&name, bare(&body), None),
                name,
            });
        }
    }
    all
}

/// What has nothing to delete, or may not, or cannot be read. Published when the deletes are in the queue, so that a
/// conflict meets the key that it is in conflict with.
pub(crate) fn oddities(estate: &Estate) -> Vec<Asked> {
    let mut all = Vec::new();
    for number in 0..UNKNOWN_COMPUTERS {
        let name = format!("unknown-{number}");
        let target = Some(target(&format!("cmp_never_{number}")));
        let body = RequestBody {
            target,
            tenant: "org_acme".into(),
            key: Some(format!("key-{name}")),
            ..RequestBody::default()
        };
        all.push(asked(&name, Expected::Completed("absent"), bare(&body)));
    }
    for (number, computer) in estate.staying().take(STRANGERS_REQUESTS).enumerate() {
        let name = format!("stranger-{number}");
        let other = estate
            .organizations
            .iter()
            .find(|id| **id != computer.organization);
        let body = RequestBody {
            tenant: other.cloned().unwrap_or_default(),
            ..body(computer, Some(format!("key-{name}")))
        };
        all.push(asked(&name, Expected::Completed("absent"), bare(&body)));
    }
    // The key of a delete, and another computer of the same organization: one that stays.
    let keyed = estate
        .going()
        .enumerate()
        .filter(|(number, _)| key_of(*number).is_some());
    for (number, computer) in keyed.take(CONFLICTS) {
        let stays = estate
            .staying()
            .find(|other| other.organization == computer.organization);
        if let Some(stays) = stays {
            let name = format!("conflict-{number:05}");
            let body = bare(&body(stays, key_of(number)));
            all.push(asked(&name, Expected::Rejected("key_conflict"), body));
        }
    }
    all.extend(malformed());
    all
}

/// The last one's delete is for `amqp-publish`, which has no `message_id` to give.
pub(crate) fn foreign(estate: &Estate) -> Option<Asked> {
    let name = "foreign-client";
    let computer = estate.going().last()?;
    let body = bare(&body(computer, Some(name.to_owned())));
    Some(asked(name, Expected::Completed("deleted"), body))
}

fn malformed() -> Vec<Asked> {
    let good = json!({ "target": { "type": TYPE, "id": "cmp_00000" }, "tenant": "org_acme" });
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        body.to_string().into_bytes()
    };
    let without = |name: &str| {
        let mut body = good.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.remove(name);
        }
        body.to_string().into_bytes()
    };
    let too_large = REQUEST_BODY_MAX_BYTES + 1;
    let bodies: [(&str, &str, Vec<u8>); 12] = [
        ("not_json", "words", b"please delete everything".to_vec()),
        ("not_json", "cut", good.to_string().into_bytes()[..40].to_vec()),
        ("not_json", "bytes", vec![0xff, 0x00, 0xfe]),
        ("wrong_shape", "array", b"[1, 2, 3]".to_vec()),
        ("wrong_shape", "tenant", without("tenant")),
        (
            "wrong_shape",
            "number",
            changed(&|body| body["target"]["id"] = json!(7)),
        ),
        (
            "wrong_shape",
            "misspelt",
            changed(&|body| body["not_befor"] = json!("2030-01-01T00:00:00Z")),
        ),
        (
            "unknown_type",
            "spaceship",
            changed(&|body| body["target"]["type"] = json!("factory.spaceship")),
        ),
        (
            "unknown_version",
            "later",
            changed(&|body| body["version"] = json!(2)),
        ),
        (
            "nothing_to_do",
            "restore",
            changed(&|body| body["action"] = json!("restore")),
        ),
        (
            "nothing_to_do",
            "cancel",
            changed(&|body| {
                body["action"] = json!("cancel");
                body["target"]["id"] = json!("cmp_never");
            }),
        ),
        (
            "too_large",
            "large",
            changed(&|body| body["reason"] = json!("x".repeat(too_large))),
        ),
    ];
    bodies
        .into_iter()
        .map(|(reason, which, body)| asked(&format!("malformed-{which}"), Expected::Rejected(reason), body))
        .collect()
}

/// Bare with a key, as a CloudEvent with a key, and bare with the `message_id` in the place of a key.
fn delete(computer: &Computer, number: usize) -> Asked {
    let name = format!("delete-{number:05}");
    let body = body(computer, key_of(number));
    let (bytes, kind) = match number % 3 {
        1 => (cloud_event(&body, &name), Some("application/cloudevents+json")),
        _ => (bare(&body), None),
    };
    Asked {
        expected: Expected::Completed("deleted"),
        message: message(&name, bytes, kind),
        name,
    }
}

fn key_of(number: usize) -> Option<String> {
    (number % 3 != 2).then(|| format!("key-{number:05}"))
}

fn body(computer: &Computer, key: Option<String>) -> RequestBody {
    RequestBody {
        target: Some(target(&computer.id)),
        tenant: computer.organization.clone(),
        key,
        requested_by: Some("user:demonstration".into()),
        reason: Some("the computer is no longer needed".into()),
        ..RequestBody::default()
    }
}

fn target(id: &str) -> RequestTarget {
    RequestTarget {
        kind: TYPE.into(),
        id: id.into(),
    }
}

fn bare(body: &RequestBody) -> Vec<u8> {
    json!(body).to_string().into_bytes()
}

fn cloud_event(body: &RequestBody, id: &str) -> Vec<u8> {
    json!({
        "specversion": "1.0", "id": id, "source": "/demo", "type": "demo.computer.delete", "data": body,
    })
    .to_string()
    .into_bytes()
}

fn asked(name: &str, expected: Expected, body: Vec<u8>) -> Asked {
    Asked {
        name: name.to_owned(),
        expected,
        message: message(name, body, None),
    }
}

/// A message that only its key tells from others: as one of a bulk has it.
pub(crate) fn without_id(body: Bytes) -> Message {
    Message {
        message_id: String::new(),
        correlation_id: None,
        ..message("", body.to_vec(), None)
    }
}

pub(crate) fn message(name: &str, body: Vec<u8>, kind: Option<&str>) -> Message {
    Message {
        exchange: REQUESTS_EXCHANGE.into(),
        routing_key: "demo".into(),
        headers: Headers::new(),
        message_id: name.to_owned(),
        correlation_id: Some(format!("correlation-{name}")),
        content_type: Some(kind.unwrap_or("application/json").to_owned()),
        body: Bytes::from(body),
        persistent: true,
        // A request that no queue takes must not look published.
        unrouted: Unrouted::Tell,
    }
}
