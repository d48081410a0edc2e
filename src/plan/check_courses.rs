//! The rules for what follows a deletion: windows, tombstones and watches.

use std::time::Duration;

use super::check::Check;
use super::source::Part;
use super::{IfFailed, Plan};

/// Below this nobody could take anything back.
const WINDOW_MIN: Duration = Duration::from_secs(1);
/// Ten mean years: what is kept for longer is not deleted but archived.
const WINDOW_MAX: Duration = Duration::from_secs(315_576_000);
/// A late writer is late by minutes; what comes back after a month was wanted back.
const WATCH_MAX: Duration = Duration::from_secs(30 * 86_400);
const WATCH_MIN: Duration = Duration::from_secs(1);
/// A look is a query on somebody's database.
const LOOK_MIN: Duration = Duration::from_secs(1);

pub(super) fn check(check: &mut Check<'_>, plan: &Plan) {
    if plan.tombstone > WINDOW_MAX {
        check.between(
            Part::Plan,
            "tombstone",
            plan.tombstone,
            Duration::ZERO,
            WINDOW_MAX,
        );
    }
    if let Some(watch) = &plan.watch {
        check.between(Part::Plan, "watch.for", watch.span, WATCH_MIN, WATCH_MAX);
        check.between(
            Part::Plan,
            "watch.every",
            watch.every,
            LOOK_MIN,
            watch.span.max(LOOK_MIN),
        );
        if plan
            .lookup
            .as_ref()
            .is_some_and(|lookup| lookup.sql.uses("generation"))
        {
            let text =
                "sql uses generation, and the plan has a watch, which has none; wanted a lookup without";
            check.found(Part::Lookup, "sql", text);
        }
        if plan.lookup.is_none() {
            check.found(
                Part::Plan,
                "watch",
                "watch looks the target up again, and the plan has no [lookup]; wanted one",
            );
        }
    }
    let Some(restorable) = &plan.restorable else {
        return;
    };
    check.between(Part::Restore, "window", restorable.window, WINDOW_MIN, WINDOW_MAX);
    for (index, step) in plan.steps.iter().enumerate() {
        if step.if_failed == IfFailed::Orphan {
            let text = "if_failed = \"orphan\" ends the deletion without a window in which it could be taken back; wanted \
                        \"park\" in a plan with [restore]";
            check.found(Part::Step(index), "if_failed", text);
        }
    }
}
