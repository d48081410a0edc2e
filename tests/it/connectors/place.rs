//! A place for one test: a platform database, a cloud that can be told to misbehave, an archive, and the systems.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sexton::connectors::{Attempt, Connector, SystemSettings, Systems};
use sexton::deletion::{DeletionId, TraceContext, Verdict};
use sexton::plan::{Call, Sql, SystemName, Template, Values, ZeroRows};
use sexton::stopper::Gate;
use sqlx::PgPool;
use uuid::Uuid;

use super::cloud;
use crate::world::World;

/// Looks at something pending before the test gives up. Each is a request of a millisecond; the cloud takes thirty.
const LOOKS_MAX: usize = 5_000;

pub(super) struct Place {
    pub(super) systems: Systems,
    pub(super) platform: PgPool,
    pub(super) platform_url: String,
    pub(super) cloud_url: String,
    pub(super) archive: tempfile::TempDir,
    _cloud: AbortOnDrop,
    _world: World,
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Place {
    pub(super) async fn new() -> Self {
        Self::with_cloud(&["--terminate-ms", "30"]).await
    }

    /// With further options of the cloud, as on its command line.
    pub(super) async fn with_cloud(options: &[&str]) -> Self {
        let world = World::new().await;
        let platform_url = world.another_database("platform").await;
        let platform = PgPool::connect(&platform_url).await.unwrap();
        sqlx::raw_sql(include_str!("../../../deploy/demo/platform.sql"))
            .execute(&platform)
            .await
            .unwrap();

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cloud_url = format!("http://{}", listener.local_addr().unwrap());
        let options = ["cloud"].iter().chain(options);
        let options = <cloud::Options as clap::Parser>::parse_from(options);
        let serving = tokio::spawn(async move { cloud::serve(listener, options).await.unwrap() });

        let archive = tempfile::tempdir().unwrap();
        let settings = settings(&platform_url, &cloud_url, archive.path().to_str().unwrap());
        Place {
            systems: build(&settings).unwrap(),
            platform,
            platform_url,
            cloud_url,
            archive,
            _cloud: AbortOnDrop(serving),
            _world: world,
        }
    }

    pub(super) async fn execute(&self, sql: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&self.platform)
            .await
            .unwrap();
    }

