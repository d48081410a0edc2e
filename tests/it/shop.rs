//! What the tests delete from: a shop of things, the usual plan for them, and requests.

use bytes::Bytes;
use serde_json::{Value, json};
use sexton::broker::{Headers, Message, REQUESTS_EXCHANGE, Unrouted};

/// Things, and what was done to them: `runs` has every run of a step, with whether its intent stood in the journal;
/// `effects` has what remains of them.
pub(crate) const SHOP: &str = "
    create schema shop;
    create table shop.things (id text primary key, tenant text not null default 't', kind text not null default 'plain',
        note json, ready boolean not null default true, fenced boolean not null default false,
        generation bigint not null default 0, gone_at timestamptz);
    create table shop.runs (at bigint generated always as identity, step text not null, id text not null,
        intended boolean not null);
    create table shop.effects (step text, id text, primary key (step, id));";

/// A delete of a thing; its key is the id's own.
pub(crate) fn delete(id: &str) -> Value {
    json!({"target": {"type": "shop.thing", "id": id}, "tenant": "t", "key": format!("k-{id}")})
}

/// The same with more fields, or others.
pub(crate) fn with(mut request: Value, more: Value) -> Value {
    for (field, value) in more.as_object().expect("fields") {
        request[field] = value.clone();
    }
    request
}

/// Without a `message_id` (AMQP has none that is empty), so that only a `key` is a key.
pub(crate) fn message(body: Bytes) -> Message {
    Message {
        exchange: REQUESTS_EXCHANGE.into(),
        routing_key: "shop.thing".into(),
        headers: Headers::new(),
        message_id: String::new(),
        correlation_id: None,
        content_type: Some("application/json".into()),
        body,
        persistent: true,
        unrouted: Unrouted::Tell,
    }
}

/// The usual plan: a step that can be taken back, the pivot, and one after it that can be made to wait.
pub(crate) const THING: &str = r#"
target  = "shop.thing"
on      = "shop"
timeout = "1s"
retry   = { attempts = 100, base = "20ms", max = "1s" }

[params]
depth = "text?"

[lookup]
sql     = "select kind, note from shop.things where id = :id and tenant = :tenant and gone_at is null"
none    = "absent"

[[step]]
name = "fence"
sql  = """
  with seen as (insert into shop.runs (step, id, intended) select 'fence', :id, exists (select from sexton.journal
    where deletion_id = :deletion_id and entries::jsonb @> '[{"e": "intent", "step": 1}]'))
  update shop.things set fenced = true, generation = :generation where id = :id and generation < :generation"""
undo = """
  with seen as (insert into shop.runs (step, id, intended) select 'unfence', :id, exists (select from sexton.journal
    where deletion_id = :deletion_id and entries::jsonb @> '[{"e": "intent", "step": 1, "aim": "undo"}]'))
  update shop.things set fenced = false, generation = :generation where id = :id and generation < :generation"""

[[step]]
name  = "wait"
sql   = """
  with seen as (insert into shop.runs (step, id, intended) select 'wait', :id, exists (select from sexton.journal
    where deletion_id = :deletion_id and entries::jsonb @> '[{"e": "intent", "step": 2}]'))
  update shop.things set kind = kind where id = :id and ready"""
none  = "again"
undo  = { nothing = true }

[[step]]
name  = "mark"
pivot = true
sql   = """
  with seen as (insert into shop.runs (step, id, intended) select 'mark', :id, exists (select from sexton.journal
    where deletion_id = :deletion_id and entries::jsonb @> '[{"e": "intent", "step": 3}]'))
  insert into shop.effects (step, id) values ('mark', :id) on conflict do nothing"""

[[step]]
name  = "finish"
sql   = """
  with seen as (insert into shop.runs (step, id, intended) select 'finish', :id, exists (select from sexton.journal
    where deletion_id = :deletion_id and entries::jsonb @> '[{"e": "intent", "step": 4}]'))
  update shop.things set gone_at = now() where id = :id and gone_at is null"""
"#;
