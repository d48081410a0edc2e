//! Everything that the tables know of one deletion, read in one moment.

use serde_json::{Map, Value};
use sqlx::types::Json;
use sqlx::{PgConnection, Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Store, StoreError, StoredPlan};
use crate::deletion::{Action, DeletionId, Entry, PlanHash, Recorded};

/// Requests of one deletion that are shown; a target that was asked for more often is told by the count.
const REQUESTS_MAX_ROWS: i64 = 100;

#[derive(Clone, Debug)]
pub struct Sheet {
    pub id: DeletionId,
    /// By the database's clock, which is the one that counts.
    pub now: OffsetDateTime,
    pub tenant: String,
    pub target_type: String,
    pub target_id: String,
    pub admitted_at: OffsetDateTime,
    pub deadline: Option<OffsetDateTime>,
    pub place: Place,
    pub plan_hash: PlanHash,
    /// `Err`: this release cannot read it.
    pub plan: Result<StoredPlan, String>,
    /// Which course of it this is; the plan is told as that.
    pub action: Action,
    pub params: Map<String, Value>,
    pub requests: Vec<RequestLine>,
    pub requests_total: i64,
    pub journal: Result<Vec<Recorded>, String>,
    pub signals: Vec<SaidSignal>,
}

/// Where it stands among the tables.
#[derive(Clone, Debug)]
pub enum Place {
    /// Behind another deletion of its target.
    Queued {
        behind: DeletionId,
        due_at: OffsetDateTime,
    },
    Open {
        due_at: OffsetDateTime,
        starts: i16,
        /// An effect may be under way.
        effect_open: bool,
        holder: Option<Holder>,
    },
    Ended {
        at: OffsetDateTime,
        result: String,
    },
}

/// Whose lane has it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Holder {
    pub lane: i64,
    pub worker: Option<Uuid>,
    pub host: Option<String>,
    pub pid: Option<i32>,
    /// Its lease; past this it may be taken over.
    pub expires_at: Option<OffsetDateTime>,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct RequestLine {
    pub id: Uuid,
    pub received_at: OffsetDateTime,
    pub action: String,
    pub key: Option<String>,
    pub batch: Option<String>,
    pub requested_by: Option<String>,
    pub reason: Option<String>,
    pub not_before: Option<OffsetDateTime>,
    pub message_id: Option<String>,
    pub correlation_id: Option<String>,
    pub params: Option<Json<Value>>,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct SaidSignal {
    pub id: i64,
    pub kind: String,
    pub said_by: String,
    pub reason: Option<String>,
    pub at: OffsetDateTime,
}

#[derive(sqlx::FromRow)]
struct Row {
    now: OffsetDateTime,
    tenant: String,
    target_type: String,
    target_id: String,
    request_id: Uuid,
    plan: i32,
    admitted_at: OffsetDateTime,
    deadline: Option<OffsetDateTime>,
    due_at: Option<OffsetDateTime>,
    starts: Option<i16>,
    effect_open: Option<bool>,
    lane: Option<i64>,
    behind: Option<Uuid>,
    ended_at: Option<OffsetDateTime>,
    result: Option<String>,
    action: String,
}

impl Store {
    /// `None`: there is no such deletion.
    pub async fn sheet(&self, id: DeletionId) -> Result<Option<Sheet>, StoreError> {
        // One snapshot: a deletion that ends meanwhile must not be told half open and half ended.
        let mut tx = self
            .pool
            .begin_with("begin isolation level repeatable read read only")
            .await
            .map_err(StoreError::doing("reading a deletion"))?;
        let sheet = read(&mut tx, id).await?;
        close(tx).await;
        Ok(sheet)
    }
}

async fn close(tx: Transaction<'_, Postgres>) {
    // Nothing was written; a rollback that fails loses nothing.
    let _ = tx.rollback().await;
}

async fn read(tx: &mut PgConnection, id: DeletionId) -> Result<Option<Sheet>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "/* sheet */ select now() as now, d.tenant, d.target_type, d.target_id, d.request_id, d.plan, d.admitted_at,
                d.deadline, d.due_at, d.starts, d.effect_ms is not null as effect_open, d.lane, null::uuid as behind,
                null::timestamptz as ended_at, null::text as result, d.action::text as action
         from sexton.open_deletions d where d.id = $1
         union all
         select now(), d.tenant, d.target_type, d.target_id, s.request_id, s.plan, r.received_at, s.deadline, s.due_at,
                null, null, null, s.blocking, null, null, s.action::text
         from sexton.successors s join sexton.open_deletions d on d.id = s.blocking
         join sexton.requests r on r.id = s.request_id where s.deletion_id = $1
         union all
         select now(), d.tenant, d.target_type, d.target_id, d.request_id, d.plan, d.admitted_at, null, null, null, null,
                null, null, d.ended_at, d.result, d.action::text
         from sexton.deletions d where d.id = $1",
    )
    .bind(id.0)
    .fetch_optional(&mut *tx)
    .await
    .map_err(StoreError::doing("reading a deletion"))?;
    let Some(row) = row else { return Ok(None) };
    // A deletion that this release cannot name the course of is told as one.
    let action = Action::of_letter(&row.action).unwrap_or(Action::Delete);
    let (plan_hash, plan) = plan(tx, row.plan, action).await?;
    let (requests, requests_total) = requests(tx, id, row.request_id).await?;
    let params = requests.iter().find(|request| request.id == row.request_id);
    let params = match params.and_then(|request| request.params.as_ref()) {
        Some(Json(Value::Object(params))) => params.clone(),
        _ => Map::new(),
    };
    Ok(Some(Sheet {
        id,
        now: row.now,
        place: place(tx, &row).await?,
        journal: journal(tx, id).await?,
        signals: signals(tx, id).await?,
        tenant: row.tenant,
        target_type: row.target_type,
        target_id: row.target_id,
        admitted_at: row.admitted_at,
        deadline: row.deadline,
        plan_hash,
        plan,
        action,
        params,
        requests,
        requests_total,
    }))
}

