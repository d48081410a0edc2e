//! What a run cost: commits and WAL as Postgres counts them, CPU time as Linux does.
//!
//! Read from another database than the measured one, so that reading is not counted; and read after the program has
//! left, since Postgres' counters become visible when a connection ends.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use sexton::services::Services;
use sqlx::{Connection, PgConnection};

use crate::Fail;

/// Linux has counted CPU time for everybody in hundredths of a second since 2.6, whatever its own clock does.
const TICKS_A_SECOND: u64 = 100;
/// Backends leave within milliseconds of their client.
const LEAVE_MAX: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Default)]
pub(crate) struct Spent {
    pub(crate) commits: i64,
    pub(crate) wal_bytes: i64,
    /// Of these, whole pages: the first change to each after a checkpoint.
    pub(crate) full_page_bytes: i64,
    pub(crate) dead_rows: i64,
    pub(crate) messages: usize,
    pub(crate) peak_kib: u64,
    pub(crate) program: Duration,
    pub(crate) postgres: Duration,
    pub(crate) broker: Duration,
}

/// Where the counters stood when the run began.
pub(crate) struct Meter {
    connection: PgConnection,
    database: String,
    began: Spent,
    began_at: String,
}

impl Meter {
    /// Begins with a checkpoint: every run pays for its own full pages, and none for another's.
    pub(crate) async fn begin(services: &Services, database: &str) -> Result<Self, Fail> {
        let connection = PgConnection::connect(&services.urls.database_url).await?;
        let mut meter = Meter {
            connection,
            database: database.to_owned(),
            began: Spent::default(),
            began_at: String::new(),
        };
        meter.until_nobody_is_there().await?;
        sqlx::raw_sql("create extension if not exists pg_walinspect; checkpoint")
            .execute(&mut meter.connection)
            .await?;
        meter.began = meter.now(services).await?;
        meter.began_at = sqlx::query_scalar("select pg_current_wal_insert_lsn()::text")
            .fetch_one(&mut meter.connection)
            .await?;
        Ok(meter)
    }

    /// Once the program is gone.
    pub(crate) async fn end(mut self, services: &Services, program: Duration) -> Result<Spent, Fail> {
        self.until_nobody_is_there().await?;
        let now = self.now(services).await?;
        let full_page_bytes = sqlx::query_scalar(
            "select coalesce(sum(fpi_size), 0)::bigint from pg_get_wal_stats($1::pg_lsn, pg_current_wal_flush_lsn())",
        )
        .bind(&self.began_at)
        .fetch_one(&mut self.connection)
        .await?;
        Ok(Spent {
            commits: now.commits - self.began.commits,
            wal_bytes: now.wal_bytes - self.began.wal_bytes,
            full_page_bytes,
            program,
            postgres: now.postgres.saturating_sub(self.began.postgres),
            broker: now.broker.saturating_sub(self.began.broker),
            ..Spent::default()
        })
    }

    async fn now(&mut self, services: &Services) -> Result<Spent, Fail> {
        let (commits, wal_bytes): (i64, i64) = sqlx::query_as(
            "select xact_commit, (pg_current_wal_lsn() - '0/0')::bigint from pg_stat_database where datname = $1",
        )
        .bind(&self.database)
        .fetch_one(&mut self.connection)
        .await?;
        let of = |name: &str| recorded_pid(services, name).map_or(Duration::ZERO, cpu_of_family);
        Ok(Spent {
            commits,
            wal_bytes,
            postgres: of("postgres"),
            broker: of("rabbitmq"),
            ..Spent::default()
        })
    }

    async fn until_nobody_is_there(&mut self) -> Result<(), Fail> {
        let mut ticks = tokio::time::interval(LOOK_AGAIN);
        let looking = async {
            loop {
                ticks.tick().await;
                let there: i64 = sqlx::query_scalar(
                    "select count(*) from pg_stat_activity where datname = $1 and backend_type = 'client backend'",
                )
                .bind(&self.database)
                .fetch_one(&mut self.connection)
                .await?;
                if there == 0 {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(LEAVE_MAX, looking).await?
    }
}

/// The services' folder names each server's process, for the watchdog that ends it.
fn recorded_pid(services: &Services, name: &str) -> Option<u32> {
    let file = services.folder()?.join("pids").join(name);
    let text = std::fs::read_to_string(file).ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

/// CPU time of a process, of those it has waited for, and of all that live below it. Zero where there is no `/proc`.
pub(crate) fn cpu_of_family(root: u32) -> Duration {
    let all: HashMap<u32, Stat> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((pid, Stat::read(pid)?))
        })
        .collect();
    let below_root = |mut pid: u32| loop {
        match all.get(&pid) {
            _ if pid == root => return true,
            Some(stat) if stat.parent > 1 => pid = stat.parent,
            _ => return false,
        }
    };
    let ticks: u64 = all
        .iter()
        .filter(|(pid, _)| below_root(**pid))
        .map(|(_, stat)| stat.ticks)
        .sum();
    Duration::from_millis(ticks * 1_000 / TICKS_A_SECOND)
}

/// The most memory that a process ever had.
pub(crate) fn peak_kib(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:")
}

/// The memory that it has now, and the most that it had since this was asked last; [`peak_kib`] forgets what was before.
pub(crate) fn resident_and_peak_since_kib(pid: u32) -> std::io::Result<(u64, u64)> {
    let found = (status_kib(pid, "VmRSS:"), peak_kib(pid));
    // From here on the kernel looks for a new peak (proc(5)).
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    Ok(found)
}

fn status_kib(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let found = status.lines().find_map(|line| line.strip_prefix(name));
    found
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or_default()
}

struct Stat {
    parent: u32,
    ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Stat> {
        let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
        // The name stands in parentheses and may hold anything; behind it field 3 begins.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Stat {
            parent: u32::try_from(number(4)?).ok()?,
            ticks: number(14)? + number(15)? + number(16)? + number(17)?,
        })
    }
}
