//! Factory computers, carried out by the shipped plan: a platform's rows, an archive, a provider that is asked.

use std::path::PathBuf;

use serde_json::json;
use sqlx::{Executor, PgPool};

use crate::heard::Event;
use crate::house::House;
use crate::vendor::{Answer, Vendor};
use crate::worlds::archive::{files_in, lines, read_back};
use crate::worlds::estate::{Estate, Provider};
use crate::worlds::platform::{self, SCHEMA};

const TYPE: &str = "factory.computer";

pub(crate) struct Factory {
    pub(crate) house: House,
    pub(crate) platform: PgPool,
    vendor: Vendor,
}

fn told(event: &Event) -> (&str, Option<&str>) {
    (event.kind(), event.detail("result"))
}

/// A platform without tables.
async fn bare() -> Factory {
    let mut house = House::new().await;
    let vendor = Vendor::open().await;
    vendor.known_to(&mut house, "");
    let archive = house.folder().join("archive");
    house.also_settings(&format!(
        "[systems.archive]\nkind = \"archive\"\nfolder = {archive:?}\n"
    ));
    let platform = house.store("platform").await;
    house.shipped(
        TYPE,
        &[
            ("timeout = \"20s\"", "timeout = \"5s\""),
            (
                "base = \"500ms\", max = \"1m\"",
                "base = \"20ms\", max = \"100ms\"",
            ),
        ],
    );
    Factory {
        house,
        platform,
        vendor,
    }
}

/// Managed `m`, a customer's own `own`, and `late`, which is still being provisioned; each with a key and a session.
pub(crate) async fn factory() -> Factory {
    let factory = bare().await;
    let (vendor, platform) = (&factory.vendor, &factory.platform);
    vendor.answers("DELETE /machines/i-m", &[Answer::Status(204)]);
    vendor.answers("DELETE /machines/i-late", &[Answer::Status(204)]);
    platform.execute(SCHEMA).await.expect("the platform's tables");
    platform
        .execute(
            "insert into organizations (id) values ('org_1'), ('org_2');
             insert into computers (id, organization_id, provider_type, provider_id, status)
             values ('m', 'org_1', 'e2b', 'i-m', 'active'), ('own', 'org_1', 'byom', null, 'active'),
                    ('late', 'org_1', 'e2b', null, 'provisioning');
             insert into api_keys (id, computer_id) select 'key_' || id, id from computers;
             insert into sessions (id, organization_id, computer_id, title) select 'ses_' || id, 'org_1', id, 't' from computers",
        )
        .await
        .expect("the platform's rows");
    factory
}

impl Factory {
    async fn delete(&self, id: &str, organization: &str, key: &str) -> Event {
        self.house.deleted(TYPE, organization, id, key, json!({})).await
    }

    async fn ask(&self, action: &str, id: &str, key: &str) {
        self.house
            .publish(
                json!({"action": action, "target": {"type": TYPE, "id": id}, "tenant": "org_1", "key": key}),
            )
            .await;
    }

    pub(crate) async fn is(&self, sql: &'static str) -> bool {
        sqlx::query_scalar(sql)
            .fetch_one(&self.platform)
            .await
            .expect(sql)
    }

