//! What can go wrong with our own tables, and what the caller can do about it.

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
            StoreError::Query {
                source: sqlx::Error::Database(error),
                ..
            } => error.code().map(|code| code.into_owned()),
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
