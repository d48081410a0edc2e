//! What an attempt may say. Nothing else exists; what a connector cannot tell is `Unknown`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A reason is for a person at three in the morning, not a dump; longer ones are cut.
pub const WHY_MAX_CHARS: usize = 300;

/// Times are relative: whoever says a verdict has no clock; the engine turns them into points in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Verdict {
    /// The effect took place, now or in an earlier attempt of ours. `proof` is what shows it (counts, checksums).
    Done {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<Value>,
    },
    /// There was nothing left to do, shown by evidence that could have shown the opposite.
    AlreadyGone,
    /// It is not there, and nothing could have shown that it ever was.
    Absent,
    /// The step's `when` is false.
    Skipped,
    /// Not this time; a new attempt may do it.
    Again {
        why: String,
        #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
        not_before: Option<Duration>,
        /// Nobody's trouble: the other side is well, and what is waited for has not come yet.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        in_order: bool,
        /// Nothing has happened: it failed before its effect, or was rolled back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undone: bool,
    },
    /// The other side asked for patience; spends no attempt.
    Throttled {
        #[serde(with = "humantime_serde")]
        retry_after: Duration,
    },
    /// Under way at the other side, or done in part. `handle` is what the next look needs; it is kept.
    Pending {
        #[serde(with = "humantime_serde")]
        look_again: Duration,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        handle: Option<Value>,
    },
    /// The effect may or may not have taken place.
    Unknown { why: String },
    /// No attempt will ever do it.
    Failed { why: String },
    /// Cannot go on until somebody does `unblock`.
    Blocked {
        why: String,
        unblock: String,
        /// The system did not let us in. Such a one waits for the system, and nobody has to look at it by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        denied: Option<Denied>,
    },
    /// A guard of the plan says no.
    Refused { why: String },
    /// Asked to stop before the effect began: nothing happened, nothing is spent.
    Stopped,
}

/// Whom it concerns that a system did not let us in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Denied {
    /// Whoever comes with these credentials: a password that is wrong, a key that is revoked.
    All,
    /// All, or this target alone: what the credentials may not do. Only others can tell.
    Perhaps,
}

impl Verdict {
    pub fn done() -> Self {
        Verdict::Done { proof: None }
    }

    pub fn again(why: impl Into<String>) -> Self {
        Verdict::Again {
            why: cut(why.into()),
            not_before: None,
            in_order: false,
            undone: false,
        }
    }

    /// As [`Verdict::again`], where the failed attempt is known to have changed nothing: it was rolled back.
    pub fn rolled_back(why: impl Into<String>) -> Self {
        Verdict::Again {
            why: cut(why.into()),
            not_before: None,
            in_order: false,
            undone: true,
        }
    }

    /// A look's word: the attempt has changed nothing, and nobody is in trouble.
    pub fn undone(why: impl Into<String>) -> Self {
        Verdict::Again {
            why: cut(why.into()),
            not_before: None,
            in_order: true,
            undone: true,
        }
    }

    /// As [`Verdict::again`], where nothing has failed: a breaker must not count it.
    pub fn not_yet(why: impl Into<String>) -> Self {
        Verdict::Again {
            why: cut(why.into()),
            not_before: None,
            in_order: true,
            undone: false,
        }
    }

    pub fn unknown(why: impl Into<String>) -> Self {
        Verdict::Unknown { why: cut(why.into()) }
    }

    pub fn failed(why: impl Into<String>) -> Self {
        Verdict::Failed { why: cut(why.into()) }
    }

    pub fn blocked(why: impl Into<String>, unblock: impl Into<String>) -> Self {
        Verdict::Blocked {
            why: cut(why.into()),
            unblock: cut(unblock.into()),
            denied: None,
        }
    }

    /// As [`Verdict::blocked`], where the credentials of the system are what stands in the way.
    pub fn denied(whom: Denied, why: impl Into<String>, unblock: impl Into<String>) -> Self {
        Verdict::Blocked {
            why: cut(why.into()),
            unblock: cut(unblock.into()),
            denied: Some(whom),
        }
    }

    pub fn refused(why: impl Into<String>) -> Self {
        Verdict::Refused { why: cut(why.into()) }
    }

