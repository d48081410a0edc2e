//! The same statement for many deletions.
//!
//! One transaction carries them all, each by its own execution of the one prepared statement: a row count for each is
//! then certain, which no rewriting of somebody's statement (CTEs, unnest, IN lists) can promise. It saves what costs
//! most, the commit with its flush to disk, and two of three round trips: a fifth to a quarter of the time of one by
//! one, and a single connection does the work of ten. There are no savepoints: an error rolls all back, which proves
//! that nothing happened, and then each runs alone, so that one bad row never holds up the rest.
//!
//! Two workers run theirs in the same order, by the values bound, so that they queue instead of deadlocking.

use super::database::{Database, Mode, Unbound};
use super::{PostgresConnector, of_rows};
use crate::clock::Boottime;
use crate::connectors::Attempt;
use crate::deletion::Verdict;
use crate::plan::{Sql, ZeroRows};

/// So many share a transaction: enough that the commit no longer counts, few enough that locks are held for
/// milliseconds and that an error makes few run alone.
const TOGETHER_MAX: usize = 100;
/// When less than this share of the time is left, in tenths, what has not run waits for its next turn.
const RESERVE_TENTHS: u32 = 4;

pub(super) async fn run(
    connector: &PostgresConnector,
    database: &Database,
    sql: &Sql,
    none: ZeroRows,
    attempts: &[Attempt],
) -> Vec<Verdict> {
    // All must be answered before the first of them would be cut off.
    let shortest = attempts
        .iter()
        .map(|attempt| attempt.timeout)
        .min()
        .unwrap_or_default();
    let time = Time {
        deadline: Boottime::now().plus(shortest),
        enough: Boottime::now().plus(shortest * (10 - RESERVE_TENTHS) / 10),
    };
    let mut verdicts: Vec<Option<Verdict>> = vec![None; attempts.len()];
    for group in in_order(sql, attempts).chunks(TOGETHER_MAX) {
        let of_group: Vec<&Attempt> = group.iter().map(|&at| &attempts[at]).collect();
        match together(database, sql, none, &of_group, time).await {
            Ok(said) => {
                for (&at, verdict) in group.iter().zip(said) {
                    verdicts[at] = Some(verdict);
                }
            }
            Err(Apart) => {
                for &at in group {
                    verdicts[at] = Some(if time.enough.left().is_zero() {
                        later()
                    } else {
                        connector
                            .statement(sql, none, None, &attempts[at], time.deadline)
                            .await
                    });
                }
            }
        }
    }
    verdicts
        .into_iter()
        .map(|verdict| verdict.unwrap_or_else(|| Verdict::unknown("no verdict for this deletion of a batch")))
        .collect()
}

#[derive(Clone, Copy)]
struct Time {
    deadline: Boottime,
    /// From here on nothing new begins.
    enough: Boottime,
}

/// Nothing happened; each has to run alone.
struct Apart;

async fn together(
    database: &Database,
    sql: &Sql,
    none: ZeroRows,
    attempts: &[&Attempt],
    Time { deadline, enough }: Time,
) -> Result<Vec<Verdict>, Apart> {
    if enough.left().is_zero() {
        return Ok(vec![later(); attempts.len()]);
    }
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(attempts.len());
    let run = async {
        let mut work = match database.begin(Mode::Write, deadline).await {
            Ok(work) => work,
            // No connection: the same answer for all, and no use in asking again for each.
            Err(verdict) => return Ok(Some(verdict)),
        };
        for attempt in attempts {
            if !attempt.may_begin(deadline) {
                verdicts.push(Verdict::Stopped);
                continue;
            }
            if enough.left().is_zero() {
                verdicts.push(later());
                continue;
            }
            match work.bind(sql, &attempt.values).await {
                Ok(bound) => match work.execute(sql, bound).await {
                    Ok(rows) => verdicts.push(of_rows(rows, none)),
                    Err(_) => return Err(Apart),
                },
                // The transaction is over, and what ran in it has been taken back.
                Err(Unbound::Statement(_)) => return Err(Apart),
                Err(Unbound::Values(verdict)) => verdicts.push(verdict),
            }
        }
        match work.commit().await {
            Ok(()) => Ok(None),
            Err(Verdict::Unknown { why }) => Ok(Some(Verdict::Unknown { why })),
            Err(_) => Err(Apart),
        }
    };
    match tokio::time::timeout(deadline.left(), run).await {
        Ok(Ok(None)) => Ok(verdicts),
        Ok(Ok(Some(for_all))) => Ok(replace(verdicts, &for_all, attempts.len())),
        Ok(Err(Apart)) => Err(Apart),
        Err(_) => {
            let silent = Verdict::unknown("the database gave no answer within the step's timeout");
            Ok(replace(verdicts, &silent, attempts.len()))
        }
    }
}

/// The common verdict for all that were tried; those that were stopped or put off had no effect in any case.
fn replace(said: Vec<Verdict>, for_all: &Verdict, count: usize) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = said
        .into_iter()
        .map(|verdict| match verdict {
            Verdict::Stopped | Verdict::Pending { .. } | Verdict::Failed { .. } => verdict,
            _ => for_all.clone(),
        })
        .collect();
    verdicts.resize(count, for_all.clone());
    verdicts
}

fn later() -> Verdict {
    Verdict::Pending {
        look_again: std::time::Duration::ZERO,
        handle: None,
    }
}

fn in_order(sql: &Sql, attempts: &[Attempt]) -> Vec<usize> {
    let mut order: Vec<(Vec<String>, usize)> = attempts
        .iter()
        .enumerate()
        .map(|(at, attempt)| {
            let bound = sql
                .binds
                .iter()
                .map(|name| {
                    attempt
                        .values
                        .get(name)
                        .map(ToString::to_string)
                        .unwrap_or_default()
                })
                .collect();
            (bound, at)
        })
        .collect();
    order.sort();
    order.into_iter().map(|(_, at)| at).collect()
}
