//! Calls of a service that is not always well, and of services whose answers nobody expects.

use std::time::Duration;

use serde_json::{Value, json};
use sexton::connectors::{Attempt, Profile};
use sexton::deletion::{TraceContext, Verdict};
use sexton::plan::{Call, SystemName};

use super::oddly::oddly;
use super::place::{Place, attempt, build, give, settings, terminate};

const CLOUD: &str = include_str!("../../../deploy/services/cloud.toml");

#[test]
fn the_profile_in_deploy_is_what_the_demonstration_uses() {
    let profile = Profile::parse(CLOUD, "deploy/services/cloud.toml").unwrap();
    assert_eq!(profile.calls().collect::<Vec<_>>(), ["terminate"]);
    assert_eq!(
        profile.names("terminate").into_iter().collect::<Vec<_>>(),
        ["account", "provider_id"]
    );
}

#[tokio::test]
async fn every_fault_is_told_apart_and_the_effect_is_there_once() {
    let kinds = [
        ("seconds", "throttled"),
        ("date", "throttled"),
        ("error", "again"),
        ("hang", "unknown"),
        ("cut", "unknown"),
    ];
    for (kind, word) in kinds {
        one_fault(kind, word).await;
    }
}

async fn one_fault(kind: &str, word: &str) {
    let place = Place::with_cloud(&["--terminate-ms", "30", "--faults", "1.0", "--kinds", kind]).await;
    place.machine("m-c", "demo-token").await;
    let call = terminate();
    let short = Attempt {
        timeout: Duration::from_millis(300),
        ..attempt("c")
    };
    let verdict = place.run(&call, &short).await;
    assert_eq!(verdict.word(), word, "{kind}: {verdict:?}");
    if let Verdict::Throttled { retry_after } = verdict {
        assert!(
            (1..=2).contains(&retry_after.as_secs()),
            "{kind}: {retry_after:?}"
        );
    }
    let stats = place.machine_stats("m-c").await;
    assert_eq!(stats["terminations"], json!(u64::from(kind == "cut")), "{kind}");
    if kind == "cut" {
        // The probe finds what the lost answer would have said.
        let probed = place.connector(&call).probe(&call, &short).await;
        assert!(
            matches!(probed, Verdict::Pending { .. } | Verdict::Done { .. }),
            "{probed:?}"
        );
    }
    if matches!(kind, "seconds" | "date" | "error") {
        // A look that failed does not say that repeating is right.
        let probed = place.connector(&call).probe(&call, &short).await;
        assert_eq!(probed.word(), "unknown", "{kind}: {probed:?}");
    }
    // The cloud tires of failing; then it goes to its end.
    let end = place.run_to_the_end(&call, &short).await;
    assert!(
        matches!(end, Verdict::Done { .. } | Verdict::AlreadyGone),
        "{kind}: {end:?}"
    );
    let stats = place.machine_stats("m-c").await;
    assert_eq!(
        (&stats["terminations"], &stats["terminated"]),
        (&json!(1), &json!(true)),
        "{kind}"
    );
    assert_eq!(
        stats["keys"],
        json!(1),
        "{kind}: attempts at one step share their key"
    );
}

