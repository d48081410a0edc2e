//! The fields of a request, each taken with its type and its bound.
//!
//! A field that is not known is an error, not ignored: a misspelt `not_before` would otherwise delete at once.

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::cloud_event::found;
use super::strict_json::pointer_to;
use super::{
    Action, BadName, DeletionId, Envelope, Key, Rejection, RejectionReason, Request, Target, TargetId,
    TargetType, Tenant, WindowTicket,
};

/// Params are what a plan declares; a plan with more than 64 of them is not a plan.
pub const PARAMS_MAX_ENTRIES: usize = 64;
/// Counted from `params` itself. Params are scalars in practice; this leaves room and bounds every walk over them.
pub const PARAMS_DEPTH_MAX: usize = 8;
/// A reason is a sentence or two for the audit.
pub const REASON_MAX_CHARS: usize = 1_000;
pub const REQUESTED_BY_MAX_CHARS: usize = 255;
/// It travels as an AMQP header and is part of an index.
pub const BATCH_MAX_CHARS: usize = 255;

/// A batch is told as one; what is larger is told as several.
pub(super) const BATCH_SIZE_MAX: u32 = 1_000_000;

/// The version of this contract; `version` may be left out.
pub const REQUEST_VERSION: u64 = 1;

pub(super) const FIELDS: [&str; 15] = [
    "version",
    "action",
    "target",
    "targets",
    "tenant",
    "key",
    "batch",
    "batch_size",
    "requested_by",
    "reason",
    "not_before",
    "deadline",
    "params",
    "deletion",
    "window",
];
pub(super) const TARGET_FIELDS: [&str; 2] = ["type", "id"];

/// Nothing was asked of us before; an earlier time is a unit or an epoch gone wrong.
const YEAR_MIN: i32 = 1970;
/// Far from the year 10000, which neither RFC 3339 nor our time types can write, and from 9999, by which some tables say
/// "never".
const YEAR_END: i32 = 9000;

/// The fields of one request, bare or out of its CloudEvent.
pub(super) struct Fields {
    /// The pointer to the request within the message.
    at: &'static str,
    fields: Map<String, Value>,
}

impl Fields {
    pub(super) fn new(at: &'static str, mut fields: Map<String, Value>) -> Self {
        // A null field is one left out: many publishers write their absent values so.
        fields.retain(|_, value| !value.is_null());
        Fields { at, fields }
    }

