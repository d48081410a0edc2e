//! Crash points: named places where a test may end the process the hard way.
//!
//! `SEXTON_CRASH_AT=name` (or `name#3` for the third pass) aborts there, with no destructor run and no buffer
//! flushed, as SIGKILL would. Unset, which is always outside tests, a point is one relaxed atomic read.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The crash windows of the flow, in its order. ARCHITECTURE.md tells what survives each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    AdmissionBeforeCommit,
    AdmissionAfterCommit,
    IntentAfterCommit,
    EffectAfterBegin,
    VerdictBeforeCommit,
    EndAfterCommit,
    OutboxAfterPublish,
}

impl CrashPoint {
    pub const ALL: [CrashPoint; 7] = [
        CrashPoint::AdmissionBeforeCommit,
        CrashPoint::AdmissionAfterCommit,
        CrashPoint::IntentAfterCommit,
        CrashPoint::EffectAfterBegin,
        CrashPoint::VerdictBeforeCommit,
        CrashPoint::EndAfterCommit,
        CrashPoint::OutboxAfterPublish,
    ];

    pub fn name(self) -> &'static str {
        match self {
            CrashPoint::AdmissionBeforeCommit => "admission-before-commit",
            CrashPoint::AdmissionAfterCommit => "admission-after-commit",
            CrashPoint::IntentAfterCommit => "intent-after-commit",
            CrashPoint::EffectAfterBegin => "effect-after-begin",
            CrashPoint::VerdictBeforeCommit => "verdict-before-commit",
            CrashPoint::EndAfterCommit => "end-after-commit",
            CrashPoint::OutboxAfterPublish => "outbox-after-publish",
        }
    }
}

struct Armed {
    name: String,
    passes_left: AtomicU64,
}

fn armed() -> Option<&'static Armed> {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    ARMED
        .get_or_init(|| {
            let wanted = std::env::var("SEXTON_CRASH_AT").ok()?;
            let (name, passes) = wanted.split_once('#').unwrap_or((wanted.as_str(), "1"));
            Some(Armed {
                name: name.to_owned(),
                passes_left: AtomicU64::new(passes.parse().unwrap_or(1)),
            })
        })
        .as_ref()
}

/// Ends the process here if a test has armed this point.
pub fn point(at: CrashPoint) {
    if let Some(armed) = armed()
        && armed.name == at.name()
        && armed.passes_left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}
