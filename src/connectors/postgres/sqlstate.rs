//! What an error of a foreign Postgres means for the attempt.
//!
//! The invariant: a reason carries the SQLSTATE, its name, and names of tables and constraints, never a row's values
//! (invariant 12). Messages and DETAIL of Postgres quote values, so they are not repeated; the one exception is class
//! 42 outside functions, which speaks of the plan's own text.

use sqlx::postgres::PgDatabaseError;

use crate::deletion::{Denied, Verdict};
use crate::tls;

/// How far the transaction had come when the error arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::connectors) enum Phase {
    /// COMMIT had not been sent: whatever the error, the server rolls back, and nothing has happened.
    BeforeCommit,
    /// COMMIT was on its way: without an answer, both is possible.
    Commit,
}

pub(in crate::connectors) fn verdict_of(error: &sqlx::Error, phase: Phase) -> Verdict {
    if let Some(why) = tls::why(error) {
        // Nothing was sent; a certificate that is renewed heals it.
        return Verdict::rolled_back(format!("no TLS connection to the database: {why}"));
    }
    match error {
        sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => of_code(&Said::by(error), phase),
            None => Verdict::unknown("the database answered in a way the driver does not know"),
        },
        sqlx::Error::PoolTimedOut => Verdict::rolled_back("no connection to the database in time"),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            Verdict::rolled_back("the connections to the database are closed")
        }
        sqlx::Error::Configuration(_) => Verdict::denied(
            Denied::All,
            "the database's address is not usable",
            "correct its url in the settings",
        ),
        // The driver's word for a server that says no when it is asked for TLS.
        sqlx::Error::Tls(why) => Verdict::denied(
            Denied::All,
            format!("no TLS connection to the database: {why}"),
            "let the server speak TLS, or correct sslmode in the url of the settings",
        ),
        sqlx::Error::Io(error) if phase == Phase::BeforeCommit => Verdict::rolled_back(format!(
            "the connection to the database failed ({:?})",
            error.kind()
        )),
        _ if phase == Phase::BeforeCommit => Verdict::rolled_back("the connection to the database failed"),
        _ => Verdict::unknown("the connection was lost while the answer to COMMIT was awaited"),
    }
}

/// What an error says, as far as it may be repeated.
struct Said {
    code: String,
    table: Option<String>,
    constraint: Option<String>,
    /// Only where it cannot hold values.
    message: Option<String>,
}

impl Said {
    fn by(error: &PgDatabaseError) -> Self {
        let of_the_plan = error.code().starts_with("42") && error.r#where().is_none();
        Said {
            code: error.code().to_owned(),
            table: error.table().map(str::to_owned),
            constraint: error.constraint().map(str::to_owned),
            message: of_the_plan.then(|| error.message().to_owned()),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{} ({})", name(&self.code), self.code);
        if let Some(constraint) = &self.constraint {
            text.push_str(&format!(", constraint `{constraint}`"));
        }
        if let Some(table) = &self.table {
            text.push_str(&format!(", table `{table}`"));
        }
        if let Some(message) = &self.message {
            text.push_str(&format!(": {message}"));
        }
        text
    }
}

fn of_code(said: &Said, phase: Phase) -> Verdict {
    let text = said.text();
    let code = said.code.as_str();
    match (code, code.get(..2).unwrap_or("")) {
        ("40003" | "08007", _) => Verdict::unknown(text),
        // Said while COMMIT is under way (a shutdown during synchronous replication, for one), these leave open
        // whether it took place.
        (_, "57" | "08" | "58" | "XX") if phase == Phase::Commit => Verdict::unknown(text),
        ("57P04", _) | (_, "3D") => Verdict::denied(
            Denied::All,
            text,
            "create the database, or correct the url in the settings",
        ),
        // Of one table, or of one row: what else the role may do shows in others.
        ("42501", _) => Verdict::denied(
            Denied::Perhaps,
            text,
            "grant the role of this system what the statement needs",
        ),
        (_, "28") => Verdict::denied(
            Denied::All,
            text,
            "correct the user or password in the system's url",
        ),
        ("23503", _) => {
            let by = said.constraint.as_deref().unwrap_or("a foreign key");
            let of = said.table.as_deref().unwrap_or("another table");
            Verdict::blocked(
                text,
                format!(
                    "remove the rows of `{of}` that still refer to it by `{by}`, or let the plan do so first"
                ),
            )
        }
        // Lost races, locks, timeouts, shutdowns, a standby that was asked to write, a plan that the schema has
        // outgrown (0A000, 26000): the transaction is rolled back, and a new one may fare better.
        (_, "08" | "40" | "53" | "55" | "57" | "58" | "25" | "XX" | "26" | "0A" | "F0") => {
            Verdict::rolled_back(text)
        }
        _ => Verdict::failed(text),
    }
}

/// The connection keeps prepared statements that no longer fit; it is better closed than kept.
pub(in crate::connectors) fn spoils_the_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| matches!(code.as_ref(), "0A000" | "26000" | "25006")),
        _ => true,
    }
}

