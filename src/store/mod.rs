//! Sexton's own tables. Everything that is durable is written here, and nothing else touches these tables.
//!
//! Reading order: how a request gets in ([`admit`]), who may write ([`fence`]), how deletions move ([`journal`],
//! [`claim`]), what people say ([`signals`]), what goes out ([`outbox`]).

mod admit;
mod admit_new;
mod batches;
mod calls;
mod keys;
mod reject;
mod requests;
mod slots;
pub use admit::{Admission, Candidate};
pub use batches::BatchStand;
pub use calls::{CallMessage, Called, KeptCall, LOOK_MAX_ROWS, NewCall, Stand};

mod fence;
pub use fence::{Heartbeat, Worker};

mod journal;
pub use journal::{BatchOutcome, LaneWriter, Record, Release, Written};

mod claim;
mod passed;
pub use claim::{Claimed, Opened};
pub use passed::Passed;

mod signals;
pub use signals::Said;

mod adopt;
pub use adopt::Asked;

mod listing;
pub use listing::{Filter, KeyMeans, Listed, PAGE_MAX_ROWS, RejectedRequest, Wanted, Which};
mod sheet;
pub use sheet::{Holder, Place, RequestLine, SaidSignal, Sheet};

mod api_keys;
pub use api_keys::{ListedKey, NewKey, StandingKey};

mod known;
pub use known::{KnownAs, Pulse};

mod shut_systems;
pub use shut_systems::{ListedShut, ShutSystem};

mod purges;
mod terms;
mod tombstone;
mod watches;
mod windows;
pub use terms::Term;
pub use watches::Watched;

mod outbox;
pub use outbox::{Outgoing, OutgoingBody};

mod plans;
pub use plans::StoredPlan;

mod wake;
pub use wake::{Hints, Wake, Waker};

mod settings;
pub use settings::Settings;

mod error;
pub use error::StoreError;

use crate::telemetry::Outage;
use crate::tls;

use std::str::FromStr;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};

/// Waiting longer than this for a free connection means that the database is the bottleneck; say so, do not queue.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that has not said hello by then is away; a person who started a command waits for no more.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);

/// Due never: only a signal brings such a deletion back. (Postgres' own infinity has no counterpart in our types.)
pub const NEVER: time::OffsetDateTime = time::macros::datetime!(9999-01-01 0:00 UTC);

/// By its whole name: whoever is called `sexton` at the server would otherwise find another one after the first run.
const MIGRATIONS_TABLE: &str = "sexton.migrations";

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Sexton's tables, by a pool for what is not a lane's own.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
    options: PgConnectOptions,
    key_days: i32,
    outage: Outage,
}

