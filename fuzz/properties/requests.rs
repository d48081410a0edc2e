//! A message's body, bare or as a CloudEvent, one request or a bulk.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use sexton::deletion::{
    Action, BATCH_MAX_CHARS, BULK_BODY_MAX_BYTES, BULK_TARGETS_MAX, Envelope, Key, PARAMS_DEPTH_MAX,
    PARAMS_MAX_ENTRIES, REASON_MAX_CHARS, REQUEST_BODY_MAX_BYTES, REQUESTED_BY_MAX_CHARS, Rejection,
    RejectionReason, Request, TargetId, TargetType, Tenant, TraceContext, read_request, read_requests,
    wire::RequestBody,
};
use time::macros::datetime;

use super::lexed::Lexed;
use super::{Judged, is_a_sentence};

/// A CloudEvent with a request with params of their full depth.
const DEPTH_MAX: usize = PARAMS_DEPTH_MAX + 2;
/// All that reading alone can say; the others are the rules' and the tables'.
const REASONS: [RejectionReason; 5] = [
    RejectionReason::NotJson,
    RejectionReason::WrongShape,
    RejectionReason::TooLarge,
    RejectionReason::UnknownVersion,
    RejectionReason::KeyMissing,
];

/// All that must hold of one body under one `message_id`.
pub fn message(body: &[u8], message_id: Option<&str>) -> Judged {
    let envelope = Envelope::new(message_id, message_id, TraceContext::default());
    let read = read_requests(body, &envelope);
    assert_eq!(
        read,
        read_requests(body, &envelope),
        "the same bytes mean the same"
    );
    match read {
        Ok(requests) => {
            accepted(body, &requests);
            Judged::TakenIn
        }
        Err(rejection) => {
            rejected(body, &rejection);
            Judged::TurnedAway(rejection.reason.word())
        }
    }
}

fn accepted(body: &[u8], requests: &[Request]) {
    assert!(
        (1..=BULK_TARGETS_MAX).contains(&requests.len()),
        "{}",
        requests.len()
    );
    let max = if requests.len() > 1 {
        BULK_BODY_MAX_BYTES
    } else {
        REQUEST_BODY_MAX_BYTES
    };
    assert!(
        body.len() <= max
            || requests[0]
                .key
                .as_ref()
                .is_some_and(|key| key.as_str().ends_with("#0"))
    );
    strict(body);
    // Ten thousand that differ in their targets only are judged by some of them.
    for request in requests.iter().take(20).chain(requests.last()) {
        within_bounds(request);
        reads_again(request);
    }
}

/// What is taken in is JSON to everybody, says nothing twice, and hides nothing.
fn strict(text: &[u8]) {
    let value: Value = serde_json::from_slice(text).expect("what is taken in is JSON");
    let lexed = Lexed::of(text);
    assert!(!lexed.lone_surrogate, "half a character was taken in");
    assert_eq!(lexed.members, members(&value), "a name stands twice");
    assert!(lexed.depth <= DEPTH_MAX, "{} levels", lexed.depth);
    no_nul(&value);
    let inside = value.get("data_base64").and_then(Value::as_str);
    if let Some(inside) = inside.filter(|_| value.get("specversion").is_some()) {
        strict(&BASE64.decode(inside).expect("what is taken in is base64"));
    }
}

fn within_bounds(request: &Request) {
    let line = |text: &str, max: usize| {
        assert!(
            !text.is_empty() && text.chars().count() <= max && !text.contains(char::is_control),
            "{text:?}"
        );
    };
    let Request { target, params, .. } = request;
    assert!(TargetType::parse(target.kind.as_str()).is_ok() && target.kind.as_str().len() <= 64);
    assert!(TargetId::parse(target.id.as_str()).is_ok() && target.id.as_str().len() <= 512);
    assert!(Tenant::parse(target.tenant.as_str()).is_ok() && target.tenant.as_str().len() <= 128);
    for name in [target.id.as_str(), target.tenant.as_str()] {
        line(name, 512);
    }
    if let Some(key) = &request.key {
        line(key.as_str(), 255);
        assert!(key.as_str().len() <= 255);
    }
    if let Some(batch) = &request.batch {
        line(batch, BATCH_MAX_CHARS);
    }
    if let Some(by) = &request.requested_by {
        line(by, REQUESTED_BY_MAX_CHARS);
    }
    if let Some(reason) = &request.reason {
        assert!(reason.chars().count() <= REASON_MAX_CHARS && !reason.contains('\0'));
    }
    assert!(
        request
            .batch_size
            .is_none_or(|size| (1..=1_000_000).contains(&size))
    );
    for time in request.not_before.iter().chain(&request.deadline) {
        assert!(
            (datetime!(1970-01-01 0:00 UTC)..datetime!(9000-01-01 0:00 UTC)).contains(time),
            "{time}"
        );
        assert!(
            time.offset().is_utc() && time.nanosecond().is_multiple_of(1_000),
            "{time}"
        );
    }
    assert!(params.len() <= PARAMS_MAX_ENTRIES);
    assert!(depth(&Value::Object(params.clone())) <= PARAMS_DEPTH_MAX);
    let names_one = matches!(request.action, Action::Restore | Action::Cancel);
    assert!(request.meant.is_none() || names_one);
    assert!(request.window.is_none() || request.action == Action::Purge);
    for id in [&request.envelope.message_id, &request.envelope.correlation_id]
        .into_iter()
        .flatten()
    {
        assert!(id.len() <= 255 && !id.contains(char::is_control), "{id:?}");
    }
}

