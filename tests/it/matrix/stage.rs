//! All the plans of the table in one house, with their worlds, and as many targets of each as a test has cases.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use sexton::deletion::{DeletionId, SignalKind};
use sexton::store::{Said, Settings as StoreSettings, Store};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::task::JoinHandle;

use super::ledger::{self, Changes};
use super::rows::{Course, Place, ROWS, Row};
use crate::connectors::cloud;
use crate::house::{House, patience};
use crate::workers::Outside;
use crate::worlds::archive::{files_in, read_back};

/// One target of one row, to which one thing happens.
pub(super) struct Case {
    pub(super) row: &'static Row,
    pub(super) id: String,
}

pub(super) struct Stage {
    pub(super) house: House,
    store: Store,
    pools: BTreeMap<Place, PgPool>,
    cloud_url: String,
    archive: PathBuf,
    cloud: JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.cloud.abort();
    }
}

impl Case {
    pub(super) fn new(row: &'static Row, parts: &[&str]) -> Self {
        Case {
            row,
            id: format!("{}.{}", row.name, parts.join(".")),
        }
    }

    /// Nothing happens to it: what the others are held against.
    pub(super) fn clean(row: &'static Row) -> Self {
        Case::new(row, &["clean"])
    }
}

/// Steps must be over before a lease is, and a lease must be short enough to be waited for.
const TIMEOUT: (&str, &str) = ("timeout = \"20s\"", "timeout = \"1s\"");

/// Between two looks at what sends no event.
const LOOK_EVERY: Duration = Duration::from_millis(25);

impl Stage {
    pub(super) async fn new() -> Self {
        let mut house = House::with_short_leases().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let cloud_url = format!("http://{}", listener.local_addr().expect("its address"));
        let options = <cloud::Options as clap::Parser>::parse_from(["cloud", "--terminate-ms", "30"]);
        let cloud = tokio::spawn(async move { cloud::serve(listener, options).await.expect("it serves") });
        let archive = house.folder().join("archive");
        let profile = format!("{}/deploy/services/cloud.toml", env!("CARGO_MANIFEST_DIR"));
        house.also_settings(&format!(
            "[systems.archive]\nkind = \"archive\"\nfolder = {archive:?}\nlimit = 100\n\
             [systems.cloud]\nkind = \"http\"\nurl = {cloud_url:?}\nprofile = {profile:?}\nauth = {{ bearer = \"demo-token\" }}\n\
             values = {{ account = \"acct_demo\" }}\nbreaker_failures = 1000\nlimit = 100\n\
             [retention]\nevery = \"50ms\"\n"
        ));
        let mut pools = BTreeMap::from([(Place::Shop, house.db.clone())]);
        for (place, name, schema, tables) in WORLDS {
            let pool = house.store(name).await;
            sqlx::raw_sql(AssertSqlSafe(*schema))
                .execute(&pool)
                .await
                .expect("tables");
            ledger::keep(&pool, tables).await;
            pools.insert(*place, pool);
        }
        ledger::keep(
            &house.db,
            &[
                ("shop.things", "id", ["id", "id"]),
                ("shop.effects", "step", ["id", "id"]),
            ],
        )
        .await;
        let platform = &pools[&Place::Platform];
        sqlx::raw_sql("insert into organizations values ('org_1', true)")
            .execute(platform)
            .await
            .expect("an organization");
        // So many are held at once that each waits for room at its system otherwise.
        house.change_settings("max_connections = 4", "limit = 100\nmax_connections = 16");
        plans(&house);
        let settings = StoreSettings {
            url: house.world.database_url.clone().into(),
            ..StoreSettings::default()
        };
        Stage {
            store: Store::new(&settings).expect("a usable URL"),
            house,
            pools,
            cloud_url,
            archive,
            cloud,
        }
    }

    /// Makes their targets, and one more of each row, to which nothing happens: those are carried out.
    pub(super) async fn set(&self, cases: &[Case]) {
        let clean: Vec<Case> = ROWS.iter().map(Case::clean).collect();
        let all: Vec<&Case> = cases.iter().chain(&clean).collect();
        self.add(&all).await;
        let worker = self.house.worker();
        self.ask_all(&clean).await;
        self.clean_ones_end().await;
        worker.stop().await;
    }

