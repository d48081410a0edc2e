//! The roles of `deploy/postgres/`, on a real database: each part of Sexton works with a login of its own, and none can
//! do what is another's.

mod denied;

use reqwest::Url;
use rustix::process::Signal;
use serde_json::json;
use sexton::settings::{Part, Settings};
use sexton::store::Store;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::batches::{SETTINGS, bulk};
use crate::cli::{hasty, one_parked, sexton};
use crate::heard::Event;
use crate::house::{House, THING, delete};
use crate::shop::{message, with};
use crate::workers::Outside;

const ROLES: &str = include_str!("../../deploy/postgres/roles.sql");
const GRANTS: &str = include_str!("../../deploy/postgres/grants.sql");
/// All that is not the door.
const WORK: [&str; 4] = ["intake", "engine", "relay", "retention"];
const PASSWORD: &str = "of-this-test";

/// A house whose tables belong to the owner, and a login for each role.
struct Roles {
    house: House,
    suffix: String,
    now: String,
}

impl Roles {
    async fn new() -> Self {
        let mut house = House::new().await;
        house.also_settings(SETTINGS);
        let suffix = Uuid::now_v7().simple().to_string();
        let now = house.world.database_url.clone();
        let mut roles = Roles { house, suffix, now };
        roles.house.sql("drop schema sexton cascade").await;
        roles.house.sql(ROLES).await;
        for role in ["owner", "worker", "gateway", "operator", "reader"] {
            let login = roles.login(role);
            let sql = format!("create role {login} login password '{PASSWORD}' in role sexton_{role}");
            roles.house.db.execute(AssertSqlSafe(sql)).await.expect("a login");
        }
        let owns = format!("alter role {} set role = 'sexton_owner'", roles.login("owner"));
        roles
            .house
            .db
            .execute(AssertSqlSafe(owns))
            .await
            .expect("an owner");
        roles.work_as("owner");
        sexton(&roles.house, &["migrate"]).await.ended_with(0);
        roles.grant().await;
        roles
    }

    fn login(&self, role: &str) -> String {
        format!("t_{role}_{}", self.suffix)
    }

    fn url(&self, role: &str) -> String {
        let mut url = Url::parse(&self.house.world.database_url).expect("a URL");
        url.set_username(&self.login(role)).expect("a user");
        url.set_password(Some(PASSWORD)).expect("a password");
        url.into()
    }

    /// Sexton's own tables are reached with this login from now on; the shop stays as it was.
    fn work_as(&mut self, role: &str) {
        let next = self.url(role);
        self.house.change_settings(
            &format!("[store]\nurl = {:?}", self.now),
            &format!("[store]\nurl = {next:?}"),
        );
        self.now = next;
    }

    fn process(&self, parts: &[&str]) -> Outside {
        // A file of its own: it is read when the process gets to it, and by then the next one works as another.
        let file = self
            .house
            .folder()
            .join(format!("{}.toml", Uuid::now_v7().simple()));
        std::fs::copy(self.house.settings_file(), &file).expect("settings");
        Outside::with_roles(&file, self.house.folder(), parts)
    }

    async fn grant(&self) {
        let mut owner = PgConnection::connect(&self.url("owner"))
            .await
            .expect("the owner");
        owner.execute(GRANTS).await.expect("grants");
    }

    /// The SQLSTATE of what this login is told, or that it may.
    async fn told(&self, role: &str, sql: &'static str) -> String {
        let mut connection = PgConnection::connect(&self.url(role)).await.expect("a login");
        let mut tried = connection.begin().await.expect("a transaction");
        match tried.execute(sql).await {
            Ok(_) => "may".to_owned(),
            Err(error) => {
                let error = error.into_database_error().expect("the server's word");
                error.code().expect("a code").into_owned()
            }
        }
    }

    async fn store_as(&mut self, role: &str) -> Store {
        self.work_as(role);
        let settings = Settings::load(&[self.house.settings_file()], &[Part::Store]).expect("settings");
        Store::new(&settings.store).expect("a store")
    }

    /// Roles are the whole server's, and outlive the database.
    async fn end(self) {
        for role in ["owner", "worker", "gateway", "operator", "reader"] {
            let sql = format!("drop role {}", self.login(role));
            self.house.db.execute(AssertSqlSafe(sql)).await.expect("no login");
        }
    }
}

