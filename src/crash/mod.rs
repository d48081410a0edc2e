//! Crash points: named places where a test may end the process the hard way, hold one deletion, or let a step go wrong.
//!
//! `SEXTON_CRASH_AT=name` (or `name#3` for the third pass) aborts there, with no destructor run and no buffer flushed, as
//! SIGKILL would. `SEXTON_SCRIPT=folder` says more, deletion by deletion (`script.rs`). Both exist in builds with debug
//! assertions only: in a release build every function here is empty, and no environment can make it do anything.

#[cfg(debug_assertions)]
mod script;

use std::borrow::Cow;
#[cfg(debug_assertions)]
use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// The crash windows of the flow, in its order. ARCHITECTURE.md tells what survives each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CrashPoint {
    AdmissionBeforeCommit,
    AdmissionAfterCommit,
    ClaimAfterCommit,
    IntentAfterCommit,
    CombinedAfterCommit,
    EffectAfterBegin,
    ChunkAfterCommit,
    LookBeforeRecord,
    SignalBeforeRecord,
    VerdictBeforeCommit,
    CommitBeforeAnswer,
    RecordAfterCommit,
    EndAfterCommit,
    OutboxBeforePublish,
    OutboxAfterPublish,
    HeartbeatAfterRenewal,
    TakeoverBetweenPages,
    StraysBeforeRelease,
    DrainAfterBegin,
    AdoptionBeforeRecord,
}

impl CrashPoint {
    pub const ALL: [CrashPoint; 20] = [
        CrashPoint::AdmissionBeforeCommit,
        CrashPoint::AdmissionAfterCommit,
        CrashPoint::ClaimAfterCommit,
        CrashPoint::IntentAfterCommit,
        CrashPoint::CombinedAfterCommit,
        CrashPoint::EffectAfterBegin,
        CrashPoint::ChunkAfterCommit,
        CrashPoint::LookBeforeRecord,
        CrashPoint::SignalBeforeRecord,
        CrashPoint::VerdictBeforeCommit,
        CrashPoint::CommitBeforeAnswer,
        CrashPoint::RecordAfterCommit,
        CrashPoint::EndAfterCommit,
        CrashPoint::OutboxBeforePublish,
        CrashPoint::OutboxAfterPublish,
        CrashPoint::HeartbeatAfterRenewal,
        CrashPoint::TakeoverBetweenPages,
        CrashPoint::StraysBeforeRelease,
        CrashPoint::DrainAfterBegin,
        CrashPoint::AdoptionBeforeRecord,
    ];

    pub fn name(self) -> &'static str {
        match self {
            CrashPoint::AdmissionBeforeCommit => "admission-before-commit",
            CrashPoint::AdmissionAfterCommit => "admission-after-commit",
            CrashPoint::ClaimAfterCommit => "claim-after-commit",
            CrashPoint::IntentAfterCommit => "intent-after-commit",
            CrashPoint::CombinedAfterCommit => "combined-after-commit",
            CrashPoint::EffectAfterBegin => "effect-after-begin",
            CrashPoint::ChunkAfterCommit => "chunk-after-commit",
            CrashPoint::LookBeforeRecord => "look-before-record",
            CrashPoint::SignalBeforeRecord => "signal-before-record",
            CrashPoint::VerdictBeforeCommit => "verdict-before-commit",
            CrashPoint::CommitBeforeAnswer => "commit-before-answer",
            CrashPoint::RecordAfterCommit => "record-after-commit",
            CrashPoint::EndAfterCommit => "end-after-commit",
            CrashPoint::OutboxBeforePublish => "outbox-before-publish",
            CrashPoint::OutboxAfterPublish => "outbox-after-publish",
            CrashPoint::HeartbeatAfterRenewal => "heartbeat-after-renewal",
            CrashPoint::TakeoverBetweenPages => "takeover-between-pages",
            CrashPoint::StraysBeforeRelease => "strays-before-release",
            CrashPoint::DrainAfterBegin => "drain-after-begin",
            CrashPoint::AdoptionBeforeRecord => "adoption-before-record",
        }
    }
}

