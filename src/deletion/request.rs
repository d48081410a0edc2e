//! A request, once it is known to be well formed; and how one that is not is turned away.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{BadName, DeletionId, Key, Target, Tenant, TraceContext};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Delete,
    Restore,
    Cancel,
    /// From Sexton's own principal only.
    Purge,
}

impl Action {
    pub fn word(self) -> &'static str {
        match self {
            Action::Delete => "delete",
            Action::Restore => "restore",
            Action::Cancel => "cancel",
            Action::Purge => "purge",
        }
    }

    const ALL: [Action; 4] = [Action::Delete, Action::Restore, Action::Cancel, Action::Purge];

    pub fn parse(word: &str) -> Option<Self> {
        Action::ALL.into_iter().find(|action| action.word() == word)
    }

    /// As it stands in the tables, where every record of a deletion repeats it: the first letter of its word.
    pub fn letter(self) -> &'static str {
        &self.word()[..1]
    }

    pub fn of_letter(letter: &str) -> Option<Self> {
        Action::ALL.into_iter().find(|action| action.letter() == letter)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub action: Action,
    pub target: Target,
    /// `key`, else the AMQP `message_id`.
    pub key: Option<Key>,
    pub batch: Option<String>,
    /// How many requests its batch has, if it says so.
    pub batch_size: Option<u32>,
    pub requested_by: Option<String>,
    pub reason: Option<String>,
    pub not_before: Option<OffsetDateTime>,
    pub deadline: Option<OffsetDateTime>,
    pub params: Map<String, Value>,
    /// Of a restore or a cancel: the deletion that is meant, and no other of the same target.
    pub meant: Option<DeletionId>,
    /// Of a purge only.
    pub window: Option<WindowTicket>,
    pub envelope: Envelope,
}

/// Which soft deletion a purge ends, and the proof that Sexton itself asks for it: nobody else knows the ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowTicket {
    pub deletion: DeletionId,
    pub ticket: Uuid,
}

/// What came around the body and goes back with the outcome.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope {
    pub message_id: Option<String>,
    pub correlation_id: Option<String>,
    pub trace: TraceContext,
}

/// Stands for what cannot go on: Postgres takes no NUL, and other control characters only ever hide something.
const REPLACED: char = '\u{FFFD}';
/// What AMQP carries of an id, and so what can go back with an event.
const ENVELOPE_ID_MAX_BYTES: usize = 255;

impl Envelope {
    /// The ids of a message, fit to be kept and to go back with the outcome, whatever was sent.
    pub fn new(message_id: Option<&str>, correlation_id: Option<&str>, trace: TraceContext) -> Self {
        Envelope {
            message_id: message_id.map(clean),
            correlation_id: correlation_id.map(clean),
            trace,
        }
    }

    /// The message's id as a key. One that could not be kept as it came is none: two of them could look alike.
    pub(super) fn key(&self) -> Result<Option<Key>, BadName> {
        match self.message_id.as_deref() {
            // An empty message_id is how some clients write none.
            None | Some("") => Ok(None),
            Some(id) if id.contains(REPLACED) => Err(BadName {
                found: "a text with control characters".to_owned(),
                wanted: "1 to 255 bytes without control characters",
            }),
            Some(id) => Key::parse(id).map(Some),
        }
    }
}

fn clean(id: &str) -> String {
    let mut clean = id.replace(char::is_control, &REPLACED.to_string());
    if clean.len() > ENVELOPE_ID_MAX_BYTES {
        clean.truncate(clean.floor_char_boundary(ENVELOPE_ID_MAX_BYTES - REPLACED.len_utf8()));
        clean.push(REPLACED);
    }
    clean
}

impl Request {
    /// What "the same request" means under one key: all that changes what would be done, in a form that does not
    /// depend on the order of fields. The envelope is left out, since a publisher's retry has a new one.
    pub fn digest(&self) -> [u8; 16] {
        let mut canonical = vec![serde_json::json!([
            self.action.word(),
            self.target.kind.as_str(),
            self.target.id.as_str(),
            self.target.tenant.as_str(),
            self.batch,
            self.batch_size,
            self.requested_by,
            self.reason,
            self.not_before
                .map(OffsetDateTime::unix_timestamp_nanos)
                .map(|at| at.to_string()),
            self.deadline
                .map(OffsetDateTime::unix_timestamp_nanos)
                .map(|at| at.to_string()),
            sorted(&self.params),
            self.window
                .map(|window| (window.deletion.to_string(), window.ticket.to_string())),
        ])];
        // What came later stands apart, so that a request without it is the same as before.
        canonical.extend(self.meant.map(|meant| meant.to_string().into()));
        let text: Vec<String> = canonical.iter().map(Value::to_string).collect();
        half_sha256(&[text.join("\n").as_bytes()])
    }

    /// The key scoped by its tenant.
    pub fn key_digest(&self) -> Option<[u8; 16]> {
        Some(self.key.as_ref()?.digest(&self.target.tenant))
    }

    /// Equal action and params: such a request may fold into an open deletion of the same target.
    pub fn fold_digest(&self) -> [u8; 16] {
        half_sha256(&[
            self.action.word().as_bytes(),
            b"\0",
            sorted(&self.params).to_string().as_bytes(),
        ])
    }
}

