//! Statements on a foreign database: what row counts mean, what errors mean, what is bound, what is cut off.

use std::time::Duration;

use serde_json::json;
use sexton::connectors::Attempt;
use sexton::deletion::Verdict;
use sexton::plan::{SystemName, ZeroRows};

use super::place::{Place, attempt, build, give, gone, settings, sql};

fn why(verdict: &Verdict) -> &str {
    verdict.why().unwrap_or_default()
}

#[tokio::test]
async fn zero_rows_mean_what_the_plan_says() {
    let place = Place::new().await;
    for (none, word) in [
        (ZeroRows::AlreadyGone, "already_gone"),
        (ZeroRows::Again, "again"),
        (ZeroRows::Refused, "refused"),
    ] {
        let call = sql("delete from computers where id = :id", none);
        assert_eq!(place.run(&call, &attempt("nobody")).await.word(), word);
    }
    // After a lost answer, a guard's zero rows could be its own doing: a person decides.
    let guarded = sql("delete from computers where id = :id", ZeroRows::Refused);
    let probed = place
        .connector(&guarded)
        .probe(&guarded, &attempt("nobody"))
        .await;
    assert_eq!(probed.word(), "blocked");
}

#[tokio::test]
async fn errors_are_verdicts_and_say_what_unblocks() {
    let place = Place::new().await;
    place.computer("secret-person").await;
    place
        .execute("create table typed (id bigint primary key, kind uuid, at inet)")
        .await;
    for (text, word, says) in [
        (
            "delete from computers where id = :id",
            "blocked",
            "foreign key violation (23503)",
        ),
        (
            "delete from nowhere where id = :id",
            "failed",
            "undefined table (42P01)",
        ),
        (
            "delete from computers where idd = :id",
            "failed",
            "\"idd\" does not exist",
        ),
        ("delete from computers where", "failed", "syntax error (42601)"),
        ("select :id", "done", ""),
        (
            "delete from typed where id = :id",
            "failed",
            "`:id` is not a bigint",
        ),
        (
            "delete from typed where kind = :id",
            "failed",
            "`:id` is not a uuid",
        ),
        (
            "delete from typed where at = :id",
            "failed",
            "write `:id::text::inet`",
        ),
        (
            "delete from computers where id = :nobody",
            "failed",
            "neither a param nor a fact",
        ),
        (
            "update computers set provider_type = :id where id = :id",
            "failed",
            "constraint `computers_provider_type_check`",
        ),
        (
            "update computers set status = null where id = :id",
            "failed",
            "not null violation (23502)",
        ),
        (
            "update computers set status = (1 / (length(:id) - 13))::text",
            "failed",
            "(22012)",
        ),
    ] {
        let verdict = place.run(&gone(text), &attempt("secret-person")).await;
        assert_eq!(verdict.word(), word, "{text}: {verdict:?}");
        assert!(why(&verdict).contains(says), "{text}: {verdict:?}");
        let told = serde_json::to_string(&verdict).unwrap();
        assert!(!told.contains("secret-person"), "invariant 12: {told}");
        if let Verdict::Blocked { unblock, .. } = &verdict {
            assert!(unblock.contains("_computer_id_fkey"), "{unblock}");
        }
    }
}

#[tokio::test]
async fn values_are_bound_as_what_the_server_inferred() {
    let place = Place::new().await;
    place
        .execute(
            "create type mood as enum ('well', 'ill');
             create domain short as text check (length(value) < 5);
             create table every (a bigint, b integer, c smallint, d boolean, e uuid, f jsonb, g timestamptz, h mood,
                                 i varchar(9), j double precision, k date, l short, m timestamp)",
        )
        .await;
    let mut attempt = attempt("x");
    for (name, value) in [
        ("a", json!("9007199254740993")),
        ("b", json!(7)),
        ("c", json!(8)),
        ("d", json!(true)),
        ("e", json!("0198c0de-0000-7000-8000-000000000000")),
        ("f", json!({"x": [1, null]})),
        ("g", json!("2026-01-31T12:00:00+01:00")),
        ("h", json!("ill")),
        ("i", json!("it's")),
        ("j", json!(1.5)),
        ("k", json!("2026-01-31")),
        ("l", json!(null)),
        ("m", json!("2026-01-31T12:00:00")),
    ] {
        give(&mut attempt, name, value);
    }
    let call = gone("insert into every values (:a, :b, :c, :d, :e, :f, :g, :h, :i, :j, :k, :l, :m)");
    assert_eq!(
        place.run(&call, &attempt).await,
        Verdict::Done {
            proof: Some(json!({"rows": 1}))
        }
    );
    let call = gone("delete from every where h = :h and a = :a and l is not distinct from :l and g = :g");
    give(&mut attempt, "l", json!(null));
    assert_eq!(
        place.json("select * from every").await,
        json!([{"a": 9_007_199_254_740_993_i64, "b": 7, "c": 8, "d": true, "e": "0198c0de-0000-7000-8000-000000000000",
            "f": {"x": [1, null]}, "g": "2026-01-31T11:00:00+00:00",
            "h": "ill", "i": "it's", "j": 1.5, "k": "2026-01-31", "l": null, "m": "2026-01-31T12:00:00"}])
    );
    assert_eq!(place.run(&call, &attempt).await.word(), "done");
}

