//! One foreign database: its own pool, its own timeouts, one transaction for each piece of work.
//!
//! The invariant: no statement of ours outlives its attempt. The server is told to cut it off a good while before our
//! own hard timeout, because dropping a future does not stop a statement that the server already runs; and an answer
//! "cut off" from the server proves that nothing happened, which silence does not.

use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Either, Executor, Postgres, SqlSafeStr, Statement};

use super::binds;
use super::sqlstate::{Phase, spoils_the_connection, verdict_of};
use crate::clock::Boottime;
use crate::connectors::{PostgresSettings, WrongSystem};
use crate::deletion::Verdict;
use crate::plan::{Sql, SystemName, Values};

/// What of the time left the server may use, in tenths: the rest is for its answer and the COMMIT.
const SERVER_SHARE_TENTHS: u32 = 8;
/// 0 would mean "no timeout" to Postgres.
const SERVER_TIMEOUT_MIN_MS: u128 = 1;
/// A connection that was used so lately is not asked whether it lives; the first statement will tell.
const PING_AFTER_IDLE: Duration = Duration::from_secs(5);
/// Connections are renewed after this long, so that a moved database or a changed role is noticed.
const CONNECTION_MAX_AGE: Duration = Duration::from_secs(30 * 60);

pub(in crate::connectors) struct Database {
    pool: PgPool,
    statement_timeout: Duration,
    lock_timeout: Duration,
    idle_in_transaction_timeout: Duration,
}

/// One open transaction. Dropped unsettled (cut off, or of unknown state), it takes its connection with it: the pool
/// must not wait for a statement that nobody waits for any more.
pub(in crate::connectors) struct Work {
    connection: PoolConnection<Postgres>,
    settled: bool,
}

/// Why a statement has no bound parameters, told apart by what became of the transaction: going on in one that is over
/// would be going on without any, each statement committed by itself and without its timeouts.
#[derive(Debug)]
pub(in crate::connectors) enum Unbound {
    /// The server did not take the statement, and the transaction is over.
    Statement(Verdict),
    /// A value does not fit; the server was not asked, and the transaction stands.
    Values(Verdict),
}

#[derive(Clone, Copy)]
pub(in crate::connectors) enum Mode {
    Write,
    /// As of one moment: rows that somebody else removes meanwhile are an error (40001), not zero rows.
    WriteAsOfNow,
    /// A read that writes is refused by the server, whatever its text says.
    ReadOnly,
}

