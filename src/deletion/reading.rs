//! From the bytes of a message to a request, or to the one sentence that says why not.
//!
//! A request comes from strangers: nothing is assumed, nothing is guessed, and what is turned away is told by its
//! place and kind, never by its content. The body of [`super::RequestBody`] is the same contract, as a schema.

use serde_json::{Map, Value};

use super::cloud_event;
use super::request_fields::{FIELDS, Fields, TARGET_FIELDS, mismatch, wrong};
use super::strict_json::{self, Strict};
use super::{BULK_BODY_MAX_BYTES, Envelope, Key, Rejection, RejectionReason, Request, TargetType, Tenant};

/// A request names one thing. 256 KiB is a hundred times what the largest needs, and small enough to hold thousands.
pub const REQUEST_BODY_MAX_BYTES: usize = 256 * 1024;

/// Reads a message's body, bare or as a CloudEvent, that holds one request.
pub fn read_request(body: &[u8], envelope: &Envelope) -> Result<Request, Rejection> {
    let mut all = read_requests(body, envelope)?;
    match (all.pop(), all.is_empty()) {
        (Some(request), true) => Ok(request),
        _ => Err(wrong("/targets", "found several requests; wanted one, as target")),
    }
}

/// Reads a message's body, bare or as a CloudEvent: one request, or those of a bulk. Deterministic: the same bytes give the
/// same answer for ever.
pub fn read_requests(body: &[u8], envelope: &Envelope) -> Result<Vec<Request>, Rejection> {
    let too_large = |wanted: usize| {
        let found = body.len();
        Rejection::new(
            RejectionReason::TooLarge,
            "",
            format!("found {found} bytes; wanted at most {wanted}"),
        )
    };
    if body.len() > BULK_BODY_MAX_BYTES {
        return Err(too_large(BULK_BODY_MAX_BYTES));
    }
    let Strict { value, fault } = strict_json::read(body).map_err(|what| {
        if body.len() > REQUEST_BODY_MAX_BYTES {
            return too_large(REQUEST_BODY_MAX_BYTES);
        }
        Rejection::new(
            RejectionReason::NotJson,
            "",
            format!("found text that is not JSON: {what}; wanted a request as a JSON object"),
        )
    })?;
    let outer = object(value, "")?;

    let mut envelope = envelope.clone();
    let (mut fields, fault) = if cloud_event::is_cloud_event(&outer) {
        let seen = Address::seen_in(outer.get("data").and_then(Value::as_object), &envelope);
        // A fault comes first: what stands twice has no meaning that could be checked further.
        if let Some(fault) = fault {
            return Err(seen.onto(wrong(fault.pointer, fault.detail)));
        }
        let opened = cloud_event::open(outer).map_err(|rejection| seen.onto(rejection))?;
        if envelope.trace.traceparent.is_none() {
            envelope.trace = opened.trace;
        }
        let fields = object(opened.inside.value, opened.at)?;
        (Fields::new(opened.at, fields), opened.inside.fault)
    } else {
        (Fields::new("", outer), fault)
    };

    if body.len() > REQUEST_BODY_MAX_BYTES && !fields.is_bulk() {
        return Err(too_large(REQUEST_BODY_MAX_BYTES));
    }
    match fault {
        Some(fault) => Err(wrong(fault.pointer, fault.detail)),
        None => fields.requests(&envelope),
    }
    .map_err(|rejection| Address::seen_in(Some(fields.all()), &envelope).onto(rejection))
}

/// What can be told of a request that may be wrong elsewhere. Only well-formed names: they go into events.
struct Address {
    tenant: Option<String>,
    target_type: Option<String>,
    key: Option<String>,
    batch: Option<String>,
}