#[tokio::test]
async fn a_statement_cut_by_its_timeout_does_not_run_on() {
    let place = Place::new().await;
    place.computer("c").await;
    let slow = gone("update computers set status = 'error' from pg_sleep(60) where id = :id");
    let attempt = Attempt {
        timeout: Duration::from_millis(400),
        ..attempt("c")
    };
    let verdict = place.run(&slow, &attempt).await;
    assert_eq!(
        verdict.word(),
        "again",
        "the server said that nothing happened: {verdict:?}"
    );
    assert!(why(&verdict).contains("57014"), "{verdict:?}");
    let active = "select 1 from pg_stat_activity where application_name = 'sexton' and state = 'active'
                  and datname = current_database()";
    assert_eq!(place.json(active).await, json!([]));
}

#[tokio::test]
async fn a_server_that_is_not_there_or_goes_away_is_again_and_wrong_credentials_are_blocked() {
    let place = Place::new().await;
    place.computer("c").await;
    // Taken down in the middle of a statement.
    let slow = gone("update computers set status = 'error' from pg_sleep(60) where id = :id");
    let one = attempt("c");
    let (verdict, ()) = tokio::join!(place.run(&slow, &one), async {
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'update computers%pg_sleep%'
                   and application_name = 'sexton' and datname = current_database()";
        while place.json(end).await == json!([]) {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(verdict.word(), "again", "{verdict:?}");
    let fine = gone("update computers set status = 'error' where id = :id");
    assert_eq!(
        place.run(&fine, &one).await.word(),
        "done",
        "the next connection is a new one"
    );

    let url: reqwest::Url = place.platform_url.parse().unwrap();
    let nobody_listens = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for (change, word) in [("port", "again"), ("database", "blocked"), ("user", "blocked")] {
        let mut other = url.clone();
        match change {
            "port" => other.set_port(Some(nobody_listens.port())).unwrap(),
            "database" => other.set_path("/nowhere"),
            _ => other.set_username("nobody_known").unwrap(),
        }
        let settings = settings(
            other.as_str(),
            &place.cloud_url,
            place.archive.path().to_str().unwrap(),
        )
        .replace("lock_timeout = \"500ms\"", "connect_timeout = \"300ms\"");
        let systems = build(&settings).unwrap();
        let connector = systems.connector(&SystemName("platform".into()), &fine).unwrap();
        let verdict = connector.run(&fine, &attempt("c")).await;
        assert_eq!(verdict.word(), word, "{change}: {verdict:?}");
        assert!(connector.check().await.is_err());
    }
}

#[tokio::test]
async fn a_lost_answer_to_commit_is_unknown_and_then_found_done() {
    let place = Place::new().await;
    place.computer("c").await;
    let target: reqwest::Url = place.platform_url.parse().unwrap();
    let server = format!("{}:{}", target.host_str().unwrap(), target.port().unwrap());
    let proxy = super::proxy::cut_at_commit(&server).await;
    let mut url = target.clone();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.port())).unwrap();
    let through = build(&settings(
        url.as_str(),
        &place.cloud_url,
        place.archive.path().to_str().unwrap(),
    ))
    .unwrap();
    let call = gone("delete from api_keys where computer_id = :id");
    let connector = through.connector(&SystemName("platform".into()), &call).unwrap();
    let one = attempt("c");
    let verdict = connector.run(&call, &one).await;
    assert_eq!(verdict.word(), "unknown", "{verdict:?}");
    assert_eq!(connector.probe(&call, &one).await.word(), "again");
    // The commit went through behind the cut; by now nothing is left to do.
    assert_eq!(place.run(&call, &one).await, Verdict::AlreadyGone);

    let many = [attempt("c"), attempt("d")];
    let verdicts = connector.run_many(&call, &many).await;
    assert!(
        verdicts.iter().all(|verdict| verdict.word() == "unknown"),
        "{verdicts:?}"
    );
}
