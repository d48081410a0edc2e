//! How a secret is shown: not at all. Settings that are printed say that there is one, and where it comes from.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

/// Stands where a secret is. One that is empty is none.
pub const HIDDEN: &str = "(secret)";

pub fn hidden<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(stand_in(secret))
}

pub fn hidden_if_given<S: Serializer>(
    secret: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(stand_in).serialize(serializer)
}

pub fn all_hidden<S: Serializer>(
    secrets: &BTreeMap<String, SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(secrets.iter().map(|(name, secret)| (name, stand_in(secret))))
}

fn stand_in(secret: &SecretString) -> &'static str {
    if secret.expose_secret().is_empty() {
        ""
    } else {
        HIDDEN
    }
}
