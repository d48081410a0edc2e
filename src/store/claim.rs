//! Taking what is due and nobody has, with all that is needed to go on.

use std::collections::HashMap;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use super::journal::FIRST_EPOCH;
use super::{Candidate, LaneWriter, Passed, Store, StoreError};
use crate::decide::Signal;
use crate::deletion::{
    Action, DeletionId, Entry, Envelope, RequestId, SignalKind, Target, TargetId, TargetType, Tenant,
    TraceContext, shorthand,
};

/// A deletion as a lane holds it: what never changes, and the tenure and sequence that it may write under.
#[derive(Clone, Debug)]
pub struct Opened {
    pub id: DeletionId,
    pub target: Target,
    pub request: RequestId,
    /// Which course of its plan this is.
    pub action: Action,
    /// The soft deletion that a restore or a purge is about; none is left if it came too late.
    pub window_of: Option<DeletionId>,
    /// The plan's version by its small number.
    pub plan: i32,
    pub generation: i64,
    pub admitted_at: OffsetDateTime,
    pub deadline: Option<OffsetDateTime>,
    pub tenure: i32,
    pub seq: i32,
    pub params: Map<String, Value>,
    pub key: Option<String>,
    pub batch: Option<String>,
    pub envelope: Envelope,
}

impl Opened {
    /// As it is when it is admitted, and kept by the lane.
    pub(super) fn new(candidate: &Candidate, now: OffsetDateTime, generation: i64) -> Self {
        let request = &candidate.request;
        Opened {
            id: candidate.deletion_id,
            target: request.target.clone(),
            request: candidate.request_id,
            action: request.action,
            window_of: None,
            plan: candidate.plan,
            generation,
            admitted_at: now,
            deadline: candidate.deadline,
            tenure: 1,
            seq: 0,
            params: request.params.clone(),
            key: request.key.as_ref().map(|key| key.as_str().to_owned()),
            batch: request.batch.clone(),
            envelope: request.envelope.clone(),
        }
    }
}

/// A claimed deletion with its history.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub opened: Opened,
    /// Claims since the last record; a deletion that kills its workers before they write a word is told by this.
    pub starts: i16,
    pub journal: Result<Vec<Entry>, String>,
    pub signals: Vec<Signal>,
}

impl Claimed {
    /// It is new, and the lane that admits it keeps it.
    pub fn new(opened: Opened) -> Self {
        Claimed {
            opened,
            starts: 0,
            journal: Ok(Vec::new()),
            signals: Vec::new(),
        }
    }
}

#[derive(sqlx::FromRow)]
struct ClaimRow {
    said: String,
    id: Option<Uuid>,
    tenant: Option<String>,
    target_type: Option<String>,
    target_id: Option<String>,
    request_id: Option<Uuid>,
    plan: Option<i32>,
    generation: Option<i64>,
    admitted_at: Option<OffsetDateTime>,
    deadline: Option<OffsetDateTime>,
    tenure: Option<i32>,
    seq: Option<i32>,
    starts: Option<i16>,
    action: Option<String>,
    window_of: Option<Uuid>,
    records: Option<String>,
    #[sqlx(default)]
    due_at: Option<OffsetDateTime>,
    #[sqlx(default)]
    batched: Option<bool>,
}

#[derive(sqlx::FromRow)]
struct RequestRow {
    id: Uuid,
    params: Option<Value>,
    key: Option<String>,
    batch: Option<String>,
    message_id: Option<String>,
    correlation_id: Option<String>,
    traceparent: Option<String>,
    tracestate: Option<String>,
}

