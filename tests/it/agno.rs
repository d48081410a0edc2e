//! Agno for real: the tables that its package makes and fills, deleted from by the shipped plan, and agno itself asked what
//! is left. Both shapes: 2.x, with runs as a column of the session, and 3.x, with runs as rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::house::House;

const TYPE: &str = "agno.session";
/// Agents', teams' and workflows' sessions in turn, of three owners.
const COUNT: usize = 300;
/// Steps of the plan that go beyond agno's own delete; a test opts in to these two.
const TRACES: [&str; 2] = ["spans", "traces"];

/// One release of agno, in an environment of its own.
pub(crate) struct Agno {
    pub(crate) python: PathBuf,
    pub(crate) url: String,
}

impl Agno {
    pub(crate) async fn run(&self, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agno/store.py");
        let output = tokio::process::Command::new(&self.python)
            .arg(script)
            .arg(arguments[0])
            .arg(&self.url)
            .args(&arguments[1..])
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap_or_else(|error| {
                panic!(
                    "{}: {error}; `scripts/setup tests` installs agno",
                    self.python.display()
                )
            });
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }

    /// What agno finds: session, then type, user and runs.
    async fn finds(&self) -> BTreeMap<String, Value> {
        serde_json::from_str(&self.run(&["ask"]).await).expect("JSON")
    }
}

pub(crate) fn python(release: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    target.join(format!("tools/agno-{release}/bin/python"))
}

/// Every table of agno's, with all its rows but for what is different each time.
async fn rows(store: &PgPool, but: &[&str]) -> BTreeMap<String, Vec<String>> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.tables where table_schema = 'ai' order by 1",
    )
    .fetch_all(store)
    .await
    .expect("agno's tables");
    let mut all = BTreeMap::new();
    for table in tables.into_iter().filter(|table| !but.contains(&table.as_str())) {
        let sql = format!(
            "select (to_jsonb(t) - 'updated_at' - 'created_at' - 'run_data' - 'runs')::text from ai.{table} t order by 1"
        );
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_all(store)
            .await;
        all.insert(table, rows.expect("its rows"));
    }
    all
}

