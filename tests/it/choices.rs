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
            "create table notes (id text primary key, owner text not null default 'o');
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