    /// Makes their targets; what comes before a course is carried out.
    pub(super) async fn add(&self, cases: &[&Case]) {
        for row in ROWS {
            let of_row = cases.iter().filter(|case| case.row.name == row.name);
            let ids: Vec<String> = of_row.map(|case| case.id.clone()).collect();
            for (place, sql) in row.fill {
                if *place == Place::Cloud {
                    self.machines(&ids).await;
                    continue;
                }
                sqlx::query(*sql)
                    .bind(&ids)
                    .execute(&self.pools[place])
                    .await
                    .unwrap_or_else(|error| panic!("{}: {error}", row.name));
            }
        }
        for pool in self.pools.values() {
            ledger::forget_what_was_made(pool).await;
        }
        let preludes: Vec<Value> = cases
            .iter()
            .filter_map(|case| case.row.prelude(&case.id))
            .collect();
        if preludes.is_empty() {
            return;
        }
        let worker = self.house.worker();
        let wanted = i64::try_from(preludes.len()).expect("few");
        let before = self.soft_deletions().await;
        for prelude in preludes {
            self.house.publish(prelude).await;
        }
        let mut every = tokio::time::interval(LOOK_EVERY);
        let waited = tokio::time::timeout(patience(), async {
            while self.soft_deletions().await < before + wanted {
                every.tick().await;
            }
        });
        waited.await.expect("they are softly deleted");
        worker.stop().await;
    }

    async fn soft_deletions(&self) -> i64 {
        self.house
            .count("select count(*) from sexton.deletions where result = 'soft_deleted'")
            .await
    }

    async fn clean_ones_end(&self) {
        let all: i64 = i64::try_from(ROWS.len()).expect("few");
        let mut every = tokio::time::interval(LOOK_EVERY);
        let waited = tokio::time::timeout(patience(), async {
            while self
                .ends()
                .await
                .iter()
                .filter(|(id, _)| id.ends_with(".clean"))
                .count() as i64
                != all
            {
                every.tick().await;
            }
        });
        waited.await.expect("the clean ones end");
    }

    async fn machines(&self, ids: &[String]) {
        let made = reqwest::Client::new()
            .post(format!("{}/machines", self.cloud_url))
            .bearer_auth("demo-token")
            .json(&serde_json::json!({"ids": ids}))
            .send()
            .await
            .expect("the cloud");
        assert_eq!(made.status(), 201);
    }

    pub(super) async fn ask(&self, case: &Case) {
        match case.row.course {
            Course::Purge => {
                sqlx::query("update sexton.windows set until = now() - interval '1 second', due_at = now() where target_id = $1")
                    .bind(&case.id)
                    .execute(&self.house.db)
                    .await
                    .expect("its window ends");
            }
            Course::Delete | Course::Restore => self.house.publish(case.row.request(&case.id)).await,
        }
    }

    pub(super) async fn ask_all(&self, cases: &[Case]) {
        for case in cases {
            self.ask(case).await;
        }
    }

    /// A process that follows a script.
    pub(super) fn process(&self, script: &super::script::Script) -> Outside {
        let folder = script.ready();
        self.house
            .process(&[("SEXTON_SCRIPT", folder.to_str().expect("a path"))])
    }

    /// Says something to the open deletion of a target.
    pub(super) async fn signal(&self, target: &str, kind: SignalKind) {
        let id: uuid::Uuid = sqlx::query_scalar("select id from sexton.open_deletions where target_id = $1")
            .bind(target)
            .fetch_one(&self.house.db)
            .await
            .unwrap_or_else(|error| panic!("{target}: {error}"));
        let said = self.store.signal(DeletionId(id), kind, "the matrix", None).await;
        assert_eq!(said.expect("an answer"), Said::Heard, "{target}");
    }

    /// What is open, by target: and why it is parked, if it is.
    pub(super) async fn open(&self) -> BTreeMap<String, Option<Value>> {
        sqlx::query_as::<_, (String, Option<String>)>("select target_id, parked from sexton.open_deletions")
            .fetch_all(&self.house.db)
            .await
            .expect("what is open")
            .into_iter()
            .map(|(id, parked)| (id, parked.map(|text| serde_json::from_str(&text).expect("JSON"))))
            .collect()
    }

