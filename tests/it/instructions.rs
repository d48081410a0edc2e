//! What a saga costs the processor, counted and not timed: the difference of two runs that differ in their number of sagas only.
//! Of a build without optimization, since that is what is tested here; `make bench SCENARIO=instructions` counts those of a
//! release.

use rustix::process::Signal;

use crate::batches::note;
use crate::costs::{does_nothing, publish_sagas};
use crate::house::House;

const FEW: usize = 100;
const MANY: usize = 400;
/// A third above what was seen.
const INSTRUCTIONS_MAX: u64 = 2_300_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_of_four_steps_takes_no_more_instructions_than_it_may() {
    let (few, many) = (counted(FEW).await, counted(MANY).await);
    let a_saga = many.saturating_sub(few) / (MANY - FEW) as u64;
    note(&format!(
        "costs: a saga of four steps: {a_saga} instructions without optimization"
    ));
    assert!(a_saga > 100_000, "{a_saga} instructions: nothing was counted");
    assert!(
        a_saga <= INSTRUCTIONS_MAX,
        "{a_saga} instructions; wanted at most {INSTRUCTIONS_MAX}"
    );
}

/// The instructions of a worker that starts, carries so many sagas and stops.
async fn counted(sagas: usize) -> u64 {
    let mut house = House::new().await;
    house.change_settings("lease = \"10s\"\nstatement_timeout = \"4s\"", "");
    does_nothing(&mut house).await;
    publish_sagas(&house, 'k', sagas).await;
    let found = house.folder().join("callgrind.out");
    let out = format!("--callgrind-out-file={}", found.display());
    let worker = house.process_under(&["valgrind", "--quiet", "--tool=callgrind", &out]);
    let last = format!("k{}", sagas - 1);
    house.heard.end(&last).await;
    house
        .until(
            "all have ended",
            "select not exists (select from sexton.open_deletions) and not exists (select from sexton.outbox)",
        )
        .await;
    worker.signal(Signal::TERM);
    let (status, log) = worker.ended().await;
    assert!(status.success(), "{log}");
    let text = std::fs::read_to_string(&found).expect("what callgrind found");
    let total = text.lines().rev().find_map(|line| line.strip_prefix("totals:"));
    total
        .and_then(|total| total.trim().parse().ok())
        .expect("a total")
}
