//! The CloudEvents 1.0 envelope, structured mode: what a request comes in and an event goes out in.
//!
//! Attributes follow the specification (<https://github.com/cloudevents/spec>, JSON format 1.0.2): a null attribute
//! is an absent one, an unknown extension is ignored if its name and value are such as an extension may have.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::strict_json::{self, Strict, pointer_to};
use super::{Rejection, RejectionReason, TraceContext};

pub(super) const SPEC_VERSION: &str = "1.0";

/// What the specification and ours name; all others are extensions, whose names are the sender's.
pub(super) const ATTRIBUTES: [&str; 12] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "dataschema",
    "time",
    "datacontenttype",
    "data",
    "data_base64",
    "traceparent",
    "tracestate",
];

/// The request that was inside, with the pointer to where it stood.
pub(super) struct Opened {
    pub(super) at: &'static str,
    pub(super) inside: Strict,
    pub(super) trace: TraceContext,
}

/// A bare request has none of these names, so no content type is needed to tell the two apart.
pub(super) fn is_cloud_event(fields: &Map<String, Value>) -> bool {
    ["specversion", "data", "data_base64"]
        .iter()
        .any(|name| fields.contains_key(*name))
}

pub(super) fn open(mut fields: Map<String, Value>) -> Result<Opened, Rejection> {
    fields.retain(|_, value| !value.is_null());
    match fields.get("specversion").and_then(Value::as_str) {
        Some(SPEC_VERSION) => {}
        other => {
            let found = match (other, fields.get("specversion")) {
                (Some(_), _) => "another version",
                (None, value) => found(value),
            };
            return Err(Rejection::new(
                RejectionReason::UnknownVersion,
                "/specversion",
                format!("found {found}; wanted \"1.0\""),
            ));
        }
    }
    let data = fields.remove("data");
    let base64 = fields.remove("data_base64");
    check_attributes(&fields)?;
    let text = |name| fields.get(name).and_then(Value::as_str);
    let trace = TraceContext::new(text("traceparent"), text("tracestate"));
    let (at, inside) = match (data, base64) {
        (Some(_), Some(_)) => {
            return Err(wrong(
                "/data_base64",
                "found both data and data_base64; wanted one of them",
            ));
        }
        (Some(value), None) => ("/data", Strict { value, fault: None }),
        (None, Some(value)) => ("/data_base64", decode(&value)?),
        (None, None) => return Err(wrong("/data", "found nothing; wanted the request")),
    };
    Ok(Opened { at, inside, trace })
}

fn check_attributes(fields: &Map<String, Value>) -> Result<(), Rejection> {
    for name in ["id", "source", "type"] {
        if !fields.contains_key(name) {
            return Err(wrong(
                &pointer_to("", name),
                "found nothing; wanted a string that is not empty",
            ));
        }
    }
    for (name, value) in fields {
        let at = match ATTRIBUTES.contains(&name.as_str()) {
            true => pointer_to("", name),
            false => String::new(),
        };
        match name.as_str() {
            "specversion" => {}
            "id" | "source" | "type" | "subject" | "dataschema" | "time" | "datacontenttype" => {
                let text = value.as_str().filter(|text| !text.is_empty()).ok_or_else(|| {
                    let found = if value.is_string() {
                        "an empty string"
                    } else {
                        found(Some(value))
                    };
                    wrong(&at, &format!("found {found}; wanted a string that is not empty"))
                })?;
                if name == "time" && OffsetDateTime::parse(text, &Rfc3339).is_err() {
                    return Err(wrong(
                        &at,
                        "found a string in another form; wanted a time as in RFC 3339",
                    ));
                }
                if name == "datacontenttype" && !is_json_type(text) {
                    return Err(wrong(&at, "found another media type; wanted application/json"));
                }
            }
            _ if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) => {
                return Err(wrong(
                    &at,
                    "found a field that is not known; wanted attributes of CloudEvents 1.0, whose names are of a-z and 0-9",
                ));
            }
            _ if value.is_string() || value.is_boolean() || value.is_i64() => {}
            _ => {
                return Err(wrong(
                    &at,
                    &format!(
                        "found {} as an extension; wanted a string, a boolean or an integer",
                        found(Some(value))
                    ),
                ));
            }
        }
    }
    Ok(())
}