fn number_of(session: &str) -> usize {
    session
        .rsplit('_')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

/// The plan as it is shipped, watched more closely, and with the steps that this one opts in to.
fn plan(house: &House, opted_in: &[&str]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/plans/agno.session.toml");
    let text = std::fs::read_to_string(file).expect("the shipped plan");
    let mut lines = Vec::new();
    for part in text.split("\n\n") {
        let wanted = opted_in
            .iter()
            .any(|name| part.contains(&format!("# name = \"{name}\"\n")));
        lines.push(match wanted {
            true => part
                .lines()
                .map(|line| line.trim_start_matches("# "))
                .collect::<Vec<_>>()
                .join("\n"),
            false => part.to_owned(),
        });
    }
    let text = lines.join("\n\n");
    let watch = "watch  = { for = \"15m\", every = \"1m\" }";
    assert!(text.contains(watch));
    let quick = "watch  = { for = \"15m\", every = \"1s\" }\ntimeout = \"3s\"";
    house.plan(TYPE, &text.replace(watch, quick));
}

async fn deletes(release: &str) {
    let mut house = House::new().await;
    house.also_settings("[retention]\nevery = \"20ms\"\n");
    let (store, own) = (house.store("agno-main").await, house.store("agno-own").await);
    plan(&house, &TRACES);
    let agno = |name: &str| Agno {
        python: python(release),
        url: house.store_url(name),
    };
    let (agno, its_own) = (agno("agno-main"), agno("agno-own"));
    let count = COUNT.to_string();
    let fill = ["fill", count.as_str()];
    tokio::join!(agno.run(&fill), its_own.run(&fill));
    let before = agno.finds().await;
    assert_eq!(before.len(), COUNT);
    for kind in ["agent", "team", "workflow"] {
        let of = before.values().filter(|session| session["type"] == kind);
        assert_eq!(of.count(), COUNT / 3, "{kind}");
    }

    let worker = house.worker();
    // Every second one goes, whatever its type; with its owner named, or with none.
    let goes = |session: &str| number_of(session).is_multiple_of(2);
    for (session, what) in before.iter().filter(|(session, _)| goes(session)) {
        let params = match (number_of(session) % 4, &what["user"]) {
            (0, Value::String(user)) => json!({"user_id": user}),
            _ => json!({}),
        };
        house
            .publish(json!({"target": {"type": TYPE, "id": session}, "tenant": "t", "key": session, "params": params}))
            .await;
    }
    for session in before.keys().filter(|session| goes(session)) {
        let event = house.heard.end(session).await;
        assert_eq!(event.detail("result"), Some("deleted"), "{session}");
    }
    // Somebody else's is left as it is, and so is one that nobody knows; a repeat is gone.
    let kept = before
        .keys()
        .find(|session| !goes(session))
        .expect("one that stays");
    let gone = before
        .keys()
        .find(|session| goes(session))
        .expect("one that went");
    for (id, key, params, result) in [
        (kept.as_str(), "stranger", json!({"user_id": "u_eve"}), "absent"),
        ("nobody_00000", "nobody", json!({}), "absent"),
    ] {
        let event = house.deleted(TYPE, "t", id, key, params).await;
        assert_eq!(event.detail("result"), Some(result), "{key}");
    }
    let after = agno.finds().await;
    let stays: BTreeMap<String, Value> = before
        .clone()
        .into_iter()
        .filter(|(session, _)| !goes(session))
        .collect();
    assert_eq!(after, stays, "exactly the others are left, with all their runs");

    // Agno's own delete of the same sessions, in the other database, leaves the same rows in every table.
    let mut arguments = vec!["own"];
    arguments.extend(before.keys().filter(|session| goes(session)).map(String::as_str));
    its_own.run(&arguments).await;
    let beyond = ["agno_spans", "agno_traces"];
    assert_eq!(rows(&store, &beyond).await, rows(&own, &beyond).await);
    // And what the plan opted in to is gone as well, while agno leaves it behind.
    let of_gone = |session: &str| goes(session) && number_of(session).is_multiple_of(10);
    let traced = before.keys().filter(|session| of_gone(session)).count();
    for table in beyond {
        let (ours, theirs) = (&rows(&store, &[]).await[table], &rows(&own, &[]).await[table]);
        assert_eq!(theirs.len() - ours.len(), traced, "{table}");
    }

    // A run that ends late writes its session back.
    agno.run(&["late", gone]).await;
    let event = house.heard.kind("reappeared", gone).await;
    let removal = event.detail("removal").expect("it is removed again").to_owned();
    assert_eq!(house.heard.end(&removal).await.detail("result"), Some("deleted"));
    assert_eq!(agno.finds().await, stays);
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_agno_2_go_as_far_as_its_own_delete_and_stay_gone() {
    deletes("2.9").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_agno_3_go_as_far_as_its_own_delete_and_stay_gone() {
    deletes("3.1").await;
}

/// Ten thousand in one message: what it costs, and that all of it is done.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_sessions_go_in_one_batch() {
    const MANY: usize = 10_000;
    let mut house = House::new().await;
    house.also_settings("[retention]\nevery = \"20ms\"\n");
    let store = house.store("agno-main").await;
    plan(&house, &[]);
    let agno = Agno {
        python: python("3.1"),
        url: house.store_url("agno-main"),
    };
    // Agno makes the tables and the first sessions; the rest are copies, since it writes them one by one.
    agno.run(&["fill", "30"]).await;
    sqlx::raw_sql(
        "insert into ai.agno_sessions
         select (jsonb_populate_record(null::ai.agno_sessions, to_jsonb(s) || jsonb_build_object('session_id', 'many_' || n))).*
         from ai.agno_sessions s, generate_series(1, 10000) n where s.session_id = 'agent_00000';
         insert into ai.agno_runs
         select (jsonb_populate_record(null::ai.agno_runs, to_jsonb(r)
                 || jsonb_build_object('session_id', 'many_' || n, 'run_id', 'run_' || n))).*
         from ai.agno_runs r, generate_series(1, 10000) n where r.session_id = 'agent_00000'",
    )
    .execute(&store)
    .await
    .expect("many sessions");
    let worker = house.process(&[]);
    house.deleted(TYPE, "t", "nobody", "warm", json!({})).await;
    let before = worker.peak_kib();
    let targets: Vec<Value> = (1..=MANY)
        .map(|n| json!({"type": TYPE, "id": format!("many_{n}")}))
        .collect();
    let began = tokio::time::Instant::now();
    house
        .publish(json!({"targets": targets, "tenant": "t", "key": "many"}))
        .await;
    for part in [
        "select count(*) >= 2500 from sexton.deletions",
        "select count(*) >= 5000 from sexton.deletions",
        "select count(*) >= 7500 from sexton.deletions",
    ] {
        house.until("another quarter is done", part).await;
    }
    let event = house
        .heard
        .until("the batch is over", |all| {
            all.iter()
                .find(|event| event.kind() == "batch.completed")
                .cloned()
        })
        .await;
    let took = began.elapsed();
    let detail = &event.body["data"]["detail"];
    assert_eq!(
        (&detail["size"], &detail["counts"]),
        (&json!(MANY), &json!({"deleted": MANY}))
    );
    let (left, runs): (i64, i64) =
        sqlx::query_as("select (select count(*) from ai.agno_sessions), (select count(*) from ai.agno_runs where run_id like 'run%')")
            .fetch_one(&store)
            .await
            .expect("counts");
    assert_eq!((left, runs), (30, 0));
    let peak = worker.peak_kib();
    crate::batches::note(&format!(
        "{MANY} sessions in {took:?}; the worker had {before} KiB before, and {peak} KiB at most"
    ));
    assert!(
        peak < before + 128 * 1024,
        "{before} KiB before, {peak} KiB at most"
    );
    worker.signal(rustix::process::Signal::TERM);
    worker.ended().await;
}