impl Database {
    pub(in crate::connectors) fn new(
        name: &SystemName,
        settings: &PostgresSettings,
    ) -> Result<Self, WrongSystem> {
        let options: PgConnectOptions = settings.url.expose_secret().parse().map_err(|_| WrongSystem {
            system: name.0.clone(),
            key: "url",
            found: "an address the driver cannot use".to_owned(),
            wanted: "an address like `postgres://user:password@host:5432/database`".to_owned(),
        })?;
        let options = options
            .application_name("sexton")
            // What rows look like as text must not depend on whose server or role it is: archives are compared
            // byte by byte.
            .options([
                ("timezone", "UTC"),
                ("datestyle", "ISO"),
                ("intervalstyle", "iso_8601"),
                ("bytea_output", "hex"),
                // A notice of a function over there may quote rows, and the driver writes notices into the log.
                ("client_min_messages", "error"),
            ]);
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(settings.connect_timeout)
            .max_lifetime(CONNECTION_MAX_AGE)
            .test_before_acquire(false)
            .before_acquire(|connection, about| {
                Box::pin(async move {
                    if about.idle_for > PING_AFTER_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Ok(Database {
            pool,
            statement_timeout: settings.statement_timeout,
            lock_timeout: settings.lock_timeout,
            idle_in_transaction_timeout: settings.idle_in_transaction_timeout,
        })
    }

    pub(in crate::connectors) async fn begin(&self, mode: Mode, deadline: Boottime) -> Result<Work, Verdict> {
        let server = deadline.left() * SERVER_SHARE_TENTHS / 10;
        let statement = millis(server.min(self.statement_timeout));
        let lock = millis(server.min(self.lock_timeout));
        let idle = millis(server.min(self.idle_in_transaction_timeout));
        let how = match mode {
            Mode::Write => "",
            Mode::WriteAsOfNow => " isolation level repeatable read",
            Mode::ReadOnly => " read only",
        };
        // One round trip for all of it.
        let begin = format!(
            "begin{how}; set local statement_timeout = {statement}; set local lock_timeout = {lock}; \
             set local idle_in_transaction_session_timeout = {idle}"
        );
        let begun = async {
            let mut work = Work {
                connection: self.pool.acquire().await?,
                settled: false,
            };
            work.connection.execute(AssertSqlSafe(begin)).await?;
            Ok(work)
        };
        match tokio::time::timeout(deadline.left(), begun).await {
            Ok(begun) => begun.map_err(|error| verdict_of(&error, Phase::BeforeCommit)),
            Err(_) => Err(Verdict::again("no connection to the database in time")),
        }
    }

    pub(in crate::connectors) async fn check(&self) -> Result<(), String> {
        let said = async {
            let mut connection = self.pool.acquire().await?;
            connection.execute("select 1").await
        };
        match said.await {
            Ok(_) => Ok(()),
            Err(error) => {
                let verdict = verdict_of(&error, Phase::BeforeCommit);
                Err(verdict.why().unwrap_or("not ready").to_owned())
            }
        }
    }
}

impl Work {
    /// The statement's parameters, bound. Prepared once for each connection and text; then it costs no round trip.
    pub(in crate::connectors) async fn bind(
        &mut self,
        sql: &Sql,
        values: &Values,
    ) -> Result<PgArguments, Unbound> {
        let text = AssertSqlSafe(sql.text.clone()).into_sql_str();
        let statement = match self.connection.prepare(text).await {
            Ok(statement) => statement,
            Err(error) => return Err(Unbound::Statement(self.trouble(&error).await)),
        };
        let types = match statement.parameters() {
            Some(Either::Left(types)) => types,
            _ => &[],
        };
        binds::arguments(&sql.binds, types, values).map_err(Unbound::Values)
    }

    /// For those who have nothing else to do in this transaction: it is over, and this is what to say.
    pub(in crate::connectors) async fn give_up(&mut self, unbound: Unbound) -> Verdict {
        match unbound {
            Unbound::Statement(verdict) => verdict,
            Unbound::Values(verdict) => {
                self.roll_back().await;
                verdict
            }
        }
    }

    /// Runs the statement and says how many rows it touched. After an error the transaction is rolled back.
    pub(in crate::connectors) async fn execute(
        &mut self,
        sql: &Sql,
        bound: PgArguments,
    ) -> Result<u64, Verdict> {
        let query = sqlx::query_with(AssertSqlSafe(sql.text.clone()), bound);
        match query.execute(&mut *self.connection).await {
            Ok(result) => Ok(result.rows_affected()),
            Err(error) => Err(self.trouble(&error).await),
        }
    }

    pub(in crate::connectors) async fn commit(mut self) -> Result<(), Verdict> {
        match self.connection.execute("commit").await {
            Ok(_) => {
                self.settled = true;
                Ok(())
            }
            Err(error) => Err(verdict_of(&error, Phase::Commit)),
        }
    }

    /// Nothing of it happened. Costs a round trip and keeps the connection; a failure to say so only loses that.
    pub(in crate::connectors) async fn roll_back(&mut self) {
        self.settled = self.connection.execute("rollback").await.is_ok();
    }

    pub(in crate::connectors) fn connection(&mut self) -> &mut sqlx::PgConnection {
        &mut self.connection
    }

    /// What an error before COMMIT means; the transaction is over.
    pub(in crate::connectors) async fn trouble(&mut self, error: &sqlx::Error) -> Verdict {
        if !spoils_the_connection(error) {
            self.roll_back().await;
        }
        verdict_of(error, Phase::BeforeCommit)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.settled {
            self.connection.close_on_drop();
        }
    }
}

fn millis(span: Duration) -> u128 {
    span.as_millis().max(SERVER_TIMEOUT_MIN_MS)
}
