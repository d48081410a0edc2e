//! Names and ids, parsed once at the edge; behind it no empty, oversized or unprintable name exists.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Type names become routing keys and settings keys, so they stay short and plain.
const TYPE_MAX_CHARS: usize = 64;
/// Foreign ids are often URLs or composite keys; 512 bytes hold those and still fit a b-tree entry with tenant and type.
const ID_MAX_BYTES: usize = 512;
const TENANT_MAX_BYTES: usize = 128;
/// As long as an AMQP short string, which `message_id` is.
const KEY_MAX_BYTES: usize = 255;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found}; wanted {wanted}")]
pub struct BadName {
    pub found: String,
    pub wanted: &'static str,
}

fn bad<T>(found: impl Into<String>, wanted: &'static str) -> Result<T, BadName> {
    Err(BadName {
        found: found.into(),
        wanted,
    })
}

fn printable(text: &str, max_bytes: usize, wanted: &'static str) -> Result<(), BadName> {
    if text.is_empty() {
        return bad("an empty string", wanted);
    }
    if text.len() > max_bytes {
        return bad(format!("{} bytes", text.len()), wanted);
    }
    // Postgres cannot keep a NUL, and other control characters only ever hide something from a reader.
    if let Some(at) = text.chars().position(char::is_control) {
        return bad(format!("a control character at position {at}"), wanted);
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                $name::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// What kind of thing is to go, like `factory.computer`.
    TargetType
);
name!(
    /// Which one. Foreign text: never put into SQL, paths or logs unchecked.
    TargetId
);
name!(
    /// To whom it belongs. Everything is scoped by it.
    Tenant
);
name!(
    /// The publisher's idempotency key.
    Key
);

impl TargetType {
    pub fn parse(text: impl Into<String>) -> Result<Self, BadName> {
        const WANTED: &str = "a type like `factory.computer`: lower-case words of a-z, 0-9, `_` or `-` joined by dots, \
                              at most 64 characters";
        let text = text.into();
        if text.len() > TYPE_MAX_CHARS {
            return bad(format!("{} characters", text.chars().count()), WANTED);
        }
        let word = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
        };
        if !text.split('.').all(word) {
            return bad(format!("{text:?}"), WANTED);
        }
        Ok(TargetType(text))
    }

    /// The form used as one word of a routing key.
    pub fn routing_word(&self) -> String {
        self.0.replace('.', "-")
    }
}

impl TargetId {
    pub fn parse(text: impl Into<String>) -> Result<Self, BadName> {
        let text = text.into();
        printable(
            &text,
            ID_MAX_BYTES,
            "an id of 1 to 512 bytes without control characters",
        )?;
        Ok(TargetId(text))
    }
}

impl Tenant {
    pub fn parse(text: impl Into<String>) -> Result<Self, BadName> {
        let text = text.into();
        printable(
            &text,
            TENANT_MAX_BYTES,
            "a tenant of 1 to 128 bytes without control characters",
        )?;
        Ok(Tenant(text))
    }

    /// The form used as one word of a routing key: a dot would make it two, `*` and `#` are wildcards to readers.
    pub fn routing_word(&self) -> String {
        self.0.replace(['.', '*', '#', ' '], "-")
    }
}

impl Key {
    pub fn parse(text: impl Into<String>) -> Result<Self, BadName> {
        let text = text.into();
        printable(
            &text,
            KEY_MAX_BYTES,
            "a key of 1 to 255 bytes without control characters",
        )?;
        Ok(Key(text))
    }
}

/// What is to go. The order is the order in which slots are taken, so that two admissions never deadlock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    pub tenant: Tenant,
    #[serde(rename = "type")]
    pub kind: TargetType,
    pub id: TargetId,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// One request; a uuid v7, so that its partition is told from the id alone.
    RequestId
);
id!(
    /// One run of one plan over one target; a uuid v7.
    DeletionId
);
id!(
    /// One event; the same on every publish of it.
    EventId
);

/// SHA-256 of a plan's canonical form, in hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanHash(pub String);

impl PlanHash {
    /// Enough of it for a person to tell versions apart.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for PlanHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `1 row`, `2 rows`: a count that reads right.
pub struct Count(pub u64, pub &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_not_be_kept_or_routed_are_refused_with_what_is_wanted() {
        for wrong in ["", "Factory", "a..b", ".a", "a.", "a b", "1a", "a.#"] {
            let error = TargetType::parse(wrong).expect_err(wrong);
            assert!(error.wanted.contains("factory.computer"), "{error}");
        }
        assert!(TargetId::parse("a\0b").is_err());
        assert!(TargetId::parse("x".repeat(513)).is_err());
        assert!(TargetId::parse("https://a/b?c=d&é").is_ok());
        assert_eq!(
            TargetType::parse("factory.computer").map(|t| t.routing_word()),
            Ok("factory-computer".into())
        );
        assert_eq!(
            Tenant::parse("org.1#").map(|t| t.routing_word()),
            Ok("org-1-".into())
        );
    }
}
