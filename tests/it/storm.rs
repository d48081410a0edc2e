//! The storm's schedule, which makes it repeatable. The storm itself is a program (`scripts/storm`); `scripts/test` runs a
//! short one after all tests.

use std::collections::BTreeSet;
use std::time::Duration;

#[path = "../../examples/storm/faults.rs"]
#[allow(dead_code, reason = "the test looks at the schedule, not at its words")]
mod faults;

use faults::{Fault, Kind, kinds, length, schedule};

const GAP: Duration = Duration::from_millis(2_500);

#[test]
fn the_same_seed_is_the_same_schedule_and_another_is_another() {
    assert_eq!(schedule(7, 3, GAP), schedule(7, 3, GAP));
    assert_ne!(schedule(7, 3, GAP), schedule(8, 3, GAP));
}

#[test]
fn every_kind_comes_as_often_as_there_are_rounds_and_has_an_end() {
    for seed in 0..200 {
        let all = schedule(seed, 2, GAP);
        for kind in kinds() {
            let times = all.iter().filter(|fault| fault.kind == kind).count();
            assert_eq!(times, 2, "seed {seed}: {kind}");
        }
        assert!(
            length(&all) < Duration::from_secs(240),
            "seed {seed}: {:?}",
            length(&all)
        );
        assert!(
            all.iter().all(|fault| fault.lasts < Duration::from_secs(16)),
            "seed {seed}"
        );
    }
}

/// Or two faults would undo each other: a node that is started while it is being stopped, a worker killed while it stands.
#[test]
fn faults_of_one_victim_never_overlap() {
    let whose = |fault: &Fault| match fault.kind {
        Kind::KillWorker | Kind::FreezeWorker => format!("worker {}", fault.victim),
        Kind::StopNode | Kind::KillNode | Kind::StopMajority => "nodes".to_owned(),
        Kind::Stall(service) | Kind::Cut(service) | Kind::Delay(service) => {
            format!("{} {}", service.word(), fault.victim)
        }
        Kind::KillPostgres | Kind::FillDisk => fault.kind.to_string(),
    };
    for seed in 0..200 {
        let all = schedule(seed, 3, GAP);
        let victims: BTreeSet<String> = all.iter().map(whose).collect();
        for victim in victims {
            let mut until = Duration::ZERO;
            for fault in all.iter().filter(|fault| whose(fault) == victim) {
                assert!(fault.at > until, "seed {seed}: {fault} begins before {until:?}");
                until = fault.at + fault.lasts;
            }
        }
    }
}
