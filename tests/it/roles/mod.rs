//! The roles of `deploy/postgres/`, on a real database: each part of Sexton works with a login of its own, and none can
//! do what is another's.

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

mod denied;
mod work;

const ROLES: &str = include_str!("../../../deploy/postgres/roles.sql");
const GRANTS: &str = include_str!("../../../deploy/postgres/grants.sql");
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
