//! The five vendors' APIs, called by the shipped profiles and plans: one house asks another, whose gateway serves them.

use std::path::Path;

use serde_json::{Value, json};

use crate::front::Front;
use crate::heard::Event;
use crate::house::House;
use crate::vendors::{CALLS, settings};

/// A house whose plans ask another house over HTTP.
async fn client(system: &str, auth: &str, front: &Front, key: &str) -> House {
    let mut house = House::new().await;
    let target = match system {
        "factory" => vec!["factory.session", "factory.computer"],
        "powerdrill" => vec!["powerdrill.session"],
        "pave" => vec!["pave.session"],
        _ => vec!["agno.session"],
    };
    house.also_settings(&format!(
        "[systems.{system}]\n{}",
        settings(system, &front.url, auth, key)
    ));
    for target in target {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("deploy/plans/vendor/{target}.toml"));
        let text = std::fs::read_to_string(file).expect("a plan");
        let on = format!("on     = {system:?}");
        let on = if text.contains(&on) {
            on
        } else {
            format!("on      = {system:?}")
        };
        let quick = text.replace("timeout = \"15s\"\n", "").replacen(
            &on,
            &format!(
                "{on}\ntimeout = \"5s\"\nretry = {{ attempts = 100, base = \"20ms\", max = \"200ms\" }}"
            ),
            1,
        );
        house.plan(target, &quick);
    }
    house
}

fn told(event: &Event) -> (&str, Option<&str>) {
    (
        event.kind(),
        event.detail("result").or_else(|| event.detail("why")),
    )
}

const DONE: (&str, Option<&str>) = ("completed", Some("deleted"));
const ABSENT: (&str, Option<&str>) = ("completed", Some("absent"));

#[tokio::test(flavor = "multi_thread")]
async fn factorys_sessions_and_computers_are_deleted_through_the_dialect() {
    let mut server = crate::computers::factory().await;
    server.house.shipped("factory.session", &[]);
    sqlx::raw_sql("update organizations set session_deletion = true")
        .execute(&server.platform)
        .await
        .expect("the feature");
    let front = server.house.front("");
    let key = server.house.key("org_1", &["--dialect", "factory"]);
    let worker = server.house.worker();
    front.is_open().await;
    let client = client("factory", CALLS[0].2, &front, &key).await;
    let asking = client.worker();
    let delete = async |kind: &str, id: &str, key: &str| client.deleted(kind, "t", id, key, json!({})).await;
    assert_eq!(told(&delete("factory.session", "ses_m", "1").await), DONE);
    assert_eq!(told(&delete("factory.session", "nobody", "2").await), ABSENT);
    assert_eq!(told(&delete("factory.computer", "own", "3").await), DONE);
    assert_eq!(told(&delete("factory.computer", "nobody", "4").await), ABSENT);
    assert!(
        server
            .is("select deleted_at is not null from computers where id = 'own'")
            .await
    );
    assert!(
        server
            .is("select deleted_at is not null from sessions where id = 'ses_m'")
            .await
    );
    client.everything_is_over().await;
    asking.stop().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn powerdrills_paves_and_agnos_sessions_are_deleted_through_their_dialects() {
    let mut server = House::new().await;
    let (powerdrill, pave, agno) = (
        server.store("powerdrill").await,
        server.store("pave").await,
        server.store("agno-main").await,
    );
    let theirs = crate::worlds::powerdrill::from_seed(5, 3, 20);
    crate::worlds::powerdrill::fill(&powerdrill, &theirs)
        .await
        .expect("rows");
    let idle = crate::worlds::pave::from_seed(7, 4);
    crate::worlds::pave::fill(&pave, &idle).await.expect("rows");
    sqlx::raw_sql("update sessions set token = 'the-token'")
        .execute(&pave)
        .await
        .expect("one token");
    let agents = crate::worlds::agno::from_seed(3, 6);
    crate::worlds::agno::fill(&agno, crate::worlds::agno::Release::Two, &agents)
        .await
        .expect("rows");
    for target in ["powerdrill.session", "pave.session", "agno.session"] {
        server.shipped(target, &[]);
    }
    let front = server.front("");
    let key = |tenant: &str, dialect: &str| server.key(tenant, &["--dialect", dialect]);
    let keys = [
        key("team_blue", "powerdrill"),
        key(&idle[0].account, "pave"),
        key("t", "agno"),
    ];
    let worker = server.worker();
    front.is_open().await;

    let house = client("powerdrill", CALLS[2].2, &front, &keys[0]).await;
    let asking = house.worker();
    let by = |user: &str| json!({"user_id": user});
    let mine = &theirs[0];
    let delete = async |house: &House, kind: &str, id: &str, key: &str, params: Value| {
        house.deleted(kind, "t", id, key, params).await
    };
    assert_eq!(
        told(&delete(&house, "powerdrill.session", &mine.id, "1", by("u_mallory")).await),
        ABSENT
    );
    assert_eq!(
        told(&delete(&house, "powerdrill.session", &mine.id, "2", by(&mine.user)).await),
        DONE
    );
    asking.stop().await;

    let auth = "{ headers = { API-Key = 'SECRET', API-Token = 'the-token' } }";
    let house = client("pave", auth, &front, &keys[1]).await;
    let asking = house.worker();
    let of = |status: &str| {
        &idle
            .iter()
            .find(|one| one.status == status && one.account == idle[0].account)
            .expect("one")
            .key
    };
    assert_eq!(
        told(&delete(&house, "pave.session", of("IDLE"), "1", json!({})).await),
        DONE
    );
    assert_eq!(
        told(&delete(&house, "pave.session", "nobody", "2", json!({})).await),
        ABSENT
    );
    assert_eq!(
        delete(&house, "pave.session", of("STARTED"), "3", json!({}))
            .await
            .kind(),
        "refused"
    );
    asking.stop().await;

    let house = client("agno", CALLS[4].2, &front, &keys[2]).await;
    let asking = house.worker();
    assert_eq!(
        told(&delete(&house, "agno.session", &agents[0].id, "1", json!({})).await),
        DONE
    );
    assert_eq!(
        told(&delete(&house, "agno.session", "nobody", "2", json!({})).await),
        DONE,
        "its API cannot tell"
    );
    asking.stop().await;
    let left: i64 = sqlx::query_scalar("select count(*) from ai.agno_sessions")
        .fetch_one(&agno)
        .await
        .expect("a count");
    assert_eq!(left, 5);
    worker.stop().await;
}
