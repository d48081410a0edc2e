//! Credentials that fail: the system is shut, once, with its one reason; what needs it waits, nobody is parked, nothing
//! is spent, and a handful of tries is all that the other side sees of it. What one target alone meets parks that one.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::batches::note;
use crate::cli::sexton;
use crate::house::House;
use crate::scraped::Page;
use crate::shop::{delete, with};
use crate::vendor::{Answer, Vendor};

const MANY: usize = 10_000;
/// What is in flight when the door shuts (eight calls at once), and the tries after it, which get rarer.
const CALLS_MAX: usize = 8 + 12;

/// A machine at a vendor, and the row that stands for it.
pub(crate) const MACHINE: &str = r#"
target  = "shop.machine"
on      = "shop"
timeout = "2s"
retry   = { attempts = 1, base = "20ms", max = "200ms" }

[lookup]
sql     = "select kind from shop.things where id = :id and tenant = :tenant and gone_at is null"
none    = "absent"

[[step]]
name  = "end"
pivot = true
read  = "select id as machine from shop.things where id = :id"
call  = "cloud.end"

[[step]]
name  = "finish"
sql   = "update shop.things set gone_at = now() where id = :id and gone_at is null"
"#;

/// A row in a database where Sexton has a role of its own.
const ROW: &str = r#"
target  = "shop.row"
on      = "vault"
timeout = "2s"
retry   = { attempts = 1, base = "20ms", max = "200ms" }

[[step]]
name  = "finish"
sql   = "update shop.things set gone_at = now() where id = :id and gone_at is null"
none  = "already_gone"
"#;

fn of_type(kind: &str, id: &str) -> Value {
    with(delete(id), json!({"target": {"type": kind, "id": id}}))
}

fn names(many: usize) -> Vec<String> {
    (0..many).map(|n| format!("n{n:05}")).collect()
}

async fn publish_all(house: &House, kind: &str, names: &[String]) {
    let ids: Vec<&str> = names.iter().map(String::as_str).collect();
    house.things(&ids).await;
    for some in ids.chunks(500) {
        futures::future::join_all(some.iter().map(|id| house.publish(of_type(kind, id)))).await;
    }
}

/// Nobody was parked, nobody was told so, and no attempt counts for anything.
async fn nobody_is_parked_and_nothing_spent(house: &House) {
    assert_eq!(
        house
            .count("select count(*) from sexton.open_deletions where parked is not null")
            .await,
        0
    );
    assert!(house.heard.all().iter().all(|event| event.kind() != "parked"));
    assert_eq!(
        house
            .count(
                "select count(*) from sexton.journal j, json_array_elements(j.entries::json) e
                 where e->>'e' = 'verdict' and e->'verdict'->>'is' = 'blocked' and e->'verdict'->>'denied' is null"
            )
            .await,
        0
    );
}