impl LaneWriter {
    /// At most `limit` deletions of these plans, longest due first; of batches at most `batched`, and those after the
    /// others, but for a quarter. With how far it came.
    pub async fn claim(
        &mut self,
        plans: &[i32],
        since: Passed,
        limit: i32,
        batched: i32,
    ) -> Result<(Vec<Claimed>, Passed), StoreError> {
        let rows: Vec<ClaimRow> = sqlx::query_as(
            "/* claim */ select * from sexton.claim(
                 $1, $2, $3, coalesce($4, '-infinity'::timestamptz), coalesce($5, '-infinity'::timestamptz), $6, $7)",
        )
        .bind(self.lane)
        .bind(FIRST_EPOCH)
        .bind(plans)
        .bind(since.single)
        .bind(since.batched)
        .bind(limit)
        .bind(batched)
        .fetch_all(&mut self.connection)
        .await
        .map_err(StoreError::doing("claiming what is due"))?;
        let rows = StoreError::heard("claiming what is due", rows)?;
        let taken = Passed::by(rows.iter().filter_map(|row| row.batched.zip(row.due_at)));
        Ok((self.with_histories(rows).await?, taken))
    }

    /// This one, if it is parked and nobody has it: for an operator's own lane.
    pub async fn claim_one(&mut self, deletion: DeletionId) -> Result<Option<Claimed>, StoreError> {
        let rows: Vec<ClaimRow> =
            sqlx::query_as("/* claim_one */ select * from sexton.claim_one($1, $2, $3)")
                .bind(self.lane)
                .bind(FIRST_EPOCH)
                .bind(deletion.0)
                .fetch_all(&mut self.connection)
                .await
                .map_err(StoreError::doing("claiming one deletion"))?;
        Ok(self.with_histories(rows).await?.pop())
    }

    async fn with_histories(&mut self, rows: Vec<ClaimRow>) -> Result<Vec<Claimed>, StoreError> {
        if rows.iter().any(|row| row.said == "lost") {
            return Err(StoreError::Lost);
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<Uuid> = rows.iter().filter_map(|row| row.id).collect();
        let requests: Vec<Uuid> = rows.iter().filter_map(|row| row.request_id).collect();

        let mut requests: HashMap<Uuid, RequestRow> = sqlx::query_as(
            "/* claim_requests */ select id, params, key, batch, message_id, correlation_id, traceparent, tracestate
             from sexton.requests where id = any ($1)",
        )
        .bind(&requests)
        .fetch_all(&mut self.connection)
        .await
        .map_err(StoreError::doing("reading the requests of claimed deletions"))?
        .into_iter()
        .map(|row: RequestRow| (row.id, row))
        .collect();

        let mut journals = self.journals(&rows).await?;
        let mut of_windows = self.params_of_windows(&rows).await?;
        // After the claim's commit: a signal takes the row's lock, so none can slip in between unseen.
        let mut signals = self.signals(&ids).await?;

        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let id = row.id?;
                let starts = row.starts.unwrap_or(0);
                let mut opened = opened(&row, row.request_id.and_then(|request| requests.remove(&request)))?;
                if let Some(params) = row.window_of.and_then(|window| of_windows.remove(&window)) {
                    opened.params = params;
                }
                let journal = journals.remove(&id).unwrap_or_else(|| Ok(Vec::new()));
                Some(Claimed {
                    opened,
                    starts,
                    journal,
                    signals: signals.remove(&id).unwrap_or_default(),
                })
            })
            .collect())
    }

    /// The newest records of each came with it; of a long journal the older ones are read from its pages. One that this
    /// release cannot read parks its deletion; it never stops the claim of others.
    async fn journals(
        &mut self,
        rows: &[ClaimRow],
    ) -> Result<HashMap<Uuid, Result<Vec<Entry>, String>>, StoreError> {
        let mut read: HashMap<Uuid, Result<Vec<Vec<Entry>>, String>> = HashMap::new();
        let mut long = Vec::new();
        for row in rows {
            let Some(id) = row.id else { continue };
            let newest = shorthand::read(row.records.as_deref().unwrap_or_default());
            let count = newest.as_ref().map_or(0, Vec::len);
            if newest.is_ok() && i32::try_from(count).ok() < row.seq {
                long.push(id);
            }
            read.insert(id, newest);
        }
        if !long.is_empty() {
            let pages: Vec<(Uuid, String)> = sqlx::query_as(
                "/* claim_journal */ select deletion_id, records from sexton.journal_pages
                 where deletion_id = any ($1) order by deletion_id, seq desc",
            )
            .bind(&long)
            .fetch_all(&mut self.connection)
            .await
            .map_err(StoreError::doing("reading the journals of claimed deletions"))?;
            // From the newest page backwards, each before what is known already.
            for (id, page) in pages {
                if let Some(known) = read.get_mut(&id)
                    && let Ok(newer) = known
                {
                    *known = shorthand::read(&page).map(|mut older| {
                        older.append(newer);
                        older
                    });
                }
            }
        }
        let whole =
            |(id, records): (Uuid, Result<Vec<Vec<Entry>>, String>)| (id, records.map(|all| all.concat()));
        Ok(read.into_iter().map(whole).collect())
    }

    /// What is taken back or erased is so with the params with which it was deleted.
    async fn params_of_windows(
        &mut self,
        rows: &[ClaimRow],
    ) -> Result<HashMap<Uuid, Map<String, Value>>, StoreError> {
        let windows: Vec<Uuid> = rows.iter().filter_map(|row| row.window_of).collect();
        if windows.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<(Uuid, Option<Value>)> = sqlx::query_as(
            "/* claim_windows */ select deletion_id, params from sexton.windows where deletion_id = any ($1)",
        )
        .bind(&windows)
        .fetch_all(&mut self.connection)
        .await
        .map_err(StoreError::doing(
            "reading what claimed restores and purges are about",
        ))?;
        Ok(rows
            .into_iter()
            .map(|(id, params)| (id, object(params)))
            .collect())
    }

    /// All signals of these deletions, oldest first.
    pub async fn signals(&mut self, ids: &[Uuid]) -> Result<HashMap<Uuid, Vec<Signal>>, StoreError> {
        let rows: Vec<(i64, Uuid, String)> = sqlx::query_as(
            "/* signals */ select id, deletion_id, kind from sexton.signals where deletion_id = any ($1) order by id",
        )
        .bind(ids)
        .fetch_all(&mut self.connection)
        .await
        .map_err(StoreError::doing("reading signals"))?;
        let mut all: HashMap<Uuid, Vec<Signal>> = HashMap::new();
        for (id, deletion, kind) in rows {
            if let Some(kind) = SignalKind::parse(&kind) {
                all.entry(deletion).or_default().push(Signal { id, kind });
            }
        }
        Ok(all)
    }
}

