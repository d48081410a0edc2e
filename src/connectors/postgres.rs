//! Statements on foreign Postgres databases.
//!
//! Why repeating is harmless: a plan's statement says what shall be so (`delete … where id`, `set x = coalesce(x, …)`,
//! a generation that only rises), runs in one transaction with a bound timeout, and so finds nothing left to do the
//! second time; what zero rows mean is said by the plan. The statements whose repeat could lie are those that say
//! "refused" of what they did themselves (`none = "refused"`; a `guard` before anything but a delete): after a lost
//! answer their probe asks for a person or for the step's `verify` instead of saying "again". A guarded delete is none of
//! them: what it removed it finds gone.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::json;

use super::{Attempt, Connector, misplaced};
use crate::clock::Boottime;
use crate::deletion::Verdict;
use crate::plan::{Call, Guard, Sql, ZeroRows};

mod binds;
mod chunks;
mod database;
mod guarded;
mod many;
mod rows;
mod sqlstate;

pub(super) use database::{Database, Mode};
pub(super) use rows::{JsonRow, as_json, read_rows};

pub struct PostgresConnector {
    database: Arc<Database>,
}

impl PostgresConnector {
    pub(super) fn new(database: Arc<Database>) -> Self {
        PostgresConnector { database }
    }

    async fn statement(
        &self,
        sql: &Sql,
        none: ZeroRows,
        guard: Option<&Guard>,
        attempt: &Attempt,
        deadline: Boottime,
    ) -> Verdict {
        let run = async {
            if !attempt.may_begin(deadline) {
                return Ok(Verdict::Stopped);
            }
            let mut work = match guard {
                None => self.database.begin(Mode::Write, deadline).await?,
                Some(guard) => guarded::begin(&self.database, guard, attempt, deadline).await?,
            };
            let bound = match work.bind(sql, &attempt.values).await {
                Ok(bound) => bound,
                Err(unbound) => return Ok(work.give_up(unbound).await),
            };
            if !attempt.may_begin(deadline) {
                work.roll_back().await;
                return Ok(Verdict::Stopped);
            }
            let rows = work.execute(sql, bound).await?;
            work.commit().await?;
            Ok(of_rows(rows, none))
        };
        within(deadline, run).await
    }
}

impl Connector for PostgresConnector {
    fn run<'a>(&'a self, call: &'a Call, attempt: &'a Attempt) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            match call {
                Call::Sql { sql, none, guard } => {
                    self.statement(sql, *none, guard.as_ref(), attempt, attempt.deadline())
                        .await
                }
                Call::Chunks { sql, size } => chunks::run(&self.database, sql, *size, attempt).await,
                other => misplaced("postgres", other),
            }
        })
    }

    fn probe<'a>(&'a self, call: &'a Call, attempt: &'a Attempt) -> BoxFuture<'a, Verdict> {
        if let (
            Call::Sql {
                guard: Some(guard), ..
            },
            false,
        ) = (call, call.repeat_may_mislead())
        {
            return Box::pin(guarded::look(&self.database, guard, attempt));
        }
        let verdict = match call {
            Call::Sql { .. } if call.repeat_may_mislead() => Verdict::blocked(
                "whether the statement took effect cannot be told: what a repeat would call refused may be done",
                "look at the row, then skip or retry the step; a `verify` in the plan would answer this by itself",
            ),
            Call::Sql { .. } | Call::Chunks { .. } => {
                Verdict::not_yet("the statement may not have taken effect; repeating it is harmless")
            }
            other => misplaced("postgres", other),
        };
        Box::pin(async move { verdict })
    }

    fn batches(&self, call: &Call) -> bool {
        // A guard's locks are waited for one by one, and what it refuses is rolled back alone.
        matches!(call, Call::Sql { guard: None, .. })
    }

    fn run_many<'a>(&'a self, call: &'a Call, attempts: &'a [Attempt]) -> BoxFuture<'a, Vec<Verdict>> {
        Box::pin(async move {
            if let (Call::Sql { sql, none, .. }, [_, _, ..]) = (call, attempts) {
                return many::run(self, &self.database, sql, *none, attempts).await;
            }
            let mut verdicts = Vec::with_capacity(attempts.len());
            for attempt in attempts {
                verdicts.push(self.run(call, attempt).await);
            }
            verdicts
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.database.check())
    }
}

fn of_rows(rows: u64, none: ZeroRows) -> Verdict {
    match (rows, none) {
        (0, ZeroRows::AlreadyGone) => Verdict::AlreadyGone,
        (0, ZeroRows::Again) => Verdict::not_yet("the statement changed no row yet"),
        (0, ZeroRows::Refused) => Verdict::refused("the statement's guard let no row through"),
        (rows, _) => Verdict::Done {
            proof: Some(json!({ "rows": rows })),
        },
    }
}

/// The hard timeout. By then the server has long been told to cut the statement off, so this speaks only when the
/// server or the network is silent; and then nobody knows.
async fn within(deadline: Boottime, run: impl Future<Output = Result<Verdict, Verdict>>) -> Verdict {
    match tokio::time::timeout(deadline.left(), run).await {
        Ok(Ok(verdict) | Err(verdict)) => verdict,
        Err(_) => Verdict::unknown("the database gave no answer within the step's timeout"),
    }
}
