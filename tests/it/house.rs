//! A whole house for one test: Sexton's tables, a shop to delete from, a broker, and workers that come and go.
//!
//! The shop lives in Sexton's own database, in a schema of its own, for one reason: so a step's statement can see what
//! stood in the journal at the very moment of its effect. What is waited for is an event; where none exists, a query
//! is asked again, a bounded number of times.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use sexton::broker::{BrokerSettings, Desk, Message, PublishOutcome};
use sexton::deletion::{Entry, State};
use sexton::services::Urls;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tempfile::TempDir;
use uuid::Uuid;

use crate::heard::Heard;
use crate::shop::SHOP;
pub(crate) use crate::shop::{THING, delete, message};
use crate::workers::{Inside, Outside};
use crate::world::World;

/// Nothing here takes half of this on a machine of half the speed; a test that hangs says so.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks at what sends no event.
const LOOK_EVERY: Duration = Duration::from_millis(15);

/// Whoever expects a failure (`make mutants`) waits for less.
pub(crate) fn patience() -> Duration {
    let given = std::env::var("SEXTON_TEST_PATIENCE_S").ok();
    given
        .and_then(|seconds| seconds.parse().ok())
        .map_or(PATIENCE, Duration::from_secs)
}

pub(crate) struct House {
    pub(crate) world: World,
    pub(crate) db: PgPool,
    pub(crate) heard: Heard,
    desk: Desk,
    folder: TempDir,
    settings: String,
}

impl House {
    /// With the usual plan, and a lease that no machine is too slow for.
    pub(crate) async fn new() -> Self {
        Self::with(World::new().await, "lease = \"10s\"\nstatement_timeout = \"4s\"").await
    }

    /// Whoever is silent is taken over from soon.
    pub(crate) async fn with_short_leases() -> Self {
        Self::with(World::new().await, "lease = \"2s\"\nstatement_timeout = \"1s\"").await
    }

    pub(crate) async fn in_servers(urls: Urls) -> Self {
        Self::with(
            World::in_servers(urls).await,
            "lease = \"5s\"\nstatement_timeout = \"2s\"",
        )
        .await
    }

