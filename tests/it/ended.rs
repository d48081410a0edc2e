//! What has ended is found again whatever day it was asked for, and keys are forgotten in whole partitions.

use std::time::Duration;

use sexton::deletion::{DeletionId, Target};
use sexton::store::{Filter, Settings, Store, Wanted, Which};
use sqlx::AssertSqlSafe;
use time::OffsetDateTime;
use uuid::{NoContext, Timestamp, Uuid};

use crate::guards::{Desk, candidate, one_kept};

const DAY: Duration = Duration::from_hours(24);

fn ago(days: u32) -> OffsetDateTime {
    sexton::clock::now() - DAY * days
}

fn id_of(at: OffsetDateTime) -> Uuid {
    let seconds = at.unix_timestamp().unsigned_abs();
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, at.nanosecond()))
}

impl Desk {
    /// So many days ago it was asked for, and so many days ago it ended.
    async fn ended(&self, target: &Target, asked: u32, ended: u32) -> DeletionId {
        let id = id_of(ago(asked));
        sqlx::query(
            "insert into sexton.deletions (id, tenant, target_type, target_id, request_id, plan, generation, admitted_at, ended_at,
                                           seq, result, detail)
             values ($1, $2, $3, $4, gen_random_uuid(), $5, 2, $6, $7, 3, 'deleted', '{}')",
        )
        .bind(id)
        .bind(target.tenant.as_str())
        .bind(target.kind.as_str())
        .bind(target.id.as_str())
        .bind(self.opened.plan)
        .bind(ago(asked))
        .bind(ago(ended))
        .execute(&self.db)
        .await
        .expect("an ended deletion");
        DeletionId(id)
    }

    async fn drop_partitions_of_keys(&self) {
        self.run(
            "do $$ declare part text; begin
                 for part in select inhrelid::regclass from pg_inherits where inhparent = 'sexton.keys'::regclass loop
                     execute format('drop table %s', part);
                 end loop;
             end $$",
        )
        .await;
    }

    /// A worker that remembers keys for so long leaves these partitions.
    async fn ensured(&self, key_days: u16, expected: &[(i32, i32)]) {
        let settings = Settings {
            url: self.database_url().into(),
            key_days,
            ..Settings::default()
        };
        let store = Store::new(&settings).expect("a usable URL");
        store.ensure_partitions().await.expect("partitions");
        store.close().await;
        let found: Vec<String> = sqlx::query_scalar(
            "select substr(relname, 6) from pg_inherits join pg_class c on c.oid = inhrelid
             where inhparent = 'sexton.keys'::regclass order by 1",
        )
        .fetch_all(&self.db)
        .await
        .expect("partitions");
        let mut wanted = Vec::new();
        for (from, until) in expected {
            wanted.push(self.days(*from, *until).await);
        }
        assert_eq!(found, wanted, "{key_days}");
    }

    /// As the partitions say it: from so many days before today, and before so many.
    async fn days(&self, from: i32, until: i32) -> String {
        sqlx::query_scalar(
            "select to_char(d + $1, 'YYYYMMDD') || '_' || to_char(d + $2, 'YYYYMMDD')
             from (select (now() at time zone 'utc')::date) t (d)",
        )
        .bind(from)
        .bind(until)
        .fetch_one(&self.db)
        .await
        .expect("days")
    }
}

fn target(id: &str) -> Target {
    candidate(id, "k", 1).request.target
}

#[tokio::test]
async fn a_target_s_ends_of_all_days_are_found_newest_first_and_listed_in_pages() {
    let desk = one_kept().await;
    let mut wanted = Vec::new();
    for days in [27, 20, 3, 3, 1, 0] {
        wanted.push(desk.ended(&target("x"), days, days).await);
        desk.ended(&target("y"), days, days).await;
    }
    wanted.sort();
    wanted.reverse();
    let found = desk
        .store
        .find(&Wanted::Target(target("x")))
        .await
        .expect("asked");
    assert_eq!(found, wanted);
    let (x, y) = (target("x"), target("y"));
    for (tenant, id, rows) in [
        (Some(x.tenant.clone()), Some("x"), 6),
        (Some(y.tenant), None, 12),
        (None, None, 12),
    ] {
        let mut listed = Vec::new();
        loop {
            let filter = Filter {
                which: Which::Ended,
                tenant: tenant.clone(),
                target_id: id.map(str::to_owned),
                before: listed.last().copied(),
                rows: 4,
                ..Filter::default()
            };
            let page = desk.store.list(&filter).await.expect("a page");
            listed.extend(page.iter().map(|line| DeletionId(line.id)));
            if page.len() < 4 {
                break;
            }
        }
        assert_eq!(listed.len(), rows, "{id:?}");
        assert!(listed.is_sorted_by(|newer, older| newer > older), "{listed:?}");
    }
}

#[tokio::test]
async fn invariant_07_a_tombstone_goes_by_when_a_deletion_ended_however_long_it_was_open() {
    let desk = one_kept().await;
    desk.ended(&target("long_ago"), 5, 5).await;
    desk.ended(&target("late"), 20, 1).await;
    desk.ended(&target("overnight"), 1, 0).await;
    desk.ended(&target("today"), 0, 0).await;
    for (id, age, known) in [
        ("long_ago", DAY * 3, false),
        ("long_ago", DAY * 6, true),
        ("late", DAY * 3, true),
        ("late", DAY / 2, false),
        ("overnight", DAY / 24, true),
        ("today", DAY / 24, true),
        ("never", DAY * 20, false),
    ] {
        let is_known = desk
            .store
            .tombstone_knows(&target(id), &[], age)
            .await
            .expect("asked");
        assert_eq!(is_known, known, "{id}, {age:?}");
    }
}

#[tokio::test]
async fn invariant_09_a_partition_of_keys_goes_once_the_last_of_its_days_may_be_forgotten() {
    let desk = one_kept().await;
    desk.drop_partitions_of_keys().await;
    for (from, until) in [(-11, -7), (-7, -2)] {
        let partition = desk.days(from, until).await;
        let (low, high) = partition.split_once('_').expect("two days");
        let sql = format!(
            "create table sexton.\"keys_{partition}\" partition of sexton.keys for values from ('{low}') to ('{high}')"
        );
        sqlx::query(AssertSqlSafe(sql))
            .execute(&desk.db)
            .await
            .expect("a partition");
    }
    let digest = Uuid::now_v7();
    sqlx::query("insert into sexton.keys values ((now() at time zone 'utc')::date - 5, $1, $1, $1)")
        .bind(digest)
        .execute(&desk.db)
        .await
        .expect("a key");
    let is_known = async || {
        let means = desk.store.key_means(digest.into_bytes()).await.expect("asked");
        means.is_some()
    };

    desk.ensured(7, &[(-7, -2), (-1, 6)]).await;
    assert!(
        is_known().await,
        "its partition has days that are to be remembered"
    );
    desk.ensured(2, &[(-1, 6)]).await;
    assert!(!is_known().await);
}

#[tokio::test]
async fn a_partition_of_keys_has_as_many_days_as_they_are_remembered_for() {
    let desk = one_kept().await;
    let cases: [(u16, &[(i32, i32)]); 4] = [
        (1, &[(-1, 0), (0, 1), (1, 2), (2, 3)]),
        (2, &[(-1, 1), (1, 3)]),
        (7, &[(-1, 6)]),
        (365, &[(-1, 364)]),
    ];
    for (key_days, expected) in cases {
        desk.drop_partitions_of_keys().await;
        desk.ensured(key_days, expected).await;
        // Once more changes nothing.
        desk.ensured(key_days, expected).await;
    }
}