impl Key {
    /// What the key memory is looked up by: scoped by tenant, at the size at which an index likes it.
    pub fn digest(&self, tenant: &Tenant) -> [u8; 16] {
        half_sha256(&[tenant.as_str().as_bytes(), b"\0", self.as_str().as_bytes()])
    }
}

/// Half of SHA-256: 128 bits keep an accidental or made collision out of reach, at half the index size.
fn half_sha256(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

fn sorted(map: &Map<String, Value>) -> Value {
    fn sort(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut pairs: Vec<_> = map.iter().collect();
                pairs.sort_by(|a, b| a.0.cmp(b.0));
                Value::Array(
                    pairs
                        .into_iter()
                        .map(|(k, v)| Value::Array(vec![k.clone().into(), sort(v)]))
                        .collect(),
                )
            }
            Value::Array(all) => Value::Array(all.iter().map(sort).collect()),
            plain => plain.clone(),
        }
    }
    sort(&Value::Object(map.clone()))
}

/// Why a request was turned away. A closed list: it stands in headers, metrics and the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RejectionReason {
    NotJson,
    WrongShape,
    UnknownType,
    NoPlan,
    TooLarge,
    UnknownVersion,
    KeyConflict,
    /// A restorable type without a key: a late redelivery would delete what was restored.
    KeyMissing,
    /// Another request that differs already waits for this target.
    SlotTaken,
    /// Cancel, restore or purge, and there is nothing that it could apply to.
    NothingToDo,
    /// A restore that comes after the window has ended, or after the purge has begun.
    WindowOver,
    /// An action that this principal or this plan does not have.
    NotAllowed,
}

impl RejectionReason {
    pub const ALL: [RejectionReason; 12] = [
        RejectionReason::NotJson,
        RejectionReason::WrongShape,
        RejectionReason::UnknownType,
        RejectionReason::NoPlan,
        RejectionReason::TooLarge,
        RejectionReason::UnknownVersion,
        RejectionReason::KeyConflict,
        RejectionReason::KeyMissing,
        RejectionReason::SlotTaken,
        RejectionReason::NothingToDo,
        RejectionReason::WindowOver,
        RejectionReason::NotAllowed,
    ];

    pub fn word(self) -> &'static str {
        match self {
            RejectionReason::NotJson => "not_json",
            RejectionReason::WrongShape => "wrong_shape",
            RejectionReason::UnknownType => "unknown_type",
            RejectionReason::NoPlan => "no_plan",
            RejectionReason::TooLarge => "too_large",
            RejectionReason::UnknownVersion => "unknown_version",
            RejectionReason::KeyConflict => "key_conflict",
            RejectionReason::KeyMissing => "key_missing",
            RejectionReason::SlotTaken => "slot_taken",
            RejectionReason::NothingToDo => "nothing_to_do",
            RejectionReason::WindowOver => "window_over",
            RejectionReason::NotAllowed => "not_allowed",
        }
    }
}

impl RejectionReason {
    pub fn parse(word: &str) -> Option<Self> {
        RejectionReason::ALL
            .into_iter()
            .find(|reason| reason.word() == word)
    }
}

/// One clear error: what was found, where, what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reason: RejectionReason,
    /// A JSON pointer like `/target/id`, or empty for the whole body.
    pub field: String,
    /// What was found and what is wanted; never the content itself.
    pub detail: String,
    /// As much of the address as could be read, for the event.
    pub tenant: Option<String>,
    pub target_type: Option<String>,
    pub key: Option<String>,
    /// Of which batch it was, and how large that said to be.
    pub batch: Option<String>,
    pub batch_size: Option<u32>,
}

impl Rejection {
    pub fn new(reason: RejectionReason, field: impl Into<String>, detail: impl Into<String>) -> Self {
        Rejection {
            reason,
            field: field.into(),
            detail: detail.into(),
            tenant: None,
            target_type: None,
            key: None,
            batch: None,
            batch_size: None,
        }
    }

    /// A well-formed request that the rules turn away.
    pub fn of(request: &Request, reason: RejectionReason, field: &str, detail: impl Into<String>) -> Self {
        Rejection {
            tenant: Some(request.target.tenant.as_str().to_owned()),
            target_type: Some(request.target.kind.as_str().to_owned()),
            key: request.key.as_ref().map(|key| key.as_str().to_owned()),
            batch: request.batch.clone(),
            batch_size: request.batch_size,
            ..Rejection::new(reason, field, detail)
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.field.is_empty() {
            "the body"
        } else {
            &self.field
        };
        write!(f, "{} at {at}: {}", self.reason.word(), self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_an_envelope_can_be_kept_and_sent_back() {
        let ids = |id: &str| {
            let envelope = Envelope::new(Some(id), Some(id), TraceContext::default());
            assert_eq!(envelope.message_id, envelope.correlation_id);
            envelope.message_id.expect("an id")
        };
        assert_eq!(ids("b1f6-é"), "b1f6-é");
        assert_eq!(ids("a\0b\u{1b}[0m"), "a\u{fffd}b\u{fffd}[0m");
        for long in ["x".repeat(256), "\0".repeat(255), "é".repeat(200)] {
            let id = ids(&long);
            assert!(
                id.len() <= ENVELOPE_ID_MAX_BYTES && id.ends_with(REPLACED),
                "{id}"
            );
        }
        assert_eq!(
            Envelope::new(None, None, TraceContext::default()),
            Envelope::default()
        );
    }
}
