//! Calls: kept before anybody has admitted them, taken in like every message, and answered by the request that they become
//! or of which they are a copy.

use serde_json::{Value, json};
use sexton::deletion::wire::{RequestBody, RequestTarget};
use sexton::deletion::{CallId, Envelope, Tenant, TraceContext, read_requests};
use sexton::store::{CallMessage, Called, KeptCall, NewCall, Settings, Stand, Store};
use uuid::Uuid;

use crate::house::{House, delete, patience};

fn store(house: &House) -> Store {
    let settings = Settings {
        url: house.world.database_url.clone().into(),
        ..Settings::default()
    };
    Store::new(&settings).expect("a usable URL")
}

fn call(body: &Value) -> NewCall {
    let requests = read_requests(body.to_string().as_bytes(), &Envelope::default()).expect("well formed");
    NewCall {
        id: CallId(Uuid::now_v7()),
        tenant: Tenant::parse("t").expect("a tenant"),
        digest: requests[0].key_digest().expect("a key"),
        content: requests[0].digest(),
        batch: None,
        message: CallMessage {
            body: body.clone(),
            correlation_id: Some("from afar".into()),
            trace: TraceContext::default(),
        },
    }
}

/// A thing of the shop, under this key.
fn thing(id: &str, key: &str) -> Value {
    let body = RequestBody {
        target: Some(RequestTarget {
            kind: "shop.thing".into(),
            id: id.into(),
        }),
        tenant: "t".into(),
        key: Some(key.into()),
        ..RequestBody::default()
    };
    serde_json::from_slice(&body.to_bytes()).expect("JSON")
}

/// Kept, and left to the sweep: whoever called died right after.
async fn kept(house: &House, store: &Store, body: &Value) -> CallId {
    let call = call(body);
    assert_eq!(store.keep_call(&call).await.expect("kept"), KeptCall::New);
    house
        .sql("update sexton.outbox set taken_until = now() where kind = 'call'")
        .await;
    call.id
}

async fn told(store: &Store, id: CallId) -> Called {
    let deadline = tokio::time::Instant::now() + patience();
    let mut every = tokio::time::interval(std::time::Duration::from_millis(20));
    loop {
        every.tick().await;
        let seen = store
            .look_at_calls(&[id])
            .await
            .expect("a look")
            .pop()
            .expect("it is known");
        if seen.stand.is_told() {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_08_a_call_whose_caller_has_died_is_carried_out_and_its_answer_is_found() {
    let house = House::new().await;
    house.things(&["a"]).await;
    let store = store(&house);
    let id = kept(&house, &store, &thing("a", "k")).await;
    let before = store
        .look_at_calls(&[id])
        .await
        .expect("a look")
        .pop()
        .expect("it is known");
    assert_eq!((before.stand, before.deletion), (Stand::Published, None));
    let worker = house.worker();
    let event = house.heard.end("k").await;
    assert_eq!(event.body["data"]["correlation_id"], "from afar");
    let seen = told(&store, id).await;
    assert!(
        matches!(&seen.stand, Stand::Ended { result, .. } if result == "deleted"),
        "{seen:?}"
    );
    assert_eq!(
        seen.deletion.map(|id| id.to_string()).as_deref(),
        event.body["data"]["deletion_id"].as_str()
    );
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_09_a_copy_is_answered_by_the_first_and_other_content_is_a_conflict() {
    let house = House::new().await;
    house.things(&["a", "b"]).await;
    let worker = house.worker();
    // The first came over AMQP, and has ended.
    house.publish(delete("a")).await;
    house.heard.end("k-a").await;
    let store = store(&house);
    let mut same = delete("a");
    same["action"] = json!("delete");
    let id = kept(&house, &store, &same).await;
    let copy = told(&store, id).await;
    assert!(
        matches!(&copy.stand, Stand::Ended { result, .. } if result == "deleted"),
        "{copy:?}"
    );
    assert_eq!(house.count("select count(*) from sexton.requests").await, 1);

    // Called again: the same call. With other content: none.
    assert_eq!(
        store.keep_call(&call(&same)).await.expect("asked"),
        KeptCall::Again(id)
    );
    assert_eq!(
        store.keep_call(&call(&thing("b", "k-a"))).await.expect("asked"),
        KeptCall::Conflict
    );

    // A key that AMQP has used for something else is found out at admission.
    house.publish(delete("b")).await;
    house.heard.end("k-b").await;
    let id = kept(&house, &store, &thing("a", "k-b")).await;
    let conflict = told(&store, id).await;
    assert!(
        matches!(&conflict.stand, Stand::Rejected { reason, field, .. } if reason == "key_conflict" && field == "/key"),
        "{conflict:?}"
    );
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_only_says_that_it_is_a_call_answers_none() {
    let house = House::new().await;
    house.things(&["a", "b"]).await;
    let store = store(&house);
    let victim = call(&thing("a", "k"));
    assert_eq!(store.keep_call(&victim).await.expect("kept"), KeptCall::New);
    let worker = house.worker();
    let mut other = crate::shop::message(thing("b", "other").to_string().into());
    other.message_id = victim.id.message_id();
    house.publish_as(other).await;
    let mut foreign = thing("a", "k");
    foreign["tenant"] = json!("somebody else");
    let mut foreign = crate::shop::message(foreign.to_string().into());
    foreign.message_id = victim.id.message_id();
    house.publish_as(foreign).await;
    house.heard.end("other").await;
    house.heard.end("k").await;
    let seen = store
        .look_at_calls(&[victim.id])
        .await
        .expect("a look")
        .pop()
        .expect("it is known");
    assert_eq!(seen.stand, Stand::Published, "neither of them was the call");
    house
        .sql("update sexton.outbox set taken_until = now() where kind = 'call'")
        .await;
    assert!(
        matches!(told(&store, victim.id).await.stand, Stand::Ended { result, .. } if result == "deleted")
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_calls_are_forgotten_and_young_ones_are_not() {
    let house = House::new().await;
    let store = store(&house);
    let young = call(&thing("a", "young"));
    let mut old = call(&thing("a", "old"));
    let then = uuid::Timestamp::from_unix(uuid::NoContext, 1_700_000_000, 0);
    old.id = CallId(Uuid::new_v7(then));
    for call in [&young, &old] {
        assert_eq!(store.keep_call(call).await.expect("kept"), KeptCall::New);
    }
    let age = std::time::Duration::from_secs(86_400);
    assert_eq!(store.forget_calls(age).await.expect("asked"), 1);
    let left = store.look_at_calls(&[young.id, old.id]).await.expect("a look");
    assert_eq!(
        left.into_iter().map(|call| call.id).collect::<Vec<_>>(),
        [young.id]
    );
}