    /// A word for logs, metrics and listings; a closed set.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Done { .. } => "done",
            Verdict::AlreadyGone => "already_gone",
            Verdict::Absent => "absent",
            Verdict::Skipped => "skipped",
            Verdict::Again { .. } => "again",
            Verdict::Throttled { .. } => "throttled",
            Verdict::Pending { .. } => "pending",
            Verdict::Unknown { .. } => "unknown",
            Verdict::Failed { .. } => "failed",
            Verdict::Blocked { .. } => "blocked",
            Verdict::Refused { .. } => "refused",
            Verdict::Stopped => "stopped",
        }
    }

    pub const WORDS: [&'static str; 12] = [
        "done",
        "already_gone",
        "absent",
        "skipped",
        "again",
        "throttled",
        "pending",
        "unknown",
        "failed",
        "blocked",
        "refused",
        "stopped",
    ];

    /// Settles the step: it is never run again, except by an operator's word.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Verdict::Done { .. }
                | Verdict::AlreadyGone
                | Verdict::Absent
                | Verdict::Skipped
                | Verdict::Refused { .. }
        )
    }

    pub fn spends_attempt(&self) -> bool {
        matches!(
            self,
            Verdict::Again { .. }
                | Verdict::Unknown { .. }
                | Verdict::Failed { .. }
                | Verdict::Blocked { denied: None, .. }
        )
    }

    /// The attempt provably changed nothing.
    pub fn proves_no_effect(&self) -> bool {
        matches!(
            self,
            Verdict::AlreadyGone
                | Verdict::Absent
                | Verdict::Skipped
                | Verdict::Throttled { .. }
                | Verdict::Refused { .. }
                | Verdict::Stopped
                | Verdict::Again { undone: true, .. }
                | Verdict::Blocked { denied: Some(_), .. }
        )
    }

    /// As [`Verdict::undone`]. An attempt that was rolled back is somebody's trouble, so the two are told apart.
    pub fn finds_nothing_done(&self) -> bool {
        matches!(
            self,
            Verdict::Again {
                undone: true,
                in_order: true,
                ..
            }
        )
    }

    /// How the breaker of a system counts it: `Some(true)` is trouble at the other side, `None` says nothing.
    pub fn is_trouble(&self) -> Option<bool> {
        match self {
            Verdict::Done { .. }
            | Verdict::AlreadyGone
            | Verdict::Absent
            | Verdict::Pending { .. }
            | Verdict::Refused { .. } => Some(false),
            Verdict::Again { in_order: true, .. } => None,
            Verdict::Again { .. } | Verdict::Unknown { .. } => Some(true),
            _ => None,
        }
    }

    pub fn why(&self) -> Option<&str> {
        match self {
            Verdict::Again { why, .. }
            | Verdict::Unknown { why }
            | Verdict::Failed { why }
            | Verdict::Blocked { why, .. }
            | Verdict::Refused { why } => Some(why),
            _ => None,
        }
    }
}

fn cut(mut why: String) -> String {
    if let Some((end, _)) = why.char_indices().nth(WHY_MAX_CHARS) {
        why.truncate(end);
        why.push('…');
    }
    // Postgres cannot keep a NUL, and a reason is one line.
    if why.contains(char::is_control) {
        why = why.replace(char::is_control, " ");
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_bounded_line() {
        let Verdict::Again { why, .. } = Verdict::again("a\n\0".repeat(500)) else {
            panic!()
        };
        assert_eq!(why.chars().count(), WHY_MAX_CHARS + 1);
        assert!(!why.contains(char::is_control));
    }

    #[test]
    fn invariant_04_only_final_verdicts_settle_and_none_of_them_spends() {
        let all = [
            Verdict::done(),
            Verdict::AlreadyGone,
            Verdict::Absent,
            Verdict::Skipped,
            Verdict::again("x"),
            Verdict::Throttled {
                retry_after: Duration::from_secs(1),
            },
            Verdict::Pending {
                look_again: Duration::from_secs(1),
                handle: None,
            },
            Verdict::unknown("x"),
            Verdict::failed("x"),
            Verdict::blocked("x", "y"),
            Verdict::refused("x"),
            Verdict::Stopped,
        ];
        let waits = serde_json::to_value(Verdict::not_yet("x")).expect("plain data");
        assert_eq!(serde_json::from_value(waits).ok(), Some(Verdict::not_yet("x")));
        for (verdict, word) in all.iter().zip(Verdict::WORDS) {
            assert_eq!(verdict.word(), word);
            assert!(!(verdict.is_final() && verdict.spends_attempt()), "{word}");
            let json = serde_json::to_value(verdict).expect("plain data");
            assert_eq!(json["is"], word);
            assert_eq!(
                &serde_json::from_value::<Verdict>(json).expect("what was written is read"),
                verdict
            );
        }
        assert_eq!(all.iter().filter(|v| v.is_final()).count(), 5);
        let denied = Verdict::denied(Denied::All, "x", "y");
        assert!(!denied.spends_attempt() && denied.proves_no_effect());
    }
}
