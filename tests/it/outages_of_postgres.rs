//! Sexton's own Postgres is there and cannot be used: read-only, its disk full, its connections taken by others. Each is
//! said in one line, shows in `/readyz`, is waited out by everybody, and loses and spends nothing.
//!
//! What is deleted from is in another server, so that whatever is spent would be spent by Sexton's own trouble.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use sexton::broker::{REJECTED_QUEUE, REQUESTS_QUEUE};
use sexton::services::{Ending, Options, Services};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{Connection, PgConnection};

use crate::batches::note;
use crate::house::House;
use crate::scraped::Page;
use crate::shop::{SHOP, delete, with};
use crate::workers::Outside;
use crate::world::World;

const EACH: usize = 100;
/// In three seconds of trouble, all parts of a worker together try no more often; it is no busy loop.
const TRIES_IN_3_S_MAX: usize = 60;

const ROW: &str = r#"
target  = "shop.row"
on      = "shop"
timeout = "2s"
retry   = { attempts = 5, base = "20ms", max = "200ms" }

[lookup]
sql  = "select kind from shop.things where id = :id and tenant = :tenant and gone_at is null"
none = "absent"

[[step]]
name = "fence"
sql  = "update shop.things set fenced = true, generation = :generation where id = :id and generation < :generation"
undo = "update shop.things set fenced = false, generation = :generation where id = :id and generation < :generation"

[[step]]
name  = "finish"
pivot = true
sql   = "insert into shop.effects (step, id) values ('finish', :id)"
"#;

struct Place {
    services: Services,
    house: House,
    /// Keeps the other database.
    _elsewhere: World,
    shop: PgPool,
    page: Page,
}

impl Place {
    async fn open(connections: u32) -> Self {
        let options = Options {
            durable: false,
            database_url: None,
            connections,
            ..Options::from_env()
        };
        let services = Services::start(options).await.expect("a Postgres of one's own");
        let mut house = House::in_servers(services.urls.clone()).await;
        let elsewhere = World::new().await;
        let shop = PgPoolOptions::new()
            .max_connections(2)
            .connect(&elsewhere.database_url)
            .await
            .expect("the other database");
        sqlx::raw_sql(SHOP).execute(&shop).await.expect("a shop");
        let of_the_shop = |url: &str| format!("[systems.shop]\nkind = \"postgres\"\nurl = {url:?}");
        let (here, there) = (
            of_the_shop(&house.world.database_url),
            of_the_shop(&elsewhere.database_url),
        );
        house.change_settings(&here, &there);
        house.change_settings("lease = \"5s\"", "lease = \"30s\"");
        house.no_plan("thing");
        house.plan("row", ROW);
        let page = Page::of(&mut house);
        Place {
            services,
            house,
            _elsewhere: elsewhere,
            shop,
            page,
        }
    }

    async fn publish(&self, what: &str) {
        let ids: Vec<String> = (0..EACH).map(|n| format!("{what}{n:03}")).collect();
        sqlx::query("insert into shop.things (id) select unnest($1::text[])")
            .bind(&ids)
            .execute(&self.shop)
            .await
            .expect("things");
        let row = |id: &String| with(delete(id), json!({"target": {"type": "shop.row", "id": id}}));
        futures::future::join_all(ids.iter().map(|id| self.house.publish(row(id)))).await;
    }

