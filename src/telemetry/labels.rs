//! The labels of metrics. Each set is closed, so that no metric grows with what strangers send.

use prometheus_client::encoding::EncodeLabelSet;

use crate::deletion::{CompletedResult, End, RejectionReason, Verdict};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Reason {
    pub(super) reason: &'static str,
}

impl Reason {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        RejectionReason::ALL
            .map(RejectionReason::word)
            .map(|reason| Reason { reason })
            .into_iter()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Ended {
    pub(super) end: &'static str,
    pub(super) result: &'static str,
}

impl Ended {
    /// For ends that have no result of their own.
    const NO_RESULT: &str = "none";

    pub(super) fn of(end: &End) -> Self {
        let result = match end {
            End::Completed { result } => result.word(),
            End::CompletedWithOrphans { .. }
            | End::SoftDeleted { .. }
            | End::Restored
            | End::Cancelled
            | End::Refused { .. } => Self::NO_RESULT,
        };
        Ended {
            end: end.word(),
            result,
        }
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        let completed = |result| End::Completed { result };
        [
            completed(CompletedResult::Deleted),
            completed(CompletedResult::AlreadyGone),
            completed(CompletedResult::Absent),
            End::CompletedWithOrphans { orphans: Vec::new() },
            End::SoftDeleted {
                until: time::OffsetDateTime::UNIX_EPOCH,
            },
            End::Restored,
            End::Cancelled,
            End::Refused {
                why: String::new(),
                step: None,
            },
        ]
        .map(|end| Ended::of(&end))
        .into_iter()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Said {
    pub(super) verdict: &'static str,
}

impl Said {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Verdict::WORDS.map(|verdict| Said { verdict }).into_iter()
    }
}

/// The name that also stands in the SQL comment and in the span.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Transaction {
    pub(super) transaction: &'static str,
}

/// A name out of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct System {
    pub(super) system: String,
}
