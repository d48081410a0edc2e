//! Who may write: workers, their lanes and leases, and the takeover of those that fell silent.
//!
//! A lease is believed only by this database's clock here, and only by [`Boottime`] in the process. Raising an epoch
//! is what takes a lane away; time alone takes nothing.

use std::time::Duration;

use sqlx::{ConnectOptions, Connection};
use uuid::Uuid;

use super::{LaneWriter, Store, StoreError};
use crate::clock::Boottime;
use crate::crash::{self, CrashPoint};
use crate::stopper::Lease;

/// Adoption goes in pages, so that no takeover is one long transaction.
const ADOPT_PAGE_ROWS: i32 = 500;

/// One process start.
#[derive(Clone, Debug)]
pub struct Worker {
    pub id: Uuid,
    pub lanes: Vec<i64>,
    pub lease: Lease,
    span: Duration,
}

/// What a heartbeat learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    Renewed,
    /// Somebody took over; nothing may be written or begun any more.
    Lost,
}

impl Store {
    /// Registers a new worker with its fence rows.
    pub async fn register(&self, lanes: u16, lease: Duration) -> Result<Worker, StoreError> {
        let id = Uuid::now_v7();
        let sent = Boottime::now();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let lane_ids: Vec<i64> = sqlx::query_scalar(
            "/* register */ with w as (
                 insert into sexton.workers (worker, host, pid, expires_at)
                 values ($1, $2, $3, now() + make_interval(secs => $4)) returning worker
             )
             insert into sexton.lanes (worker) select w.worker from w, generate_series(1, $5) returning lane",
        )
        .bind(id)
        .bind(host)
        .bind(i32::try_from(std::process::id()).unwrap_or(0))
        .bind(lease.as_secs_f64())
        .bind(i32::from(lanes))
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::doing("registering this worker"))?;
        let worker = Worker {
            id,
            lanes: lane_ids,
            lease: Lease::default(),
            span: lease,
        };
        worker.lease.renew(sent.plus(lease));
        Ok(worker)
    }

    /// Renews the lease. Counted from before the question was sent: a slow answer never lengthens it.
    pub async fn heartbeat(&self, worker: &Worker) -> Result<Heartbeat, StoreError> {
        let sent = Boottime::now();
        let renewed = sqlx::query(
            "/* heartbeat */ update sexton.workers set expires_at = now() + make_interval(secs => $2)
             where worker = $1 and lost_at is null",
        )
        .bind(worker.id)
        .bind(worker.span.as_secs_f64())
        .execute(&self.pool)
        .await
        .map_err(StoreError::doing("renewing the lease"))?
        .rows_affected();
        if renewed == 1 {
            worker.lease.renew(sent.plus(worker.span));
            return Ok(Heartbeat::Renewed);
        }
        worker.lease.lose();
        Ok(Heartbeat::Lost)
    }

    /// The lanes' signal generations as they stand; a poll beside the hint of NOTIFY.
    pub async fn generations(&self, worker: &Worker) -> Result<Vec<(i64, i64)>, StoreError> {
        sqlx::query_as("/* generations */ select lane, generation from sexton.lanes where worker = $1")
            .bind(worker.id)
            .fetch_all(&self.pool)
            .await
            .map_err(StoreError::doing("asking whether anybody said something"))
    }

    /// Takes the lanes of silent workers away and hands back what they held, page by page. Returns what was taken.
    pub async fn take_over(&self) -> Result<(u32, u32), StoreError> {
        let lanes: i32 = sqlx::query_scalar("/* take_over */ select sexton.take_over()")
            .fetch_one(&self.pool)
            .await
            .map_err(StoreError::doing("taking over from silent workers"))?;
        let mut deletions = 0;
        loop {
            if lanes > 0 {
                crash::point(CrashPoint::TakeoverBetweenPages);
            }
            let page: i32 = sqlx::query_scalar("/* adopt_page */ select sexton.adopt_page($1)")
                .bind(ADOPT_PAGE_ROWS)
                .fetch_one(&self.pool)
                .await
                .map_err(StoreError::doing("adopting what a lost worker held"))?;
            deletions += page.unsigned_abs();
            if page < ADOPT_PAGE_ROWS {
                return Ok((lanes.unsigned_abs(), deletions));
            }
        }
    }

    /// A clean goodbye: the lease ends now, so that nobody waits for it. What is still held is adopted by others.
    pub async fn sign_off(&self, worker: &Worker) -> Result<(), StoreError> {
        worker.lease.lose();
        sqlx::query(
            "/* sign_off */ update sexton.workers set expires_at = now() - interval '1 microsecond'
             where worker = $1 and lost_at is null",
        )
        .bind(worker.id)
        .execute(&self.pool)
        .await
        .map_err(StoreError::doing("signing off"))?;
        self.take_over().await?;
        Ok(())
    }

    /// A writer connection for one lane.
    pub async fn open_lane(&self, lane: i64) -> Result<LaneWriter, StoreError> {
        let connection = self
            .options
            .clone()
            .application_name("sexton-lane")
            .disable_statement_logging()
            .connect()
            .await;
        let mut connection = connection.map_err(StoreError::doing("opening a lane's connection"))?;
        connection
            .ping()
            .await
            .map_err(StoreError::doing("opening a lane's connection"))?;
        Ok(LaneWriter::new(connection, lane))
    }
}