/// What a part is denied it says, and goes on without: so its log is read.
async fn was_denied_nothing(process: Outside) {
    process.signal(Signal::TERM);
    let (status, log) = process.ended().await;
    assert!(status.success(), "{log}");
    let denied: Vec<&str> = log.lines().filter(|line| line.contains("denied")).collect();
    assert!(denied.is_empty(), "{}", denied.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_works_with_a_login_of_its_own() {
    let mut roles = Roles::new().await;
    roles.house.things(&["a", "b", "c", "d", "e", "f"]).await;
    let front = roles.house.front("");
    // A month that is missing is made by the worker, who may not make tables.
    roles
        .house
        .sql(
            "do $$ declare part regclass; begin
                 for part in select inhrelid from pg_inherits where inhparent in
                     ('sexton.journal_pages'::regclass, 'sexton.requests'::regclass, 'sexton.keys'::regclass) loop
                     execute format('drop table %s', part);
                 end loop; end $$",
        )
        .await;
    roles.work_as("worker");
    let worker = roles.process(&WORK);
    roles.house.publish(delete("a")).await;
    assert_eq!(
        roles.house.heard.end("k-a").await.detail("result"),
        Some("deleted")
    );
    assert!(
        roles
            .house
            .is("select count(*) >= 4 and bool_and(pg_get_userbyid(c.relowner) = 'sexton_owner')
                 from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'sexton.journal_pages'::regclass")
            .await
    );

    // One that waits, one that folds into it, one that comes after it, one that is turned away, and a batch.
    roles
        .house
        .sql("update shop.things set ready = false where id = 'd'")
        .await;
    roles.house.publish(delete("d")).await;
    roles
        .house
        .until("it waits", "select exists (select from sexton.open_deletions)")
        .await;
    let after = json!({"key": "k-after", "params": {"depth": "all"}});
    for request in [
        with(delete("d"), json!({"key": "k-joined"})),
        with(delete("d"), after),
    ] {
        roles.house.publish(request).await;
    }
    roles
        .house
        .until(
            "one has joined and one comes after it",
            "select exists (select from sexton.joined) and exists (select from sexton.successors)",
        )
        .await;
    roles.house.sql("update shop.things set ready = true").await;
    roles.house.publish_as(message("{".into())).await;
    let is_rejected = |event: &&Event| event.kind() == "rejected";
    roles
        .house
        .heard
        .until("it is rejected", |all| all.iter().find(is_rejected).cloned())
        .await;
    roles
        .house
        .publish(bulk("k-bulk", ["e", "f"].map(str::to_owned)))
        .await;
    roles.house.over("k-bulk", 1).await;
    roles.house.heard.end("k-joined").await;
    roles.house.heard.end("k-after").await;
    roles.house.everything_is_over().await;

    roles.work_as("operator");
    let key = roles.house.key("t", &[]);
    roles.work_as("gateway");
    let gateway = roles.process(&["gateway"]);
    front.is_open().await;
    let body = json!({"target": {"type": "shop.thing", "id": "b"}, "reason": "asked"});
    let said = front.post("/v1/deletions", &key, &body).await;
    assert_eq!(said.status, 200, "{}", said.text);
    let listed = front.get("/v1/deletions", &key).await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    assert_eq!(
        listed.json()["items"].as_array().map(Vec::len),
        Some(6),
        "{}",
        listed.text
    );
    for process in [gateway, worker] {
        was_denied_nothing(process).await;
    }

    // A plan written in a hurry, by a worker; put right by the operator.
    roles.house.plan("thing", &hasty());
    roles.work_as("worker");
    let worker = roles.process(&WORK);
    roles.work_as("operator");
    let parked = one_parked(&roles.house, "c").await["deletion_id"].clone();
    let parked = parked.as_str().expect("an id").to_owned();
    for arguments in [
        &["deletions", "list"][..],
        &["deletions", "show", &parked],
        &["deletions", "retry", &parked],
        &["rejected", "list"],
        &["systems", "list"],
        &["keys", "list"],
    ] {
        sexton(&roles.house, arguments).await.ended_with(0);
    }
    // It asks the table and finds none shut, which whoever is denied would not.
    sexton(&roles.house, &["systems", "retry", "shop"])
        .await
        .ended_with(65);
    let is_parked = |event: &&Event| event.kind() == "parked" && event.key() == Some("k-c");
    let again = |all: &[Event]| (all.iter().filter(is_parked).count() == 2).then_some(());
    roles.house.heard.until("it is parked again", again).await;
    let right = roles.house.folder().join("right.toml");
    std::fs::write(&right, THING).expect("a plan");
    let right = right.display().to_string();
    let adopted = sexton(&roles.house, &["plan", "adopt", &right, "--all"])
        .await
        .ended_with(0);
    assert_eq!(adopted.out.matches("and goes on").count(), 1, "{}", adopted.out);
    roles.house.everything_is_over().await;
    let id = key.split('_').nth(1).expect("the id of a key").to_owned();
    let listed = roles.house.keys(&["list"]);
    assert!(listed.contains("test"), "{id}: {listed}");
    was_denied_nothing(worker).await;
    roles.end().await;
}