impl Store {
    /// Opens nothing yet; the first use connects.
    pub fn new(settings: &Settings) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(settings.url.expose_secret())
            .map_err(|source| StoreError::Url { source })?
            .application_name("sexton")
            .options([
                ("statement_timeout", millis(settings.statement_timeout)),
                (
                    "idle_in_transaction_session_timeout",
                    millis(settings.statement_timeout),
                ),
                // Group commit waits for nobody: a lock that does not come soon is retried with the whole batch.
                ("lock_timeout", millis(settings.statement_timeout / 2)),
                // Our statements touch few rows of tables that look large: compiling one took 490 ms, running it 2.
                ("jit", "off".to_owned()),
                // A statement that is prepared while the outbox is empty would else read all of it from then on, and until the
                // next vacuum each look costs more than the last. Nor does one read all of an index: why rows are looked up by `any (array[…])`,
                // or behind an `offset 0`, stands at the head of 0002_protocol.sql.
                ("enable_seqscan", "off".to_owned()),
            ]);
        let pool = PgPoolOptions::new()
            .max_connections(settings.pool_max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options.clone());
        Ok(Store {
            pool,
            options,
            key_days: i32::from(settings.key_days),
            outage: Outage::new("Postgres", error::cause),
        })
    }

    /// Brings the tables up to this release. Harmless to repeat and to race.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.reach().await?;
        // In our own schema: `public` may belong to somebody else, or to another program that migrates likewise.
        let mut migrator = Migrator::with_migrations(MIGRATOR.iter().cloned().collect());
        migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
        migrator.create_schema("sexton");
        migrator
            .run(&mut connection)
            .await
            .map_err(|source| StoreError::Migrate { source })
    }

    /// One clear sentence if the tables are not those of this release.
    pub async fn check_migrated(&self) -> Result<(), StoreError> {
        let newest = MIGRATOR
            .iter()
            .map(|migration| migration.version)
            .max()
            .unwrap_or(0);
        let mut connection = self.reach().await?;
        let failed = StoreError::doing("asking which migrations are applied");
        let exists: bool = sqlx::query_scalar("select to_regclass('sexton.migrations') is not null")
            .fetch_one(&mut connection)
            .await
            .map_err(&failed)?;
        let found: i64 = match exists {
            true => {
                sqlx::query_scalar("select coalesce(max(version), 0) from sexton.migrations where success")
                    .fetch_one(&mut connection)
                    .await
                    .map_err(&failed)?
            }
            false => 0,
        };
        // Nothing hangs on a polite goodbye.
        let _ = connection.close().await;
        if found == newest {
            Ok(())
        } else {
            Err(StoreError::NotMigrated {
                found,
                wanted: newest,
            })
        }
    }

    /// One connection, or why not, soon: the pool would go on trying in silence.
    async fn reach(&self) -> Result<PgConnection, StoreError> {
        let at = || format!("{}:{}", self.options.get_host(), self.options.get_port());
        match tokio::time::timeout(REACH_TIMEOUT, self.options.connect()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(source)) => Err(match no_tls(&source) {
                Some(why) => StoreError::Tls { at: at(), why },
                None => StoreError::Unreachable { at: at(), source },
            }),
            Err(_) => Err(StoreError::Silent {
                at: at(),
                wait_s: REACH_TIMEOUT.as_secs(),
            }),
        }
    }

    pub async fn ensure_partitions(&self) -> Result<(), StoreError> {
        sqlx::query("/* ensure_partitions */ select sexton.ensure_partitions($1)")
            .bind(self.key_days)
            .execute(&self.pool)
            .await
            .map_err(StoreError::doing("making the partitions of the months to come"))?;
        Ok(())
    }

    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("select 1")
            .execute(&self.pool)
            .await
            .map_err(StoreError::doing("asking for a sign of life"))?;
        Ok(())
    }

    /// Whether the tables take what is written: a server that is read-only or whose disk is full answers all the same. The
    /// row is wide, so that it needs new pages, and is taken back.
    pub async fn takes_writes(&self) -> Result<(), StoreError> {
        const DOING: &str = "asking whether the tables take what is written";
        let mut work = self.pool.begin().await.map_err(StoreError::doing(DOING))?;
        sqlx::query(
            "/* takes_writes */ insert into sexton.audit (said_by, action, detail)
             select 'sexton', 'try', to_jsonb(string_agg(md5(random()::text), '')) from generate_series(1, 1000)",
        )
        .execute(&mut *work)
        .await
        .map_err(StoreError::doing(DOING))?;
        work.rollback().await.map_err(StoreError::doing(DOING))
    }

    /// What all who use these tables say of an outage, together.
    pub fn outage(&self) -> &Outage {
        &self.outage
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Why there is no connection by TLS, if that is the trouble.
fn no_tls(error: &sqlx::Error) -> Option<String> {
    tls::why(error).or_else(|| match error {
        // The driver says this of a server that answers "no" to the question for TLS.
        sqlx::Error::Tls(why) => Some(why.to_string()),
        _ => None,
    })
}

fn millis(span: Duration) -> String {
    span.as_millis().to_string()
}
