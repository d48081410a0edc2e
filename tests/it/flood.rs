//! Ten thousand malformed messages among a thousand good ones: all good ones complete, each bad one stands in
//! `deletion.rejected` with the reason that it must have, nothing is left, and the worker's memory stays flat.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use bytes::Bytes;
use rustix::process::Signal;
use sexton::broker::{Delivery, Headers, Message, REJECTED_QUEUE, REQUESTS_QUEUE, Value as Header};

use crate::batches::note;
use crate::house::House;
use crate::malformed_kinds::{Bad, KINDS};
use crate::shop::{delete, message};
use crate::unkeepable::publish_all;

const GOOD: usize = 1_000;
const BAD: usize = 10_000;
/// What may be held at once beyond what an idle worker has: the prefetched bodies, and their batch.
const MEMORY_MAX_KIB: u64 = 96 * 1024;

/// A good request under headers that mean nothing: what is around a body does not decide about it.
fn good(nth: usize) -> Message {
    let mut headers = Headers::new();
    let (content_type, message_id) = match nth % 5 {
        0 => (None, ""),
        1 => (Some("text/xml; charset=\"\u{1}"), "a\u{0}b"),
        2 => {
            headers.insert("traceparent".into(), Header::Text("00-zz-\u{0}-01".into()));
            headers.insert("tracestate".into(), Header::Bytes(vec![0xff, 0]));
            (Some("application/json"), "m")
        }
        3 => {
            let table = Headers::from([(
                "traceparent".into(),
                Header::List(vec![Header::Int(1), Header::Bool(true)]),
            )]);
            headers.insert("traceparent".into(), Header::Table(table));
            headers.insert("x".repeat(200), Header::Text("y".repeat(10_000)));
            (Some("application/octet-stream"), "\u{1b}[0m")
        }
        _ => (Some("\u{fffd}"), "m"),
    };
    Message {
        headers,
        content_type: content_type.map(str::to_owned),
        message_id: message_id.to_owned(),
        correlation_id: Some(format!("good-{nth}")),
        ..message(Bytes::from(delete(&format!("g{nth}")).to_string()))
    }
}

fn bad(nth: usize, bad: &Bad) -> Message {
    Message {
        content_type: bad.content_type.map(str::to_owned),
        message_id: bad.message_id.clone(),
        correlation_id: Some(format!("bad-{nth}")),
        ..message(Bytes::from(bad.body.clone()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_malformed_messages_hide_none_of_a_thousand_good_ones() {
    let house = House::new().await;
    let all: Vec<String> = (0..GOOD).map(|nth| format!("g{nth}")).collect();
    house
        .things(&all.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    house.things(&["first"]).await;
    let worker = house.process(&[]);
    house.publish(delete("first")).await;
    house.heard.end("k-first").await;
    let idle = worker.peak_kib();

    let began = Instant::now();
    let bads: Vec<Bad> = (0..BAD)
        .map(|nth| KINDS[nth % KINDS.len()](nth / KINDS.len()))
        .collect();
    let mut mixed = Vec::with_capacity(GOOD + BAD);
    for (nth, one) in bads.iter().enumerate() {
        mixed.push(bad(nth, one));
        if nth % (BAD / GOOD) == 0 {
            mixed.push(good(nth / (BAD / GOOD)));
        }
    }
    publish_all(&house, mixed).await;
    let published = began.elapsed();
    house
        .until(
            "each good one has ended, each bad one is turned away",
            "select (select count(*) = 1001 from sexton.deletions) and (select count(*) = 10000 from sexton.rejections)
                and not exists (select from sexton.outbox)",
        )
        .await;
    let decided = began.elapsed();
    let peak = worker.peak_kib();
    assert!(
        house
            .is("select bool_and(result = 'deleted') from sexton.deletions")
            .await
    );
    house.everything_is_over().await;
    worker.signal(Signal::TERM);
    let (status, log) = worker.ended().await;
    assert!(status.success() && !log.contains("panicked"), "{status}: {log}");

    let desk = house.desk().await;
    assert_eq!(desk.depth(REQUESTS_QUEUE).await.expect("a queue").ready, 0);
    let kept = kept(&house).await;
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for (nth, bad) in bads.iter().enumerate() {
        let all = kept.get(&format!("bad-{nth}"));
        let [one] = all.map(Vec::as_slice).unwrap_or_default() else {
            panic!("{nth}: kept {} times: {bad:?}", all.map_or(0, Vec::len));
        };
        let header = |name: &str| one.headers.get(name).and_then(Header::as_text);
        let told = (header("sexton-reason"), header("sexton-field"));
        assert_eq!(
            told,
            (Some(bad.reason), Some(bad.field.as_str())),
            "{nth}: {bad:?}"
        );
        assert_eq!(one.body, bad.body, "as it came: {bad:?}");
        *reasons.entry(bad.reason).or_default() += 1;
    }
    assert_eq!(kept.len(), BAD);
    let heard = house.heard.all();
    let count = |kind: &str| heard.iter().filter(|event| event.kind() == kind).count();
    assert_eq!((count("completed"), count("rejected")), (GOOD + 1, BAD));
    note(&format!(
        "malformed: {BAD} of {} kinds among {GOOD} good ones: published in {published:.1?}, decided in {decided:.1?}; \
         reasons {reasons:?}; worker's memory {idle} KiB idle, {peak} KiB at its peak",
        KINDS.len()
    ));
    assert!(
        peak < idle + MEMORY_MAX_KIB,
        "{idle} KiB idle, {peak} KiB at the peak"
    );
}

/// All that stands in `deletion.rejected`, by the correlation that it came with.
async fn kept(house: &House) -> HashMap<String, Vec<Delivery>> {
    let mut desk = house.desk().await;
    let mut all: HashMap<String, Vec<Delivery>> = HashMap::new();
    while let Some(taken) = desk.take(REJECTED_QUEUE).await.expect("a look") {
        let correlation = taken.delivery.correlation_id.clone().unwrap_or_default();
        all.entry(correlation).or_default().push(taken.delivery);
    }
    desk.close().await;
    all
}
