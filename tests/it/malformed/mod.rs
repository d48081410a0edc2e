//! Whatever a stranger sends: the readers of requests, plans and settings under tens of thousands of near-misses and under
//! noise. What must hold of each stands in `fuzz/properties`, which the fuzz targets try as well.
//!
//! The same cases each time; `SEXTON_MALFORMED_CASES=100000` tries so many of each kind. A failure is shrunk and shown.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::Value;
use sexton::settings::{Part, Settings};

use crate::batches::note;
use properties::Judged::{self, TakenIn, TurnedAway};

mod json;
#[allow(
    unreachable_pub,
    reason = "the fuzz targets, which have it as well, are another package"
)]
#[path = "../../../fuzz/properties/mod.rs"]
mod properties;
mod toml;

/// Of each kind, unless more are asked for: a few seconds without optimization.
const CASES: u32 = 10_000;
const TOML: [Judged; 3] = [TakenIn, TurnedAway("not TOML"), TurnedAway("a rule")];

/// Tries so many, and shows what became of them; each of `wanted` must be among it often enough to mean something.
fn tried<T: std::fmt::Debug + Clone>(
    of: u32,
    wanted: &[Judged],
    strategy: impl Strategy<Value = T>,
    property: impl Fn(T) -> Judged,
) {
    let more = std::env::var("SEXTON_MALFORMED_CASES").ok();
    let cases = more.map_or(CASES / of, |cases| cases.parse().expect("a number of cases"));
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let tally: RefCell<BTreeMap<Judged, u32>> = RefCell::default();
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let judged = TestRunner::new_with_rng(config, seed).run(&strategy, |case| {
        *tally.borrow_mut().entry(property(case)).or_default() += 1;
        Ok::<(), TestCaseError>(())
    });
    if let Err(failure) = judged {
        panic!("{failure}");
    }
    let tally = tally.take();
    note(&format!("malformed: {cases} cases: {tally:?}"));
    for judged in wanted {
        let found = tally.get(judged).copied().unwrap_or_default();
        assert!(found >= cases / 100, "{judged:?}: {found} of {cases}: {tally:?}");
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The texts of a folder with this ending, in the order of their names.
fn texts(name: &str, ending: &str) -> Vec<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(name))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has no .{ending}");
    files
        .iter()
        .map(|file| std::fs::read_to_string(file).expect("text"))
        .collect()
}

/// Examples that are requests, good or bad, if they are JSON at all; and a bulk, of which there is none.
fn examples() -> Vec<Value> {
    let bulk = serde_json::json!({
        "targets": [{"type": "a.b", "id": "1"}, {"type": "a.b", "id": "2"}, {"type": "c", "id": "3"}],
        "tenant": "t", "key": "k", "batch_size": 7, "params": {"p": [1, {"q": null}]}
    });
    let purge = serde_json::json!({
        "action": "purge", "target": {"type": "a.b", "id": "1"}, "tenant": "t", "key": "k",
        "window": {"deletion": uuid::Uuid::from_u128(7), "ticket": uuid::Uuid::from_u128(8)}
    });
    let mut event = bulk.clone();
    event = serde_json::json!({"specversion": "1.0", "id": "e", "source": "s", "type": "t", "data": event});
    let kept = texts("deploy/contract/examples", "json");
    let kept = kept.iter().filter_map(|text| serde_json::from_str(text).ok());
    kept.chain([bulk, purge, event]).collect()
}