    pub(super) fn all(&self) -> &Map<String, Value> {
        &self.fields
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name)
    }

    /// The one request, or those of a bulk.
    pub(super) fn requests(&mut self, envelope: &Envelope) -> Result<Vec<Request>, Rejection> {
        // The version comes first: of another version's fields nothing is known.
        self.check_version()?;
        only_known(self.at, &self.fields, &FIELDS)?;
        if self.is_bulk() {
            return self.bulk(envelope);
        }
        let at = self.pointer("target");
        let target = match self.fields.get("target") {
            Some(Value::Object(target)) => self.target_in(&at, target)?,
            other => return Err(mismatch(at, other, "an object with type and id")),
        };
        Ok(vec![self.about(target, envelope)?])
    }

    /// All that a request says beside its target.
    pub(super) fn about(&mut self, target: Target, envelope: &Envelope) -> Result<Request, Rejection> {
        let action = self.action()?;
        let key = self.key(envelope)?;
        Ok(Request {
            action,
            target,
            key,
            batch: self.line("batch", BATCH_MAX_CHARS)?,
            batch_size: self.batch_size()?,
            requested_by: self.line("requested_by", REQUESTED_BY_MAX_CHARS)?,
            reason: self.text("reason", REASON_MAX_CHARS)?,
            not_before: self.time("not_before")?,
            deadline: self.time("deadline")?,
            params: self.params()?,
            meant: self.meant(action)?,
            window: self.window(action)?,
            envelope: envelope.clone(),
        })
    }

    pub(super) fn pointer(&self, name: &str) -> String {
        pointer_to(self.at, name)
    }

    fn check_version(&self) -> Result<(), Rejection> {
        match self.fields.get("version") {
            None => Ok(()),
            Some(version) if version.as_f64() == Some(REQUEST_VERSION as f64) => Ok(()),
            Some(other) => {
                let what = if other.is_number() {
                    "another number"
                } else {
                    found(Some(other))
                };
                Err(Rejection::new(
                    RejectionReason::UnknownVersion,
                    self.pointer("version"),
                    format!("found {what}; wanted {REQUEST_VERSION}, or no version"),
                ))
            }
        }
    }

    fn action(&self) -> Result<Action, Rejection> {
        const WANTED: &str = "delete, restore or cancel";
        match self.fields.get("action") {
            None => Ok(Action::Delete),
            Some(Value::String(word)) => Action::parse(word).ok_or_else(|| {
                wrong(
                    self.pointer("action"),
                    format!("found another word; wanted {WANTED}"),
                )
            }),
            other => Err(mismatch(self.pointer("action"), other, WANTED)),
        }
    }

    fn batch_size(&self) -> Result<Option<u32>, Rejection> {
        let at = self.pointer("batch_size");
        let wanted = format!("a whole number from 1 to {BATCH_SIZE_MAX}");
        match self.fields.get("batch_size") {
            None => Ok(None),
            Some(Value::Number(number)) => {
                let size = number.as_u64().and_then(|size| u32::try_from(size).ok());
                match size.filter(|size| (1..=BATCH_SIZE_MAX).contains(size)) {
                    Some(size) => Ok(Some(size)),
                    None => Err(wrong(at, format!("found another number; wanted {wanted}"))),
                }
            }
            other => Err(mismatch(at, other, &wanted)),
        }
    }

    pub(super) fn target_in(&self, at: &str, target: &Map<String, Value>) -> Result<Target, Rejection> {
        only_known(at, target, &TARGET_FIELDS)?;
        let name = |from: &Map<String, Value>, at: &str, name: &str| match from.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            other => Err(mismatch(pointer_to(at, name), other, "a string")),
        };
        let bad = |at: &str, name: &str| {
            let pointer = pointer_to(at, name);
            move |bad: BadName| wrong(pointer, format!("found {bad}"))
        };
        let kind = TargetType::parse(name(target, at, "type")?).map_err(|bad| {
            // The word itself stays out: what was put into a type by mistake may be anything.
            let wanted = bad.wanted;
            wrong(
                pointer_to(at, "type"),
                format!("found a string in another form; wanted {wanted}"),
            )
        })?;
        let id = TargetId::parse(name(target, at, "id")?).map_err(bad(at, "id"))?;
        let tenant = Tenant::parse(name(&self.fields, self.at, "tenant")?).map_err(bad(self.at, "tenant"))?;
        Ok(Target { tenant, kind, id })
    }

    fn key(&self, envelope: &Envelope) -> Result<Option<Key>, Rejection> {
        let at = self.pointer("key");
        match self.fields.get("key") {
            Some(Value::String(key)) => Key::parse(key.as_str())
                .map(Some)
                .map_err(|bad| wrong(at, format!("found {bad}"))),
            Some(other) => Err(mismatch(at, Some(other), "a string")),
            None => envelope
                .key()
                .map_err(|bad| wrong(at, format!("found nothing here, and as message_id {bad}"))),
        }
    }

    /// One line that is not empty: it becomes a header.
    fn line(&self, name: &str, max_chars: usize) -> Result<Option<String>, Rejection> {
        let text = self.text(name, max_chars)?;
        let what = match &text {
            Some(text) if text.is_empty() => "an empty string",
            Some(text) if text.contains(char::is_control) => "a control character",
            _ => return Ok(text),
        };
        let wanted = format!("1 to {max_chars} characters without control characters");
        Err(wrong(
            self.pointer(name),
            format!("found {what}; wanted {wanted}"),
        ))
    }

    fn text(&self, name: &str, max_chars: usize) -> Result<Option<String>, Rejection> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => match text.chars().count() {
                chars if chars > max_chars => Err(wrong(
                    self.pointer(name),
                    format!("found {chars} characters; wanted at most {max_chars}"),
                )),
                _ => Ok(Some(text.clone())),
            },
            other => Err(mismatch(self.pointer(name), other, "a string")),
        }
    }

    fn time(&self, name: &str) -> Result<Option<OffsetDateTime>, Rejection> {
        const WANTED: &str = "a time as in RFC 3339, like 2030-01-31T12:00:00Z";
        let at = || self.pointer(name);
        match self.fields.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => {
                let time = OffsetDateTime::parse(text, &Rfc3339)
                    .map_err(|_| wrong(at(), format!("found a string in another form; wanted {WANTED}")))?;
                match as_kept(time).filter(|time| (YEAR_MIN..YEAR_END).contains(&time.year())) {
                    Some(time) => Ok(Some(time)),
                    None => Err(wrong(
                        at(),
                        format!(
                            "found a time out of range; wanted one from {YEAR_MIN} on and before {YEAR_END}, in UTC"
                        ),
                    )),
                }
            }
            other => Err(mismatch(at(), other, WANTED)),
        }
    }

    /// Sexton's own word to itself, in its purges.
    fn meant(&self, action: Action) -> Result<Option<DeletionId>, Rejection> {
        let at = self.pointer("deletion");
        match self.fields.get("deletion") {
            None => Ok(None),
            Some(_) if !matches!(action, Action::Restore | Action::Cancel) => Err(wrong(
                at,
                "found a deletion; wanted it with \"restore\" and \"cancel\" only",
            )),
            found => {
                let text = found.and_then(Value::as_str);
                match text.and_then(|text| Uuid::parse_str(text).ok()) {
                    Some(id) => Ok(Some(DeletionId(id))),
                    None => Err(mismatch(at, found, "a UUID")),
                }
            }
        }
    }

    fn window(&self, action: Action) -> Result<Option<WindowTicket>, Rejection> {
        let at = self.pointer("window");
        let window = match self.fields.get("window") {
            None => return Ok(None),
            Some(_) if action != Action::Purge => {
                return Err(wrong(at, "found a window; wanted it with \"purge\" only"));
            }
            Some(Value::Object(window)) => window,
            other => return Err(mismatch(at, other, "an object")),
        };
        only_known(&at, window, &["deletion", "ticket"])?;
        let id = |name: &str| {
            let text = window.get(name).and_then(Value::as_str);
            text.and_then(|text| Uuid::parse_str(text).ok())
                .ok_or_else(|| mismatch(pointer_to(&at, name), window.get(name), "a UUID"))
        };
        Ok(Some(WindowTicket {
            deletion: DeletionId(id("deletion")?),
            ticket: id("ticket")?,
        }))
    }

    fn params(&mut self) -> Result<Map<String, Value>, Rejection> {
        let at = self.pointer("params");
        let params = match self.fields.remove("params") {
            None => return Ok(Map::new()),
            Some(Value::Object(params)) => params,
            other => return Err(mismatch(at, other.as_ref(), "an object")),
        };
        if params.len() > PARAMS_MAX_ENTRIES {
            let entries = params.len();
            return Err(wrong(
                at,
                format!("found {entries} entries; wanted at most {PARAMS_MAX_ENTRIES}"),
            ));
        }
        if params.values().any(|value| depth(value) >= PARAMS_DEPTH_MAX) {
            return Err(wrong(
                at,
                format!("found deeper nesting; wanted at most {PARAMS_DEPTH_MAX} levels"),
            ));
        }
        Ok(params)
    }
}

