//! A service profile as it is written in its file, with the places kept for error messages.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::answers::{Meaning, RawAnswer};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProfile {
    /// What shows that these credentials could have seen the thing; for all calls that have none of their own.
    pub(super) evidence: Option<Spanned<RawCall>>,
    /// Asked by the readiness check.
    pub(super) ready: Option<Spanned<RawCall>>,
    #[serde(default)]
    pub(super) call: BTreeMap<String, Spanned<RawCall>>,
}

type List = Option<Spanned<Vec<RawAnswer>>>;

/// A call, a look or evidence; which of the fields each may have is checked where it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCall {
    pub(super) method: Option<Spanned<String>>,
    pub(super) path: Spanned<String>,
    #[serde(default)]
    pub(super) query: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Spanned<String>>,
    pub(super) body: Option<Spanned<toml::Value>>,
    pub(super) idempotency_header: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) keep: BTreeMap<String, String>,
    pub(super) every: Option<Spanned<String>>,
    pub(super) look: Option<Box<Spanned<RawCall>>>,
    pub(super) evidence: Option<Box<Spanned<RawCall>>>,
    done: List,
    gone: List,
    pending: List,
    standing: List,
    retry: List,
    throttled: List,
    missing: List,
    unseen: List,
    refused: List,
    blocked: List,
    failed: List,
}

impl RawCall {
    pub(super) fn lists(&self) -> [(Meaning, &List); 11] {
        [
            (Meaning::Done, &self.done),
            (Meaning::Gone, &self.gone),
            (Meaning::Pending, &self.pending),
            (Meaning::Standing, &self.standing),
            (Meaning::Retry, &self.retry),
            (Meaning::Throttled, &self.throttled),
            (Meaning::Missing, &self.missing),
            (Meaning::Unseen, &self.unseen),
            (Meaning::Refused, &self.refused),
            (Meaning::Blocked, &self.blocked),
            (Meaning::Failed, &self.failed),
        ]
    }
}
