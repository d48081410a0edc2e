//! What a request may choose: a database and a table, out of the plan's lists and out of nothing else.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::house::House;

const NOTE: &str = r#"
target  = "shop.note"
on      = "notes"
timeout = "1s"

[params]
where = ["north", "south"]
table = { one_of = ["notes", "old_notes"], default = "notes" }

[choose.notes]
by    = "where"
north = "notes-north"
south = "notes-south"

[lookup]
sql = "select owner from {table} where id = :id"

[[step]]
name   = "row"
sql    = "delete from {table} where id = :id"
verify = "select not exists (select from {table} where id = :id)"
"#;

async fn left(store: &PgPool) -> Vec<String> {
    sqlx::query_scalar("select id from notes union all select 'old ' || id from old_notes order by 1")
        .fetch_all(store)
        .await
        .expect("what is left")
}

async fn house() -> (House, PgPool, PgPool) {
    let mut house = House::new().await;
    let (north, south) = (house.store("notes-north").await, house.store("notes-south").await);
    for store in [&north, &south] {
        sqlx::raw_sql(
            "create table notes (id text primary key, owner text not null default 'o', generation bigint not null default 0);
             create table old_notes (like notes including all);
             insert into notes select n::text from generate_series(1, 40) n;
             insert into old_notes select n::text from generate_series(1, 40) n",
        )
        .execute(store)
        .await
        .expect("tables");
    }
    house.plan("note", NOTE);
    (house, north, south)
}

/// It is hidden first and can be shown again, then erased; and what comes back is found.
const HIDDEN: &str = r#"
target  = "shop.note"
on      = "notes"
timeout = "1s"
watch   = { for = "1h", every = "1s" }

[params]
where = ["north", "south"]
table = { one_of = ["notes", "old_notes"], default = "notes" }

[choose.notes]
by    = "where"
north = "notes-north"
south = "notes-south"

[lookup]
sql = "select owner from {table} where id = :id"

[[step]]
name = "hide"
sql  = "update {table} set owner = 'nobody', generation = :generation where id = :id and generation < :generation"

[restore]
window = "1h"
sql    = "update {table} set owner = 'o', generation = :generation where id = :id and generation < :generation"

[purge]
sql = "delete from {table} where id = :id and generation < :generation"
"#;