/// Names as the Postgres manual has them (appendix A), for those a delete is likely to meet.
fn name(code: &str) -> &'static str {
    match code {
        "08000" | "08003" | "08006" => "connection failure",
        "22003" => "numeric value out of range",
        "22021" => "character not in repertoire",
        "22P02" => "invalid text representation",
        "23001" => "restrict violation",
        "23502" => "not null violation",
        "23503" => "foreign key violation",
        "23505" => "unique violation",
        "23514" => "check violation",
        "25006" => "read only transaction",
        "25P03" => "idle in transaction timeout",
        "28000" => "invalid authorization",
        "28P01" => "invalid password",
        "3D000" => "no such database",
        "40001" => "serialization failure",
        "40P01" => "deadlock detected",
        "42501" => "insufficient privilege",
        "42601" => "syntax error",
        "42703" => "undefined column",
        "42804" => "datatype mismatch",
        "42883" => "undefined function",
        "42P01" => "undefined table",
        "42P18" => "indeterminate datatype",
        "53300" => "too many connections",
        "55P03" => "lock not available",
        "57014" => "statement timeout",
        "57P01" => "admin shutdown",
        "57P02" => "crash shutdown",
        "57P03" => "cannot connect now",
        "57P04" => "database dropped",
        "P0001" => "raised by a function or trigger",
        _ => "database error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: &str) -> Said {
        Said {
            code: code.to_owned(),
            table: Some("api_keys".to_owned()),
            constraint: Some("api_keys_computer_id_fkey".to_owned()),
            message: None,
        }
    }

    #[test]
    fn a_class_of_errors_has_one_meaning() {
        for (code, before, commit) in [
            ("08006", "again", "unknown"),
            ("57P01", "again", "unknown"),
            ("57014", "again", "unknown"),
            ("40001", "again", "again"),
            ("40P01", "again", "again"),
            ("40003", "unknown", "unknown"),
            ("53300", "again", "again"),
            ("55P03", "again", "again"),
            ("23503", "blocked", "blocked"),
            ("23505", "failed", "failed"),
            ("22P02", "failed", "failed"),
            ("42P01", "failed", "failed"),
            ("42501", "blocked", "blocked"),
            ("28P01", "blocked", "blocked"),
            ("3D000", "blocked", "blocked"),
            ("P0001", "failed", "failed"),
            ("99999", "failed", "failed"),
        ] {
            assert_eq!(of_code(&said(code), Phase::BeforeCommit).word(), before, "{code}");
            assert_eq!(of_code(&said(code), Phase::Commit).word(), commit, "{code}");
        }
    }

    #[test]
    fn a_foreign_key_says_what_unblocks_it() {
        let Verdict::Blocked {
            why,
            unblock,
            denied: None,
        } = of_code(&said("23503"), Phase::BeforeCommit)
        else {
            panic!("blocked");
        };
        assert!(why.contains("foreign key violation (23503)"), "{why}");
        assert!(
            unblock.contains("`api_keys`") && unblock.contains("api_keys_computer_id_fkey"),
            "{unblock}"
        );
    }
}