    /// The last end of each target: which course, and how.
    pub(super) async fn ends(&self) -> BTreeMap<String, (String, String)> {
        sqlx::query_as::<_, (String, String, String)>(
            "select distinct on (target_id) target_id, action::text, result from sexton.deletions order by target_id, ended_at desc",
        )
        .fetch_all(&self.house.db)
        .await
        .expect("what has ended")
        .into_iter()
        .filter(|(id, action, _)| {
            // What only came before is no end of its course.
            let row = ROWS.iter().find(|row| id.starts_with(&format!("{}.", row.name)));
            row.is_none_or(|row| row.course == Course::Delete || action != "d")
        })
        .map(|(id, action, result)| (id, (action, result)))
        .collect()
    }

    pub(super) async fn changes(&self) -> BTreeMap<String, Changes> {
        let mut all = BTreeMap::new();
        for pool in self.pools.values() {
            ledger::read(pool, &mut all).await;
        }
        self.changes_of_the_cloud(&mut all).await;
        self.changes_of_the_archive(&mut all);
        all
    }

    async fn changes_of_the_cloud(&self, all: &mut BTreeMap<String, Changes>) {
        let stats = reqwest::get(format!("{}/stats", self.cloud_url))
            .await
            .expect("the cloud");
        let stats: Value = stats.json().await.expect("its ledger");
        for (id, machine) in stats["machines"].as_object().expect("machines") {
            let times = machine["terminations"].as_i64().expect("a number");
            if times > 0 {
                let what = (
                    "machine".to_owned(),
                    format!("terminated={}", machine["terminated"]),
                );
                all.entry(id.clone()).or_default().insert(what, times);
            }
        }
    }

    /// An archive is what it says: its sessions, each with its messages.
    fn changes_of_the_archive(&self, all: &mut BTreeMap<String, Changes>) {
        for file in files_in(&self.archive).unwrap_or_default() {
            let path = file
                .strip_prefix(&self.archive)
                .expect("inside")
                .to_string_lossy()
                .into_owned();
            let target = path.split('/').nth(1).expect("a target").to_owned();
            let story = match read_back(&file) {
                Ok(text) => text
                    .lines()
                    .map(|line| {
                        let session: Value = serde_json::from_str(line).expect("a line of JSON");
                        format!("{}", session["messages"].as_array().map_or(0, Vec::len))
                    })
                    .collect::<Vec<_>>()
                    .join("+"),
                Err(_) => continue,
            };
            *all.entry(target)
                .or_default()
                .entry(("archive".into(), story))
                .or_default() += 1;
        }
    }
}

/// The databases, with the tables in which a change is a change of state: their keys, and what names the target.
type World = (
    Place,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str, [&'static str; 2])],
);
const WORLDS: &[World] = &[
    (
        Place::Platform,
        "platform",
        crate::worlds::platform::SCHEMA,
        &[
            ("computers", "id", ["id", "id"]),
            ("api_keys", "id", ["computer_id", "id"]),
            ("sessions", "id", ["computer_id", "id"]),
            ("messages", "id", ["session_id", "id"]),
        ],
    ),
    (
        Place::Powerdrill,
        "powerdrill",
        crate::worlds::powerdrill::SCHEMA,
        &[
            ("sessions", "id", ["id", "id"]),
            ("jobs", "id", ["session_id", "id"]),
        ],
    ),
    (
        Place::Pave,
        "pave",
        crate::worlds::pave::SCHEMA,
        &[("sessions", "session_key", ["session_key", "session_key"])],
    ),
    (
        Place::Agno,
        "agno-main",
        include_str!("../../../deploy/demo/agno.sql"),
        &[
            ("ai.agno_sessions", "session_id", ["session_id", "session_id"]),
            ("ai.agno_runs", "run_id", ["session_id", "session_id"]),
            (
                "ai.agno_transcripts",
                "session_id",
                ["agno_session_id", "agno_session_id"],
            ),
            (
                "ai.agno_compactions",
                "compaction_id",
                ["session_id", "session_id"],
            ),
            ("ai.agno_tool_results", "result_id", ["session_id", "session_id"]),
        ],
    ),
];

fn plans(house: &House) {
    house.shipped(
        "factory.computer",
        &[
            TIMEOUT,
            (
                "base = \"500ms\", max = \"1m\"",
                "base = \"20ms\", max = \"100ms\"",
            ),
        ],
    );
    house.shipped("factory.session", &[]);
    house.shipped("powerdrill.session", &[("size = 5000", "size = 5")]);
    house.shipped("pave.session", &[]);
    house.shipped("agno.session", &[("size = 1000", "size = 5")]);
    house.shipped_as("factory.session", "factory.purged", &[]);
}
