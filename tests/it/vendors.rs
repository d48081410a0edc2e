//! The five vendors' APIs, called by the shipped profiles: every documented answer, and every answer that nobody would wish
//! for.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sexton::connectors::Attempt;
use sexton::deletion::Verdict;
use sexton::plan::{Call, SystemName};

use crate::connectors::{attempt, build, give};
use crate::hostile::{Hostile, serve};

const SECRET: &str = "a-secret-of-the-vendor";

/// System, call, and how its credentials look in the settings.
pub(crate) const CALLS: [(&str, &str, &str); 5] = [
    ("factory", "delete_session", "{ bearer = 'SECRET' }"),
    ("factory", "delete_computer", "{ bearer = 'SECRET' }"),
    (
        "powerdrill",
        "delete_session",
        "{ header = 'x-pd-api-key', value = 'SECRET' }",
    ),
    (
        "pave",
        "delete_session",
        "{ headers = { API-Key = 'SECRET', API-Token = 'SECRET' } }",
    ),
    ("agno", "delete_sessions", "{ bearer = 'SECRET' }"),
];

pub(crate) fn settings(system: &str, url: &str, auth: &str, secret: &str) -> String {
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("deploy/services/{system}.toml"));
    let auth = auth.replace("SECRET", secret);
    let values = match system {
        "agno" => "values = { db_id = 'main' }\n",
        _ => "",
    };
    format!(
        "kind = 'http'\nurl = '{url}'\nprofile = '{}'\nauth = {auth}\n{values}",
        profile.display()
    )
}

fn asking(may_have_worked: bool) -> Attempt {
    let mut one = attempt("ses_1");
    give(&mut one, "id", json!("ses_1"));
    give(&mut one, "user_id", json!("u_ann"));
    give(&mut one, "session_type", json!("agent"));
    give(
        &mut one,
        "deletion_id",
        json!("0190a0d0-5d6e-7c3a-9d52-6a1f6f1f2b11"),
    );
    one.timeout = Duration::from_secs(2);
    one.may_have_worked = may_have_worked;
    one
}

/// What this call says of this server.
async fn said(system: &str, call: &str, auth: &str, url: &str, attempt: &Attempt) -> Verdict {
    let systems = build(&format!("[{system}]\n{}", settings(system, url, auth, SECRET))).expect("a system");
    let call = Call::Http { call: call.into() };
    let on = SystemName(system.into());
    systems
        .connector(&on, &call)
        .expect("its connector")
        .run(&call, attempt)
        .await
}

