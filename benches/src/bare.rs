//! The bare program: Sexton's messages and rows without Sexton. It decides nothing, checks nothing and survives nothing;
//! it shows what the machine, Postgres and RabbitMQ leave room for.
//!
//! It takes a batch from the queue, writes the same rows of the same sizes (a request, a key, an open deletion, five
//! records, an end, an outbox row) in set-based statements, publishes an event of the same size with confirms, and
//! crosses it off. One commit for each stage of a batch, as whoever makes an intent durable before its effect must
//! have. With `BENCH_BARE_COMMITS=one` a single commit holds all stages; no durable saga can work like that.

use std::pin::Pin;
use std::time::Duration;

use futures::future::try_join_all;
use futures::{Stream, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, Executor, PgConnection};
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use crate::Fail;

pub(crate) const WORD: &str = "bare";

/// While one waits for a disk or a confirm, the others use the cores.
const WORKERS: usize = 4;
const BATCH_MAX: usize = 500;
/// One batch in work, one on its way.
const PREFETCH: u16 = 1_000;
/// How long an unfilled batch waits for its rest.
const GATHER_MAX: Duration = Duration::from_millis(5);
/// Records between the first and the last; each begins with what came of the step before.
pub(crate) const MIDDLE_RECORDS: usize = 3;

const TABLES: &str = "
create schema bare;
create table bare.requests (
    id uuid primary key, received_at timestamptz not null default now(), action text not null, tenant text not null,
    target_type text not null, target_id text not null, key text, deletion_id uuid not null);
create table bare.keys (
    day date not null default current_date, digest uuid not null, content uuid not null, request_id uuid not null,
    primary key (digest, day));
create sequence bare.generation;
create table bare.open_deletions (
    id uuid primary key, tenant text not null, target_type text not null, target_id text not null,
    request_id uuid not null, plan integer not null, fold uuid not null,
    generation bigint not null default nextval('bare.generation'), admitted_at timestamptz not null default now(),
    lane bigint, epoch integer, tenure integer not null default 1, seq integer not null default 0,
    starts smallint not null default 0, effect_ms integer, unwinding boolean not null default false,
    due_at timestamptz not null default now(), unique (tenant, target_type, target_id)
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
create table bare.deletions (
    id uuid primary key, tenant text not null, target_type text not null, target_id text not null,
    request_id uuid not null, plan integer not null, generation bigint not null, admitted_at timestamptz not null,
    ended_at timestamptz not null default now(), seq integer not null, result text not null, detail jsonb not null);
create index on bare.deletions (tenant, target_type, target_id);
create table bare.journal (
    deletion_id uuid not null, seq integer not null, tenure integer not null, lane bigint not null,
    at timestamptz not null default now(), entries json not null, primary key (deletion_id, seq));
create table bare.outbox (
    id uuid primary key, destination text not null, kind text not null, request_id uuid, deletion_id uuid, plan integer,
    seq integer, detail jsonb, at timestamptz not null default now(), taken_until timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);";

const ADMIT: &str = "
with i as (
    select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::uuid[])
        as i (request, deletion, tenant, target_type, target_id, key, digest, content)
), requests as (
    insert into bare.requests (id, action, tenant, target_type, target_id, key, deletion_id)
    select request, 'delete', tenant, target_type, target_id, key, deletion from i
), keys as (
    insert into bare.keys (digest, content, request_id) select digest, content, request from i
)
insert into bare.open_deletions (id, tenant, target_type, target_id, request_id, plan, fold, lane, epoch)
select deletion, tenant, target_type, target_id, request, 1, content, 1, 1 from i";

const RECORD: &str = "
with written as (
    update bare.open_deletions d set seq = d.seq + 1, effect_ms = 30000
    from unnest($1::uuid[]) as i (id) where d.id = i.id
    returning d.id, d.seq, d.tenure, d.lane
)
insert into bare.journal (deletion_id, seq, tenure, lane, entries)
select id, seq, tenure, lane, $2::json from written";

const END: &str = "
with ended as (
    delete from bare.open_deletions d using unnest($1::uuid[], $2::uuid[]) as i (id, event) where d.id = i.id
    returning d.*, i.event
), journaled as (
    insert into bare.journal (deletion_id, seq, tenure, lane, entries)
    select id, seq + 1, tenure, lane, $3::json from ended
), announced as (
    insert into bare.outbox (id, destination, kind, request_id, deletion_id, plan, seq, detail, taken_until)
    select event, 'events', 'completed', request_id, id, plan, seq + 1, '{\"result\": \"deleted\"}', now() from ended
)
insert into bare.deletions (id, tenant, target_type, target_id, request_id, plan, generation, admitted_at, seq, result,
                            detail)
