//! A plan as a person's list: `sexton plan show`.
//!
//! What goes without saying is not said; where the way back ends is said before the step that ends it.

use std::fmt::{self, Write};

use serde_json::Value;

use super::check::Time;
use super::parse::{RETRY_DEFAULT, TIMEOUT_DEFAULT};
use super::{
    Call, Condition, Guard, IfFailed, Is, LookupNone, Overdue, Param, Plan, Read, Step, StepKind, SystemName,
    TOMBSTONE_DEFAULT, Test, ZeroRows,
};
use crate::deletion::{Action, Count, PlanHash};

pub fn show(plan: &Plan, hash: &PlanHash) -> String {
    let mut out = String::new();
    // Writing into a text cannot fail.
    let _ = write_plan(&mut out, plan, hash);
    out
}

fn write_plan(out: &mut String, plan: &Plan, hash: &PlanHash) -> fmt::Result {
    writeln!(
        out,
        "How a {} is deleted, in {}:\n",
        plan.target,
        counted(&plan.steps)
    )?;
    for (name, param) in &plan.params {
        let Param {
            kind,
            required,
            one_of,
            default,
        } = param;
        let may = if *required { "must" } else { "may" };
        match (one_of.is_empty(), default) {
            (true, _) => writeln!(out, "The request {may} give {name} ({}).", kind.word())?,
            (false, None) => writeln!(
                out,
                "The request {may} give {name}, out of: {}.",
                one_of.join(", ")
            )?,
            (false, Some(default)) => writeln!(
                out,
                "The request {may} give {name}, out of: {}; else it is {default}.",
                one_of.join(", ")
            )?,
        }
    }
    for (name, choice) in &plan.choices {
        let systems = choice
            .systems
            .iter()
            .map(|(value, system)| format!("{} for {value}", system.0));
        let systems: Vec<String> = systems.collect();
        writeln!(
            out,
            "Where it says {}, {} decides: {}.",
            name.0,
            choice.by,
            systems.join(", ")
        )?;
    }
    if !plan.params.is_empty() {
        writeln!(out)?;
    }
    if let Some(lookup) = &plan.lookup {
        writeln!(out, "0. Look it up at {}: {}", lookup.on.0, lookup.sql.readable())?;
        let none = match lookup.none {
            LookupNone::Absent => "there is nothing to delete; it ends as absent",
            LookupNone::AlreadyGone => "it is gone; it ends as already gone",
            LookupNone::Refused => "the request is refused",
        };
        writeln!(out, "   If there is no such row, {none}.")?;
        if lookup.timeout != TIMEOUT_DEFAULT {
            writeln!(out, "   Cut off after {}.", Time(lookup.timeout))?;
        }
    }
    write_course(out, plan)?;
    if let Some(restorable) = &plan.restorable {
        let window = Time(restorable.window);
        writeln!(
            out,
            "\nFor {window} after that it can be restored, in {}:\n",
            counted(&restorable.restore)
        )?;
        write_course(out, &plan.course(Action::Restore))?;
        writeln!(out, "\nThen it is erased, in {}:\n", counted(&restorable.purge))?;
        write_course(out, &plan.course(Action::Purge))?;
    }
    writeln!(out)?;
    if let Some(watch) = &plan.watch {
        let (span, every) = (Time(watch.span), Time(watch.every));
        writeln!(
            out,
            "For {span} after its end it is looked up again, every {every}, and removed again if it is there."
        )?;
    }
    if plan.tombstone != TOMBSTONE_DEFAULT {
        match plan.tombstone.is_zero() {
            true => writeln!(
                out,
                "Its end is not remembered: a repeat finds nothing, and ends as absent."
            )?,
            false => writeln!(out, "Its end is remembered for {}.", Time(plan.tombstone))?,
        }
    }
    if let Some(deadline) = &plan.deadline {
        let then = match deadline.then {
            Overdue::Alert => "people are alerted and it goes on",
            Overdue::Park => "people are alerted and it is parked",
        };
        writeln!(out, "If it takes longer than {}, {then}.", Time(deadline.after))?;
    }
    writeln!(out, "Version {hash}")
}

fn counted(steps: &[Step]) -> Count {
    Count(steps.len() as u64, "step")
}