/// The canonical form is read as the same request, and is its own canonical form.
fn reads_again(request: &Request) {
    let written = RequestBody::of(request).to_bytes();
    let again = read_request(&written, &request.envelope).expect("what was written is read");
    assert_eq!(&again, request);
    assert_eq!(again.digest(), request.digest());
    assert_eq!(RequestBody::of(&again).to_bytes(), written);
}

fn rejected(body: &[u8], rejection: &Rejection) {
    let Rejection {
        reason,
        field,
        detail,
        ..
    } = rejection;
    assert!(REASONS.contains(reason), "{rejection}");
    is_a_sentence(&rejection.to_string());
    assert!(
        detail.contains("found ") && detail.contains("; wanted "),
        "{rejection}"
    );
    assert!(!detail.contains(char::is_control), "{rejection:?}");
    assert!(detail.len() < 1_000 && field.len() < 100, "{rejection}");
    // What is told of its address goes into headers and events.
    let fits = |told: &Option<String>, fits: fn(&str) -> bool| told.as_deref().is_none_or(fits);
    assert!(
        fits(&rejection.tenant, |name| Tenant::parse(name).is_ok()),
        "{rejection:?}"
    );
    assert!(
        fits(&rejection.target_type, |name| TargetType::parse(name).is_ok()),
        "{rejection:?}"
    );
    assert!(
        fits(&rejection.key, |name| Key::parse(name).is_ok()),
        "{rejection:?}"
    );
    assert!(
        fits(&rejection.batch, |name| Key::parse(name).is_ok()),
        "{rejection:?}"
    );
    let value = serde_json::from_slice::<Value>(body);
    match reason {
        RejectionReason::TooLarge => assert!(body.len() > REQUEST_BODY_MAX_BYTES && field.is_empty()),
        RejectionReason::NotJson if field.is_empty() => {
            // Nesting that a reader of trees would not follow is still JSON.
            let is_json = value.is_ok() && serde_json::from_slice::<IgnoredAny>(body).is_ok();
            assert!(!is_json, "it is JSON: {rejection}");
        }
        RejectionReason::NotJson => assert_eq!(field, "/data_base64"),
        RejectionReason::KeyMissing => assert!(field.ends_with("/key"), "{rejection}"),
        RejectionReason::UnknownVersion => assert!(field.ends_with("version"), "{rejection}"),
        _ => {}
    }
    let Ok(value) = value else { return };
    // What stands twice has two places, and what is in base64 has none of its own.
    if Lexed::of(body).members == members(&value) && !field.starts_with("/data_base64/") {
        assert!(field.is_empty() || field.starts_with('/'), "{rejection}");
        let around = field.rsplit_once('/').map_or("", |(around, _)| around);
        assert!(
            value.pointer(around).is_some(),
            "there is no {around}: {rejection}"
        );
    }
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(all) => all.len() + all.values().map(members).sum::<usize>(),
        Value::Array(all) => all.iter().map(members).sum(),
        _ => 0,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(all) => 1 + all.values().map(depth).max().unwrap_or(0),
        Value::Array(all) => 1 + all.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn no_nul(value: &Value) {
    match value {
        Value::Object(all) => names_no_nul(all),
        Value::Array(all) => all.iter().for_each(no_nul),
        Value::String(text) => assert!(!text.contains('\0'), "a NUL was taken in"),
        _ => {}
    }
}

fn names_no_nul(all: &Map<String, Value>) {
    for (name, value) in all {
        assert!(
            !name.contains('\0') && !name.starts_with("$serde_json::private::"),
            "{name:?} was taken in"
        );
        no_nul(value);
    }
}