select id, tenant, target_type, target_id, request_id, plan, generation, admitted_at, seq + 1, 'deleted',
       '{\"result\": \"deleted\"}' from ended";

const CROSS_OFF: &str = "delete from bare.outbox where id = any ($1)";

pub(crate) const FIRST: &str = r#"[{"e": "intent", "step": 1, "attempt": 1}]"#;
pub(crate) const MIDDLE: &str = r#"[{"e": "verdict", "step": 1, "attempt": 1, "verdict": {"is": "done"}},
                         {"e": "intent", "step": 2, "attempt": 1}]"#;
pub(crate) const LAST: &str = r#"[{"e": "verdict", "step": 4, "attempt": 1, "verdict": {"is": "done"}},
                       {"e": "ended", "end": {"end": "completed", "result": "deleted"}}]"#;

#[derive(Deserialize)]
struct Request {
    target: Target,
    tenant: String,
    key: String,
}

#[derive(Deserialize)]
struct Target {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

pub(crate) struct Saga {
    pub(crate) tag: u64,
    request: Request,
    id: Uuid,
    pub(crate) deletion: Uuid,
    pub(crate) event: Uuid,
}

pub(crate) async fn migrate() -> Result<(), Fail> {
    let mut connection = PgConnection::connect(&std::env::var("DATABASE_URL")?).await?;
    connection.execute(TABLES).await?;
    connection.close().await?;
    Ok(())
}

/// Until SIGTERM.
pub(crate) async fn run() -> Result<(), Fail> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(work());
    }
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        Some(ended) = workers.join_next() => ended?,
    }
}

/// One plan for each statement, made once: by the primary keys, in the order of the input.
pub(crate) async fn connect() -> Result<PgConnection, Fail> {
    let options: PgConnectOptions = std::env::var("DATABASE_URL")?.parse()?;
    let options = options.options([
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
    ]);
    Ok(PgConnection::connect_with(&options).await?)
}

/// Where one worker stands: its own connection to each server.
pub(crate) struct Place {
    pub(crate) database: PgConnection,
    pub(crate) channel: Channel,
    pub(crate) events: Channel,
    pub(crate) requests: Pin<Box<dyn Stream<Item = Result<Saga, Fail>> + Send>>,
}