    async fn with(world: World, store: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("plans")).expect("a folder for plans");
        // Declares what the desk listens to; workers do it again and change nothing.
        let broker = sexton::broker::Broker::open(broker(&world.amqp_url), Default::default()).await;
        drop(broker.expect("a broker"));
        let desk = Desk::connect(&broker_settings(&world)).await.expect("a desk");
        let heard = Heard::listen(&desk).await;
        let db = PgPoolOptions::new()
            .max_connections(4)
            .connect(&world.database_url)
            .await
            .expect("the database");
        sqlx::raw_sql(SHOP).execute(&db).await.expect("a shop");
        let settings = format!(
            "[store]\nurl = {:?}\nlanes = 1\npool_max = 4\n{store}\n\
             [broker]\nurl = {:?}\nreconnect_min = \"20ms\"\nreconnect_max = \"200ms\"\n\
             [plans]\nfolder = {:?}\n\
             [engine]\npoll = \"50ms\"\ndrain = \"5s\"\n\
             [telemetry]\nlisten = \"127.0.0.1:0\"\nformat = \"json\"\nlog = \"sexton=debug\"\n\
             [systems.shop]\nkind = \"postgres\"\nurl = {:?}\nmax_connections = 4\n\
             breaker_failures = 1000\nbreaker_pause = \"100ms\"\n",
            world.database_url,
            world.amqp_url,
            folder.path().join("plans"),
            world.database_url,
        );
        let house = Self {
            world,
            db,
            heard,
            desk,
            folder,
            settings,
        };
        house.plan("thing", THING);
        house
    }

    /// Before any worker starts.
    pub(crate) fn also_settings(&mut self, more: &str) {
        self.settings.push_str(more);
    }

    /// Before any worker starts.
    pub(crate) fn change_settings(&mut self, from: &str, to: &str) {
        assert!(self.settings.contains(from), "{from} in {}", self.settings);
        self.settings = self.settings.replace(from, to);
    }

    pub(crate) fn plan(&self, name: &str, text: &str) {
        std::fs::write(
            self.folder.path().join("plans").join(format!("{name}.toml")),
            text,
        )
        .expect("a plan");
    }

    pub(crate) fn no_plan(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join("plans").join(format!("{name}.toml"))).expect("a plan");
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn settings_file(&self) -> PathBuf {
        let file = self.folder.path().join("settings.toml");
        std::fs::write(&file, &self.settings).expect("settings");
        file
    }

    /// A worker in this process.
    pub(crate) fn worker(&self) -> Inside {
        Inside::start(&self.settings_file())
    }

    /// One with these roles only.
    pub(crate) fn role(&self, roles: &[sexton::app::Role]) -> Inside {
        Inside::with_roles(&self.settings_file(), roles)
    }

    /// One that comes, introduces its plans, and goes.
    pub(crate) async fn worker_once(&self) {
        let worker = self.worker();
        self.until("a worker is there", "select exists (select from sexton.workers)")
            .await;
        worker.stop().await;
    }

    /// A worker of its own, which may be stopped, killed or told to crash.
    pub(crate) fn process(&self, environment: &[(&str, &str)]) -> Outside {
        Outside::start(&self.settings_file(), self.folder.path(), environment)
    }

    /// One under another program, like a profiler.
    pub(crate) fn process_under(&self, program: &[&str]) -> Outside {
        Outside::under(program, &self.settings_file(), self.folder.path())
    }

    pub(crate) async fn things(&self, ids: &[&str]) {
        sqlx::query("insert into shop.things (id) select unnest($1::text[])")
            .bind(ids)
            .execute(&self.db)
            .await
            .expect("things");
    }

    pub(crate) async fn sql(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.db).await.expect(sql);
    }

    pub(crate) async fn publish(&self, request: Value) {
        self.publish_as(message(Bytes::from(request.to_string()))).await;
    }

    pub(crate) async fn publish_as(&self, message: Message) {
        let outcome = self.desk.publish(&message).await.expect("a broker");
        assert_eq!(outcome, PublishOutcome::Confirmed);
    }

    /// A desk at this broker, for looking into queues.
    pub(crate) async fn desk(&self) -> Desk {
        Desk::connect(&broker_settings(&self.world))
            .await
            .expect("a desk")
    }

    /// Asks until it is true.
    pub(crate) async fn until(&self, what: &str, sql: &'static str) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        let mut last = None;
        let waited = tokio::time::timeout(patience(), async {
            loop {
                every.tick().await;
                // While the servers are away there is no answer; afterwards there is.
                let answer = sqlx::query_scalar::<_, bool>(sql).fetch_one(&self.db).await;
                if let Ok(true) = answer {
                    return;
                }
                last = Some(answer);
            }
        });
        if waited.await.is_err() {
            panic!("{what}: not in time; at last {last:?}\n{}", self.told().await);
        }
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.db).await.expect(sql)
    }

    pub(crate) async fn is(&self, sql: &'static str) -> bool {
        sqlx::query_scalar(sql).fetch_one(&self.db).await.expect(sql)
    }

    /// Runs of a step so far, for one thing.
    pub(crate) async fn runs(&self, step: &str, id: &str) -> i64 {
        sqlx::query_scalar("select count(*) from shop.runs where step = $1 and id = $2")
            .bind(step)
            .bind(id)
            .fetch_one(&self.db)
            .await
            .expect("a count")
    }

    /// Every journal, whole and in order: each replays, no record is missing, and what has ended has ended once.
    pub(crate) async fn journals_are_sound(&self) {
        let rows: Vec<(Uuid, i32, i32, Value)> =
            sqlx::query_as("select deletion_id, seq, tenure, entries from sexton.journal order by 1, 2")
                .fetch_all(&self.db)
                .await
                .expect("journals");
        let mut rest = rows.as_slice();
        while let Some((id, ..)) = rest.first() {
            let own = rest.iter().take_while(|row| row.0 == *id).count();
            let (journal, others) = rest.split_at(own);
            rest = others;
            let mut entries = Vec::new();
            for (nth, (_, seq, tenure, record)) in journal.iter().enumerate() {
                assert_eq!(
                    usize::try_from(*seq).ok(),
                    Some(nth + 1),
                    "a record of {id} is missing"
                );
                assert!(
                    nth == 0 || journal[nth - 1].2 <= *tenure,
                    "an old tenure wrote late: {journal:?}"
                );
                let all: Vec<Entry> = serde_json::from_value(record.clone()).expect("entries");
                entries.extend(all);
            }
            State::replay(8, &entries).unwrap_or_else(|error| panic!("{id}: {error}: {entries:?}"));
        }
    }

    /// Where the one deletion of a thing stands, by its journal.
    pub(crate) async fn state_of(&self, id: &str) -> State {
        let records: Vec<Value> = sqlx::query_scalar(
            "select j.entries from sexton.journal j join sexton.requests r using (deletion_id)
             where r.target_id = $1 order by j.seq",
        )
        .bind(id)
        .fetch_all(&self.db)
        .await
        .expect("a journal");
        let mut entries: Vec<Entry> = Vec::new();
        for record in records {
            entries.extend(serde_json::from_value::<Vec<Entry>>(record).expect("entries"));
        }
        State::replay(8, &entries).expect("a journal that replays")
    }

    /// All that was asked for has ended, the tables agree, and nothing waits to be said.
    pub(crate) async fn everything_is_over(&self) {
        self.until(
            "all ended and said",
            "select not exists (select from sexton.open_deletions) and not exists (select from sexton.outbox)
                    and not exists (select from sexton.successors)",
        )
        .await;
        self.journals_are_sound().await;
        assert!(
            self.is("select coalesce(bool_and(intended), true) from shop.runs")
                .await,
            "an effect began before its intent was durable"
        );
    }

    /// Where things stand, for whoever reads a failure.
    async fn told(&self) -> String {
        let tables: Result<Value, _> = sqlx::query_scalar(
            "select json_build_object(
                 'open', (select json_agg(o) from sexton.open_deletions o),
                 'journal', (select json_agg(j order by j.deletion_id, j.seq) from sexton.journal j),
                 'ended', (select json_agg(d) from sexton.deletions d), 'outbox', (select json_agg(x) from sexton.outbox x),
                 'rejections', (select json_agg(r) from sexton.rejections r), 'runs', (select json_agg(r) from shop.runs r))",
        )
        .fetch_one(&self.db)
        .await;
        let tables = tables.map_or_else(|error| error.to_string(), |tables| format!("{tables:#}"));
        format!("{tables}\nheard: {:#?}", self.heard.all())
    }
}

fn broker(url: &str) -> BrokerSettings {
    BrokerSettings {
        url: url.into(),
        ..BrokerSettings::default()
    }
}

fn broker_settings(world: &World) -> BrokerSettings {
    broker(&world.amqp_url)
}
