//! The agno dialect beside agno's own AgentOS: the same calls to both, status and body compared.
//!
//! Where they differ on purpose, the call says so: the original does not read `type` (ours holds it to the document's
//! schema), fails on a NUL byte with a 500, and has its own words for what is not JSON.

use std::process::{Child, Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};

use crate::agno::{Agno, python};
use crate::front::{Front, Said, free_port};
use crate::house::House;

const KEY: &str = "the-original's-key";

/// One call to both.
struct Call {
    what: &'static str,
    query: &'static str,
    auth: Option<&'static str>,
    kind: Option<&'static str>,
    body: Option<String>,
    /// What ours answers where it differs, and why that is so.
    differs: Option<(u16, &'static str)>,
}

fn call(what: &'static str, query: &'static str, body: Value) -> Call {
    Call {
        what,
        query,
        auth: Some("Bearer KEY"),
        kind: Some("application/json"),
        body: Some(body.to_string()),
        differs: None,
    }
}

fn one(ids: Value, types: Value) -> Value {
    json!({"session_ids": ids, "session_types": types})
}

fn calls() -> Vec<Call> {
    let agent = json!(["agent"]);
    let there = || one(json!(["agent_00000"]), json!(["agent"]));
    let mut all = vec![
        call("an agent's session", "?db_id=main", there()),
        call("again", "?db_id=main", there()),
        call("nobody's", "?db_id=main", one(json!(["nobody"]), agent.clone())),
        call(
            "a team's, said to be an agent's",
            "?db_id=main",
            one(json!(["team_00001"]), agent.clone()),
        ),
        call(
            "a workflow's",
            "?db_id=main",
            one(json!(["workflow_00002"]), json!(["workflow"])),
        ),
        call(
            "two of them",
            "?db_id=main",
            one(json!(["agent_00003", "team_00004"]), json!(["agent", "team"])),
        ),
        call(
            "one twice",
            "?db_id=main",
            one(json!(["agent_00006", "agent_00006"]), json!(["agent", "agent"])),
        ),
        call("in the second database", "?db_id=second", there()),
        call(
            "with its table",
            "?db_id=main&table=agno_sessions",
            one(json!(["agent_00009"]), agent.clone()),
        ),
        call(
            "another user's",
            "?db_id=main&user_id=u_mallory",
            one(json!(["team_00007"]), json!(["team"])),
        ),
        call(
            "its user's",
            "?db_id=main&user_id=u_ann",
            one(json!(["workflow_00011"]), json!(["workflow"])),
        ),
        call("an empty id", "?db_id=main", one(json!([""]), agent.clone())),
        call(
            "more than it needs",
            "?db_id=main&more=1",
            json!({"session_ids": ["nobody"], "session_types": ["agent"], "more": 1}),
        ),
        call("no database named", "", there()),
        call("an empty database's name", "?db_id=", there()),
        call("an unknown database", "?db_id=nope", there()),
        call("a table without its database", "?table=agno_sessions", there()),
        call("an unknown table", "?db_id=main&table=nope", there()),
        call(
            "a table of an unknown database",
            "?db_id=nope&table=nope",
            there(),
        ),
        call(
            "more ids than types",
            "?db_id=main",
            one(json!(["a", "b"]), agent.clone()),
        ),
        call(
            "more types than ids",
            "?db_id=main",
            one(json!(["a"]), json!(["agent", "team"])),
        ),
        call(
            "lengths before databases",
            "?db_id=nope",
            one(json!(["a", "b"]), agent.clone()),
        ),
        call(
            "shape before lengths",
            "?db_id=nope",
            one(json!(["a", 2]), agent.clone()),
        ),
        call("no ids", "?db_id=main", one(json!([]), agent.clone())),
        call("no types", "?db_id=main", one(json!(["a"]), json!([]))),
        call("neither", "?db_id=main", one(json!([]), json!([]))),
        call(
            "ids that are a text",
            "?db_id=main",
            one(json!("a"), agent.clone()),
        ),
        call(
            "ids that are null",
            "?db_id=main",
            one(Value::Null, agent.clone()),
        ),
        call(
            "ids that are an object",
            "?db_id=main",
            one(json!({"a": 1}), agent.clone()),
        ),
        call(
            "an id that is a number",
            "?db_id=main",
            one(json!([1]), agent.clone()),
        ),
        call(
            "an id that is null",
            "?db_id=main",
            one(json!(["a", null]), json!(["agent", "agent"])),
        ),
        call(
            "an unknown type",
            "?db_id=main",
            one(json!(["a"]), json!(["robot"])),
        ),
        call(
            "a type that is a number",
            "?db_id=main",
            one(json!(["a"]), json!([7])),
        ),
        call(
            "a type in capitals",
            "?db_id=main",
            one(json!(["a"]), json!(["Agent"])),
        ),
        call(
            "much that is wrong",
            "?db_id=nope",
            one(json!([1, true]), json!(["robot", null])),
        ),
        call("an empty object", "?db_id=main", json!({})),
        call("ids only", "?db_id=main", json!({"session_ids": ["a"]})),
        call("types only", "?db_id=main", json!({"session_types": ["agent"]})),
        call("a list", "?db_id=main", json!([])),
        call("null", "?db_id=main", Value::Null),
        call("a text", "?db_id=main", json!("a")),
        call("a number", "?db_id=main", json!(7)),
    ];
    all.extend([
        Call {
            body: None,
            kind: None,
            ..call("no body", "?db_id=main", Value::Null)
        },
        Call {
            kind: Some("text/plain"),
            ..call("another content type", "?db_id=main", there())
        },
        Call {
            kind: Some("application/x+json"),
            ..call(
                "a kind of JSON",
                "?db_id=main",
                one(json!(["nobody"]), agent.clone()),
            )
        },
        Call {
            auth: None,
            ..call("no credentials", "?db_id=main", there())
        },
        Call {
            auth: Some("Bearer wrong"),
            ..call("wrong credentials", "?db_id=main", there())
        },
        Call {
            auth: Some("Basic x"),
            ..call("other credentials", "?db_id=main", there())
        },
        Call {
            auth: None,
            body: None,
            ..call("credentials before the body", "?db_id=main", Value::Null)
        },
        Call {
            differs: Some((
                422,
                "the document's schema has three values; the original does not read it",
            )),
            ..call("an unknown type in the query", "?db_id=main&type=robot", there())
        },
        Call {
            differs: Some((422, "the original hands it to Postgres, and fails")),
            ..call("a NUL byte", "?db_id=main", one(json!(["a\u{0}"]), agent.clone()))
        },
        Call {
            body: Some("{".into()),
            differs: Some((422, "the words of another JSON reader")),
            ..call("half an object", "?db_id=main", Value::Null)
        },
    ]);
    all
}

/// Goes with the test.
struct Original(Child);

impl Drop for Original {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(port: u16, databases: &[(&str, String)]) -> Original {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agno/serve.py");
    let child = Command::new(python("3.1"))
        .arg(script)
        .args([&port.to_string(), KEY])
        .args(databases.iter().map(|(name, url)| format!("{name}={url}")))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("agno; `scripts/setup tests` installs it");
    Original(child)
}

async fn ask(front: &Front, key: &str, call: &Call) -> Said {
    let mut request = front
        .client
        .request(Method::DELETE, format!("{}/sessions{}", front.url, call.query));
    if let Some(auth) = call.auth {
        request = request.header("authorization", auth.replace("KEY", key));
    }
    if let Some(kind) = call.kind {
        request = request.header("content-type", kind);
    }
    if let Some(body) = &call.body {
        request = request.body(body.clone());
    }
    Said::of(request.send().await.expect("an answer")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_calls_to_agnos_own_server_have_the_same_answers() {
    let mut house = House::new().await;
    for name in ["agno-main", "agno-second", "own-main", "own-second"] {
        house.store(name).await;
        let agno = Agno {
            python: python("3.1"),
            url: house.store_url(name),
        };
        agno.run(&["fill", "12"]).await;
    }
    house.shipped(
        "agno.session",
        &[
            ("one_of = [\"main\"]", "one_of = [\"main\", \"second\"]"),
            (
                "main = \"agno-main\"",
                "main = \"agno-main\"\nsecond = \"agno-second\"",
            ),
        ],
    );
    let front = house.front("agno_databases = { main = [\"agno_sessions\"], second = [\"agno_sessions\"] }");
    let key = house.key("t", &["--dialect", "agno"]);
    let original = Front::at(free_port());
    let _serving = serve(
        original.port(),
        &[
            ("main", house.store_url("own-main")),
            ("second", house.store_url("own-second")),
        ],
    );
    let worker = house.worker();
    front.is_open().await;
    original.is_open().await;
    let calls = calls();
    assert!(calls.len() >= 40);
    let mut unlike = Vec::new();
    for call in &calls {
        let (ours, theirs) = (ask(&front, &key, call).await, ask(&original, KEY, call).await);
        let same = match call.differs {
            None => ours.status == theirs.status && (ours.status == 204 || ours.json() == theirs.json()),
            Some((status, _)) => {
                ours.status == status && (ours.status, &ours.text) != (theirs.status, &theirs.text)
            }
        };
        if !same {
            unlike.push(format!(
                "{}: {} {} but {} {}",
                call.what, ours.status, ours.text, theirs.status, theirs.text
            ));
        }
    }
    assert!(unlike.is_empty(), "{unlike:#?}");
    // And the same sessions are left, as agno itself finds them.
    for name in ["main", "second"] {
        let finds = async |store: String| {
            let agno = Agno {
                python: python("3.1"),
                url: house.store_url(&store),
            };
            agno.run(&["ask"]).await
        };
        assert_eq!(
            finds(format!("agno-{name}")).await,
            finds(format!("own-{name}")).await,
            "{name}"
        );
    }
    house.everything_is_over().await;
    worker.stop().await;
}
