//! What can go wrong with our own tables, and what the caller can do about it.

use std::error::Error;

use sqlx::migrate::MigrateError;

use crate::crash;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "the database url is not one that Postgres understands; wanted postgres://user:password@host:port/database"
    )]
    Url { source: sqlx::Error },
    #[error("cannot connect to Postgres at {at}")]
    Unreachable { at: String, source: sqlx::Error },
    #[error("cannot connect to Postgres at {at} by TLS: {why}")]
    Tls { at: String, why: String },
    #[error("Postgres at {at} did not answer within {wait_s} s")]
    Silent { at: String, wait_s: u64 },
    #[error("the tables are at migration {found}, this release wants {wanted}; run `sexton migrate` first")]
    NotMigrated { found: i64, wanted: i64 },
    #[error("applying the migrations")]
    Migrate { source: MigrateError },
    #[error("{what}")]
    Query { what: &'static str, source: sqlx::Error },
    #[error("reading {what} of deletion {deletion}")]
    Unreadable {
        what: &'static str,
        deletion: uuid::Uuid,
        source: serde_json::Error,
    },
    #[error("reading the stored plan {hash}: {why}")]
    Plan { hash: String, why: String },
    /// Others were faster several times in a row; nothing is wrong.
    #[error("{what}")]
    Busy { what: &'static str },
    #[error("this worker has lost its lane")]
    Lost,
}

impl StoreError {
    /// For `map_err`: what was attempted; the cause stays the source.
    pub fn doing(what: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
        move |source| StoreError::Query { what, source }
    }

    /// Passes an answer on, unless a test loses it on the way: then what was asked for is done, and nobody hears of it.
    pub(super) fn heard<T>(what: &'static str, answer: T) -> Result<T, StoreError> {
        if crash::answer_is_lost() {
            let source = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
            return Err(StoreError::Query { what, source });
        }
        Ok(answer)
    }

    fn sqlstate(&self) -> Option<String> {
        match self {
            StoreError::Query { source, .. } => sqlstate(source),
            _ => None,
        }
    }

    /// One of the records holds what Postgres cannot keep; the others could go on without it.
    pub fn is_about_content(&self) -> bool {
        match self {
            // 22: data exception (a NUL in text, a number out of range). 54: over a limit of the server. 23: a constraint,
            // but for 23514, which says that a partition is missing: that is ours to make, and no fault of the record.
            StoreError::Query {
                source: sqlx::Error::Encode(_),
                ..
            } => true,
            _ => self.sqlstate().is_some_and(|code| {
                code != "23514" && ["22", "54", "23"].iter().any(|class| code.starts_with(class))
            }),
        }
    }

    /// The connection or the server is in trouble: try again on a new connection. What was sent may have committed.
    pub fn is_passing(&self) -> bool {
        match self {
            StoreError::Busy { .. } | StoreError::Silent { .. } | StoreError::Tls { .. } => true,
            StoreError::Query { source, .. } | StoreError::Unreachable { source, .. } => match source {
                sqlx::Error::Io(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::Protocol(_)
                | sqlx::Error::Tls(_) => true,
                // 08 connection, 40 serialization and deadlock, 53 resources, 55 locks, 57 operator intervention
                // (shutdown, statement timeout), 25P03 idle in transaction, 58 system error.
                sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                    ["08", "40", "53", "55", "57", "58"]
                        .iter()
                        .any(|class| code.starts_with(class))
                        || code == "25P03"
                }),
                _ => false,
            },
            _ => false,
        }
    }
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// What lies at the bottom of an error. Postgres tells the same trouble in other words for each statement and each file that
/// meets it, and by one code.
pub(super) fn cause(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    loop {
        if let Some(code) = last.downcast_ref().and_then(sqlstate) {
            return code;
        }
        match last.source() {
            Some(source) => last = source,
            None => return last.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct FromPostgres(&'static str, &'static str);

    impl DatabaseError for FromPostgres {
        fn message(&self) -> &str {
            self.0
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.1.into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    fn writing(error: sqlx::Error) -> StoreError {
        StoreError::doing("writing a batch")(error)
    }

    #[test]
    fn a_cause_is_the_same_whatever_statement_or_file_meets_it() {
        let of = |message, code| {
            let error = FromPostgres(message, code);
            cause(&writing(sqlx::Error::Database(Box::new(error))))
        };
        let full = of(
            "could not extend file \"16851\": No space left on device",
            "53100",
        );
        assert_eq!(
            full,
            of(
                "could not extend file \"16878_fsm\": No space left on device",
                "53100"
            )
        );
        assert_ne!(full, of("the database system is shutting down", "57P03"));
        let cut = || sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert_eq!(cause(&writing(cut())), cause(&cut()));
        assert_ne!(cause(&writing(cut())), cause(&writing(sqlx::Error::PoolTimedOut)));
    }
}