    async fn until(&self, sql: &'static str) {
        let mut every = tokio::time::interval(std::time::Duration::from_millis(10));
        let waited = tokio::time::timeout(crate::house::patience(), async {
            while !self.is(sql).await {
                every.tick().await;
            }
        });
        waited.await.expect(sql);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stage_waits_for_the_one_before_it_and_deleted_at_for_all() {
    let factory = factory().await;
    let worker = factory.house.worker();
    assert_eq!(
        told(&factory.delete("m", "org_1", "k").await),
        ("completed", Some("deleted"))
    );
    assert!(
        factory
            .is("select c.deletion_requested_at <= k.revoked_at and k.revoked_at <= s.archived_at
                        and s.archived_at <= c.deleted_at
                 from computers c join api_keys k on k.computer_id = c.id join sessions s on s.computer_id = c.id
                 where c.id = 'm'")
            .await,
        "fence, key, sessions, the end"
    );
    assert_eq!(factory.vendor.words("DELETE /machines/i-m").len(), 1);
    assert!(
        factory
            .is("select bool_and(deleted_at is null) from computers where id <> 'm'")
            .await
    );
    factory.house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_before_the_key_is_revoked_takes_the_fence_back() {
    let factory = factory().await;
    let worker = factory.house.worker();
    // Somebody has the key: the pivot waits, and has not begun to be.
    let mut lock = factory.platform.begin().await.expect("a transaction");
    lock.execute("select from computers where id = 'm' for update")
        .await
        .expect("the row");
    factory.ask("delete", "m", "k").await;
    factory
        .house
        .until(
            "the fence waits",
            "select exists (select from sexton.open_deletions where effect_ms is not null)",
        )
        .await;
    factory.ask("cancel", "m", "c").await;
    factory
        .house
        .until("the cancel is said", "select exists (select from sexton.signals)")
        .await;
    lock.rollback().await.expect("free");
    assert_eq!(factory.house.heard.end("k").await.kind(), "cancelled");
    assert!(
        factory
            .is(
                "select c.deletion_requested_at is null and c.deleted_at is null and k.revoked_at is null
                 from computers c join api_keys k on k.computer_id = c.id where c.id = 'm'"
            )
            .await
    );
    assert!(factory.vendor.words("DELETE").is_empty());
    factory.house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_own_machine_is_left_alone_and_the_journal_says_so() {
    let factory = factory().await;
    let worker = factory.house.worker();
    assert_eq!(
        told(&factory.delete("own", "org_1", "k").await),
        ("completed", Some("deleted"))
    );
    assert!(
        factory.vendor.words("/machines/").is_empty(),
        "the provider heard nothing"
    );
    assert!(
        factory
            .house
            .is(
                "select exists (select from sexton.journal, jsonb_array_elements(entries::jsonb) e
                 where e->>'step' = '5' and e->'verdict'->>'is' = 'skipped')"
            )
            .await
    );
    assert!(
        factory
            .is("select deleted_at is not null from computers where id = 'own'")
            .await
    );
    factory.house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_id_comes_to_light_later_is_torn_down_too() {
    let factory = factory().await;
    let worker = factory.house.worker();
    factory.ask("delete", "late", "k").await;
    factory
        .until("select archived_at is not null from sessions where computer_id = 'late'")
        .await;
    factory
        .house
        .until(
            "the provider's id is waited for",
            "select exists (select from sexton.journal, jsonb_array_elements(entries::jsonb) e
             where e->>'step' = '5' and e->'verdict'->>'is' = 'again')",
        )
        .await;
    assert!(factory.house.heard.ends("k").is_empty());
    assert!(
        factory
            .is("select deleted_at is null from computers where id = 'late'")
            .await,
        "not before the machine has ended"
    );
    factory
        .platform
        .execute("update computers set provider_id = 'i-late', status = 'active' where id = 'late'")
        .await
        .expect("it is provisioned");
    assert_eq!(
        told(&factory.house.heard.end("k").await),
        ("completed", Some("deleted"))
    );
    assert_eq!(factory.vendor.words("DELETE /machines/i-late").len(), 1);
    factory.house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_sessions_are_read_back_byte_for_byte() {
    let factory = bare().await;
    let estate = Estate::from_seed(23, 30);
    platform::fill(&factory.platform, &estate)
        .await
        .expect("the platform's rows");
    let going = || {
        estate
            .going()
            .filter(|computer| !matches!(computer.provider, Provider::Provisioning(_)))
    };
    let worker = factory.house.worker();
    for computer in going() {
        if let Some(machine) = computer.machine() {
            let what = format!("DELETE /machines/{machine}");
            factory.vendor.answers(&what, &[Answer::Status(204)]);
        }
        let (id, organization) = (&computer.id, &computer.organization);
        assert_eq!(
            told(&factory.delete(id, organization, id).await),
            ("completed", Some("deleted"))
        );
    }
    let files = files_in(&factory.house.folder().join("archive")).expect("the archive");
    assert_eq!(
        files.len(),
        going().count(),
        "one of each computer, and nothing else"
    );
    let mut sessions = 0;
    for computer in going() {
        let is_its = |file: &&PathBuf| {
            file.components()
                .any(|part| part.as_os_str() == computer.id.as_str())
        };
        let file = files.iter().find(is_its).expect(&computer.id);
        assert_eq!(
            read_back(file).expect("it is readable"),
            lines(computer),
            "{}",
            computer.id
        );
        sessions += computer.sessions.len();
    }
    assert!(sessions > 30, "{sessions}");
    factory.house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_organizations_computer_is_not_found() {
    let factory = factory().await;
    let worker = factory.house.worker();
    for (id, organization, key) in [("m", "org_2", "theirs"), ("nobody", "org_1", "nobody")] {
        let event = factory.delete(id, organization, key).await;
        assert_eq!(told(&event), ("completed", Some("absent")), "{key}");
    }
    assert!(
        factory
            .is("select bool_and(deletion_requested_at is null and generation = 0) from computers")
            .await
    );
    factory.house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_gone_while_the_tombstone_stands_and_absent_after_it() {
    let factory = factory().await;
    let worker = factory.house.worker();
    factory.delete("own", "org_1", "first").await;
    assert_eq!(
        told(&factory.delete("own", "org_1", "within").await),
        ("completed", Some("already_gone"))
    );
    factory
        .house
        .sql("update sexton.deletions set ended_at = ended_at - interval '31 days'")
        .await;
    assert_eq!(
        told(&factory.delete("own", "org_1", "after").await),
        ("completed", Some("absent"))
    );
    factory.house.everything_is_over().await;
    worker.stop().await;
}
