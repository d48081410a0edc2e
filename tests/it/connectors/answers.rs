//! What an odd answer, or a hole in a request, must not come to.

use serde_json::json;
use sexton::connectors::{Attempt, Systems};
use sexton::plan::{Call, SystemName};

use super::oddly::oddly;
use super::place::{attempt, build, give};

/// One http system named `odd` with this profile.
fn with_profile(url: &str, profile: &str) -> Systems {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("odd.toml");
    std::fs::write(&file, profile).unwrap();
    let settings = format!("[odd]\nkind='http'\nurl='{url}'\nprofile='{}'", file.display());
    build(&settings).unwrap()
}

fn asking(what: &str) -> Attempt {
    let mut one = attempt("c");
    give(&mut one, "what", json!(what));
    one
}

#[tokio::test]
async fn a_call_that_may_not_be_repeated_is_looked_at_before_it_is_tried_again() {
    let (url, _requests) = oddly().await;
    let systems = with_profile(
        &url,
        r#"
        [call.plain]
        method = "POST"
        path = "/odd/{what}"
        done = [204]
        [call.plain.look]
        path = "/odd/{seen}"
        standing = [200]

        [call.keyed]
        method = "POST"
        path = "/odd/{what}"
        idempotency_header = "Idempotency-Key"
        done = [204]

        [call.delete]
        method = "DELETE"
        path = "/odd/{what}"
        done = [204]
        "#,
    );
    let on = SystemName("odd".into());
    for (what, plain, repeatable) in [
        ("408", "unknown", "again"),
        ("500", "unknown", "again"),
        ("502", "unknown", "again"),
        ("503", "unknown", "again"),
        ("504", "unknown", "again"),
        // These say that nothing was done.
        ("429", "throttled", "throttled"),
        ("patience", "throttled", "throttled"),
        ("204", "done", "done"),
    ] {
        for (name, word) in [("plain", plain), ("keyed", repeatable), ("delete", repeatable)] {
            let call = Call::Http { call: name.into() };
            let verdict = systems
                .connector(&on, &call)
                .unwrap()
                .run(&call, &asking(what))
                .await;
            assert_eq!(verdict.word(), word, "{name} {what}: {verdict:?}");
        }
    }
    let call = Call::Http { call: "plain".into() };
    let mut unknown = asking("500");
    give(&mut unknown, "seen", json!("200"));
    let probed = systems
        .connector(&on, &call)
        .unwrap()
        .probe(&call, &unknown)
        .await;
    assert_eq!(
        probed.word(),
        "again",
        "it stands, so repeating is right: {probed:?}"
    );
}

#[tokio::test]
async fn invariant_07_a_body_that_cannot_be_read_is_no_success_where_the_body_decides() {
    let (url, _requests) = oddly().await;
    let systems = with_profile(
        &url,
        r#"
        [call.do]
        method = "DELETE"
        path = "/odd/{what}"
        done = [200, 204]
        refused = [{ status = 200, at = "/code", is = 9 }]
        "#,
    );
    let call = Call::Http { call: "do".into() };
    let connector = systems.connector(&SystemName("odd".into()), &call).unwrap();
    for (what, word) in [
        ("204", "done"),
        ("{}", "done"),
        ("{\"code\":9}", "refused"),
        ("not json", "failed"),
        ("200", "failed"),
        ("huge", "failed"),
    ] {
        let verdict = connector.run(&call, &asking(what)).await;
        assert_eq!(verdict.word(), word, "{what}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_request_with_a_hole_in_it_is_never_sent() {
    let (url, mut requests) = oddly().await;
    let systems = with_profile(
        &url,
        r#"
        [call.query]
        method = "DELETE"
        path = "/odd/204"
        query = { user = "{owner}" }
        done = [204]

        [call.header]
        method = "DELETE"
        path = "/odd/204"
        headers = { X-User = "{owner}" }
        done = [204]

        [call.body]
        method = "DELETE"
        path = "/odd/204"
        body = { users = ["{owner}"] }
        done = [204]
        "#,
    );
    for name in ["query", "header", "body"] {
        let call = Call::Http { call: name.into() };
        let connector = systems.connector(&SystemName("odd".into()), &call).unwrap();
        for (owner, word) in [
            (json!(""), "failed"),
            (json!(null), "failed"),
            (json!("u1"), "done"),
        ] {
            let mut one = attempt("c");
            give(&mut one, "owner", owner.clone());
            let verdict = connector.run(&call, &one).await;
            assert_eq!(verdict.word(), word, "{name} {owner}: {verdict:?}");
            if word == "failed" {
                assert!(verdict.why().unwrap().contains("{owner}"), "{verdict:?}");
            }
            assert_eq!(requests.try_recv().is_ok(), word == "done", "{name} {owner}");
        }
    }
}