/// Letters changed, cut off, put in: what a broken wire or a wrong encoder makes of a text.
fn broken(text: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Bytes> {
    let bytes = vec![
        0x00, 0x1f, b'"', b'\\', b'{', b'[', b',', b':', 0x7f, 0x80, 0xc0, 0xed, 0xf5, 0xff,
    ];
    let pokes = vec((any::<Index>(), select(bytes), any::<bool>()), 0..4);
    (text, pokes, proptest::option::weighted(0.2, any::<Index>())).prop_map(|(mut text, pokes, cut)| {
        for (at, byte, put_in) in pokes {
            let at = at.index(text.len() + 1);
            if put_in || at == text.len() {
                text.insert(at, byte);
            } else {
                text[at] = byte;
            }
        }
        if let Some(cut) = cut {
            text.truncate(cut.index(text.len() + 1));
        }
        Bytes::from(text)
    })
}

fn message_id() -> impl Strategy<Value = Option<String>> {
    let odd = ["", "m-1", "a\0b", "\u{1b}[0m", "é", "\u{fffd}"];
    let long = (250_usize..260).prop_map(|length| "m".repeat(length));
    proptest::option::of(prop_oneof![select(odd.to_vec()).prop_map(str::to_owned), long])
}

#[test]
fn requests_bulks_and_cloud_events_that_are_nearly_right_are_taken_in_whole_or_turned_away_truly() {
    let near_miss = (select(examples()), vec((any::<Index>(), json::change()), 0..4))
        .prop_map(|(example, changes)| json::changed(&example, &changes));
    let wanted = &[
        TakenIn,
        TurnedAway("not_json"),
        TurnedAway("wrong_shape"),
        TurnedAway("unknown_version"),
    ];
    tried(1, wanted, (near_miss, message_id()), |(body, message_id)| {
        properties::message(body.as_bytes(), message_id.as_deref())
    });
}

#[test]
fn requests_on_a_broken_wire_are_taken_in_whole_or_turned_away_truly() {
    let near_miss = (select(examples()), vec((any::<Index>(), json::change()), 0..2))
        .prop_map(|(example, changes)| json::changed(&example, &changes).into_bytes());
    let noise = vec(any::<u8>(), 0..200);
    let any_body = prop_oneof![4 => broken(near_miss), 1 => noise.prop_map(Bytes::from)];
    let wanted = [TakenIn, TurnedAway("not_json"), TurnedAway("wrong_shape")];
    tried(1, &wanted, (any_body, message_id()), |(body, message_id)| {
        properties::message(&body, message_id.as_deref())
    });
}

#[test]
fn plans_that_are_nearly_right_are_taken_in_whole_or_every_fault_has_its_line() {
    let mut plans = texts("deploy/plans", "toml");
    plans.extend(texts("deploy/plans/vendor", "toml"));
    plans.push(crate::shop::THING.to_owned());
    let near_miss = (select(plans), vec((any::<Index>(), toml::change()), 0..4))
        .prop_map(|(plan, changes)| toml::changed(&plan, &changes));
    let near_miss = near_miss.boxed();
    let noise = broken(near_miss.clone().prop_map(String::into_bytes))
        .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    tried(2, &TOML, prop_oneof![2 => near_miss, 1 => noise], |text| {
        properties::plan(&text)
    });
}

#[test]
fn settings_that_are_nearly_right_are_taken_in_whole_or_turned_away_in_one_sentence() {
    let folder_of_it = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder_of_it.path().join("plans")).expect("a folder of plans");
    let file = folder_of_it.path().join("sexton.toml");
    // As `make demo` fills them in, and the sample with what it leaves to the environment.
    let places = [
        ("{repository}", env!("CARGO_MANIFEST_DIR")),
        ("{gateway}", "127.0.0.1:0"),
        ("{amqp}", "amqp://guest:guest@127.0.0.1:5672/%2f"),
        ("{cloud}", "http://127.0.0.1:8080"),
        ("{archive}", "archive"),
    ];
    let filled = |text: &String| {
        let text = places
            .iter()
            .fold(text.clone(), |text, (place, value)| text.replace(place, value));
        let systems = ["{sexton}", "{platform}", "{powerdrill}", "{pave}", "{agno}"];
        systems.iter().fold(text, |text, place| {
            text.replace(place, "postgres://u:p@127.0.0.1/db")
        })
    };
    let mut all: Vec<String> = texts("deploy/demo", "toml").iter().map(filled).collect();
    let mut sample = texts("deploy", "toml").remove(0);
    for (section, line) in [
        ("[store]", "url = \"postgres://u:p@127.0.0.1/db\""),
        ("[broker]", "url = \"amqp://u:p@127.0.0.1\""),
        ("[plans]", "folder = \"plans\""),
    ] {
        sample = sample.replacen(&format!("\n{section}\n"), &format!("\n{section}\n{line}\n"), 1);
    }
    all.push(sample);
    for text in &all {
        let judged = properties::settings(text.as_bytes(), &file);
        let sentence = Settings::load(std::slice::from_ref(&file), Part::ALL).err();
        assert_eq!(judged, TakenIn, "{sentence:?}");
    }
    let near_miss = (select(all), vec((any::<Index>(), toml::change()), 0..4))
        .prop_map(|(text, changes)| toml::changed(&text, &changes).into_bytes())
        .boxed();
    let noise = broken(near_miss.clone());
    let either = prop_oneof![3 => near_miss.prop_map(Bytes::from), 1 => noise];
    tried(4, &TOML, either, |text| properties::settings(&text, &file));
}