#[tokio::test]
async fn invariant_07_gone_is_not_believed_from_credentials_that_could_not_have_seen_it() {
    let place = Place::new().await;
    place.machine("m-mine", "demo-token").await;
    place.machine("m-theirs", "other-token").await;
    let call = terminate();
    let archive = place.archive.path().to_str().unwrap();

    // The right account: what it does not see is not there.
    let absent = place.run(&call, &attempt("nobody")).await;
    assert_eq!(absent, Verdict::AlreadyGone);

    // The wrong account's token: the same 404, and the machine lives.
    let swapped =
        settings(&place.platform_url, &place.cloud_url, archive).replace("demo-token", "other-token");
    let swapped = build(&swapped).unwrap();
    let connector = swapped.connector(&SystemName("cloud".into()), &call).unwrap();
    for verdict in [
        connector.run(&call, &attempt("mine")).await,
        connector.probe(&call, &attempt("mine")).await,
    ] {
        assert_eq!(verdict.word(), "blocked", "{verdict:?}");
        assert!(
            verdict.why().unwrap().contains("could not have seen it"),
            "{verdict:?}"
        );
    }
    assert_eq!(place.machine_stats("m-mine").await["terminations"], json!(0));

    // No param of a request can pass for the account of the settings.
    let mut forged = attempt("mine");
    give(&mut forged, "account", json!("acct_other"));
    assert_eq!(connector.run(&call, &forged).await.word(), "blocked");

    // No credentials at all.
    let unknown = settings(&place.platform_url, &place.cloud_url, archive).replace("demo-token", "no-token");
    let unknown = build(&unknown).unwrap();
    let connector = unknown.connector(&SystemName("cloud".into()), &call).unwrap();
    let verdict = connector.run(&call, &attempt("mine")).await;
    assert_eq!(verdict.word(), "blocked", "{verdict:?}");
    let told = format!("{verdict:?}");
    assert!(
        !told.contains("no-token") && !told.contains("m-mine"),
        "invariant 12: {told}"
    );
    assert!(connector.check().await.is_err());
    let own = place
        .systems
        .connector(&SystemName("cloud".into()), &call)
        .unwrap();
    assert_eq!(own.check().await, Ok(()));
}

#[tokio::test]
async fn a_pending_termination_is_only_looked_at_and_one_that_was_lost_is_repeated() {
    let place = Place::with_cloud(&["--terminate-ms", "60000"]).await;
    place.machine("m-c", "demo-token").await;
    let call = terminate();
    let mut one = attempt("c");
    // Nobody has asked for it yet: the probe says that repeating is right.
    let lost = Attempt {
        handle: Some(json!({})),
        ..attempt("c")
    };
    assert_eq!(place.connector(&call).probe(&call, &one).await.word(), "again");
    // Accepted once, but lost over there: it is looked at, found standing, and asked for again.
    let Verdict::Pending { look_again, handle } = place.run(&call, &lost).await else {
        panic!("pending");
    };
    assert_eq!(look_again, Duration::from_millis(500));
    one.handle = handle;
    assert_eq!(place.run(&call, &one).await.word(), "pending");
    assert_eq!(place.connector(&call).probe(&call, &one).await.word(), "pending");
    let stats = place.machine_stats("m-c").await;
    assert_eq!(
        (&stats["asked"]["DELETE"], &stats["asked"]["GET"]),
        (&json!(1), &json!(4))
    );
}

#[tokio::test]
async fn nobody_listening_is_again_and_nothing_was_sent() {
    let place = Place::new().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let settings = settings(
        &place.platform_url,
        &format!("http://{nobody}"),
        place.archive.path().to_str().unwrap(),
    );
    let systems = build(&settings).unwrap();
    let call = terminate();
    let connector = systems.connector(&SystemName("cloud".into()), &call).unwrap();
    assert_eq!(connector.run(&call, &attempt("c")).await.word(), "again");
}