/// The name itself stays out, as content does: who builds objects from data has an address where a name should be.
fn only_known(at: &str, fields: &Map<String, Value>, known: &[&str]) -> Result<(), Rejection> {
    if fields.keys().all(|name| known.contains(&name.as_str())) {
        return Ok(());
    }
    Err(wrong(
        at,
        format!(
            "found a field that is not known; wanted only {}",
            known.join(", ")
        ),
    ))
}

/// Postgres keeps microseconds and no offset. A finer value would not be the same request when read back. None if there
/// is no such time in UTC.
fn as_kept(time: OffsetDateTime) -> Option<OffsetDateTime> {
    let time = time.checked_to_offset(time::UtcOffset::UTC)?;
    time.replace_nanosecond(time.nanosecond() / 1_000 * 1_000).ok()
}

fn depth(value: &Value) -> usize {
    let inside: &mut dyn Iterator<Item = &Value> = match value {
        Value::Array(all) => &mut all.iter(),
        Value::Object(all) => &mut all.values(),
        _ => return 0,
    };
    1 + inside.map(depth).max().unwrap_or(0)
}

pub(super) fn wrong(at: impl Into<String>, detail: impl Into<String>) -> Rejection {
    Rejection::new(RejectionReason::WrongShape, at, detail)
}

pub(super) fn mismatch(at: impl Into<String>, value: Option<&Value>, wanted: &str) -> Rejection {
    wrong(at, format!("found {}; wanted {wanted}", found(value)))
}
