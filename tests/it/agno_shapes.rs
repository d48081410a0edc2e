//! Agno's tables as the demonstration has them: held against what agno itself makes, and deleted from by the shipped plan.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sqlx::{Executor, PgPool};

use crate::agno::{Agno, python};
use crate::house::House;
use crate::worlds::agno::{Release, Session, fill, from_seed};

const TYPE: &str = "agno.session";

/// By table and column: its type, and whether it may be null.
async fn columns(store: &PgPool) -> BTreeMap<(String, String), (String, bool)> {
    let rows: Vec<(String, String, String, bool)> = sqlx::query_as(
        "select table_name::text, column_name::text, case data_type when 'character varying' then 'text' else data_type end::text,
                is_nullable = 'YES'
         from information_schema.columns where table_schema = 'ai'",
    )
    .fetch_all(store)
    .await
    .expect("columns");
    rows.into_iter()
        .map(|(table, column, kind, null)| ((table, column), (kind, null)))
        .collect()
}

/// Which tables go with which, as the foreign keys have it.
async fn cascades(store: &PgPool) -> BTreeSet<(String, String)> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select conrelid::regclass::text, confrelid::regclass::text from pg_constraint
         where contype = 'f' and confdeltype = 'c' and connamespace = 'ai'::regnamespace",
    )
    .fetch_all(store)
    .await
    .expect("foreign keys");
    rows.into_iter().collect()
}

async fn are_as_made(release: Release, package: &str) {
    let mut house = House::new().await;
    let (ours, made) = (house.store("ours").await, house.store("made").await);
    ours.execute(release.schema()).await.expect("our tables");
    let agno = Agno {
        python: python(package),
        url: house.store_url("made"),
    };
    agno.run(&["fill", "1"]).await;
    let (ours_has, made_has) = (columns(&ours).await, columns(&made).await);
    let strange: Vec<_> = ours_has
        .iter()
        .filter(|(name, what)| made_has.get(*name) != Some(*what))
        .collect();
    assert!(
        strange.is_empty(),
        "agno {package} has other columns than {strange:#?}"
    );
    // The session itself is whole; of what lies beside it there is as much as tells whose it is.
    let of_session = |all: &BTreeMap<(String, String), _>| -> BTreeSet<String> {
        all.keys()
            .filter(|(table, _)| table == "agno_sessions")
            .map(|(_, column)| column.clone())
            .collect()
    };
    assert_eq!(of_session(&ours_has), of_session(&made_has), "{package}");
    assert_eq!(cascades(&ours).await, cascades(&made).await, "{package}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstrations_tables_are_those_of_agno_2() {
    are_as_made(Release::Two, "2.9").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstrations_tables_are_those_of_agno_3() {
    are_as_made(Release::Three, "3.1").await;
}

/// Sessions, each with how many runs it has.
async fn runs(store: &PgPool, release: Release) -> BTreeMap<String, i64> {
    let sql = match release {
        Release::Two => "select session_id, jsonb_array_length(runs)::bigint from ai.agno_sessions",
        Release::Three => {
            "select session_id, count(r.run_id) from ai.agno_sessions s left join ai.agno_runs r using (session_id)
             group by session_id"
        }
    };
    let rows: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(store).await.expect("sessions");
    rows.into_iter().collect()
}

/// The seed says which go, which stay, and with how many runs; the plan is the shipped one, whichever shape it meets.
async fn are_deleted_from(release: Release) {
    let mut house = House::new().await;
    let store = house.store("agno-main").await;
    let sessions = from_seed(17, 36);
    fill(&store, release, &sessions).await.expect("the store's rows");
    house.shipped(TYPE, &[]);
    let wanted = |stays: &dyn Fn(usize) -> bool| -> BTreeMap<String, i64> {
        let kept = sessions.iter().enumerate().filter(|(place, _)| stays(*place));
        kept.map(|(_, session)| (session.id.clone(), i64::try_from(session.runs).expect("few")))
            .collect()
    };
    assert_eq!(
        runs(&store, release).await,
        wanted(&|_| true),
        "as the seed has them"
    );

    let worker = house.worker();
    let stranger = |session: &Session| match session.user.as_str() {
        "u_ann" => "u_bob",
        _ => "u_ann",
    };
    for (place, session) in sessions.iter().enumerate() {
        let (params, result) = match place % 3 {
            0 => (json!({"user_id": session.user}), "deleted"),
            1 => (json!({"user_id": stranger(session)}), "absent"),
            _ => continue,
        };
        let event = house.deleted(TYPE, "t", &session.id, &session.id, params).await;
        assert_eq!(event.detail("result"), Some(result), "{}", session.id);
    }
    house.everything_is_over().await;
    worker.stop().await;
    assert_eq!(runs(&store, release).await, wanted(&|place| place % 3 != 0));
    let learnings: i64 = sqlx::query_scalar("select count(*) from ai.agno_learnings")
        .fetch_one(&store)
        .await
        .expect("a count");
    assert_eq!(
        usize::try_from(learnings).ok(),
        Some(sessions.len()),
        "nobody opted in to those"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_plan_deletes_from_the_tables_of_agno_2() {
    are_deleted_from(Release::Two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_plan_deletes_from_the_tables_of_agno_3() {
    are_deleted_from(Release::Three).await;
}
