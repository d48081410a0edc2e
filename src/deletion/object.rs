//! JSON objects that are not requests yet, read as strictly as those.

use serde_json::{Map, Value};

use super::reading::object;
use super::request_fields::wrong;
use super::strict_json::{self, Strict};
use super::{Rejection, RejectionReason};

/// A JSON object as strictly as a request is read: no name twice, and no depth without end.
pub fn read_object(body: &[u8]) -> Result<Map<String, Value>, Rejection> {
    let Strict { value, fault } = strict_json::read(body).map_err(|what| {
        let detail = format!("found text that is not JSON: {what}; wanted a JSON object");
        Rejection::new(RejectionReason::NotJson, "", detail)
    })?;
    let fields = object(value, "")?;
    match fault {
        Some(fault) => Err(wrong(fault.pointer, fault.detail)),
        None => Ok(fields),
    }
}