fn is_json_type(media: &str) -> bool {
    let essence = media
        .split(';')
        .next()
        .unwrap_or(media)
        .trim()
        .to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

fn decode(value: &Value) -> Result<Strict, Rejection> {
    const AT: &str = "/data_base64";
    let Some(text) = value.as_str() else {
        return Err(wrong(
            AT,
            &format!("found {}; wanted a string", found(Some(value))),
        ));
    };
    let bytes = BASE64
        .decode(text)
        .map_err(|_| wrong(AT, "found a string in another form; wanted base64 with padding"))?;
    let mut inside = strict_json::read(&bytes).map_err(|what| {
        Rejection::new(
            RejectionReason::NotJson,
            AT,
            format!("found text that is not JSON: {what}; wanted a request"),
        )
    })?;
    if let Some(fault) = &mut inside.fault {
        fault.pointer.insert_str(0, AT);
    }
    Ok(inside)
}

fn wrong(at: &str, detail: &str) -> Rejection {
    Rejection::new(RejectionReason::WrongShape, at, detail)
}

/// The kind of a value, which is all that a rejection says of it.
pub(super) fn found(value: Option<&Value>) -> &'static str {
    match value {
        None => "nothing",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "a string",
        Some(Value::Array(_)) => "an array",
        Some(Value::Object(_)) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::deletion::{Envelope, Request, read_request};

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

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

    fn event(data: Value) -> Value {
        json!({"specversion": "1.0", "id": "e1", "source": "/shop", "type": "any.type", "data": data})
    }

    fn refused(body: Value, reason: RejectionReason, field: &str) -> Rejection {
        let rejection = read(body.clone()).expect_err(&body.to_string());
        assert_eq!(
            (rejection.reason, rejection.field.as_str()),
            (reason, field),
            "{body}: {rejection}"
        );
        rejection
    }

    #[test]
    fn a_cloud_event_carries_the_same_request() {
        let bare = read(with("key", json!("k"))).expect("bare");
        assert_eq!(read(event(with("key", json!("k")))), Ok(bare.clone()));
        let mut encoded = event(Value::Null);
        encoded["data_base64"] = json!(BASE64.encode(with("key", json!("k")).to_string()));
        encoded["datacontenttype"] = json!("application/json; charset=utf-8");
        encoded["someextension"] = json!(7);
        encoded["subject"] = Value::Null;
        assert_eq!(read(encoded), Ok(bare));
    }

    #[test]
    fn another_version_of_the_envelope_is_unknown() {
        let mut later = event(smallest());
        later["specversion"] = json!("2.0");
        refused(later, RejectionReason::UnknownVersion, "/specversion");
        refused(
            json!({"data": smallest()}),
            RejectionReason::UnknownVersion,
            "/specversion",
        );
    }

    #[test]
    fn params_may_be_as_deep_inside_as_bare() {
        let nested = (1..8).fold(json!({}), |inside, _| json!({"a": inside}));
        assert!(read(event(with("params", nested))).is_ok());
        refused(
            event(with("params", json!({"a": "\0"}))),
            RejectionReason::WrongShape,
            "/data/params",
        );
    }

    #[test]
    fn a_wrong_cloud_event_is_told_where() {
        let with = |field: &str, value: Value| {
            let mut event = event(smallest());
            event[field] = value;
            event
        };
        for (field, value, at) in [
            ("id", json!(""), "/id"),
            ("source", json!(7), "/source"),
            ("type", Value::Null, "/type"),
            ("time", json!("noon"), "/time"),
            ("datacontenttype", json!("text/xml"), "/datacontenttype"),
            ("my_extension", json!("x"), ""),
            ("extension", json!({}), ""),
            ("extension", json!(1.5), ""),
            ("tracestate", json!(1.5), "/tracestate"),
            ("data_base64", json!("e30="), "/data_base64"),
            ("data", Value::Null, "/data"),
            ("data", json!("{}"), "/data"),
            ("data", json!({}), "/data/target"),
        ] {
            refused(with(field, value), RejectionReason::WrongShape, at);
        }
        let encoded = |text: &str| {
            let mut event = event(Value::Null);
            event["data_base64"] = json!(text);
            event
        };
        refused(encoded("%"), RejectionReason::WrongShape, "/data_base64");
        refused(
            encoded(&BASE64.encode("{")),
            RejectionReason::NotJson,
            "/data_base64",
        );
        let twice = BASE64.encode(r#"{"a": 1, "a": 2}"#);
        refused(encoded(&twice), RejectionReason::WrongShape, "/data_base64");
        let rejection = refused(with("type", json!(0)), RejectionReason::WrongShape, "/type");
        assert_eq!(
            rejection.tenant.as_deref(),
            Some("org_1"),
            "what is inside is told all the same"
        );
    }

    #[test]
    fn the_trace_of_a_cloud_event_counts_only_if_the_headers_had_none() {
        let mut body = event(smallest());
        body["traceparent"] = json!(PARENT);
        body["tracestate"] = json!("a=b");
        let request = read(body.clone()).expect("a traced event");
        assert_eq!(
            request.envelope.trace,
            TraceContext::new(Some(PARENT), Some("a=b"))
        );
        let headers = TraceContext::new(Some(&PARENT.replace("00f0", "00f1")), None);
        let envelope = Envelope {
            trace: headers.clone(),
            ..Envelope::default()
        };
        let request = read_request(body.to_string().as_bytes(), &envelope).expect("a traced event");
        assert_eq!(request.envelope.trace, headers);
        body["traceparent"] = json!("nonsense");
        assert_eq!(
            read(body).map(|request| request.envelope.trace),
            Ok(TraceContext::default())
        );
    }
}
