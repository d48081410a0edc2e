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
use super::worlds::{WORLDS, plans};
use crate::connectors::cloud;
use crate::house::{House, patience};
use crate::workers::Outside;

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
        self.all_end(&clean).await;
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

    /// Until each of them has ended, in its own course.
    pub(super) async fn all_end<'a>(&self, cases: impl IntoIterator<Item = &'a Case>) {
        let mut left: Vec<&Case> = cases.into_iter().collect();
        let mut every = tokio::time::interval(LOOK_EVERY);
        let waited = tokio::time::timeout(patience(), async {
            while !left.is_empty() {
                every.tick().await;
                let ended = self.ends().await;
                left.retain(|case| !ended.contains_key(&case.id));
            }
        });
        if waited.await.is_err() {
            let left: Vec<&String> = left.iter().map(|case| &case.id).collect();
            panic!("these do not end: {left:#?}\nopen: {:#?}", self.open().await);
        }
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
        ledger::of_the_cloud(&self.cloud_url, &mut all).await;
        ledger::of_the_archive(&self.archive, &mut all);
        all
    }
}
