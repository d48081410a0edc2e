//! Why a person must look, and what would let the deletion go on: one pair of sentences for each reason.

use super::why::place;
use crate::deletion::{Aim, Count, ParkReason, StepNumber};
use crate::plan::Plan;

/// The reason, and what would unblock it.
pub(super) fn parked(plan: &Plan, reason: &ParkReason) -> (String, String) {
    let at = |step: StepNumber, aim: Aim| place(plan, step.into(), aim);
    match reason {
        ParkReason::Failed { step, aim, why } => (
            format!("{} can never succeed as it is: {why}", at(*step, *aim)),
            "repair what it names and retry; or adopt a plan that does it otherwise".into(),
        ),
        ParkReason::Blocked {
            step,
            aim,
            why,
            unblock,
        } => (
            format!("{} cannot go on: {why}", at(*step, *aim)),
            format!("{unblock}; then retry"),
        ),
        ParkReason::Exhausted {
            step,
            aim,
            attempts,
            why,
        } => {
            let attempts = Count((*attempts).into(), "attempt");
            (
                format!(
                    "{} is given up after {attempts}; the last one: {why}",
                    at(*step, *aim)
                ),
                "repair the cause and retry, which grants a fresh set of attempts".into(),
            )
        }
        ParkReason::Killer { step, aim, starts } => (
            format!(
                "{starts} workers in a row were lost in {} before they could say how it went",
                at(*step, *aim)
            ),
            "find in the workers' logs what ends them, repair it and retry".into(),
        ),
        ParkReason::Deadline => (
            "its deadline has passed, and then its plan wants a person".into(),
            "retry to let it go on".into(),
        ),
        ParkReason::Unreadable { why } => (
            format!("its journal cannot be carried on: {why}"),
            "retry with a release that reads it".into(),
        ),
    }
}
