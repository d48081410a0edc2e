//! What a deletion's journal says, entry by entry.
//!
//! A record is one durable write and holds one or more entries: the verdict of one step and the intent of the next
//! are one record whenever the next effect can start at once. Entries are facts about the past; replay gives the
//! same [`super::State`] that the live worker had.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{PlanHash, Verdict};
use crate::plan::Values;

/// Step 0 is the plan's lookup; step `n` is the plan's nth step.
pub type StepNumber = u16;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "e", rename_all = "snake_case")]
pub enum Entry {
    /// The lookup's answer. `known`: a tombstone remembers an earlier end of this target.
    Looked {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        facts: Option<Values>,
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        known: bool,
    },
    /// Durable before the effect of this attempt may begin.
    Intent {
        step: StepNumber,
        #[serde(skip_serializing_if = "Aim::is_do", default)]
        aim: Aim,
        attempt: u32,
    },
    /// How the attempt went. `due`: when to go on, if not at once.
    Verdict {
        step: StepNumber,
        #[serde(skip_serializing_if = "Aim::is_do", default)]
        aim: Aim,
        attempt: u32,
        verdict: Verdict,
        /// Found out by looking, after a worker was lost between intent and verdict.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        found_out: bool,
        #[serde(
            with = "time::serde::rfc3339::option",
            skip_serializing_if = "Option::is_none",
            default
        )]
        due: Option<OffsetDateTime>,
    },
    /// The worker was told to stop in the middle of the attempt: its outcome is unknown, and that is nobody's fault.
    Interrupted {
        step: StepNumber,
        #[serde(skip_serializing_if = "Aim::is_do", default)]
        aim: Aim,
        attempt: u32,
    },
    /// A person's or policy's word was taken in; `heeded` is false when it came too late to matter.
    Signalled {
        id: i64,
        signal: SignalKind,
        heeded: bool,
    },
    /// From here on the saga goes backwards.
    Turned {
        why: Turn,
    },
    /// A step was given up and what it would have removed is named.
    Orphaned {
        step: StepNumber,
        why: String,
    },
    /// The deadline passed; said once.
    Overdue,
    Parked {
        reason: ParkReason,
    },
    /// An operator moved the deletion to another version of its plan.
    Adopted {
        plan: PlanHash,
        steps: StepNumber,
    },
    Ended {
        end: End,
    },
}

/// One record as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub seq: i32,
    pub at: OffsetDateTime,
    pub entries: Vec<Entry>,
}

impl Entry {
    pub fn word(&self) -> &'static str {
        match self {
            Entry::Looked { .. } => "looked",
            Entry::Intent { .. } => "intent",
            Entry::Verdict { .. } => "verdict",
            Entry::Interrupted { .. } => "interrupted",
            Entry::Signalled { .. } => "signalled",
            Entry::Turned { .. } => "turned",
            Entry::Orphaned { .. } => "orphaned",
            Entry::Overdue => "overdue",
            Entry::Parked { .. } => "parked",
            Entry::Adopted { .. } => "adopted",
            Entry::Ended { .. } => "ended",
        }
    }
}

/// Whether an attempt carries its step out or takes it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    #[default]
    Do,
    Undo,
}

impl Aim {
    fn is_do(&self) -> bool {
        *self == Aim::Do
    }

    pub fn word(self) -> &'static str {
        match self {
            Aim::Do => "do",
            Aim::Undo => "undo",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalKind {
    /// Undo and end, if the pivot's intent has not been granted.
    Cancel,
    /// A parked deletion gets a fresh set of attempts at the step that stopped it; a waiting one goes on now.
    Retry,
    /// Nothing begins until it is lifted.
    Halt,
    Resume,
    /// Go on under another version of the plan.
    Adopt,
}

impl SignalKind {
    pub fn word(self) -> &'static str {
        match self {
            SignalKind::Cancel => "cancel",
            SignalKind::Retry => "retry",
            SignalKind::Halt => "halt",
            SignalKind::Resume => "resume",
            SignalKind::Adopt => "adopt",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [
            SignalKind::Cancel,
            SignalKind::Retry,
            SignalKind::Halt,
            SignalKind::Resume,
            SignalKind::Adopt,
        ]
        .into_iter()
        .find(|kind| kind.word() == word)
    }
}

/// Why a saga turned back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Turn {
    Cancel,
    Guard {
        why: String,
        /// The step that said so, where one did.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        step: Option<StepNumber>,
    },
    Failure {
        why: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        step: Option<StepNumber>,
    },
}

/// Why a person must look, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum ParkReason {
    Failed {
        step: StepNumber,
        aim: Aim,
        why: String,
    },
    Blocked {
        step: StepNumber,
        aim: Aim,
        why: String,
        unblock: String,
    },
    /// Every attempt that the plan grants is spent.
    Exhausted {
        step: StepNumber,
        aim: Aim,
        attempts: u32,
        why: String,
    },
    /// Workers began this step again and again and none lived to say how it went.
    Killer {
        step: StepNumber,
        aim: Aim,
        starts: u32,
    },
    Deadline,
    /// The journal and this release do not agree, or Postgres cannot keep what a step said.
    Unreadable {
        why: String,
    },
}

impl ParkReason {
    /// The step it is about, if it is about one.
    pub fn step(&self) -> Option<(StepNumber, Aim)> {
        match self {
            ParkReason::Failed { step, aim, .. }
            | ParkReason::Blocked { step, aim, .. }
            | ParkReason::Exhausted { step, aim, .. }
            | ParkReason::Killer { step, aim, .. } => Some((*step, *aim)),
            ParkReason::Deadline | ParkReason::Unreadable { .. } => None,
        }
    }

    pub fn word(&self) -> &'static str {
        match self {
            ParkReason::Failed { .. } => "failed",
            ParkReason::Blocked { .. } => "blocked",
            ParkReason::Exhausted { .. } => "exhausted",
            ParkReason::Killer { .. } => "killer",
            ParkReason::Deadline => "deadline",
            ParkReason::Unreadable { .. } => "unreadable",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    Completed {
        result: CompletedResult,
    },
    CompletedWithOrphans {
        orphans: Vec<Orphan>,
    },
    /// Gone for its users, and can be taken back until then.
    SoftDeleted {
        #[serde(with = "time::serde::rfc3339")]
        until: OffsetDateTime,
    },
    /// A restore's own end: what was softly deleted is there again.
    Restored,
    Cancelled,
    Refused {
        why: String,
        /// The step that said so, where one did.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        step: Option<StepNumber>,
    },
}

impl End {
    pub fn word(&self) -> &'static str {
        match self {
            End::Completed { .. } => "completed",
            End::CompletedWithOrphans { .. } => "completed_with_orphans",
            End::SoftDeleted { .. } => "soft_deleted",
            End::Restored => "restored",
            End::Cancelled => "cancelled",
            End::Refused { .. } => "refused",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompletedResult {
    Deleted,
    AlreadyGone,
    Absent,
}

impl CompletedResult {
    pub fn word(self) -> &'static str {
        match self {
            CompletedResult::Deleted => "deleted",
            CompletedResult::AlreadyGone => "already_gone",
            CompletedResult::Absent => "absent",
        }
    }
}

/// What could not be removed, by the step that should have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    pub step: StepNumber,
    pub why: String,
}