impl Place {
    pub(crate) async fn open() -> Result<Self, Fail> {
        let database = connect().await?;
        let amqp_url = std::env::var("AMQP_URL")?;
        let connection = Connection::connect(&amqp_url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let events = connection.create_channel().await?;
        events.confirm_select(ConfirmSelectOptions::default()).await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let consumer = channel
            .basic_consume(
                "deletion.requests".into(),
                "bare".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok(Place {
            database,
            channel,
            events,
            // The connection lives as long as its consumer is read.
            requests: Box::pin(consumer.map(move |delivery| {
                let _kept = &connection;
                saga(delivery)
            })),
        })
    }
}

async fn work() -> Result<(), Fail> {
    let mut place = Place::open().await?;
    let one_commit = std::env::var("BENCH_BARE_COMMITS").is_ok_and(|word| word == "one");
    loop {
        let batch = gather(&mut place.requests).await?;
        let ids: Vec<Uuid> = batch.iter().map(|saga| saga.deletion).collect();
        let event_ids: Vec<Uuid> = batch.iter().map(|saga| saga.event).collect();
        let all = BasicAckOptions { multiple: true };
        let last = batch.iter().map(|saga| saga.tag).max().unwrap_or_default();
        let database = &mut place.database;
        if one_commit {
            database.execute("begin").await?;
        }
        admit(database, &batch).await?;
        if !one_commit {
            place.channel.basic_ack(last, all).await?;
        }
        record(database, &ids, FIRST).await?;
        for _ in 0..MIDDLE_RECORDS {
            record(database, &ids, MIDDLE).await?;
        }
        end(database, &ids, &event_ids).await?;
        if one_commit {
            database.execute("commit").await?;
            place.channel.basic_ack(last, all).await?;
        }
        try_join_all(batch.iter().map(|saga| publish(&place.events, saga))).await?;
        cross_off(database, &event_ids).await?;
    }
}

pub(crate) async fn end(database: &mut PgConnection, ids: &[Uuid], events: &[Uuid]) -> Result<(), Fail> {
    sqlx::query(END)
        .bind(ids)
        .bind(events)
        .bind(LAST)
        .execute(database)
        .await?;
    Ok(())
}

pub(crate) async fn cross_off(database: &mut PgConnection, events: &[Uuid]) -> Result<(), Fail> {
    sqlx::query(CROSS_OFF).bind(events).execute(database).await?;
    Ok(())
}

fn saga(delivery: lapin::Result<lapin::message::Delivery>) -> Result<Saga, Fail> {
    let delivery = delivery?;
    Ok(Saga {
        tag: delivery.delivery_tag,
        request: serde_json::from_slice(&delivery.data)?,
        id: Uuid::now_v7(),
        deletion: Uuid::now_v7(),
        event: Uuid::now_v7(),
    })
}

async fn gather(consumer: &mut (impl Stream<Item = Result<Saga, Fail>> + Unpin)) -> Result<Vec<Saga>, Fail> {
    let ended = || Fail::from("the consumer has ended");
    let mut batch = vec![consumer.next().await.ok_or_else(ended)??];
    let until = tokio::time::Instant::now() + GATHER_MAX;
    while batch.len() < BATCH_MAX {
        match tokio::time::timeout_at(until, consumer.next()).await {
            Ok(next) => batch.push(next.ok_or_else(ended)??),
            Err(_) => break,
        }
    }
    Ok(batch)
}

pub(crate) async fn admit(database: &mut PgConnection, batch: &[Saga]) -> Result<(), Fail> {
    let ids = |of: fn(&Saga) -> Uuid| batch.iter().map(of).collect::<Vec<_>>();
    let text = |of: fn(&Saga) -> &String| batch.iter().map(|saga| of(saga).as_str()).collect::<Vec<_>>();
    // Random, as digests are.
    let digests = || -> Vec<Uuid> { batch.iter().map(|_| Uuid::from_bytes(rand::random())).collect() };
    sqlx::query(ADMIT)
        .bind(ids(|saga| saga.id))
        .bind(ids(|saga| saga.deletion))
        .bind(text(|saga| &saga.request.tenant))
        .bind(text(|saga| &saga.request.target.kind))
        .bind(text(|saga| &saga.request.target.id))
        .bind(text(|saga| &saga.request.key))
        .bind(digests())
        .bind(digests())
        .execute(database)
        .await?;
    Ok(())
}

pub(crate) async fn record(database: &mut PgConnection, ids: &[Uuid], entries: &str) -> Result<(), Fail> {
    sqlx::query(RECORD)
        .bind(ids)
        .bind(entries)
        .execute(database)
        .await?;
    Ok(())
}

pub(crate) async fn publish(events: &Channel, saga: &Saga) -> lapin::Result<()> {
    let Request { target, tenant, key } = &saga.request;
    let (event, request, deletion) = (saga.event, saga.id, saga.deletion);
    let body = format!(
        r#"{{"specversion":"1.0","id":"{event}","source":"/sexton","type":"sexton.deletion.completed","subject":"{id}","time":"2026-01-01T00:00:00.000000Z","datacontenttype":"application/json","data":{{"event":"completed","request_id":"{request}","deletion_id":"{deletion}","sequence":5,"tenant":"{tenant}","target":{{"type":"{kind}","id":"{id}"}},"action":"delete","key":"{key}","plan":"d8b665b307aadc87cf273e2c6d37d9b824e46b157c32025a0b469b680e04a0c7","detail":{{"result":"deleted"}}}}}}"#,
        id = target.id,
        kind = target.kind,
    );
    let text = |value: &str| AMQPValue::LongString(value.into());
    let mut headers = FieldTable::default();
    headers.insert("sexton-event".into(), text("completed"));
    headers.insert("sexton-tenant".into(), text(tenant));
    headers.insert("sexton-type".into(), text(&target.kind));
    headers.insert("sexton-key".into(), text(key));
    headers.insert("sexton-request".into(), text(&request.to_string()));
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(ShortString::from(event.to_string()))
        .with_content_type("application/cloudevents+json".into())
        .with_headers(headers);
    let routing_key = ShortString::from(format!("{tenant}.{}.completed", target.kind.replace('.', "-")));
    let options = BasicPublishOptions::default();
    events
        .basic_publish(
            "deletion.events".into(),
            routing_key,
            options,
            body.as_bytes(),
            properties,
        )
        .await?
        .await?;
    Ok(())
}