fn write_course(out: &mut String, course: &Plan) -> fmt::Result {
    for (index, step) in course.steps.iter().enumerate() {
        if step.kind == StepKind::Pivot {
            writeln!(
                out,
                "--- The point of no return: up to here all can be taken back. ---"
            )?;
        }
        write_step(out, index + 1, step)?;
    }
    if course.pivot() == course.steps.len() {
        writeln!(out, "Every step can be taken back.")?;
    }
    Ok(())
}

fn write_step(out: &mut String, number: usize, step: &Step) -> fmt::Result {
    write!(out, "{number}. {}: ", step.name)?;
    write_call(out, &step.call, &step.on)?;
    if let Some(condition) = &step.when {
        writeln!(out, "   Skipped unless {}.", When(condition))?;
    }
    if let Some(Read { on, sql }) = &step.read {
        writeln!(
            out,
            "   Reads before each attempt, at {}: {}",
            on.0,
            sql.readable()
        )?;
        writeln!(out, "   If there is no row or a null, it is tried again.")?;
    }
    if let Call::Sql { none, guard, .. } = &step.call {
        if let Some(Guard { sql, otherwise }) = guard {
            writeln!(out, "   Only if, in the same moment: {}", sql.readable())?;
            writeln!(out, "   Else the request is refused: {otherwise}.")?;
        }
        match none {
            ZeroRows::AlreadyGone => {}
            ZeroRows::Again => writeln!(out, "   If no row changes, it is tried again.")?,
            ZeroRows::Refused => writeln!(out, "   If no row changes, the request is refused.")?,
        }
    }
    if let Some(Read { on, sql }) = &step.verify {
        writeln!(out, "   Believed only if, at {}: {}", on.0, sql.readable())?;
    }
    match &step.undo {
        None => {}
        Some(Call::Nothing) => writeln!(out, "   There is nothing to take back.")?,
        Some(undo) => {
            write!(out, "   To take it back: ")?;
            write_call(out, undo, &step.on)?;
        }
    }
    if step.timeout != TIMEOUT_DEFAULT {
        writeln!(out, "   Cut off after {}.", Time(step.timeout))?;
    }
    if step.retry != RETRY_DEFAULT {
        let attempts = Count(step.retry.attempts.into(), "time");
        let (base, max) = (Time(step.retry.base), Time(step.retry.max));
        writeln!(
            out,
            "   Tried up to {attempts}, {base} apart at first and {max} at most."
        )?;
    }
    match step.if_failed {
        IfFailed::Park => Ok(()),
        IfFailed::Undo => writeln!(
            out,
            "   If it fails for good, all is taken back and the request is refused."
        ),
        IfFailed::Orphan => writeln!(
            out,
            "   If it fails for good, what is left is named as an orphan and the rest goes on."
        ),
    }
}

fn write_call(out: &mut String, call: &Call, on: &SystemName) -> fmt::Result {
    let on = &on.0;
    match call {
        Call::Nothing => writeln!(out, "do nothing."),
        Call::Sql { sql, .. } => writeln!(out, "at {on}, {}", sql.readable()),
        Call::Chunks { sql, size } => {
            let rows = Count((*size).into(), "row");
            writeln!(
                out,
                "at {on}, {rows} at a time until none is left, {}",
                sql.readable()
            )
        }
        Call::Http { call } => writeln!(out, "call {call} of {on}."),
        Call::Archive { rows, store, path } => {
            writeln!(
                out,
                "keep in {} as {} what {on} gives for: {}",
                store.0,
                path.readable(),
                rows.readable()
            )
        }
    }
}

struct When<'c>(&'c Condition);

impl fmt::Display for When<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, Test { name, is }) in self.0.all.iter().enumerate() {
            if nth > 0 {
                f.write_str(" and ")?;
            }
            match is {
                Is::Equal(value) => write!(f, "{name} is {value}")?,
                Is::Not(value) => write!(f, "{name} is not {value}")?,
                Is::In(all) => {
                    let all: Vec<String> = all.iter().map(Value::to_string).collect();
                    write!(f, "{name} is one of {}", all.join(", "))?;
                }
                Is::Present(true) => write!(f, "{name} is there")?,
                Is::Present(false) => write!(f, "{name} is null")?,
            }
        }
        Ok(())
    }
}