fn delete(id: &str, key: &str, params: Value) -> Value {
    json!({"target": {"type": "shop.note", "id": id}, "tenant": "t", "key": key, "params": params})
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_07_each_request_meets_the_database_and_the_table_that_it_chose() {
    let (house, north, south) = house().await;
    let worker = house.worker();
    let before = left(&north).await;
    // All at once, so that they are carried out in groups where they may be.
    let mut keys = Vec::new();
    for id in 1..=20 {
        for (nth, params) in [
            json!({"where": "north"}),
            json!({"where": "south", "table": "old_notes"}),
        ]
        .into_iter()
        .enumerate()
        {
            // Targets of their own: what is chosen does not make another target of an id.
            let id = (id + 20 * nth).to_string();
            let key = format!("k{id}");
            house.publish(delete(&id, &key, params)).await;
            keys.push(key);
        }
    }
    for key in &keys {
        assert_eq!(
            house.heard.end(key).await.detail("result"),
            Some("deleted"),
            "{key}"
        );
    }
    let gone = |all: &[String], is: &dyn Fn(u32, bool) -> bool| -> bool {
        before.iter().all(|id| {
            let (old, number) = match id.strip_prefix("old ") {
                Some(number) => (true, number),
                None => (false, id.as_str()),
            };
            let goes = is(number.parse().expect("a number"), old);
            all.contains(id) != goes
        })
    };
    assert!(gone(&left(&north).await, &|id, old| !old && id <= 20), "north");
    assert!(gone(&left(&south).await, &|id, old| old && id > 20), "south");
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_from_a_request_never_reaches_a_statement() {
    let (house, north, south) = house().await;
    let (all_north, all_south) = (left(&north).await, left(&south).await);
    let worker = house.worker();
    for (nth, (params, field)) in [
        (
            json!({"where": "north", "table": "notes\"; drop table notes; --"}),
            "/params/table",
        ),
        (json!({"where": "north", "table": "pg_authid"}), "/params/table"),
        (json!({"where": "notes-south"}), "/params/where"),
        (json!({"where": "north", "table": ["notes"]}), "/params/table"),
        (json!({"where": ""}), "/params/where"),
        (json!({}), "/params/where"),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("k{nth}");
        house.publish(delete("1", &key, params)).await;
        let event = house.heard.end(&key).await;
        assert_eq!(event.kind(), "rejected");
        assert_eq!(event.detail("field"), Some(field));
        assert!(
            !event.body.to_string().contains("drop"),
            "content is not repeated"
        );
    }
    house.everything_is_over().await;
    worker.stop().await;
    assert_eq!((left(&north).await, left(&south).await), (all_north, all_south));
    assert_eq!(house.count("select count(*) from sexton.requests").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_07_a_tombstone_knows_only_what_was_deleted_where_the_request_looks() {
    let (house, _, south) = house().await;
    let worker = house.worker();
    let result = async |key: &str, params: Value| {
        house.publish(delete("1", key, params)).await;
        let end = house.heard.end(key).await;
        end.detail("result").expect("a result").to_owned()
    };
    let gone = |table: &str| json!({"where": "north", "table": table});
    assert_eq!(result("first", json!({"where": "north"})).await, "deleted");
    assert_eq!(result("again", json!({"where": "north"})).await, "already_gone");
    // Said or left out, the default means the same table.
    assert_eq!(result("said", gone("notes")).await, "already_gone");
    assert_eq!(result("old", gone("old_notes")).await, "deleted");
    assert_eq!(result("old again", gone("old_notes")).await, "already_gone");
    // In the south it is there, and once it is gone there by another hand, nobody here ever deleted it.
    sqlx::raw_sql("delete from notes where id = '1'")
        .execute(&south)
        .await
        .expect("another hand");
    assert_eq!(result("south", json!({"where": "south"})).await, "absent");
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_a_purge_and_a_watch_meet_what_the_deletion_had_chosen() {
    let (mut house, north, south) = house().await;
    house.also_settings("[retention]\nevery = \"20ms\"\n");
    house.plan("note", HIDDEN);
    let worker = house.worker();
    let chosen = json!({"where": "south", "table": "old_notes"});
    let (all_north, all_south) = (left(&north).await, left(&south).await);
    for id in ["1", "2"] {
        house
            .publish(delete(id, &format!("hide {id}"), chosen.clone()))
            .await;
        assert_eq!(
            house.heard.end(&format!("hide {id}")).await.kind(),
            "soft_deleted"
        );
    }
    let hidden = "select coalesce(string_agg(id, ' ' order by id), '') from old_notes where owner = 'nobody'";
    let who =
        async |store: &PgPool| -> String { sqlx::query_scalar(hidden).fetch_one(store).await.expect("ids") };
    assert_eq!(
        (who(&north).await, who(&south).await),
        (String::new(), "1 2".into())
    );
    let restore = json!({"action": "restore", "target": {"type": "shop.note", "id": "1"}, "tenant": "t", "key": "show"});
    house.publish(restore).await;
    assert_eq!(house.heard.end("show").await.kind(), "restored");
    assert_eq!(who(&south).await, "2");

    house.windows_end().await;
    house.purged("2").await;
    let (all_north, mut wanted) = (all_north, all_south);
    wanted.retain(|id| id != "old 2");
    assert_eq!(
        (left(&north).await, left(&south).await),
        (all_north.clone(), wanted.clone())
    );

    sqlx::raw_sql("insert into old_notes (id) values ('2')")
        .execute(&south)
        .await
        .expect("it is back");
    house
        .heard
        .until("what came back is said", |all| {
            all.iter().any(|event| event.kind() == "reappeared").then_some(())
        })
        .await;
    // It is hidden again by a request of its own, with the same choice.
    house
        .until(
            "its removal has ended",
            "select exists (select from sexton.windows where target_id = '2')",
        )
        .await;
    assert_eq!(who(&south).await, "2");
    house.everything_is_over().await;
    worker.stop().await;
    assert_eq!(left(&north).await, all_north);
}