    /// Said in one line with these words, seen by whoever asks, and no busy loop.
    async fn is_waited_out(&self, process: &Outside, words: &str) {
        process.says("Postgres is in trouble").await;
        self.page.is_ready(false, "postgres: not ready: in trouble").await;
        let before = process.log().matches("still in trouble").count();
        // A rate is counted over a time; nothing is waited for.
        let mut every = tokio::time::interval(std::time::Duration::from_secs(3));
        every.tick().await;
        every.tick().await;
        let log = process.log();
        let tries = log.matches("still in trouble").count() - before;
        assert!(tries <= TRIES_IN_3_S_MAX, "{tries} tries in 3 s");
        let said: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("Postgres is in trouble"))
            .collect();
        assert_eq!(said.len(), 1, "{said:#?}");
        // The first cause that is met may be another (a session that was ended); what lasts is said as well.
        let told =
            |line: &&str| line.contains("\"WARN\"") && line.contains("in trouble") && line.contains(words);
        assert_eq!(log.lines().filter(told).count(), 1, "{words} once in\n{log}");
    }

    /// All of both halves is gone, once; nothing was turned away, nothing spent, and nobody has to look.
    async fn all_is_well(&self, process: &Outside) {
        process.says("Postgres works again").await;
        self.page.is_ready(true, "postgres: ready").await;
        self.house
            .until(
                "all are over",
                "select count(*) = 200 and count(*) = count(*) filter (where result = 'deleted')
                 and not exists (select from sexton.outbox) from sexton.deletions",
            )
            .await;
        self.house.journals_are_sound().await;
        let effects: i64 = sqlx::query_scalar("select count(*) from shop.effects")
            .fetch_one(&self.shop)
            .await
            .expect("a count");
        assert_eq!(effects, 2 * EACH as i64);
        assert_eq!(
            self.house
                .count(
                    "select count(*) from sexton.journal j, json_array_elements(j.entries::json) e where e->>'e' = 'parked'
                     or e->'verdict'->>'is' in ('again', 'unknown', 'failed', 'blocked')"
                )
                .await,
            0,
            "no attempt is spent by an outage of ours"
        );
        assert_eq!(
            self.house.count("select count(*) from sexton.rejections").await,
            0
        );
        let desk = self.house.desk().await;
        for queue in [REJECTED_QUEUE, REQUESTS_QUEUE] {
            assert_eq!(desk.depth(queue).await.expect("a queue").ready, 0, "{queue}");
        }
        desk.close().await;
    }

    async fn some_are_over(&self) {
        self.house
            .until("some are over", "select count(*) >= 10 from sexton.deletions")
            .await;
    }

    async fn close(self, process: Outside) {
        process.signal(rustix::process::Signal::TERM);
        let (status, log) = process.ended().await;
        assert!(status.success(), "{log}");
        drop(self.house);
        self.services.stop().await.expect("a clean end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_by_a_postgres_that_is_read_only_is_waited_out() {
    let place = Place::open(100).await;
    let process = place.house.process(&[]);
    process.says("at work").await;
    place.publish("a").await;
    place.some_are_over().await;
    place
        .house
        .sql("alter system set default_transaction_read_only = on")
        .await;
    place.house.sql("select pg_reload_conf()").await;
    place.publish("b").await;
    place.is_waited_out(&process, "read-only transaction").await;
    place
        .house
        .sql("alter system reset default_transaction_read_only")
        .await;
    place.house.sql("select pg_reload_conf()").await;
    place.all_is_well(&process).await;
    place.close(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_by_connections_that_others_have_is_waited_out() {
    const CONNECTIONS: u32 = 40;
    let place = Place::open(CONNECTIONS).await;
    let process = place.house.process(&[]);
    process.says("at work").await;
    place.publish("a").await;
    place.some_are_over().await;
    let url = place.house.world.database_url.clone();
    let mut taken: Vec<PgConnection> = Vec::new();
    let mut ours = PgConnection::connect(&url).await.expect("one more");
    // Its sessions go in the middle of their work, and others are faster.
    while taken.len() < CONNECTIONS as usize {
        match PgConnection::connect(&url).await {
            Ok(mut connection) => {
                sqlx::query("set application_name = 'greedy'")
                    .execute(&mut connection)
                    .await
                    .expect("a name");
                taken.push(connection);
            }
            Err(_) => {
                let left: i64 = sqlx::query_scalar(
                    // Also those that have only just come, or are still at the door: each would keep a place.
                    "select count(pg_terminate_backend(pid)) from pg_stat_activity
                     where backend_type = 'client backend' and application_name <> 'greedy' and pid <> pg_backend_pid()
                     and (datname is null or datname = current_database() and (query like '/*%' or query = ''))",
                )
                .fetch_one(&mut ours)
                .await
                .expect("an answer");
                if left == 0 {
                    break;
                }
            }
        }
    }
    place.publish("b").await;
    place.is_waited_out(&process, "too many clients").await;
    for connection in taken {
        connection.close().await.expect("a clean end");
    }
    place.all_is_well(&process).await;
    ours.close().await.expect("a clean end");
    place.close(process).await;
}

/// A disk of a few MiB: a tmpfs, which root may mount.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir(at).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m,mode=777", "tmpfs"])
            .arg(at)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then(|| Self(at.to_owned()))
    }

    fn fill(&self) {
        let _ = Command::new("dd")
            .args(["if=/dev/zero", "bs=64k", "status=none"])
            .arg(format!("of={}", self.0.join("ballast").display()))
            .stderr(std::process::Stdio::null())
            .status();
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("the ballast");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_by_a_disk_that_is_full_is_waited_out() {
    let place = Place::open(100).await;
    let disk = SmallDisk::mount(&place.services.folder().expect("a folder").join("disk"));
    match &disk {
        Some(disk) => {
            let folder = disk.0.join("tables");
            std::fs::create_dir(&folder).expect("a folder");
            let home = std::fs::metadata(place.data()).expect("the data folder");
            use std::os::unix::fs::MetadataExt;
            std::os::unix::fs::chown(&folder, Some(home.uid()), Some(home.gid())).expect("it is Postgres's");
            let folder = folder.display();
            place
                .run(&format!("create tablespace small location '{folder}'"))
                .await;
            place
                .run(
                    "do $$ declare r record; begin
                       for r in select c.oid::regclass as name, c.relkind from pg_class c
                           where c.relnamespace = 'sexton'::regnamespace and c.relkind in ('r', 'i') loop
                         execute format('alter %s %s set tablespace small',
                             case r.relkind when 'i' then 'index' else 'table' end, r.name);
                       end loop; end $$",
                )
                .await;
        }
        None => {
            note("outages: no right to mount a small disk; a trigger that raises 53100 stands for a full one")
        }
    }
    let process = place.house.process(&[]);
    process.says("at work").await;
    place.publish("a").await;
    place.some_are_over().await;
    match &disk {
        Some(disk) => disk.fill(),
        None => {
            place
                .run(
                    "create function public.full() returns trigger language plpgsql as $$ begin
                       raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$;
                     create trigger full_requests before insert on sexton.requests execute function public.full();
                     create trigger full_audit before insert on sexton.audit execute function public.full()",
                )
                .await;
        }
    }
    place.publish("b").await;
    place.is_waited_out(&process, "No space left on device").await;
    match &disk {
        Some(disk) => disk.free(),
        None => place.run("drop function public.full() cascade").await,
    }
    place.all_is_well(&process).await;
    place.services_end_first(process, disk).await;
}

impl Place {
    /// The server leaves its small disk before that goes, and that before the folder it lies in.
    async fn services_end_first(mut self, process: Outside, disk: Option<SmallDisk>) {
        process.signal(rustix::process::Signal::TERM);
        let (status, log) = process.ended().await;
        assert!(status.success(), "{log}");
        self.services.stop_postgres(Ending::Clean).await.expect("stopped");
        drop(disk);
        drop(self.house);
        self.services.stop().await.expect("a clean end");
    }

    async fn run(&self, sql: &str) {
        let ran = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
            .execute(&self.house.db)
            .await;
        ran.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Where this server keeps its data.
    fn data(&self) -> PathBuf {
        let all = std::fs::read_dir(self.services.folder().expect("a folder")).expect("it is there");
        let mut homes = all
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("postgres-"));
        homes.next().expect("a home").path().join("data")
    }
}
