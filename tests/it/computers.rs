//! Factory computers, carried out by the shipped plan: a platform's rows, an archive, a provider that is asked.

use serde_json::{Value, json};
use sqlx::{Executor, PgPool};

use crate::heard::Event;
use crate::house::House;
use crate::vendor::{Answer, Vendor};
use crate::worlds::sessions::PLATFORM;

const TYPE: &str = "factory.computer";
/// What has gone wrong in archives before.
const BODY: &str =
    "quote \" backslash \\ line\u{2028} \u{202e}abc\u{202c} 日本語 🦀 tab\t end\"}]}\n{\"id\":\"forged\"}";

struct Factory {
    house: House,
    platform: PgPool,
    vendor: Vendor,
}

fn told(event: &Event) -> (&str, Option<&str>) {
    (event.kind(), event.detail("result"))
}

/// Managed `m`, a customer's own `own`, and `late`, which is still being provisioned; each with a key and a session.
async fn factory() -> Factory {
    let mut house = House::new().await;
    let vendor = Vendor::open().await;
    vendor.known_to(&mut house, "");
    vendor.answers("DELETE /machines/i-m", &[Answer::Status(204)]);
    vendor.answers("DELETE /machines/i-late", &[Answer::Status(204)]);
    let archive = house.folder().join("archive");
    house.also_settings(&format!(
        "[systems.archive]\nkind = \"archive\"\nfolder = {archive:?}\n"
    ));
    let platform = house.store("platform").await;
    platform.execute(PLATFORM).await.expect("the platform's tables");
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
    sqlx::query("insert into messages (session_id, role, body) select id, 'user', $1 from sessions")
        .bind(BODY)
        .execute(&platform)
        .await
        .expect("messages");
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

    async fn is(&self, sql: &'static str) -> bool {
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
    let factory = factory().await;
    let wanted: Value = sqlx::query_scalar("select to_jsonb(s) from sessions s where computer_id = 'm'")
        .fetch_one(&factory.platform)
        .await
        .expect("the session");
    let worker = factory.house.worker();
    factory.delete("m", "org_1", "k").await;
    let mut found = Vec::new();
    let mut folders = vec![factory.house.folder().join("archive")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|ending| ending == "zst") => found.push(path),
                false => {}
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    let text = zstd::decode_all(std::fs::read(&found[0]).expect("an archive").as_slice()).expect("zstd");
    let lines: Vec<Value> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("a line of JSON"))
        .collect();
    assert_eq!(lines.len(), 1, "no body makes a line of its own");
    assert_eq!(lines[0]["id"], wanted["id"]);
    assert_eq!(lines[0]["messages"][0]["body"], BODY);
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
