//! Lookups, reads and verifications: one row, as JSON, in a transaction that cannot write.

use std::time::Duration;

use serde_json::{Value, json};
use sexton::connectors::{Looked, ReadOutcome, Verified};
use sexton::deletion::Verdict;
use sexton::plan::{Lookup, LookupNone, Read, SystemName};

use super::place::{Place, statement, values};

#[tokio::test]
async fn reads_answer_one_row_and_can_never_write() {
    let place = Place::new().await;
    place.computer("c").await;
    let systems = &place.systems;
    let second = Duration::from_secs(5);
    let read = |text: &str| Read {
        on: SystemName("platform".into()),
        sql: statement(text),
    };
    let row = systems
        .read(
            &read("select provider_id, generation from computers where id = :id;"),
            &values("c"),
            second,
        )
        .await;
    let ReadOutcome::Row(row) = row else {
        panic!("{row:?}")
    };
    assert_eq!(
        (&row["provider_id"], &row["generation"]),
        (&json!("m-c"), &json!(0))
    );

    for (text, word) in [
        ("select provider_id from computers where id = 'nobody'", "no row"),
        (
            "select id, deleted_at from computers where id = :id",
            "null in deleted_at",
        ),
        ("select id from api_keys where computer_id = :id", "failed"),
        ("select nope from computers", "failed"),
        ("delete from api_keys returning id", "failed"),
        ("select nextval('messages_id_seq')", "again"),
    ] {
        let said = match systems.read(&read(text), &values("c"), second).await {
            ReadOutcome::Row(row) => format!("row {row:?}"),
            ReadOutcome::NoRow => "no row".to_owned(),
            ReadOutcome::NullIn(column) => format!("null in {column}"),
            ReadOutcome::Trouble(verdict) => verdict.word().to_owned(),
        };
        assert_eq!(said, word, "{text}");
    }

    let lookup = |text: &str| Lookup {
        on: SystemName("platform".into()),
        sql: statement(text),
        none: LookupNone::Absent,
        timeout: second,
    };
    let found = systems
        .look(
            &lookup("select provider_type, deleted_at from computers where id = :id"),
            &values("c"),
        )
        .await;
    let Looked::Found(facts) = found else {
        panic!("found")
    };
    assert_eq!(
        (&facts["provider_type"], &facts["deleted_at"]),
        (&json!("e2b"), &Value::Null)
    );
    let other = systems
        .look(
            &lookup("select 1 as one from computers where id = :id"),
            &values("nobody"),
        )
        .await;
    assert_eq!(other, Looked::NotFound);
    // Not "not found": the question could not be put.
    let number = systems
        .look(&lookup("select id from messages where id = :id"), &values("c"))
        .await;
    assert!(
        matches!(number, Looked::Trouble(Verdict::Failed { .. })),
        "{number:?}"
    );

    for (text, wanted) in [
        ("select true as ok", Verified::Holds),
        ("select false as ok", Verified::DoesNotHold),
        ("select null::boolean as ok", Verified::DoesNotHold),
        ("select true as ok where false", Verified::DoesNotHold),
    ] {
        assert_eq!(
            systems.verify(&read(text), &values("c"), second).await,
            wanted,
            "{text}"
        );
    }
    let wrong = systems
        .verify(&read("select 1 as ok"), &values("c"), second)
        .await;
    assert!(
        matches!(wrong, Verified::Trouble(Verdict::Failed { .. })),
        "{wrong:?}"
    );
}
