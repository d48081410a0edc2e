//! What each role must not, by the server's own word, and what it may beside it.

use sqlx::{Connection, Executor, PgConnection};

use super::Roles;

#[tokio::test]
async fn none_can_do_what_is_another_s() {
    let mut roles = Roles::new().await;
    const DENIED: &str = "42501";
    for (role, sql) in [
        (
            "reader",
            "insert into sexton.audit (said_by, action, detail) values ('x', 'x', '{}')",
        ),
        ("reader", "update sexton.open_deletions set due_at = now()"),
        ("reader", "delete from sexton.journal_pages"),
        ("reader", "truncate sexton.outbox"),
        ("reader", "select digest from sexton.api_keys"),
        ("reader", "select * from sexton.api_keys"),
        ("reader", "select sexton.take_over()"),
        (
            "reader",
            "select sexton.signal(gen_random_uuid(), 'cancel', 'x', 'x')",
        ),
        ("reader", "create table sexton.x ()"),
        ("reader", "create schema x"),
        ("worker", "alter table sexton.journal_pages add column x text"),
        ("worker", "drop table sexton.journal_pages"),
        ("worker", "create table sexton.x ()"),
        ("worker", "alter function sexton.take_over() security invoker"),
        (
            "worker",
            "insert into sexton.api_keys (id) values (gen_random_uuid())",
        ),
        ("worker", "update sexton.api_keys set revoked_at = null"),
        ("worker", "select from sexton.api_keys"),
        ("worker", "update sexton.journal_pages set records = ''"),
        ("worker", "delete from sexton.journal_pages"),
        ("worker", "update sexton.deletions set result = 'deleted'"),
        ("worker", "delete from sexton.deletions"),
        ("worker", "update sexton.requests set reason = 'x'"),
        ("worker", "delete from sexton.audit"),
        ("worker", "insert into sexton.migrations values (9)"),
        ("worker", "update sexton.plans set canonical = 'x'"),
        (
            "worker",
            "select sexton.signal(gen_random_uuid(), 'cancel', 'x', 'x')",
        ),
        (
            "gateway",
            "insert into sexton.journal_pages (deletion_id) values (gen_random_uuid())",
        ),
        ("gateway", "update sexton.open_deletions set due_at = now()"),
        ("gateway", "select id from sexton.open_deletions for update"),
        (
            "gateway",
            "insert into sexton.requests (id) values (gen_random_uuid())",
        ),
        (
            "gateway",
            "insert into sexton.api_keys (id) values (gen_random_uuid())",
        ),
        ("gateway", "update sexton.api_keys set tenant = 'x'"),
        ("gateway", "delete from sexton.calls"),
        ("gateway", "delete from sexton.shut_systems"),
        ("gateway", "update sexton.calls set tenant = 'x'"),
        ("gateway", "update sexton.lanes set epoch = 0"),
        (
            "gateway",
            "insert into sexton.audit (said_by, action, detail) values ('x', 'x', '{}')",
        ),
        (
            "gateway",
            "select sexton.signal(gen_random_uuid(), 'cancel', 'x', 'x')",
        ),
        (
            "gateway",
            "insert into sexton.outbox (id, destination, kind, taken_until)
             values (gen_random_uuid(), 'events', 'completed', now())",
        ),
        (
            "operator",
            "insert into sexton.journal_pages (deletion_id) values (gen_random_uuid())",
        ),
        ("operator", "update sexton.open_deletions set due_at = now()"),
        ("operator", "delete from sexton.audit"),
        ("operator", "update sexton.audit set said_by = 'x'"),
        ("operator", "update sexton.api_keys set tenant = 'x'"),
        ("operator", "delete from sexton.api_keys"),
        ("operator", "delete from sexton.outbox"),
        ("operator", "create table sexton.x ()"),
    ] {
        assert_eq!(roles.told(role, sql).await, DENIED, "{role}: {sql}");
    }
    // What they may, or the table above would show nothing.
    for (role, sql) in [
        ("reader", "select * from sexton.journal"),
        ("reader", "select id, tenant, revoked_at from sexton.api_keys"),
        ("worker", "delete from sexton.outbox"),
        ("worker", "delete from sexton.shut_systems"),
        ("operator", "update sexton.shut_systems set retry_at = now()"),
        ("gateway", "select digest from sexton.api_keys"),
        (
            "operator",
            "select sexton.signal(gen_random_uuid(), 'cancel', 'x', 'x')",
        ),
    ] {
        assert_eq!(roles.told(role, sql).await, "may", "{role}: {sql}");
    }

    // The gateway sees of the outbox what is its own, and crosses off nothing else.
    roles
        .house
        .sql(
            "insert into sexton.outbox (id, destination, kind, taken_until) values
                 (gen_random_uuid(), 'events', 'completed', now()), (gen_random_uuid(), 'requests', 'call', now())",
        )
        .await;
    let mut gateway = PgConnection::connect(&roles.url("gateway"))
        .await
        .expect("a login");
    let crossed_off = gateway
        .execute("delete from sexton.outbox")
        .await
        .expect("its own");
    assert_eq!(crossed_off.rows_affected(), 1);
    assert!(
        roles
            .house
            .is("select count(*) = 1 and bool_and(kind = 'completed') from sexton.outbox")
            .await
    );
    gateway.close().await.expect("an end");

    // A table that a later migration makes has its grants, or is one of these.
    assert!(
        roles
            .house
            .is("select coalesce(array_agg(c.relname::text order by 1), '{}') = '{api_keys,audit}' from pg_class c
                 where c.relnamespace = 'sexton'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
                   and not has_table_privilege('sexton_worker', c.oid, 'select')")
            .await
    );

    // Nobody but the owner migrates, and partitions come also to who cannot make tables.
    for role in ["worker", "gateway", "operator", "reader"] {
        let store = roles.store_as(role).await;
        let denied = sexton::telemetry::chain(&store.migrate().await.expect_err(role));
        assert!(denied.contains("permission denied"), "{role}: {denied}");
        assert_eq!(
            store.ensure_partitions().await.is_ok(),
            role != "reader",
            "{role}"
        );
        store.close().await;
    }
    // Granting twice is granting once.
    roles.grant().await;
    assert_eq!(
        roles.told("worker", "delete from sexton.journal_pages").await,
        DENIED
    );
    roles.end().await;
}
