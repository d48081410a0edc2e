//! How the command line says what it says: harmless to a terminal, whole if one of several fails, and with its code also
//! when nobody reads.

use std::process::{Command, Stdio};

use bytes::Bytes;
use serde_json::{Value, json};
use sexton::broker::Message;

use crate::cli::{hasty, one_parked, sexton};
use crate::house::House;
use crate::shop::message;

/// What a hostile publisher would write into the terminal of whoever looks: colours, a bell, a line that reads as ours.
const HOSTILE: &str = "evil\u{1b}[2J\u{7}\r\nnone\u{9b}31m";

#[tokio::test]
async fn what_strangers_wrote_reaches_no_terminal_as_a_command() {
    let house = House::new().await;
    let worker = house.worker();
    house
        .publish_as(Message {
            message_id: HOSTILE.into(),
            correlation_id: Some("hostile".into()),
            ..message(Bytes::from(format!("not JSON {HOSTILE}")))
        })
        .await;
    crate::admission::end_of(&house, "hostile").await;
    house
        .until("it is kept", "select not exists (select from sexton.outbox)")
        .await;

    let shown = sexton(&house, &["rejected", "list", "--body"])
        .await
        .ended_with(0);
    let obeyed = |letter: char| letter.is_control() && letter != '\n';
    assert!(!shown.out.contains(obeyed), "{:?}", shown.out);
    assert_eq!(shown.out.lines().count(), 2, "a head and one row: {}", shown.out);
    assert!(
        shown.out.contains(r"evil\u{1b}[2J\u{7}\r\nnone\u{9b}31m"),
        "{}",
        shown.out
    );
    let json = sexton(&house, &["rejected", "list", "--body", "--json"])
        .await
        .ended_with(0);
    assert!(!json.out.contains(obeyed), "{:?}", json.out);
    // The body is as it came; what the envelope said was cleaned on its way in.
    let row = &json.json()["rejected"][0];
    assert_eq!(row["body"], format!("not JSON {HOSTILE}"));
    assert_eq!(
        row["message_id"],
        "evil\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}none\u{fffd}31m"
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_word_to_several_tells_of_each_and_fails_if_one_did_not_hear_it() {
    let house = House::new().await;
    house.things(&["a", "b"]).await;
    house.plan("thing", &hasty());
    let worker = house.worker();
    let parked = [one_parked(&house, "a").await, one_parked(&house, "b").await];
    let [first, last] = parked
        .each_ref()
        .map(|outcome| outcome["deletion_id"].as_str().expect("an id"));
    let nobody = "018f0000-0000-7000-8000-000000000000";
    house
        .sql("create view shop.thingz as select * from shop.things")
        .await;

    let said = sexton(&house, &["deletions", "retry", first, nobody, last, "--json"])
        .await
        .ended_with(65);
    let of = |id: &str, said: Value, why: Value| json!({"id": id, "said": said, "why": why});
    let unknown = format!("no deletion is known as {nobody}");
    assert_eq!(
        said.json()["deletions"],
        json!([
            of(first, json!("retry"), Value::Null),
            of(nobody, Value::Null, json!(unknown)),
            of(last, json!("retry"), Value::Null),
        ]),
    );
    assert!(said.err.contains(&unknown), "{}", said.err);
    // Both that were told have heard it.
    house.everything_is_over().await;
    let said = sexton(&house, &["deletions", "cancel", nobody, first])
        .await
        .ended_with(65);
    assert!(
        said.err.contains(&unknown) && said.err.contains("has ended"),
        "{}",
        said.err
    );
    worker.stop().await;
}

#[test]
fn nobody_who_reads_is_no_reason_to_end_with_another_code() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("bad.toml"), "target = 1\n").expect("a plan");
    for (arguments, code) in [
        (&["plan", "check", "bad.toml"][..], 65),
        (&["plan", "check", "bad.toml", "--json"], 65),
        (&["deletions", "list"], 64),
        (&["no-such-command"], 64),
        (&["--help"], 0),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ended = Command::new(env!("CARGO_BIN_EXE_sexton"))
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(writer.try_clone().expect("its other end"))
            .stderr(writer)
            .status()
            .expect("the binary");
        assert_eq!(ended.code(), Some(code), "{arguments:?}");
    }
}
