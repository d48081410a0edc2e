//! Each part of Sexton at its work, with the login that is meant for it.

use super::*;

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
                     ('sexton.journal'::regclass, 'sexton.requests'::regclass, 'sexton.keys'::regclass) loop
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
                 from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'sexton.journal'::regclass")
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
