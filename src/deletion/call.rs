//! A call: a request that came by HTTP, which has a name before anybody has admitted it.
//!
//! The name travels as the message's id, so that admission can say which request answers the call. Whoever writes such an
//! id without having called changes nothing: tenant and content must be those of the call.

use std::fmt;

use uuid::Uuid;

use super::Envelope;

const PREFIX: &str = "call:";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub Uuid);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl CallId {
    pub fn message_id(self) -> String {
        format!("{PREFIX}{self}")
    }

    pub fn of_message(id: &str) -> Option<Self> {
        id.strip_prefix(PREFIX)?.parse().ok().map(CallId)
    }
}

impl Envelope {
    /// The call that it carries.
    pub fn call(&self) -> Option<CallId> {
        CallId::of_message(self.message_id.as_deref()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_by_its_message() {
        let call = CallId(Uuid::from_bytes([7; 16]));
        assert_eq!(CallId::of_message(&call.message_id()), Some(call));
        for other in [
            "",
            "call:",
            "call:x",
            "b1f6",
            "07070707-0707-0707-0707-070707070707",
        ] {
            assert_eq!(CallId::of_message(other), None, "{other}");
        }
    }
}