    pub(super) async fn json(&self, sql: &str) -> Value {
        let sql = format!("select coalesce(json_agg(t), '[]') from ({sql}) t");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&self.platform)
            .await
            .unwrap()
    }

    /// A computer with two keys, two sessions of 25 messages each, and a machine in the cloud.
    pub(super) async fn computer(&self, id: &str) {
        self.execute(&format!(
            "insert into organizations values ('org_1') on conflict do nothing;
             insert into computers (id, organization_id, provider_type, provider_id, status)
             values ('{id}', 'org_1', 'e2b', 'm-{id}', 'active');
             insert into api_keys values ('k1-{id}', '{id}', null), ('k2-{id}', '{id}', null);
             insert into sessions (id, organization_id, computer_id, title)
             values ('s1-{id}', 'org_1', '{id}', 'one'), ('s2-{id}', 'org_1', '{id}', 'two');
             insert into messages (session_id, role, body)
             select session, 'user', 'text ' || n from unnest(array['s1-{id}', 's2-{id}']) session, generate_series(1, 25) n"
        ))
        .await;
        self.machine(&format!("m-{id}"), "demo-token").await;
    }

    pub(super) async fn machine(&self, id: &str, token: &str) {
        let made = reqwest::Client::new()
            .put(format!("{}/machines/{id}", self.cloud_url))
            .bearer_auth(token)
            .send()
            .await
            .unwrap();
        assert_eq!(made.status(), 201);
    }

    /// What the cloud did to a machine.
    pub(super) async fn machine_stats(&self, id: &str) -> Value {
        let stats = reqwest::get(format!("{}/stats", self.cloud_url)).await.unwrap();
        let stats: Value = stats.json().await.unwrap();
        stats["machines"][id].clone()
    }

    pub(super) fn archived(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.archive.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path: PathBuf = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(self.archive.path()).unwrap().to_str().unwrap();
                    found.insert(name.to_owned(), std::fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    pub(super) fn connector(&self, call: &Call) -> &dyn Connector {
        self.systems.connector(&on(call), call).unwrap()
    }

    pub(super) async fn run(&self, call: &Call, attempt: &Attempt) -> Verdict {
        self.connector(call).run(call, attempt).await
    }

    /// As the engine does: pending is looked at again with its handle, again is a new attempt, unknown is probed first.
    pub(super) async fn run_to_the_end(&self, call: &Call, attempt: &Attempt) -> Verdict {
        let mut attempt = attempt.clone();
        let mut verdict = self.run(call, &attempt).await;
        for _ in 0..LOOKS_MAX {
            attempt.handle = None;
            verdict = match verdict {
                Verdict::Pending { handle, .. } => {
                    attempt.handle = handle;
                    self.run(call, &attempt).await
                }
                Verdict::Unknown { .. } => self.connector(call).probe(call, &attempt).await,
                Verdict::Again { .. } | Verdict::Throttled { .. } => {
                    attempt.number += 1;
                    self.run(call, &attempt).await
                }
                end => return end,
            };
        }
        panic!("no end: {verdict:?}");
    }
}

pub(super) fn settings(platform_url: &str, cloud_url: &str, archive: &str) -> String {
    format!(
        r#"
        [platform]
        kind = "postgres"
        url = "{platform_url}"
        lock_timeout = "500ms"

        [cloud]
        kind = "http"
        url = "{cloud_url}"
        profile = "deploy/services/cloud.toml"
        auth = {{ bearer = "demo-token" }}
        values = {{ account = "acct_demo" }}

        [archive]
        kind = "archive"
        folder = "{archive}"
        "#
    )
}

pub(crate) fn build(settings: &str) -> Result<Systems, sexton::connectors::WrongSystem> {
    let settings: BTreeMap<SystemName, SystemSettings> = toml::from_str(settings).unwrap();
    Systems::build(&settings, std::path::Path::new(env!("CARGO_MANIFEST_DIR")))
}

pub(super) fn on(call: &Call) -> SystemName {
    SystemName(
        if matches!(call, Call::Http { .. }) {
            "cloud"
        } else {
            "platform"
        }
        .to_owned(),
    )
}

pub(super) fn sql(text: &str, none: ZeroRows) -> Call {
    Call::Sql {
        sql: statement(text),
        none,
        guard: None,
    }
}

/// A plain statement whose zero rows mean already gone.
pub(super) fn gone(text: &str) -> Call {
    sql(text, ZeroRows::AlreadyGone)
}

pub(super) fn statement(text: &str) -> Sql {
    Sql::parse(text).unwrap()
}

pub(super) fn terminate() -> Call {
    Call::Http {
        call: "terminate".to_owned(),
    }
}

pub(super) fn archive_of(rows: &str) -> Call {
    Call::Archive {
        rows: statement(rows),
        store: SystemName("archive".to_owned()),
        path: Template::parse("{tenant}/{id}/sessions").unwrap(),
    }
}

pub(super) fn values(id: &str) -> Values {
    Values::from([
        ("id".to_owned(), json!(id)),
        ("tenant".to_owned(), json!("org_1")),
        ("generation".to_owned(), json!(1)),
        ("provider_id".to_owned(), json!(format!("m-{id}"))),
    ])
}

pub(crate) fn give(attempt: &mut Attempt, name: &str, value: Value) {
    std::sync::Arc::make_mut(&mut attempt.values).insert(name.to_owned(), value);
}

pub(crate) fn attempt(id: &str) -> Attempt {
    Attempt {
        deletion: DeletionId(Uuid::now_v7()),
        step: "step".to_owned(),
        number: 1,
        idempotency_key: format!("key-{id}"),
        values: values(id).into(),
        may_have_worked: false,
        handle: None,
        timeout: Duration::from_secs(10),
        gate: Gate::always(),
        blame: sexton::connectors::Blame::default(),
        trace: TraceContext::default(),
    }
}
