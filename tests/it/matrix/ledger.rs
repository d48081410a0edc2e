//! The world's own ledger: every change of state, by target, whoever made it and why.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

use crate::worlds::archive::{files_in, read_back};

/// Of one target: what was changed (a table, the machine, the archive) and in which order, and how many rows were.
pub(super) type Changes = BTreeMap<(String, String), i64>;

/// Whatever changes a row, writes down which columns and, of those that are yes or no or null, to what. A statement that
/// changes nothing leaves no line; the generation is the fence's own and is no state.
const LEDGER: &str = "
create schema ledger;
create table ledger.changes (at bigint generated always as identity, target text, tbl text, row_id text, what text);
create function ledger.note() returns trigger language plpgsql as $$
declare
    before jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
    after jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) end;
    one jsonb := coalesce(after, before);
    what text := lower(tg_op);
begin
    if tg_op = 'UPDATE' then
        select string_agg(key || '=' || case jsonb_typeof(value) when 'boolean' then value::text when 'null' then 'null'
                                        else 'set' end, ',' order by key)
          into what from jsonb_each(after) where before -> key is distinct from value and key <> 'generation';
    end if;
    if what is not null then
        insert into ledger.changes (target, tbl, row_id, what)
        values (coalesce(one ->> tg_argv[1], one ->> tg_argv[2]), tg_table_name, one ->> tg_argv[0], what);
    end if;
    return null;
end $$;";

/// Tables by name, with their key and the columns that name the target.
pub(super) async fn keep(pool: &PgPool, tables: &[(&str, &str, [&str; 2])]) {
    let mut sql = LEDGER.to_owned();
    for (table, key, [first, second]) in tables {
        sql.push_str(&format!(
            "create trigger ledger after insert or update or delete on {table} for each row
             execute function ledger.note('{key}', '{first}', '{second}');"
        ));
    }
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(pool)
        .await
        .expect("a ledger");
}

/// What a test makes is no change of state.
pub(super) async fn forget_what_was_made(pool: &PgPool) {
    sqlx::query("delete from ledger.changes where what = 'insert' and tbl <> 'effects'")
        .execute(pool)
        .await
        .expect("the ledger");
}

pub(super) async fn read(pool: &PgPool, into: &mut BTreeMap<String, Changes>) {
    let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
        "select target, tbl, story, count(*) from (
             select target, tbl, row_id, string_agg(what, ' ' order by at) as story from ledger.changes group by 1, 2, 3) one
         group by 1, 2, 3",
    )
    .fetch_all(pool)
    .await
    .expect("the ledger");
    for (target, table, story, count) in rows {
        into.entry(target).or_default().insert((table, story), count);
    }
}

/// What the provider did to its machines.
pub(super) async fn of_the_cloud(url: &str, all: &mut BTreeMap<String, Changes>) {
    let stats = reqwest::get(format!("{url}/stats")).await.expect("the cloud");
    let stats: Value = stats.json().await.expect("its ledger");
    for (id, machine) in stats["machines"].as_object().expect("machines") {
        let times = machine["terminations"].as_i64().expect("a number");
        if times > 0 {
            let what = (
                "machine".to_owned(),
                format!("terminated={}", machine["terminated"]),
            );
            all.entry(id.clone()).or_default().insert(what, times);
        }
    }
}

/// An archive is what it says: its sessions, each with its messages.
pub(super) fn of_the_archive(folder: &Path, all: &mut BTreeMap<String, Changes>) {
    for file in files_in(folder).unwrap_or_default() {
        let path = file
            .strip_prefix(folder)
            .expect("inside")
            .to_string_lossy()
            .into_owned();
        let target = path.split('/').nth(1).expect("a target").to_owned();
        let story = match read_back(&file) {
            Ok(text) => text
                .lines()
                .map(|line| {
                    let session: Value = serde_json::from_str(line).expect("a line of JSON");
                    format!("{}", session["messages"].as_array().map_or(0, Vec::len))
                })
                .collect::<Vec<_>>()
                .join("+"),
            Err(_) => continue,
        };
        *all.entry(target)
            .or_default()
            .entry(("archive".into(), story))
            .or_default() += 1;
    }
}
