//! A transaction whose guard has said yes, or has nothing to say.
//!
//! Why repeating is harmless: the guard only looks, and what it locks is let go with the transaction. Whether the
//! statement behind it may be repeated is for the plan to say ([`Call::repeat_may_mislead`](crate::plan::Call)).

use serde_json::Value;

use super::database::{Database, Mode, Work};
use super::rows::rows_of;
use crate::clock::Boottime;
use crate::connectors::Attempt;
use crate::deletion::Verdict;
use crate::plan::Guard;

/// A second row is fetched only to see that there is one.
const ROWS_TOLD_APART: u32 = 2;

#[derive(PartialEq)]
enum Says {
    Yes,
    No,
    /// There is no such row, so there is nothing that a lock could hold.
    Nothing,
}

/// The error is what the attempt has to say: the guard's no, or trouble. Nothing has happened then.
///
/// A row that the guard saw stays as it was, since it is locked. One that was not there could come before the statement
/// does, in a state that nobody has looked at: so where there is none, both look at one and the same moment.
pub(super) async fn begin(
    database: &Database,
    guard: &Guard,
    attempt: &Attempt,
    deadline: Boottime,
) -> Result<Work, Verdict> {
    let mut work = database.begin(Mode::Write, deadline).await?;
    let mut says = ask(&mut work, guard, attempt).await?;
    if says == Says::Nothing {
        work.roll_back().await;
        work = database.begin(Mode::WriteAsOfNow, deadline).await?;
        says = ask(&mut work, guard, attempt).await?;
    }
    if says == Says::No {
        work.roll_back().await;
        return Err(Verdict::refused(guard.otherwise.as_str()));
    }
    Ok(work)
}

/// What became of a guarded delete: the guard is asked alone. It waits for whoever holds the row, an earlier attempt of ours
/// among them; so where it says no, that is over, and the step's `verify` can tell whether it took effect.
pub(super) async fn look(database: &Database, guard: &Guard, attempt: &Attempt) -> Verdict {
    match begin(database, guard, attempt, attempt.deadline()).await {
        Err(refused @ Verdict::Refused { .. }) => refused,
        Err(_) => Verdict::not_yet("the statement may not have taken effect; repeating it is harmless"),
        Ok(mut work) => {
            work.roll_back().await;
            Verdict::not_yet("the statement may not have taken effect; repeating it is harmless")
        }
    }
}

/// One boolean, or no row.
async fn ask(work: &mut Work, guard: &Guard, attempt: &Attempt) -> Result<Says, Verdict> {
    let rows = match rows_of(work, &guard.sql, &attempt.values, ROWS_TOLD_APART).await {
        // It has only looked, so what became of it is known.
        Err(Verdict::Unknown { why }) => return Err(Verdict::rolled_back(why)),
        rows => rows?,
    };
    match rows.iter().map(Vec::as_slice).collect::<Vec<_>>().as_slice() {
        [] => Ok(Says::Nothing),
        [[(_, Value::Bool(true))]] => Ok(Says::Yes),
        [[(_, Value::Bool(false) | Value::Null)]] => Ok(Says::No),
        _ => {
            work.roll_back().await;
            Err(Verdict::failed(
                "the step's guard has to answer at most one row with one boolean",
            ))
        }
    }
}