impl Address {
    fn seen_in(fields: Option<&Map<String, Value>>, envelope: &Envelope) -> Self {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let get = |name| fields.and_then(|fields| fields.get(name));
        let own_key = get("key").filter(|key| !key.is_null());
        let key = match own_key {
            Some(key) => text(Some(key)),
            None => fields.and(envelope.key().ok().flatten()).map(String::from),
        };
        Address {
            tenant: text(get("tenant")).filter(|name| Tenant::parse(name.as_str()).is_ok()),
            target_type: text(get("target").and_then(|target| target.get("type")))
                .filter(|name| TargetType::parse(name.as_str()).is_ok()),
            key: key.filter(|name| Key::parse(name.as_str()).is_ok()),
            batch: text(get("batch")).filter(|name| Key::parse(name.as_str()).is_ok()),
        }
    }

    fn onto(self, rejection: Rejection) -> Rejection {
        Rejection {
            tenant: self.tenant,
            target_type: self.target_type,
            key: self.key,
            batch: self.batch,
            ..rejection
        }
    }
}

/// The names of the contract: only these may stand in a pointer.
pub(super) fn is_known_name(name: &str) -> bool {
    FIELDS.contains(&name) || TARGET_FIELDS.contains(&name) || cloud_event::ATTRIBUTES.contains(&name)
}

