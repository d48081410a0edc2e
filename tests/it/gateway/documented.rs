//! `docs/http.md`, tried: every call in it is made, in its order, and answered as it says.

use serde_json::Value;
use time::macros::format_description;

use crate::front::{Front, Said};
use crate::house::House;

/// What stands between the fences of one kind, in order.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let mut parts = text.split("```http ");
    parts.next();
    parts
        .map(|part| {
            let (head, rest) = part.split_once('\n').expect("a block");
            (head, rest.split("```").next().expect("its end"))
        })
        .collect()
}

async fn ask(front: &Front, block: &str) -> Said {
    let (head, body) = block.split_once("\n\n").unwrap_or((block, ""));
    let mut lines = head.lines();
    let (method, path) = lines
        .next()
        .and_then(|line| line.split_once(' '))
        .expect("a method and a path");
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = front.client.request(method, format!("{}{path}", front.url));
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header");
        request = request.header(name, value);
    }
    if !body.trim().is_empty() {
        request = request.body(body.trim().to_owned());
    }
    Said::of(request.send().await.expect("an answer")).await
}

/// The same keys and values, but for what is different each time.
fn is_like(said: &Value, documented: &Value) -> bool {
    match (said, documented) {
        (_, Value::String(text)) if text == "…" => true,
        (Value::Object(said), Value::Object(documented)) => {
            said.len() == documented.len()
                && documented
                    .iter()
                    .all(|(name, value)| said.get(name).is_some_and(|said| is_like(said, value)))
        }
        (said, documented) => said == documented,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_the_document_is_answered_as_it_says() {
    let mut house = House::new().await;
    house.things(&["a", "b", "c"]).await;
    for (target, params) in [
        ("factory.session", "computer_id = \"text?\""),
        ("factory.computer", ""),
        ("powerdrill.session", "user_id = \"text\""),
        ("pave.session", "token_sha256 = \"text?\""),
        ("agno.session", "db_id = \"text?\""),
    ] {
        let plan = format!(
            "target = {target:?}\non = \"shop\"\ntimeout = \"1s\"\nparams = {{ {params} }}\n[lookup]\n\
             sql = \"select id as found from shop.things where id = :id\"\nnone = \"absent\"\n[[step]]\nname = \"row\"\n\
             sql = \"delete from shop.things where id = :id\""
        );
        house.plan(target, &plan);
    }
    let front = house.front("");
    let everywhere = ["native", "factory", "powerdrill", "pave", "agno"];
    let dialects: Vec<&str> = everywhere
        .iter()
        .flat_map(|dialect| ["--dialect", dialect])
        .collect();
    let key = house.key("t", &dialects);
    let worker = house.worker();
    front.is_open().await;
    let now = sexton::clock::now().format(format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second]Z"
    ));
    let now = now.expect("a time");
    let text = include_str!("../../../docs/http.md");
    let blocks = blocks(text);
    let mut last = String::new();
    let mut tried = 0;
    for pair in blocks.chunks(2) {
        let [("request", request), ("answer", answer)] = pair else {
            panic!("a call without its answer: {pair:?}")
        };
        let request = request
            .replace("$KEY", &key)
            .replace("$LAST", &last)
            .replace("$NOW", &now);
        let said = ask(&front, &request).await;
        let (status, body) = answer.split_once('\n').unwrap_or((answer, ""));
        assert_eq!(said.status.to_string(), status.trim(), "{request}\n{}", said.text);
        if !body.trim().is_empty() {
            let documented: Value = serde_json::from_str(body).expect("JSON in the document");
            assert!(
                is_like(&said.json(), &documented),
                "{request}\n{}\n{documented}",
                said.text
            );
        }
        if let Some(place) = said.header("location") {
            place.rsplit('/').next().expect("an id").clone_into(&mut last);
            house
                .until(
                    "it is admitted",
                    "select exists (select from sexton.open_deletions)",
                )
                .await;
        }
        tried += 1;
    }
    assert!(tried >= 12, "{tried}");
    worker.stop().await;
}
