//! What was turned away, kept with its body until the broker has it again.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{Store, StoreError, calls};
use crate::deletion::TurnedAway;

impl Store {
    /// Turned-away requests with their bodies, and what the outbox has to say of each. Committed when this returns.
    pub async fn reject(&self, now: OffsetDateTime, all: &[TurnedAway]) -> Result<(), StoreError> {
        let ids: Vec<Uuid> = all.iter().map(|_| Uuid::now_v7()).collect();
        let text = |of: &dyn Fn(&TurnedAway) -> Option<String>| all.iter().map(of).collect::<Vec<_>>();
        let failed = StoreError::doing("storing rejections");
        let mut tx = self.pool.begin().await.map_err(&failed)?;
        sqlx::query(
            "/* reject */ with kept as (
                 insert into sexton.rejections (id, reason, field, detail, tenant, target_type, key, message_id,
                                                correlation_id, content_type, traceparent, body, batch, received_at)
                 select i.*, $13 from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                     $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::bytea[], $14::text[]) i
                 returning id, body is not null as whole, tenant, batch, key
             ), told as (
                 insert into sexton.batch_deltas (tenant, batch, word, n, size)
                 select k.tenant, k.batch, 'rejected', count(*), max(s.size)
                 from kept k join unnest($1::uuid[], $15::integer[]) s (id, size) on s.id = k.id
                 where k.tenant is not null and k.batch is not null
                   -- After a crash before its acknowledgement it comes again, and is the same one.
                   and not exists (select from sexton.rejections x
                                   where x.tenant = k.tenant and x.key = k.key and x.batch = k.batch)
                 group by 1, 2 order by 1, 2
             )
             insert into sexton.outbox (id, destination, kind, rejection_id, at, taken_until)
             select gen_random_uuid(), d.destination, 'rejected', kept.id, $13, now()
             from kept join (values ('events'), ('rejected')) d (destination) on d.destination = 'events' or kept.whole",
        )
        .bind(&ids)
        .bind(text(&|r| Some(r.rejection.reason.word().to_owned())))
        .bind(text(&|r| Some(without_nul(&r.rejection.field))))
        .bind(text(&|r| Some(without_nul(&r.rejection.detail))))
        .bind(text(&|r| r.rejection.tenant.as_deref().map(without_nul)))
        .bind(text(&|r| r.rejection.target_type.as_deref().map(without_nul)))
        .bind(text(&|r| r.rejection.key.as_deref().map(without_nul)))
        .bind(text(&|r| r.message_id.as_deref().map(without_nul)))
        .bind(text(&|r| r.correlation_id.as_deref().map(without_nul)))
        .bind(text(&|r| r.content_type.as_deref().map(without_nul)))
        .bind(text(&|r| r.traceparent.clone()))
        .bind(all.iter().map(|r| r.body.as_deref()).collect::<Vec<_>>())
        .bind(now)
        .bind(text(&|r| r.rejection.batch.as_deref().map(without_nul)))
        .bind(all.iter().map(|r| r.rejection.batch_size.and_then(|size| i32::try_from(size).ok())).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        let named: Vec<(Uuid, &TurnedAway)> = ids.into_iter().zip(all).collect();
        calls::turned_away(&mut tx, &named).await?;
        tx.commit().await.map_err(&failed)
    }
}

/// Names of a malformed request may hold what Postgres cannot keep.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