pub(super) fn object(value: Value, at: &str) -> Result<Map<String, Value>, Rejection> {
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(mismatch(at, Some(&other), "a request as an object")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::deletion::{Action, TraceContext};

    fn read(body: Value) -> Result<Request, Rejection> {
        read_request(body.to_string().as_bytes(), &Envelope::default())
    }

    fn smallest() -> Value {
        json!({"target": {"type": "factory.computer", "id": "cmp_123"}, "tenant": "org_1"})
    }

    fn with(field: &str, value: Value) -> Value {
        let mut body = smallest();
        body[field] = value;
        body
    }

    fn refused(body: Value, reason: RejectionReason, field: &str) -> Rejection {
        let rejection = read(body.clone()).expect_err(&body.to_string());
        assert_eq!(
            (rejection.reason, rejection.field.as_str()),
            (reason, field),
            "{body}: {rejection}"
        );
        assert!(
            rejection.detail.contains("found ") && rejection.detail.contains("; wanted "),
            "{rejection}"
        );
        rejection
    }

    #[test]
    fn the_smallest_request_deletes() {
        let request = read(smallest()).expect("the smallest request");
        assert_eq!(request.action, Action::Delete);
        assert_eq!(request.target.id.as_str(), "cmp_123");
        assert_eq!(request.key, None);
        assert!(request.params.is_empty());
    }

    #[test]
    fn every_field_is_read() {
        let request = read(json!({
            "version": 1, "action": "restore", "target": {"type": "factory.session", "id": "ses_9"}, "tenant": "org_1",
            "key": "b1f7", "batch": "night", "requested_by": "user:42", "reason": "account\nclosed",
            "not_before": "2030-01-01T01:00:00.1234567+01:00", "deadline": "2030-02-01T00:00:00Z",
            "params": {"computer_id": "cmp_123", "nested": [[1]]}
        }))
        .expect("a full request");
        assert_eq!(request.action, Action::Restore);
        assert_eq!(request.key.as_ref().map(Key::as_str), Some("b1f7"));
        assert_eq!(request.batch.as_deref(), Some("night"));
        assert_eq!(request.requested_by.as_deref(), Some("user:42"));
        assert_eq!(request.reason.as_deref(), Some("account\nclosed"));
        let kept = time::macros::datetime!(2030-01-01 00:00:00.123456 UTC);
        assert_eq!(
            request.not_before,
            Some(kept),
            "in UTC, at the grain that Postgres keeps"
        );
        assert_eq!(
            request.deadline,
            Some(time::macros::datetime!(2030-02-01 0:00 UTC))
        );
        assert_eq!(request.params["computer_id"], "cmp_123");
    }

    #[test]
    fn a_null_field_is_one_left_out_but_not_where_one_is_required() {
        let request = read(with("key", Value::Null)).expect("a null key is no key");
        assert_eq!(request.key, None);
        refused(
            with("tenant", Value::Null),
            RejectionReason::WrongShape,
            "/tenant",
        );
    }

    #[test]
    fn the_key_falls_back_to_the_message_id() {
        let read = |body: Value, message_id: &str| {
            let envelope = Envelope::new(Some(message_id), None, TraceContext::default());
            read_request(body.to_string().as_bytes(), &envelope)
        };
        let key = |request: Request| request.key.map(String::from);
        assert_eq!(read(smallest(), "m1").map(key), Ok(Some("m1".into())));
        assert_eq!(
            read(with("key", json!("k1")), "m1").map(key),
            Ok(Some("k1".into()))
        );
        assert_eq!(read(smallest(), "").map(key), Ok(None));
        for unfit in ["a\u{7}", "\0", &"é\0".repeat(100)] {
            let rejection = read(smallest(), unfit).expect_err("no key and no usable message_id");
            assert_eq!(
                (rejection.field.as_str(), rejection.key.as_deref()),
                ("/key", None)
            );
            assert!(rejection.detail.contains("message_id"), "{rejection}");
            assert!(
                read(with("key", json!("k1")), unfit).is_ok(),
                "with a key of its own"
            );
        }
    }

    #[test]
    fn what_is_not_json_or_too_large_is_told_apart() {
        for wrong in ["", "{", "nonsense", "{} {}", "\u{feff}{}"] {
            let rejection = read_request(wrong.as_bytes(), &Envelope::default()).expect_err(wrong);
            assert_eq!(rejection.reason, RejectionReason::NotJson, "{wrong:?}");
        }
        assert!(read_request(b"{\"a\": \"\xff\"}", &Envelope::default()).is_err());
        let large = with("reason", json!("x".repeat(REQUEST_BODY_MAX_BYTES)));
        refused(large, RejectionReason::TooLarge, "");
        refused(json!([smallest()]), RejectionReason::WrongShape, "");
    }

    #[test]
    fn another_version_is_unknown_whatever_else_it_says() {
        for version in [json!(2), json!(0), json!("1"), json!(1.5), json!([])] {
            let mut body = with("version", version);
            body["new_field"] = json!(true);
            refused(body, RejectionReason::UnknownVersion, "/version");
        }
    }

    #[test]
    fn each_wrong_field_is_named_with_what_is_wanted() {
        for (field, value, at) in [
            ("nonsense", json!(1), ""),
            ("action", json!("destroy"), "/action"),
            ("action", json!(1), "/action"),
            ("target", json!("cmp_123"), "/target"),
            ("target", json!({"id": "a"}), "/target/type"),
            ("target", json!({"type": "a.b"}), "/target/id"),
            ("target", json!({"type": "a.b", "id": 7}), "/target/id"),
            ("target", json!({"type": "A B", "id": "a"}), "/target/type"),
            (
                "target",
                json!({"type": "a.b", "id": "a", "name": "x"}),
                "/target",
            ),
            ("tenant", json!(""), "/tenant"),
            ("tenant", json!(["org_1"]), "/tenant"),
            ("key", json!("k".repeat(256)), "/key"),
            ("key", json!(7), "/key"),
            ("batch", json!(""), "/batch"),
            ("batch", json!("a\nb"), "/batch"),
            ("batch", json!("b".repeat(256)), "/batch"),
            ("requested_by", json!("u".repeat(256)), "/requested_by"),
            ("reason", json!("r".repeat(1001)), "/reason"),
            ("reason", json!({}), "/reason"),
            ("not_before", json!("tomorrow"), "/not_before"),
            ("not_before", json!("2030-01-01"), "/not_before"),
            ("deadline", json!(1_893_456_000), "/deadline"),
            ("params", json!([]), "/params"),
        ] {
            refused(with(field, value), RejectionReason::WrongShape, at);
        }
        refused(json!({"tenant": "org_1"}), RejectionReason::WrongShape, "/target");
        refused(json!({}), RejectionReason::WrongShape, "/target");
    }

    #[test]
    fn a_time_that_could_not_be_kept_is_refused() {
        for field in ["not_before", "deadline"] {
            for out_of_range in [
                "9999-12-31T23:59:59-01:00",
                "0000-01-01T00:00:00+01:00",
                "9000-01-01T00:00:00Z",
                "8999-12-31T23:59:59-00:01",
                "1970-01-01T00:00:00+00:01",
                "0001-01-01T00:00:00Z",
            ] {
                let pointer = format!("/{field}");
                refused(
                    with(field, json!(out_of_range)),
                    RejectionReason::WrongShape,
                    &pointer,
                );
            }
            for kept in ["1970-01-01T00:00:00Z", "8999-12-31T23:59:59Z"] {
                assert!(read(with(field, json!(kept))).is_ok(), "{kept}");
            }
        }
    }

    #[test]
    fn params_are_bounded_in_number_and_depth_and_hold_no_nul() {
        let many = |count: usize| (0..count).map(|i| (format!("p{i}"), json!(i))).collect::<Value>();
        assert!(read(with("params", many(64))).is_ok());
        refused(with("params", many(65)), RejectionReason::WrongShape, "/params");
        let nested = |levels: usize| (1..levels).fold(json!({}), |inside, _| json!({"a": inside}));
        assert!(read(with("params", nested(8))).is_ok());
        refused(with("params", nested(9)), RejectionReason::WrongShape, "/params");
        refused(
            with("params", json!({"a": [0, "x\0"]})),
            RejectionReason::WrongShape,
            "/params",
        );
    }

    #[test]
    fn a_name_given_twice_is_refused_and_the_address_still_told() {
        let body = r#"{"target": {"type": "a.b", "id": "1", "id": "2"}, "tenant": "org_1", "key": "k"}"#;
        let rejection = read_request(body.as_bytes(), &Envelope::default()).expect_err("two ids");
        assert_eq!(rejection.field, "/target/id");
        let address = (
            rejection.tenant.as_deref(),
            rejection.target_type.as_deref(),
            rejection.key.as_deref(),
        );
        assert_eq!(address, (Some("org_1"), Some("a.b"), Some("k")));
    }

    #[test]
    fn invariant_12_a_rejection_never_repeats_the_content() {
        const SECRET: &str = "Alice-Secret";
        let mut bodies = vec![json!(SECRET), json!([SECRET])];
        for field in [
            "version",
            "action",
            "key",
            "reason",
            "not_before",
            "deadline",
            "params",
            "target",
            "tenant",
        ] {
            bodies.push(with(field, json!([SECRET])));
        }
        for field in ["version", "action", "not_before", "deadline", "params", "target"] {
            bodies.push(with(field, json!(SECRET)));
        }
        bodies.push(with("target", json!({"type": SECRET, "id": "1"})));
        bodies.push(with("target", json!({"type": "a.b", "id": "1", SECRET: 1})));
        bodies.push(with(SECRET, json!(1)));
        bodies.push(with("params", json!({SECRET: "\0"})));
        bodies.push(with("params", json!({SECRET: [[[[[[[[[]]]]]]]]]})));
        bodies
            .push(json!({"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": {SECRET: 1}}));
        for extension in [json!(1.5), json!("x")] {
            bodies.push(json!({"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": {}, SECRET: extension}));
        }
        bodies.push(with("params", json!({"a": format!("{SECRET}\0")})));
        bodies.push(with("batch", json!(format!("{SECRET}\n"))));
        bodies.push(with("reason", json!(SECRET.repeat(200))));
        for body in bodies {
            let rejection = read(body.clone()).expect_err(&body.to_string());
            assert!(!format!("{rejection:?}").contains(SECRET), "{rejection:?}");
        }
        for text in [
            SECRET.to_string(),
            format!("{{\"a\": {SECRET}}}"),
            format!("{{\"{SECRET}"),
            format!("{{\"{SECRET}\": 1, \"{SECRET}\": 2}}"),
        ] {
            let rejection = read_request(text.as_bytes(), &Envelope::default()).expect_err(&text);
            assert!(!format!("{rejection:?}").contains(SECRET), "{rejection:?}");
        }
    }
}
