//! Who may speak for a tenant over AMQP: users of the broker, for whom the broker itself vouches.

use serde_json::{Value, json};
use sexton::broker::{BrokerSettings, Desk, Message, PublishOutcome};

use crate::house::{House, delete};
use crate::shop::message;

/// Another user of the same vhost, and a desk of theirs.
async fn desk_of(house: &House, user: &str) -> Desk {
    let management: reqwest::Url = house.world.urls.management_url.parse().expect("a URL");
    let mut amqp: reqwest::Url = house.world.amqp_url.parse().expect("a URL");
    let vhost = amqp.path().trim_start_matches('/').to_owned();
    let client = reqwest::Client::new();
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    for (path, body) in [
        (
            format!("/api/users/{user}"),
            json!({"password": "pw", "tags": ""}),
        ),
        (format!("/api/permissions/{vhost}/{user}"), all),
    ] {
        let mut url = management.clone();
        url.set_path(&path);
        url.set_username("").expect("a URL with a host");
        url.set_password(None).expect("a URL with a host");
        let password = management.password().unwrap_or("guest").to_owned();
        let request = client
            .put(url)
            .basic_auth(management.username(), Some(password))
            .json(&body);
        let done = request.send().await.expect("the management API");
        assert!(done.status().is_success(), "{path}: {}", done.status());
    }
    amqp.set_username(user).expect("a URL with a host");
    amqp.set_password(Some("pw")).expect("a URL with a host");
    let settings = BrokerSettings {
        url: amqp.to_string().into(),
        ..BrokerSettings::default()
    };
    Desk::connect(&settings).await.expect("a desk")
}

fn asked(id: &str, key: &str, tenant: &str) -> Value {
    let mut request = delete(id);
    request["key"] = json!(key);
    request["tenant"] = json!(tenant);
    request
}

async fn publish(desk: &Desk, request: &Value) {
    let message = message(request.to_string().into());
    assert_eq!(
        desk.publish(&message).await.expect("published"),
        PublishOutcome::Confirmed
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_07_whom_the_broker_vouches_for_speaks_for_its_tenants_and_for_no_other() {
    let mut house = House::new().await;
    house.things(&["a", "b", "c", "d", "e"]).await;
    let (user, stranger) = (
        format!("svc-{}", house.world.name()),
        format!("str-{}", house.world.name()),
    );
    house.also_settings(&format!(
        "[intake]\nusers = {{ \"{user}\" = [\"t\"] }}\n[retention]\nevery = \"20ms\"\n"
    ));
    let worker = house.worker();
    let (mine, strangers) = (desk_of(&house, &user).await, desk_of(&house, &stranger).await);
    publish(&mine, &asked("a", "own", "t")).await;
    assert_eq!(house.heard.end("own").await.detail("result"), Some("deleted"));
    // Sexton's own user: what it publishes was checked where it came in.
    house.publish(asked("b", "sexton", "t")).await;
    assert_eq!(house.heard.end("sexton").await.detail("result"), Some("deleted"));

    publish(&mine, &asked("c", "other tenant", "somebody else")).await;
    publish(&strangers, &asked("c", "stranger", "t")).await;
    let bulk = json!({"targets": [{"type": "shop.thing", "id": "c"}, {"type": "shop.thing", "id": "d"}], "tenant": "t", "key": "bulk"});
    publish(&strangers, &bulk).await;
    // Past the exchange, nobody has vouched for anybody.
    let silent = Message {
        exchange: String::new(),
        routing_key: "deletion.requests".into(),
        ..message(asked("e", "silent", "t").to_string().into())
    };
    assert_eq!(
        mine.publish(&silent).await.expect("published"),
        PublishOutcome::Confirmed
    );
    for key in ["other tenant", "stranger", "bulk#0", "bulk#1", "silent"] {
        let event = house.heard.end(key).await;
        assert_eq!(
            (event.kind(), event.detail("reason"), event.detail("field")),
            ("rejected", Some("not_allowed"), Some("/tenant")),
            "{key}"
        );
    }
    assert_eq!(
        house
            .count("select count(*) from shop.things where gone_at is null")
            .await,
        3
    );
    house.everything_is_over().await;
    worker.stop().await;
}

/// What came by HTTP was checked by its key, and passes.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_by_http_passes_where_users_are_minded() {
    let mut house = House::new().await;
    house.things(&["a"]).await;
    house.also_settings("[intake]\nusers = { nobody = [] }\n");
    let front = house.front("");
    let key = house.key("t", &[]);
    let worker = house.worker();
    front.is_open().await;
    let said = front
        .post(
            "/v1/deletions",
            &key,
            &json!({"target": {"type": "shop.thing", "id": "a"}}),
        )
        .await;
    assert_eq!(said.json()["result"], "deleted", "{}", said.text);
    worker.stop().await;
}