/// Every call at every server that answers badly: never a success, and each told apart.
#[tokio::test]
async fn invariant_07_no_hostile_answer_is_a_success() {
    let mut wrong = Vec::new();
    for (system, call, auth) in CALLS {
        for kind in Hostile::ALL {
            let (url, mut stolen) = serve(kind).await;
            for may_have_worked in [false, true] {
                let verdict = said(system, call, auth, &url, &asking(may_have_worked)).await;
                let wanted = match kind {
                    // Nobody knows what it did.
                    Hostile::Truncated | Hostile::Hang | Hostile::Reset => "unknown",
                    // An answer that its document does not know: a person looks.
                    _ => "failed",
                };
                if verdict.word() != wanted {
                    wrong.push(format!("{system}.{call} {kind:?}: {verdict:?}, wanted {wanted}"));
                }
                assert!(!format!("{verdict:?}").contains(SECRET), "{verdict:?}");
            }
            assert!(
                stolen.try_recv().is_err(),
                "{system}.{call}: credentials were carried elsewhere"
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A server that answers one thing.
async fn answering(status: u16, body: &str) -> String {
    let body = body.to_owned();
    let app = axum::Router::new().fallback(move || {
        let body = body.clone();
        async move {
            let kind = [("content-type", "application/json")];
            (
                axum::http::StatusCode::from_u16(status).expect("a status"),
                kind,
                body,
            )
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// What each documented answer means, at the first attempt and after one whose outcome is not known.
#[tokio::test]
async fn each_documented_answer_has_its_meaning() {
    let factory = |status: u16| {
        (
            status,
            json!({"detail": "d", "status": status, "title": "t"}).to_string(),
        )
    };
    let code = |code: i64| (200, json!({"code": code, "data": null}).to_string());
    let pave = |status: u16, text: &str| (status, json!({"message": text}).to_string());
    let agno = |status: u16| (status, json!({"detail": "d"}).to_string());
    let gone = "Session ses_1 has been successfully removed.";
    let started = "Session ses_1 has been started and cannot be deleted.";
    let missing = "Session ses_1 cannot be found.";
    let factorys = |call: &'static str| {
        vec![
            ("factory", call, (204, String::new()), "done", "done"),
            ("factory", call, (204, "{}".to_owned()), "done", "done"),
            ("factory", call, factory(404), "absent", "done"),
            ("factory", call, factory(400), "failed", "failed"),
            ("factory", call, factory(401), "blocked", "blocked"),
            ("factory", call, factory(403), "blocked", "blocked"),
            ("factory", call, factory(408), "again", "again"),
            ("factory", call, factory(429), "throttled", "throttled"),
            ("factory", call, factory(500), "again", "again"),
            ("factory", call, factory(503), "again", "again"),
            ("factory", call, factory(507), "again", "again"),
        ]
    };
    let mut all = factorys("delete_session");
    all.extend(factorys("delete_computer"));
    let pd = |answer: (u16, String), first: &'static str, later: &'static str| {
        ("powerdrill", "delete_session", answer, first, later)
    };
    all.extend([
        pd(code(0), "done", "done"),
        pd((200, "{\"code\": 0, \"data\": {}}".into()), "done", "done"),
        pd((200, "{\"code\": 0}".into()), "done", "done"),
        pd(code(201), "throttled", "throttled"),
        pd(code(9999), "again", "again"),
        pd(code(100), "failed", "failed"),
        pd(code(100_001), "absent", "blocked"),
        pd(code(7), "failed", "failed"),
        pd((200, "{\"code\": 0.5}".into()), "failed", "failed"),
        pd((200, "{\"code\": null}".into()), "failed", "failed"),
        pd((401, "{}".into()), "blocked", "blocked"),
        pd((403, "{}".into()), "blocked", "blocked"),
        pd((408, "{}".into()), "again", "again"),
        pd((429, "{}".into()), "throttled", "throttled"),
        pd((502, "{}".into()), "again", "again"),
    ]);
    let pv = |answer: (u16, String), first: &'static str, later: &'static str| {
        ("pave", "delete_session", answer, first, later)
    };
    all.extend([
        pv(pave(200, gone), "done", "done"),
        pv(
            pave(200, "Session other has been successfully removed."),
            "failed",
            "failed",
        ),
        pv(pave(400, started), "refused", "refused"),
        pv(pave(400, "Bad request"), "failed", "failed"),
        pv(pave(404, missing), "absent", "done"),
        pv(pave(401, "no"), "blocked", "blocked"),
        pv(pave(403, "no"), "blocked", "blocked"),
        pv(pave(408, "no"), "again", "again"),
        pv(pave(429, "no"), "throttled", "throttled"),
        pv(pave(500, "no"), "again", "again"),
    ]);
    let ag = |answer: (u16, String), first: &'static str, later: &'static str| {
        ("agno", "delete_sessions", answer, first, later)
    };
    all.extend([
        ag((204, String::new()), "done", "done"),
        ag(agno(400), "failed", "failed"),
        ag(agno(401), "blocked", "blocked"),
        ag(agno(403), "blocked", "blocked"),
        ag(agno(404), "failed", "failed"),
        ag(agno(422), "failed", "failed"),
        ag(agno(408), "again", "again"),
        ag(agno(429), "throttled", "throttled"),
        ag(agno(500), "again", "again"),
    ]);
    for (system, call, (status, body), first, later) in all {
        let (_, _, auth) = CALLS
            .iter()
            .find(|(one, ..)| *one == system)
            .expect("its credentials");
        let url = answering(status, &body).await;
        for (may_have_worked, wanted) in [(false, first), (true, later)] {
            let verdict = said(system, call, auth, &url, &asking(may_have_worked)).await;
            assert_eq!(
                verdict.word(),
                wanted,
                "{system}.{call} {status} {body} {may_have_worked}: {verdict:?}"
            );
        }
    }
}

/// A timestamp of Pave's is that of the attempt.
#[tokio::test]
async fn each_attempt_at_pave_has_a_timestamp_of_its_own() {
    let (tell, mut heard) = tokio::sync::mpsc::channel(10);
    let app = axum::Router::new().fallback(move |headers: axum::http::HeaderMap| {
        let tell = tell.clone();
        async move {
            let at = headers
                .get("api-timestamp")
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned();
            let _ = tell.send((at, headers.get("api-token").cloned())).await;
            axum::http::StatusCode::SERVICE_UNAVAILABLE
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let auth = "{ headers = { API-Key = 'SECRET', API-Token = 'SECRET' } }";
    let mut stamps = Vec::new();
    let mut every = tokio::time::interval(Duration::from_millis(1_100));
    for _ in 0..2 {
        every.tick().await;
        said("pave", "delete_session", auth, &url, &asking(false)).await;
        let (at, token) = heard.recv().await.expect("it was asked");
        assert_eq!(token.expect("a token"), SECRET);
        stamps.push(at);
    }
    assert!(
        stamps.iter().all(|at| at.len() == 20 && at.ends_with('Z')),
        "{stamps:?}"
    );
    assert_ne!(stamps[0], stamps[1]);
}