fn opened(row: &ClaimRow, request: Option<RequestRow>) -> Option<Opened> {
    // Names were checked when they came in; what was kept under older rules still goes its way.
    let target = Target {
        tenant: Tenant::parse(row.tenant.clone()?).ok()?,
        kind: TargetType::parse(row.target_type.clone()?).ok()?,
        id: TargetId::parse(row.target_id.clone()?).ok()?,
    };
    let request = request?;
    Some(Opened {
        id: DeletionId(row.id?),
        target,
        request: RequestId(row.request_id?),
        action: Action::of_letter(row.action.as_deref()?)?,
        window_of: row.window_of.map(DeletionId),
        plan: row.plan?,
        generation: row.generation?,
        admitted_at: row.admitted_at?,
        deadline: row.deadline,
        tenure: row.tenure?,
        seq: row.seq?,
        params: object(request.params),
        key: request.key,
        batch: request.batch,
        envelope: Envelope {
            message_id: request.message_id,
            correlation_id: request.correlation_id,
            trace: TraceContext::new(request.traceparent.as_deref(), request.tracestate.as_deref()),
        },
    })
}

fn object(value: Option<Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

impl Store {
    /// How many deletions are open, and how long ago the oldest of them was asked for.
    pub async fn open_now(&self) -> Result<(u64, Option<std::time::Duration>), StoreError> {
        // Both of the primary key alone: rows are five to a page.
        let (open, oldest): (i64, Option<Uuid>) = sqlx::query_as(
            "/* open_now */ select (select count(*) from sexton.open_deletions),
                                   (select id from sexton.open_deletions order by id limit 1)",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::doing("counting open deletions"))?;
        Ok((open.unsigned_abs(), oldest.and_then(age)))
    }
}

/// Of an id: a uuid v7 says when it was made.
fn age(id: Uuid) -> Option<std::time::Duration> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    let made = OffsetDateTime::from_unix_timestamp(seconds.try_into().ok()?).ok()?;
    let age = crate::clock::now() - made - std::time::Duration::from_nanos(nanos.into());
    Some(age.try_into().unwrap_or_default())
}
