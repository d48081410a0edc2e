//! Waiting over HTTP: many at once, killed gateways, two of them, and a stop.

use rustix::process::Signal;
use serde_json::json;

use super::thing;
use crate::front::Front;
use crate::house::House;

/// A thousand callers wait, and the process has four connections for all that is no lane's.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_a_thousand_calls_that_wait_cost_no_connection_each() {
    let mut house = House::new().await;
    house.sql("insert into shop.things (id, tenant, ready) select n::text, 't', false from generate_series(1, 1000) n").await;
    let front = house.front("wait = \"60s\"\n[access]\nburst = 5000\nrate = 5000");
    let key = house.key("t", &[]);
    let worker = house.worker();
    front.is_open().await;
    let calls: Vec<_> = (1..=1_000)
        .map(|n| {
            let (client, url, key) = (
                front.client.clone(),
                format!("{}/v1/deletions", front.url),
                key.clone(),
            );
            tokio::spawn(async move {
                let sent = client
                    .post(url)
                    .bearer_auth(key)
                    .json(&thing(&n.to_string()))
                    .send()
                    .await;
                let answer: serde_json::Value = sent.expect("an answer").json().await.expect("JSON");
                answer["result"].clone()
            })
        })
        .collect();
    house
        .until("all of them wait", "select count(*) = 1000 from sexton.requests")
        .await;
    // Lanes, the pool's four, the listener, and what looks: whatever it is, it does not grow with the callers.
    let connections = house
        .count("select count(*) from pg_stat_activity where datname = current_database() and application_name = 'sexton'")
        .await;
    assert!(connections <= 10, "{connections}");
    house.sql("update shop.things set ready = true").await;
    for call in calls {
        assert_eq!(call.await.expect("answered"), json!("deleted"));
    }
    house.everything_is_over().await;
    worker.stop().await;
}

/// Two hundred callers wait; their gateway is killed. Each that asks again, at another one, gets the true outcome.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_08_a_gateway_that_is_killed_while_callers_wait_loses_none_of_them() {
    let mut house = House::new().await;
    house.sql("insert into shop.things (id, tenant, ready) select n::text, 't', false from generate_series(1, 200) n").await;
    let front = house.front("wait = \"60s\"\n[access]\nburst = 5000\nrate = 5000");
    let key = house.key("t", &[]);
    let doomed = house.process(&[]);
    front.is_open().await;
    let ask = |front: &Front, n: u32| {
        let (client, url, key) = (
            front.client.clone(),
            format!("{}/v1/deletions", front.url),
            key.clone(),
        );
        tokio::spawn(async move {
            let request = client
                .post(url)
                .bearer_auth(key)
                .header("idempotency-key", format!("call {n}"));
            let sent = request.json(&thing(&n.to_string())).send().await;
            match sent {
                Ok(answer) => answer.json::<serde_json::Value>().await.ok(),
                Err(_) => None,
            }
        })
    };
    let calls: Vec<_> = (1..=200).map(|n| ask(&front, n)).collect();
    house
        .until("all of them wait", "select count(*) = 200 from sexton.calls")
        .await;
    doomed.signal(Signal::KILL);
    for call in calls {
        assert_eq!(call.await.expect("no panic"), None, "nobody was told anything");
    }
    doomed.ended().await;
    // Another process, at another port; what the first had admitted is taken over from it.
    house
        .sql("update sexton.workers set expires_at = now() - interval '1 second'")
        .await;
    house.sql("update shop.things set ready = true").await;
    let port = crate::front::free_port();
    house.change_settings(&front.url.replace("http://", ""), &format!("127.0.0.1:{port}"));
    let (front, worker) = (Front::at(port), house.worker());
    front.is_open().await;
    let calls: Vec<_> = (1..=200).map(|n| ask(&front, n)).collect();
    for call in calls {
        let answer = call.await.expect("no panic").expect("an answer");
        assert!(
            answer["result"] == "deleted" || answer["result"] == "already_gone",
            "{answer}"
        );
    }
    assert_eq!(
        house
            .count("select count(*) from shop.things where gone_at is null")
            .await,
        0
    );
    assert_eq!(
        house.count("select count(*) from sexton.requests").await,
        200,
        "each is one request"
    );
    house.everything_is_over().await;
    worker.stop().await;
}

/// Two gateways: a call that was made at one is known at the other, and answered at both.
#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_are_one_to_their_callers() {
    let mut house = House::new().await;
    house.things(&["a"]).await;
    house.sql("update shop.things set ready = false").await;
    let first = house.front("");
    let key = house.key("t", &[]);
    let one = house.worker();
    first.is_open().await;
    let port = crate::front::free_port();
    house.change_settings(&first.url.replace("http://", ""), &format!("127.0.0.1:{port}"));
    let (second, two) = (Front::at(port), house.worker());
    second.is_open().await;
    let call = |front: &Front| {
        let (client, url, key) = (
            front.client.clone(),
            format!("{}/v1/deletions", front.url),
            key.clone(),
        );
        tokio::spawn(async move {
            let request = client
                .post(url)
                .bearer_auth(key)
                .header("idempotency-key", "same");
            let answer = request.json(&thing("a")).send().await.expect("an answer");
            answer.json::<serde_json::Value>().await.expect("JSON")
        })
    };
    let calls = [call(&first), call(&second), call(&first)];
    house
        .until("it is open", "select exists (select from sexton.open_deletions)")
        .await;
    house.sql("update shop.things set ready = true").await;
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.expect("answered"));
    }
    assert_eq!(answers[0]["result"], "deleted");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(house.count("select count(*) from sexton.requests").await, 1);
    one.stop().await;
    two.stop().await;
}

/// A stop while somebody waits: they are answered that it goes on, and the process ends in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_those_who_wait() {
    let mut house = House::new().await;
    house.things(&["a"]).await;
    house.sql("update shop.things set ready = false").await;
    let front = house.front("wait = \"60s\"");
    let key = house.key("t", &[]);
    let process = house.process(&[]);
    front.is_open().await;
    let call = {
        let (client, url, key) = (
            front.client.clone(),
            format!("{}/v1/deletions", front.url),
            key.clone(),
        );
        tokio::spawn(async move {
            client
                .post(url)
                .bearer_auth(key)
                .json(&thing("a"))
                .send()
                .await
                .expect("an answer")
        })
    };
    house
        .until("it is open", "select exists (select from sexton.open_deletions)")
        .await;
    process.signal(Signal::TERM);
    let answer = call.await.expect("answered");
    assert_eq!(answer.status(), 202, "it goes on");
    let (status, log) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
}
