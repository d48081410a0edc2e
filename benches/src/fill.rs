//! Tables as admission and time would have left them, written set-based: nobody waits for ten million sagas.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::Fail;
use crate::place::{KIND, Place};
use crate::rivals::Rival;
use crate::tally::RECORDS;

/// Rows of one statement: what it makes fits into memory.
const PAGE: usize = 100_000;
/// How fast the open ones came in: their ids lie as far apart as at saturation.
const ADMITTED_A_SECOND: usize = 5_000;
/// Ended ones lie so far back: never before the last month, whose partitions are the oldest that a new database has.
const ENDED_OVER_DAYS: usize = 28;
/// For so long keys are remembered, and so many days a partition has.
const KEY_DAYS: usize = 7;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A first attempt, and that it is to be made again: records as a row keeps them, the newest first.
const TRIED: &str = r#"[1,1,5,{"e":"verdict","step":1,"attempt":1,"verdict":{"is":"again","why":"it is away"}}],[1,1,1,["i",1,1]]"#;
/// Four steps that were carried out.
const CARRIED_OUT: &str = r#"[1,1,5,["d",4,1],["e","deleted"]],[1,1,4,["d",3,1],["i",4,1]],[1,1,3,["d",2,1],["i",3,1]],[1,1,2,["d",1,1],["i",2,1]],[1,1,1,["i",1,1]]"#;

/// A random uuid v7 of a moment.
const UUID_OF: &str = "
create or replace function public.uuid_of(at timestamptz) returns uuid language sql volatile as $$
    select overlay(replace(gen_random_uuid()::text, '-', '')
                   placing lpad(to_hex(floor(extract(epoch from at) * 1000)::bigint), 12, '0') || '7' from 1 for 13)::uuid
$$";

/// A new database has none before yesterday's; the one before that stays until the last of its keys is a week old.
fn earlier_keys() -> String {
    format!(
        "do $$ declare low date := (now() at time zone 'utc')::date - 1 - {KEY_DAYS}; high date := low + {KEY_DAYS}; begin
             execute format('create table sexton.%I partition of sexton.keys for values from (%L) to (%L)',
                            'keys_' || to_char(low, 'YYYYMMDD') || '_' || to_char(high, 'YYYYMMDD'), low, high);
         end $$"
    )
}

pub(crate) struct Fill {
    connection: PgConnection,
    rival: Rival,
    /// The number of each plan, by the type of its targets.
    plans: Vec<(String, i32)>,
}

impl Fill {
    pub(crate) async fn begin(place: &Place, rival: Rival) -> Result<Self, Fail> {
        let mut connection = PgConnection::connect(&place.database_url).await?;
        connection.execute(UUID_OF).await?;
        let plans = match rival {
            Rival::Sexton => introduce(place, &mut connection).await?,
            _ => vec![(KIND.to_owned(), 1)],
        };
        Ok(Fill {
            connection,
            rival,
            plans,
        })
    }

