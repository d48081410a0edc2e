//! `deploy/contract/` says what the code does: its files are made from the types, its examples are read by both.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use sexton::deletion::{
    Action, Announcement, BATCH_MAX_CHARS, DeletionId, Envelope, EventId, EventKind, PARAMS_MAX_ENTRIES,
    PlanHash, REASON_MAX_CHARS, REQUESTED_BY_MAX_CHARS, Rejection, RejectionReason, RequestId, TraceContext,
    read_request, wire,
};
use uuid::Uuid;

use RejectionReason::{NotJson, UnknownVersion, WrongShape};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/contract")
}

fn read(name: &str) -> Vec<u8> {
    let path = folder().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Compares a file with what the code gives, or writes it if told to.
pub(crate) fn same_as_file(name: &str, made: &Value) {
    let made = format!("{made:#}\n");
    let path = folder().join(name);
    if std::env::var_os("SEXTON_BLESS").is_some() {
        std::fs::write(&path, made).expect("the contract's folder can be written");
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "deploy/contract/{name} is not what the types give; if the change is wanted, write it anew with \
         `SEXTON_BLESS=1 cargo test --test it -- contract asyncapi` and say so in CHANGELOG.md"
    );
}

fn validator(schema: &str) -> jsonschema::Validator {
    let schema = wire::schemas().remove(schema).expect("a schema of the contract");
    jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(schema.as_value())
        .expect("a valid schema")
}

type Example = (&'static str, Option<(RejectionReason, &'static str)>, bool);

/// Every example, with how it is turned away, and whether a schema can see that.
const EXAMPLES: [Example; 33] = [
    ("smallest", None, true),
    ("with-key", None, true),
    ("full", None, true),
    ("restore", None, true),
    ("restore-one", None, true),
    ("bad-deletion-of-delete", Some((WrongShape, "/deletion")), false),
    ("cancel", None, true),
    ("absent-as-null", None, true),
    ("cloud-event", None, true),
    ("cloud-event-base64", None, true),
    ("bad-not-json", Some((NotJson, "")), false),
    ("bad-array", Some((WrongShape, "")), true),
    ("bad-name-twice", Some((WrongShape, "/target/id")), false),
    ("bad-no-tenant", Some((WrongShape, "/tenant")), true),
    ("bad-no-target", Some((WrongShape, "/target")), true),
    ("bad-target-is-text", Some((WrongShape, "/target")), true),
    ("bad-id-is-number", Some((WrongShape, "/target/id")), true),
    ("bad-type-in-capitals", Some((WrongShape, "/target/type")), true),
    ("bad-misspelt-field", Some((WrongShape, "")), true),
    ("bad-misspelt-action", Some((WrongShape, "/action")), true),
    ("bad-empty-key", Some((WrongShape, "/key")), true),
    ("bad-date-without-time", Some((WrongShape, "/deadline")), true),
    ("bad-nul-in-id", Some((WrongShape, "/target/id")), true),
    ("bad-nul-in-params", Some((WrongShape, "/params")), false),
    ("bad-params-is-array", Some((WrongShape, "/params")), true),
    ("bad-version-2", Some((UnknownVersion, "/version")), true),
    (
        "bad-cloud-event-version",
        Some((UnknownVersion, "/specversion")),
        true,
    ),
    ("bad-cloud-event-no-data", Some((WrongShape, "/data")), true),
    ("bad-cloud-event-no-source", Some((WrongShape, "/source")), true),
    (
        "bad-cloud-event-wrong-inside",
        Some((WrongShape, "/data/tenant")),
        true,
    ),
    ("bad-cloud-event-data-is-text", Some((WrongShape, "/data")), true),
    (
        "bad-cloud-event-two-datas",
        Some((WrongShape, "/data_base64")),
        true,
    ),
    (
        "bad-cloud-event-xml",
        Some((WrongShape, "/datacontenttype")),
        true,
    ),
];

#[test]
fn the_schemas_are_what_the_types_give() {
    for (name, schema) in wire::schemas() {
        same_as_file(name, schema.as_value());
    }
}

#[test]
fn schema_and_reader_agree_on_every_example() {
    let schema = validator("request.schema.json");
    for (name, wanted, schema_can_see) in EXAMPLES {
        let body = read(&format!("examples/{name}.json"));
        let found = read_request(&body, &Envelope::default()).map_err(|wrong| (wrong.reason, wrong.field));
        match wanted {
            None => assert!(found.is_ok(), "{name}: {found:?}"),
            Some((reason, field)) => assert_eq!(found, Err((reason, field.to_owned())), "{name}"),
        }
        if schema_can_see {
            let body: Value = serde_json::from_slice(&body).expect(name);
            assert_eq!(schema.is_valid(&body), wanted.is_none(), "{name}");
        }
    }
    let listed: BTreeSet<String> = EXAMPLES.iter().map(|(name, ..)| format!("{name}.json")).collect();
    let kept: BTreeSet<String> = std::fs::read_dir(folder().join("examples"))
        .expect("examples")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| !name.starts_with("event-"))
        .collect();
    assert_eq!(
        kept, listed,
        "every example stands in the table of this test, and nothing else"
    );
}

