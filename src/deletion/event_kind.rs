//! The closed list of what may be told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What has happened. The list is part of the contract: it only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The request is kept; from here on it will have an outcome.
    Accepted,
    /// The request never became a deletion; `detail` has the reason and the field.
    Rejected,
    /// Gone for its users, and can be restored until its window ends.
    SoftDeleted,
    /// Taken back within its window.
    Restored,
    /// Ended; `detail.result` is `deleted`, `already_gone` or `absent`.
    Completed,
    /// Ended, but for the resources named in `detail.orphans`.
    CompletedWithOrphans,
    /// Ended by a cancel before the point of no return; what was done is undone.
    Cancelled,
    /// Ended because a guard of the plan said no; what was done is undone.
    Refused,
    /// Does not go on until a person has looked; `detail.why` says what they will find.
    Parked,
    /// Kept from going on by a legal hold.
    Held,
    /// The hold is lifted.
    Resumed,
    /// Something brought back what was deleted.
    Reappeared,
    /// Every request of a batch has its outcome.
    #[serde(rename = "batch.completed")]
    BatchCompleted,
}

impl EventKind {
    pub const ALL: [EventKind; 13] = [
        EventKind::Accepted,
        EventKind::Rejected,
        EventKind::SoftDeleted,
        EventKind::Restored,
        EventKind::Completed,
        EventKind::CompletedWithOrphans,
        EventKind::Cancelled,
        EventKind::Refused,
        EventKind::Parked,
        EventKind::Held,
        EventKind::Resumed,
        EventKind::Reappeared,
        EventKind::BatchCompleted,
    ];

    pub fn word(self) -> &'static str {
        match self {
            EventKind::Accepted => "accepted",
            EventKind::Rejected => "rejected",
            EventKind::SoftDeleted => "soft_deleted",
            EventKind::Restored => "restored",
            EventKind::Completed => "completed",
            EventKind::CompletedWithOrphans => "completed_with_orphans",
            EventKind::Cancelled => "cancelled",
            EventKind::Refused => "refused",
            EventKind::Parked => "parked",
            EventKind::Held => "held",
            EventKind::Resumed => "resumed",
            EventKind::Reappeared => "reappeared",
            EventKind::BatchCompleted => "batch.completed",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        EventKind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_closed_list_are_those_of_its_json_form() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_value(kind).expect("a word"), kind.word());
            assert_eq!(EventKind::parse(kind.word()), Some(kind));
        }
    }
}