#[tokio::test]
async fn invariant_07_what_nobody_expected_is_never_success() {
    let place = Place::new().await;
    let (url, mut requests) = oddly().await;
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("odd.toml");
    std::fs::write(
        &profile,
        r#"
        [call.do]
        method = "DELETE"
        path = "/odd/{what}"
        query = { user = "{user}" }
        headers = { X-At = "{now}" }
        idempotency_header = "Idempotency-Key"
        done = [204, { status = 200, at = "/code", is = 0 }]
        throttled = [{ status = 200, at = "/code", is = 201 }]
        refused = [409]
        "#,
    )
    .unwrap();
    let settings = format!(
        "[odd]\nkind='http'\nurl='{url}'\nprofile='{}'\nauth={{ header='X-Key', value='s3cret', headers={{ X-More='m0re' }} }}",
        profile.display()
    );
    let systems = build(&settings).unwrap();
    let call = Call::Http { call: "do".into() };
    let connector = systems.connector(&SystemName("odd".into()), &call).unwrap();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (what, word) in [
        ("204", "done"),
        ("{\"code\":0}", "done"),
        ("{\"code\":201}", "throttled"),
        ("{\"code\":9999}", "failed"),
        ("{\"code\":\"0\"}", "failed"),
        ("{}", "failed"),
        ("not json", "failed"),
        ("200", "failed"),
        ("202", "failed"),
        ("404", "failed"),
        ("410", "failed"),
        ("redirect", "failed"),
        ("huge", "failed"),
        ("torn", "unknown"),
        ("409", "refused"),
        ("401", "blocked"),
        ("403", "blocked"),
        ("429", "throttled"),
        ("408", "again"),
        ("500", "again"),
        ("503", "again"),
        ("patience", "throttled"),
        ("501", "again"),
    ] {
        let mut one = attempt("c");
        give(&mut one, "what", json!(what));
        give(&mut one, "user", json!("a&b=c"));
        one.trace = TraceContext::new(Some(trace), None);
        let verdict = connector.run(&call, &one).await;
        assert_eq!(verdict.word(), word, "{what}: {verdict:?}");
        let asked = requests.recv().await.unwrap();
        assert_eq!(asked.uri.query(), Some("user=a%26b%3Dc"));
        for (name, value) in [
            ("x-key", "s3cret"),
            ("x-more", "m0re"),
            ("idempotency-key", "key-c"),
            ("traceparent", trace),
        ] {
            assert_eq!(asked.headers[name], value, "{name}");
        }
        assert_eq!(
            asked.headers["x-at"].to_str().unwrap().len(),
            "2026-01-31T12:49:19Z".len()
        );
    }
    assert!(requests.try_recv().is_err(), "a redirect was followed");

    // Nothing is sent for what cannot be put together.
    for what in [json!(".."), json!(""), json!(null), json!(["x"])] {
        let mut one = attempt("c");
        give(&mut one, "what", what.clone());
        give(&mut one, "user", json!("u"));
        assert_eq!(connector.run(&call, &one).await.word(), "failed", "{what}");
    }
    assert!(requests.try_recv().is_err());
    // A call that the profile does not have, and a system that is none.
    let unknown = Call::Http { call: "undo".into() };
    assert_eq!(connector.run(&unknown, &attempt("c")).await.word(), "blocked");
    assert!(matches!(
        place.systems.connector(&SystemName("platform".into()), &call),
        Err(Verdict::Blocked { .. })
    ));
    assert!(matches!(
        place.systems.connector(&SystemName("nowhere".into()), &call),
        Err(Verdict::Blocked { .. })
    ));
}

/// What a service calls the operation that it has begun is kept for the next look: as far as the journal can keep it.
#[tokio::test]
async fn invariant_11_a_name_that_cannot_be_kept_is_told_and_never_recorded() {
    let (url, _requests) = oddly().await;
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("odd.toml");
    std::fs::write(
        &profile,
        r#"
        [call.do]
        method = "DELETE"
        path = "/odd/{what}"
        pending = [{ status = 200, at = "/state", is = "going" }]
        keep = { operation = "/operation" }

        [call.do.look]
        path = "/odd/{operation}"
        done = [204]
        "#,
    )
    .unwrap();
    let settings = format!("[odd]\nkind='http'\nurl='{url}'\nprofile='{}'", profile.display());
    let systems = build(&settings).unwrap();
    let call = Call::Http { call: "do".into() };
    let connector = systems.connector(&SystemName("odd".into()), &call).unwrap();
    let run = async |operation: Value| {
        let mut one = attempt("c");
        let body = json!({"state": "going", "operation": operation});
        give(&mut one, "what", json!(body.to_string()));
        connector.run(&call, &one).await
    };
    let Verdict::Pending { handle, .. } = run(json!("op-1")).await else {
        panic!("it is under way");
    };
    assert_eq!(handle, Some(json!({"operation": "op-1"})));
    for bad in ["op\0".to_owned(), "op\n".to_owned(), "o".repeat(2_001)] {
        let verdict = run(json!(bad)).await;
        let why = verdict.why().expect("a reason").to_owned();
        assert_eq!(verdict.word(), "failed", "{verdict:?}");
        assert!(
            why.contains("a `operation`") && why.contains("cannot be kept") && !why.contains('\0'),
            "{why}"
        );
    }
    // Where nothing is kept of it, a NUL in an answer is as good as any other text.
    let verdict = run(json!(null)).await;
    assert!(
        verdict
            .why()
            .is_some_and(|why| why.contains("without the `operation`")),
        "{verdict:?}"
    );
}