async fn place(tx: &mut PgConnection, row: &Row) -> Result<Place, StoreError> {
    let due_at = row.due_at.unwrap_or(row.now);
    if let Some(behind) = row.behind {
        let behind = DeletionId(behind);
        return Ok(Place::Queued { behind, due_at });
    }
    if let Some(at) = row.ended_at {
        let result = row.result.clone().unwrap_or_default();
        return Ok(Place::Ended { at, result });
    }
    let holder = match row.lane {
        None => None,
        Some(lane) => sqlx::query_as(
            "/* sheet_holder */ select $1::bigint as lane, w.worker, w.host, w.pid, w.expires_at
             from (select 1) one left join sexton.lanes l on l.lane = $1 left join sexton.workers w on w.worker = l.worker",
        )
        .bind(lane)
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::doing("reading who has a deletion"))?,
    };
    Ok(Place::Open {
        // Where it stands among what is due says nothing while somebody has it.
        due_at: if holder.is_some() { row.now } else { due_at },
        starts: row.starts.unwrap_or(0),
        effect_open: row.effect_open.unwrap_or(false),
        holder,
    })
}

async fn plan(
    tx: &mut PgConnection,
    id: i32,
    action: Action,
) -> Result<(PlanHash, Result<StoredPlan, String>), StoreError> {
    let (hash, canonical): (String, String) =
        sqlx::query_as("/* sheet_plan */ select hash, canonical from sexton.plans where id = $1")
            .bind(id)
            .fetch_one(&mut *tx)
            .await
            .map_err(StoreError::doing("reading a deletion's plan"))?;
    let hash = PlanHash(hash);
    let plan = crate::plan::from_canonical(&canonical)
        .map(|plan| StoredPlan {
            id,
            hash: hash.clone(),
            plan: plan.course(action),
        })
        .map_err(|error| error.to_string());
    Ok((hash, plan))
}

async fn requests(
    tx: &mut PgConnection,
    id: DeletionId,
    first: Uuid,
) -> Result<(Vec<RequestLine>, i64), StoreError> {
    let failed = StoreError::doing("reading the requests of a deletion");
    let lines = sqlx::query_as(
        "/* sheet_requests */ with ids as (
             select $2::uuid as id
             union (select request_id from sexton.joined where deletion_id = $1 order by request_id limit $3)
         )
         select r.id, r.received_at, r.action, r.key, r.batch, r.requested_by, r.reason, r.not_before, r.message_id,
                r.correlation_id, r.params
         from ids join sexton.requests r on r.id = ids.id order by r.id",
    )
    .bind(id.0)
    .bind(first)
    .bind(REQUESTS_MAX_ROWS)
    .fetch_all(&mut *tx)
    .await
    .map_err(&failed)?;
    let total: i64 = sqlx::query_scalar(
        "/* sheet_requests_total */ select 1 + count(*) from sexton.joined where deletion_id = $1",
    )
    .bind(id.0)
    .fetch_one(&mut *tx)
    .await
    .map_err(&failed)?;
    Ok((lines, total))
}

async fn journal(tx: &mut PgConnection, id: DeletionId) -> Result<Result<Vec<Recorded>, String>, StoreError> {
    let rows: Vec<(i32, OffsetDateTime, Json<Value>)> = sqlx::query_as(
        "/* sheet_journal */ select seq, at, entries from sexton.journal where deletion_id = $1 order by seq",
    )
    .bind(id.0)
    .fetch_all(&mut *tx)
    .await
    .map_err(StoreError::doing("reading a deletion's journal"))?;
    let recorded = |(seq, at, Json(entries)): (i32, OffsetDateTime, Json<Value>)| {
        serde_json::from_value::<Vec<Entry>>(entries).map(|entries| Recorded { seq, at, entries })
    };
    let all: Result<Vec<Recorded>, _> = rows.into_iter().map(recorded).collect();
    Ok(all.map_err(|error| error.to_string()))
}

async fn signals(tx: &mut PgConnection, id: DeletionId) -> Result<Vec<SaidSignal>, StoreError> {
    sqlx::query_as(
        "/* sheet_signals */ select id, kind, said_by, reason, at from sexton.signals where deletion_id = $1 order by id",
    )
    .bind(id.0)
    .fetch_all(&mut *tx)
    .await
    .map_err(StoreError::doing("reading a deletion's signals"))
}
