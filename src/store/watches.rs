//! Watches: ended deletions whose targets are looked up again for a while.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::terms::Term;
use super::{Store, StoreError};
use crate::deletion::{DeletionId, Target, TargetId, TargetType, Tenant};

/// A target that was deleted and is to be looked up again.
#[derive(Clone, Debug)]
pub struct Watched {
    pub deletion: DeletionId,
    pub target: Target,
    pub plan: i32,
    pub params: Map<String, Value>,
    /// How often it was found there again.
    pub reappeared: u32,
    /// Its time is over with this look.
    pub last: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    deletion_id: Uuid,
    tenant: String,
    target_type: String,
    target_id: String,
    plan: i32,
    params: Option<Value>,
    reappeared: i32,
    last: bool,
}

impl Store {
    /// At most so many that are due. Each comes again later, unless it is said to be over: a look that is lost with its
    /// worker is made up for. What is being deleted again is left alone. `None`: the term has ended.
    pub async fn due_watches(&self, term: &Term, limit: i64) -> Result<Option<Vec<Watched>>, StoreError> {
        let Some(mut tx) = self.under(term).await? else {
            return Ok(None);
        };
        let rows: Vec<Row> = sqlx::query_as(
            "/* due_watches */ with page as materialized (
                 select w.deletion_id from sexton.watches w where w.look_at <= now()
                 order by w.look_at limit $1
                 for update skip locked
             ), due as (
                 update sexton.watches w set look_at = now() + make_interval(secs => w.every_ms / 1000.0)
                 from page where w.deletion_id = any (array[page.deletion_id])
                 returning w.*
             )
             select d.deletion_id, d.tenant, d.target_type, d.target_id, d.plan, d.params, d.reappeared,
                    d.until <= now() as last
             from due d
             where not exists (select from sexton.open_deletions o where o.tenant = d.tenant
                 and o.target_type = d.target_type and o.target_id = d.target_id offset 0)",
        )
        .bind(limit)
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::doing("asking which targets to look up again"))?;
        tx.commit()
            .await
            .map_err(StoreError::doing("asking which targets to look up again"))?;
        Ok(Some(rows.into_iter().filter_map(watched).collect()))
    }

    /// It is there again: said, and asked to be deleted again under a key of its own. `None`: the term has ended.
    pub async fn reappeared(
        &self,
        term: &Term,
        watched: &Watched,
        over: bool,
    ) -> Result<Option<()>, StoreError> {
        let failed = StoreError::doing("saying that a target reappeared");
        let Some(mut tx) = self.under(term).await? else {
            return Ok(None);
        };
        sqlx::query(
            "/* reappeared */ with found as (
                 update sexton.watches w set reappeared = w.reappeared + 1 where w.deletion_id = $1
                 returning w.*, 'reappeared:' || w.deletion_id || ':' || (w.reappeared + 1) as removal
             ), told as (
                 insert into sexton.outbox (id, destination, kind, request_id, deletion_id, plan, detail, taken_until)
                 select gen_random_uuid(), 'events', 'reappeared', f.request_id, f.deletion_id, f.plan,
                        jsonb_build_object('times', f.reappeared)
                            || case when $2 then '{}' else jsonb_build_object('removal', f.removal) end, now()
                 from found f
             )
             insert into sexton.outbox (id, destination, kind, deletion_id, detail, taken_until)
             select gen_random_uuid(), 'requests', 'delete', f.deletion_id, jsonb_strip_nulls(jsonb_build_object(
                 'action', 'delete', 'tenant', f.tenant,
                 'target', jsonb_build_object('type', f.target_type, 'id', f.target_id),
                 'key', f.removal, 'requested_by', 'sexton', 'reason', 'it was there again after it was deleted',
                 'params', f.params)), now()
             from found f where not $2",
        )
        .bind(watched.deletion.0)
        .bind(over)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        if over {
            sqlx::query("/* watch_given_up */ delete from sexton.watches where deletion_id = $1")
                .bind(watched.deletion.0)
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
        }
        tx.commit().await.map_err(&failed)?;
        Ok(Some(()))
    }

    /// Their last looks found nothing.
    pub async fn watches_over(&self, deletions: &[DeletionId]) -> Result<(), StoreError> {
        sqlx::query("/* watches_over */ delete from sexton.watches where deletion_id = any ($1)")
            .bind(deletions.iter().map(|id| id.0).collect::<Vec<_>>())
            .execute(&self.pool)
            .await
            .map_err(StoreError::doing("ending watches"))?;
        Ok(())
    }
}

/// Names were checked when they came in.
fn watched(row: Row) -> Option<Watched> {
    Some(Watched {
        deletion: DeletionId(row.deletion_id),
        target: Target {
            tenant: Tenant::parse(row.tenant).ok()?,
            kind: TargetType::parse(row.target_type).ok()?,
            id: TargetId::parse(row.target_id).ok()?,
        },
        plan: row.plan,
        params: match row.params {
            Some(Value::Object(params)) => params,
            _ => Map::new(),
        },
        reappeared: row.reappeared.unsigned_abs(),
        last: row.last,
    })
}