    /// Due, and nobody has them. Several plans share them out evenly.
    pub(crate) async fn open(&mut self, deletions: usize) -> Result<(), Fail> {
        let schema = self.rival.schema();
        // The base has no claim: its rows belong to it from the start.
        let lane = if self.rival == Rival::Sexton {
            "null::bigint"
        } else {
            "1"
        };
        let kinds = self.plans.len();
        for (nth, (kind, plan)) in self.plans.clone().into_iter().enumerate() {
            let share = deletions / kinds + usize::from(nth < deletions % kinds);
            let ago = format!("make_interval(secs => ({share} - n) / {ADMITTED_A_SECOND}.0)");
            let then = format!(
                "insert into {schema}.open_deletions (id, tenant, target_type, target_id, request_id, plan, fold, admitted_at,
                                                      lane, epoch, due_at)
                 select deletion, 'bench', '{kind}', target, request, {plan}, gen_random_uuid(), at, {lane},
                        {lane}::integer, at
                 from made"
            );
            self.pages(share, &kind, &ago, &then).await?;
        }
        Ok(())
    }

    /// Open, tried once, and to be tried again tomorrow.
    pub(crate) async fn waiting(&mut self, deletions: usize) -> Result<(), Fail> {
        let (kind, plan) = self.first_plan()?;
        let ago = format!("make_interval(secs => ({deletions} - n) / {ADMITTED_A_SECOND}.0)");
        let then = format!(
            "insert into sexton.open_deletions (id, tenant, target_type, target_id, request_id, plan, fold, admitted_at, seq,
                                                records, due_at)
             select deletion, 'bench', '{kind}', target, request, {plan}, gen_random_uuid(), at, 2, '{TRIED}',
                    now() + interval '1 day' + random() * interval '1 hour'
             from made"
        );
        self.pages(deletions, &kind, &ago, &then).await
    }

    /// Carried out in the last weeks.
    pub(crate) async fn ended(&mut self, deletions: usize) -> Result<(), Fail> {
        self.connection.execute(AssertSqlSafe(earlier_keys())).await?;
        let (kind, plan) = self.first_plan()?;
        let ago = format!("interval '{ENDED_OVER_DAYS} days' * (({deletions} - n) / {deletions}.0)");
        let then = format!(
            "insert into sexton.deletions (id, tenant, target_type, target_id, request_id, plan, generation, admitted_at,
                                           ended_at, seq, result, detail, records)
             select deletion, 'bench', '{kind}', target, request, {plan}, nextval('sexton.generation'), at, at, {RECORDS},
                    'deleted', '{{\"result\": \"deleted\"}}', '{CARRIED_OUT}'
             from made"
        );
        self.pages(deletions, &kind, &ago, &then).await
    }

    /// As autovacuum would have left them.
    pub(crate) async fn end(mut self) -> Result<(), Fail> {
        // Its own tables: nobody analyzes catalogs as small as these by hand.
        let tables: Vec<String> = sqlx::query_scalar(
            "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = $1",
        )
        .bind(self.rival.schema())
        .fetch_all(&mut self.connection)
        .await?;
        let vacuum = format!("vacuum analyze {}", tables.join(", "));
        self.connection.execute(AssertSqlSafe(vacuum)).await?;
        Ok(self.connection.close().await?)
    }

    fn first_plan(&self) -> Result<(String, i32), Fail> {
        Ok(self.plans.first().ok_or("no plan is in force")?.clone())
    }

    /// So many came in so long ago (`ago` knows the n-th): each has its request and its key; then what becomes of it.
    async fn pages(&mut self, rows: usize, kind: &str, ago: &str, then: &str) -> Result<(), Fail> {
        let schema = self.rival.schema();
        for from in (1..=rows).step_by(PAGE) {
            let to = rows.min(from + PAGE - 1);
            let sql = format!(
                "with made as materialized (
                     select at, public.uuid_of(at) as request, public.uuid_of(at) as deletion,
                            gen_random_uuid()::text as target, gen_random_uuid()::text as key
                     from generate_series({from}, {to}) n cross join lateral (select now() - {ago}) t (at)
                 ), requested as (
                     insert into {schema}.requests (id, received_at, action, tenant, target_type, target_id, key, deletion_id)
                     select request, at, 'delete', 'bench', '{kind}', target, key, deletion from made
                 ), remembered as (
                     insert into {schema}.keys (day, digest, content, request_id)
                     select (at at time zone 'utc')::date, gen_random_uuid(), gen_random_uuid(), request from made
                     where (at at time zone 'utc')::date >= (now() at time zone 'utc')::date - 1 - {KEY_DAYS}
                 ) {then}"
            );
            self.connection.execute(AssertSqlSafe(sql)).await?;
        }
        Ok(())
    }
}

/// Plans get their numbers from the first worker that has them.
async fn introduce(place: &Place, connection: &mut PgConnection) -> Result<Vec<(String, i32)>, Fail> {
    let mut worker = Rival::Sexton.run_engine(place)?;
    let mut ticks = tokio::time::interval(LOOK_AGAIN);
    let introduced = async {
        loop {
            ticks.tick().await;
            // Lanes come after the last plan.
            let plans: Vec<(String, i32)> = sqlx::query_as(
                "select target_type, id from sexton.plans where exists (select from sexton.lanes) order by id",
            )
            .fetch_all(&mut *connection)
            .await?;
            if !plans.is_empty() {
                return Ok(plans);
            }
        }
    };
    let plans = worker.meanwhile(introduced).await?;
    worker.stop().await?;
    Ok(plans)
}