async fn shut_now(house: &House) -> Vec<Value> {
    let said = sexton(house, &["systems", "list", "--json"]).await.ended_with(0);
    said.json()["shut"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_08_credentials_that_fail_shut_one_system_and_park_none_of_ten_thousand() {
    let vendor = Vendor::open().await;
    vendor.answers_all(Answer::Status(401));
    let mut house = House::new().await;
    vendor.known_to(&mut house, "limit = 8\nbreaker_pause = \"500ms\"");
    house.change_settings("sexton=debug", "sexton=info");
    house.plan("machine", MACHINE);
    let page = Page::of(&mut house);
    let process = house.process(&[]);
    let names = names(MANY);
    publish_all(&house, "shop.machine", &names).await;
    house
        .until(
            "all are there, and have been at the door",
            "select count(*) = 10000 from sexton.open_deletions having bool_and(seq > 0 or due_at > now() or lane is null)",
        )
        .await;
    house
        .until(
            "a person can see it",
            "select count(*) = 1 from sexton.shut_systems",
        )
        .await;
    page.shows("sexton_system_shut{system=\"cloud\"}", 1).await;
    page.shows("sexton_system_shut{system=\"shop\"}", 0).await;
    let shut = shut_now(&house).await;
    assert_eq!(shut.len(), 1, "{shut:?}");
    assert_eq!(
        (shut[0]["system"].as_str(), shut[0]["place"].as_str()),
        (Some("cloud"), Some("everything"))
    );
    let told = sexton(&house, &["systems", "list"]).await.ended_with(0).out;
    for words in [
        "cloud is shut: everything",
        "answered 401",
        "correct the credentials",
        "in vain",
    ] {
        assert!(told.contains(words), "{told}");
    }

    // Who needs another system is not held up by them.
    house.things(&["free"]).await;
    house.publish(delete("free")).await;
    assert_eq!(house.heard.end("k-free").await.detail("result"), Some("deleted"));
    nobody_is_parked_and_nothing_spent(&house).await;
    let calls = vendor.asked("").len();
    assert!(calls <= CALLS_MAX, "{calls} calls");
    let why = sexton(
        &house,
        &["deletions", "show", "--key", "k-n00000", "--tenant", "t"],
    )
    .await;
    let why = why.ended_with(0).out;
    assert!(why.contains("systems list"), "{why}");

    vendor.answers_all(Answer::Status(204));
    sexton(&house, &["systems", "retry", "cloud", "--by", "anna"])
        .await
        .ended_with(0);
    house.everything_is_over().await;
    assert_eq!(
        house
            .count("select count(*) from sexton.deletions where result = 'deleted'")
            .await,
        MANY as i64 + 1
    );
    nobody_is_parked_and_nothing_spent(&house).await;
    page.shows("sexton_system_shut{system=\"cloud\"}", 0).await;
    house
        .until(
            "nobody is told of it any more",
            "select count(*) = 0 from sexton.shut_systems",
        )
        .await;
    assert!(shut_now(&house).await.is_empty());
    sexton(&house, &["systems", "retry", "cloud"])
        .await
        .ended_with(65);
    let log = process.log();
    assert_eq!(log.matches("system shut").count(), 1);
    assert_eq!(log.matches("system open again").count(), 1);
    note(&format!(
        "{MANY} deletions at a system that does not let Sexton in: {calls} calls, 0 parked"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_other_credentials_goes_on_and_a_repair_is_found_by_itself() {
    let vendor = Vendor::open().await;
    vendor.answers_all(Answer::Status(401));
    let mut house = House::new().await;
    vendor.known_to(&mut house, "limit = 8\nbreaker_pause = \"100ms\"");
    house.plan("machine", MACHINE);
    let worker = house.worker();
    publish_all(&house, "shop.machine", &names(50)).await;
    let shut = "select count(*) = 1 from sexton.shut_systems join sexton.workers using (worker)
                where expires_at > now()";
    house.until("it is shut", shut).await;
    worker.stop().await;
    house
        .until(
            "its row goes with the worker",
            "select not exists (select from sexton.shut_systems s join sexton.workers w
            using (worker) where w.expires_at > now() and w.lost_at is null)",
        )
        .await;
    // The new settings are as wrong as the old ones, which the new process finds out; then it is repaired over there.
    let worker = house.worker();
    house.until("it is shut again", shut).await;
    vendor.answers_all(Answer::Status(204));
    house.everything_is_over().await;
    nobody_is_parked_and_nothing_spent(&house).await;
    worker.stop().await;
}

/// A role of its own in the shop's database, which is also named by nobody else.
async fn vault(house: &mut House) -> String {
    let role = format!("keeper_{}", Uuid::now_v7().simple());
    run(house, &format!(
        "create role {role} login password 'right'; grant usage on schema shop to {role}; grant select, update on shop.things to {role}"
    ))
    .await;
    let (before, after) = house
        .world
        .database_url
        .split_once('@')
        .expect("a user in the URL");
    let scheme = before.split_once("://").expect("a scheme").0;
    let url = format!("{scheme}://{role}:right@{after}");
    house.also_settings(&format!(
        "[systems.vault]\nkind = \"postgres\"\nurl = {url:?}\nmax_connections = 4\nbreaker_pause = \"100ms\"\n"
    ));
    house.plan("row", ROW);
    role
}

async fn run(house: &House, sql: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
        .execute(&house.db)
        .await
        .expect("it runs");
}

async fn forget(house: &House, role: &str) {
    run(house, &format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_wrong_shuts_its_system_until_it_is_right() {
    let mut house = House::new().await;
    let role = vault(&mut house).await;
    run(&house, &format!("alter role {role} password 'other'")).await;
    let worker = house.worker();
    publish_all(&house, "shop.row", &names(2_000)).await;
    house
        .until(
            "it is shut",
            "select count(*) = 1 from sexton.shut_systems where system = 'vault' and place = 'everything'
            and why like '%28P01%' and tries > 0",
        )
        .await;
    house
        .until(
            "all are there",
            "select count(*) = 2000 from sexton.open_deletions",
        )
        .await;
    nobody_is_parked_and_nothing_spent(&house).await;
    run(&house, &format!("alter role {role} password 'right'")).await;
    house.everything_is_over().await;
    nobody_is_parked_and_nothing_spent(&house).await;
    worker.stop().await;
    forget(&house, &role).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privilege_that_is_taken_away_in_the_middle_shuts_that_step_and_parks_nobody() {
    let mut house = House::new().await;
    let role = vault(&mut house).await;
    let worker = house.worker();
    publish_all(&house, "shop.row", &names(500)).await;
    house.everything_is_over().await;
    run(&house, &format!("revoke update on shop.things from {role}")).await;
    let more: Vec<String> = (0..2_000).map(|n| format!("m{n:05}")).collect();
    publish_all(&house, "shop.row", &more).await;
    house
        .until(
            "that step is shut, and told so",
            "select count(*) = 1 from sexton.shut_systems where system = 'vault'
            and place = '\"finish\" of shop.row' and why like '%42501%' and tries > 0",
        )
        .await;
    nobody_is_parked_and_nothing_spent(&house).await;
    run(&house, &format!("grant update on shop.things to {role}")).await;
    house.everything_is_over().await;
    nobody_is_parked_and_nothing_spent(&house).await;
    assert_eq!(
        house
            .count("select count(*) from sexton.deletions where result = 'deleted'")
            .await,
        2_500
    );
    worker.stop().await;
    forget(&house, &role).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_08_a_row_that_only_one_target_may_not_touch_parks_that_one_while_others_go_on() {
    let mut house = House::new().await;
    let role = vault(&mut house).await;
    house
        .sql(
            "alter table shop.things enable row level security;
             create policy looks on shop.things for select using (true);
             create policy writes on shop.things for update using (true) with check (id <> 'poison')",
        )
        .await;
    let worker = house.worker();
    publish_all(&house, "shop.row", &["poison".to_owned()]).await;
    house
        .until(
            "it has been turned away",
            "select exists (select from sexton.journal where entries::text like '%42501%')",
        )
        .await;
    publish_all(&house, "shop.row", &names(300)).await;
    let parked = house.heard.kind("parked", "k-poison").await;
    assert_eq!(parked.detail("because"), Some("blocked"));
    assert!(
        parked
            .detail("unblock")
            .is_some_and(|unblock| unblock.contains("grant"))
    );
    house
        .until(
            "the others are over",
            "select count(*) = 300 from sexton.deletions where result = 'deleted'",
        )
        .await;
    house
        .until("nothing is shut", "select count(*) = 0 from sexton.shut_systems")
        .await;
    worker.stop().await;
    forget(&house, &role).await;
}
