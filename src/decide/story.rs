//! A journal in plain words: one sentence an entry, with the plan's own names.

use time::format_description::well_known::Rfc3339;

use super::parking::parked;
use super::why::place;
use crate::deletion::{Aim, Count, End, Entry, SignalKind, StepNumber, Turn, Verdict};
use crate::plan::Plan;

pub fn tell(plan: &Plan, entry: &Entry) -> String {
    let at = |step: StepNumber, aim: Aim| place(plan, step.into(), aim);
    match entry {
        Entry::Looked { facts: Some(_), .. } => "looked it up: it is there".into(),
        Entry::Looked { known: true, .. } => "looked it up: it is gone, and was deleted before".into(),
        Entry::Looked { .. } => "looked it up: there is no such target".into(),
        Entry::Intent { step, aim, attempt } => format!("began attempt {attempt} of {}", at(*step, *aim)),
        Entry::Verdict {
            step,
            aim,
            verdict,
            found_out,
            due,
            ..
        } => {
            let mut said = format!("{} {}", at(*step, *aim), tell_verdict(verdict));
            if *found_out {
                said.push_str(" (found out by looking)");
            }
            if let Some(due) = due.and_then(|due| due.format(&Rfc3339).ok()) {
                said.push_str(&format!("; not before {due}"));
            }
            said
        }
        Entry::Interrupted { step, aim, .. } => {
            format!("{} was cut short by a stop of the worker", at(*step, *aim))
        }
        Entry::Signalled { signal, heeded, .. } => {
            let word = match signal {
                SignalKind::Cancel => "a cancel",
                SignalKind::Retry => "a retry",
                SignalKind::Halt => "a halt",
                SignalKind::Resume => "the end of a halt",
                SignalKind::Adopt => "an adoption",
            };
            let heeded = if *heeded {
                "took in"
            } else {
                "heard, too late to matter,"
            };
            format!("{heeded} {word}")
        }
        Entry::Turned { why } => match why {
            Turn::Cancel => "turned back, as asked".into(),
            Turn::Guard { why, .. } => format!("turned back, since a guard said no: {why}"),
            Turn::Failure { why, .. } => format!("turned back, since a step failed for good: {why}"),
        },
        Entry::Orphaned { step, why } => {
            format!(
                "gave {} up; what it would have removed is an orphan: {why}",
                at(*step, Aim::Do)
            )
        }
        Entry::Overdue => "the deadline passed".into(),
        Entry::Parked { reason } => format!("parked: {}", parked(plan, reason).0),
        Entry::Adopted { plan, steps } => {
            let steps = Count((*steps).into(), "step");
            format!("moved to version {} of its plan, of {steps}", plan.short())
        }
        Entry::Ended { end } => match end {
            End::Completed { result } => format!("ended: completed, {}", result.word()),
            End::Refused { why, .. } => format!("ended: refused, {why}"),
            End::SoftDeleted { until } => {
                let until = until.format(&Rfc3339).unwrap_or_default();
                format!("ended: soft deleted, can be restored until {until}")
            }
            end => format!("ended: {}", end.word()),
        },
    }
}

fn tell_verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Done { .. } => "is done".into(),
        Verdict::AlreadyGone => "found nothing left to do".into(),
        Verdict::Absent => "found nothing, and cannot tell whether there ever was anything".into(),
        Verdict::Skipped => "is skipped: its `when` does not hold".into(),
        Verdict::Again { why, .. } => format!("did not succeed: {why}"),
        Verdict::Throttled { .. } => "was asked for patience".into(),
        Verdict::Pending { .. } => "is under way at the other side".into(),
        Verdict::Unknown { why } => format!("has an unknown outcome: {why}"),
        Verdict::Failed { why } => format!("failed for good: {why}"),
        Verdict::Blocked {
            why,
            unblock,
            denied: Some(_),
        } => format!("was not let in: {why}; wanted: {unblock}"),
        Verdict::Blocked { why, unblock, .. } => format!("cannot go on: {why}; wanted: {unblock}"),
        Verdict::Refused { why } => format!("says no: {why}"),
        Verdict::Stopped => "was stopped before it began".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_reads_like_a_story() {
        let text = "target = \"a.b\"\non = \"shop\"\n[[step]]\nname = \"clean\"\nsql = \"delete from v where id = :id\"";
        let plan = crate::plan::parse_plan(text, "plan").unwrap_or_else(|errors| panic!("{errors}"));
        let verdict = |verdict, found_out| Entry::Verdict {
            step: 1,
            aim: Aim::Do,
            attempt: 1,
            verdict,
            found_out,
            due: Some(time::macros::datetime!(2030-01-01 0:00 UTC)),
        };
        let intent = Entry::Intent {
            step: 1,
            aim: Aim::Do,
            attempt: 2,
        };
        for (entry, told) in [
            (intent, "began attempt 2 of step 1 \"clean\" at shop"),
            (
                verdict(Verdict::again("locked"), false),
                "step 1 \"clean\" at shop did not succeed: locked; not before 2030-01-01T00:00:00Z",
            ),
            (
                verdict(Verdict::AlreadyGone, true),
                "step 1 \"clean\" at shop found nothing left to do (found out by looking); not before 2030-01-01T00:00:00Z",
            ),
            (
                Entry::Signalled {
                    id: 1,
                    signal: SignalKind::Cancel,
                    heeded: false,
                },
                "heard, too late to matter, a cancel",
            ),
            (Entry::Ended { end: End::Cancelled }, "ended: cancelled"),
        ] {
            assert_eq!(tell(&plan, &entry), told);
        }
    }
}