#[test]
fn schema_and_reader_have_the_same_bounds() {
    let schema = validator("request.schema.json");
    let smallest: Value = serde_json::from_slice(&read("examples/smallest.json")).expect("JSON");
    let text = |chars: usize| Value::String("x".repeat(chars));
    let many = |entries: usize| {
        (0..entries)
            .map(|i| (format!("p{i}"), json!(i)))
            .collect::<Value>()
    };
    type Made<'m> = &'m dyn Fn(usize) -> Value;
    let longest: [(&str, usize, Made<'_>); 8] = [
        ("/tenant", 128, &text),
        ("/key", 255, &text),
        ("/batch", BATCH_MAX_CHARS, &text),
        ("/requested_by", REQUESTED_BY_MAX_CHARS, &text),
        ("/reason", REASON_MAX_CHARS, &text),
        ("/target/id", 512, &text),
        ("/target/type", 64, &text),
        ("/params", PARAMS_MAX_ENTRIES, &many),
    ];
    for (pointer, bound, of_length) in longest {
        for (length, fits) in [(bound, true), (bound + 1, false)] {
            let mut body = smallest.clone();
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            body.pointer_mut(parent).expect(pointer)[name] = of_length(length);
            assert_eq!(schema.is_valid(&body), fits, "schema, {pointer} of {length}");
            let found = read_request(body.to_string().as_bytes(), &Envelope::default());
            assert_eq!(found.is_ok(), fits, "reader, {pointer} of {length}: {found:?}");
        }
    }
}

fn announcement(kind: EventKind, detail: Value) -> Announcement {
    Announcement {
        event_id: EventId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001)),
        kind,
        at: time::macros::datetime!(2030-01-31 12:00:00.25 UTC),
        request_id: RequestId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002)),
        deletion_id: Some(DeletionId(Uuid::from_u128(
            0x0190_0000_0000_7000_8000_0000_0000_0003,
        ))),
        sequence: Some(12),
        tenant: Some("org_1".into()),
        target_type: Some("factory.computer".into()),
        target_id: Some("cmp_123".into()),
        action: Some(Action::Delete),
        key: Some("b1f6a2".into()),
        batch: None,
        message_id: Some("b1f6a2".into()),
        correlation_id: None,
        trace: TraceContext::new(
            Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            None,
        ),
        plan: Some(PlanHash("5e".repeat(32))),
        detail: detail.as_object().cloned().unwrap_or_default(),
    }
}

#[test]
fn every_event_fits_its_schema() {
    let schema = validator("event.schema.json");
    let rejection = Rejection::new(WrongShape, "/target/id", "found a number; wanted a string");
    let rejected = Announcement {
        deletion_id: None,
        sequence: None,
        tenant: None,
        target_type: None,
        target_id: None,
        action: None,
        key: None,
        message_id: None,
        trace: TraceContext::default(),
        plan: None,
        detail: rejection.event_detail(),
        ..announcement(EventKind::Rejected, Value::Null)
    };
    let orphans =
        json!({"orphans": [{"step": "tear-down", "why": "the provider has refused five times: 403"}]});
    let why = json!({"because": "exhausted", "step": "tear-down", "attempts": 5, "why": "the provider answers 500"});
    let refused = json!({"step": "remove", "why": "it has been started and cannot be deleted"});
    let made = [
        announcement(EventKind::Refused, refused),
        announcement(EventKind::Completed, json!({"result": "deleted"})),
        announcement(EventKind::CompletedWithOrphans, orphans),
        announcement(EventKind::Parked, why),
        rejected,
    ];
    for announcement in &made {
        let body: Value = serde_json::from_slice(&announcement.compose().body).expect("JSON");
        same_as_file(
            &format!("examples/event-{}.json", announcement.kind.word()),
            &body,
        );
    }
    let all = EventKind::ALL.map(|kind| announcement(kind, Value::Object(Map::new())));
    for announcement in all.iter().chain(&made) {
        let body: Value = serde_json::from_slice(&announcement.compose().body).expect("JSON");
        let faults: Vec<String> = schema.iter_errors(&body).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{}: {faults:?}", announcement.kind.word());
    }
    let mut unknown: Value = serde_json::from_slice(&made[1].compose().body).expect("JSON");
    unknown["data"]["event"] = json!("vanished");
    assert!(!schema.is_valid(&unknown), "the list of events is closed");
}