/// Who passes a point: a target, by its id; the step by name, or the number of a record; and whether it is being undone.
#[derive(Debug)]
pub struct Scene<'a> {
    pub target: &'a str,
    pub step: Cow<'a, str>,
    pub aim: &'a str,
}

/// How a step goes wrong, in the hands of its connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// For good, without an effect.
    Fails,
    /// This time, without an effect.
    FailsOnce,
    Throttled,
    /// It has its effect, and nobody hears of it.
    UnknownDid,
    UnknownDidNot,
    /// It has its effect a moment later, when nobody thinks of it any more.
    UnknownLater,
    /// As `UnknownDid`; and looking after it fails at first.
    UnknownUnseen,
    /// Somebody else does it first.
    GoneBefore,
    /// It is carried out twice in a row.
    Twice,
    /// It has its effect, and takes longer than its hard timeout.
    Slow,
    /// It has its effect, and the code of its connector panics.
    Panics,
}

impl Fault {
    pub const ALL: [Fault; 11] = [
        Fault::Fails,
        Fault::FailsOnce,
        Fault::Throttled,
        Fault::UnknownDid,
        Fault::UnknownDidNot,
        Fault::UnknownLater,
        Fault::UnknownUnseen,
        Fault::GoneBefore,
        Fault::Twice,
        Fault::Slow,
        Fault::Panics,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Fault::Fails => "fails",
            Fault::FailsOnce => "fails-once",
            Fault::Throttled => "throttled",
            Fault::UnknownDid => "unknown-did",
            Fault::UnknownDidNot => "unknown-did-not",
            Fault::UnknownLater => "unknown-later",
            Fault::UnknownUnseen => "unknown-unseen",
            Fault::GoneBefore => "gone-before",
            Fault::Twice => "twice",
            Fault::Slow => "slow",
            Fault::Panics => "panics",
        }
    }
}

/// Ends the process here if a test has armed this point.
#[cfg(debug_assertions)]
pub fn point(at: CrashPoint) {
    struct Armed {
        name: String,
        passes_left: AtomicU64,
    }
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| {
        let wanted = std::env::var("SEXTON_CRASH_AT").ok()?;
        let (name, passes) = wanted.split_once('#').unwrap_or((wanted.as_str(), "1"));
        Some(Armed {
            name: name.to_owned(),
            passes_left: AtomicU64::new(passes.parse().unwrap_or(1)),
        })
    });
    if let Some(armed) = armed
        && armed.name == at.name()
        && armed.passes_left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}

/// As [`point`]; and holds this one deletion here if the script says so, until the script's folder says go.
#[cfg(debug_assertions)]
pub async fn at<'a>(at: CrashPoint, scene: impl FnOnce() -> Scene<'a>) {
    point(at);
    if let Some(script) = script::in_force() {
        script.hold(at, &scene()).await;
    }
}

/// What goes wrong with this attempt.
#[cfg(debug_assertions)]
pub fn fault(scene: &Scene<'_>) -> Option<Fault> {
    script::in_force()?.fault(scene)
}

/// Whether this look sees nothing.
#[cfg(debug_assertions)]
pub fn is_unseen(scene: &Scene<'_>) -> bool {
    script::in_force().is_some_and(|script| script.is_unseen(scene))
}

/// Whether the answer to this commit is lost on its way: it is committed, and nobody hears of it.
#[cfg(debug_assertions)]
pub fn answer_is_lost() -> bool {
    script::in_force().is_some_and(script::Script::loses_an_answer)
}

#[cfg(not(debug_assertions))]
mod nothing {
    use super::{CrashPoint, Fault, Scene};

    #[inline(always)]
    pub fn point(_: CrashPoint) {}

    #[inline(always)]
    pub async fn at<'a>(_: CrashPoint, _: impl FnOnce() -> Scene<'a>) {}

    #[inline(always)]
    pub fn fault(_: &Scene<'_>) -> Option<Fault> {
        None
    }

    #[inline(always)]
    pub fn is_unseen(_: &Scene<'_>) -> bool {
        false
    }

    #[inline(always)]
    pub fn answer_is_lost() -> bool {
        false
    }
}
#[cfg(not(debug_assertions))]
pub use nothing::{answer_is_lost, at, fault, is_unseen, point};
