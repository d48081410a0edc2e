//! What goes wrong on the way: unknown outcomes, spent attempts, lost workers, deadlines and halts.

use std::time::Duration;

use super::tests::{DELETED, NOW, Walk, plan};
use super::*;
use crate::plan::Deadline;

#[test]
fn unknown_is_looked_at_before_anything_else() {
    let mut walk = Walk::new(plan());
    let end = walk.go(|name, _, _| match name {
        "revoke" => Verdict::unknown("cut off"),
        "find revoke" => Verdict::done(),
        _ => Verdict::done(),
    });
    assert_eq!(end, DELETED);
    assert_eq!(
        walk.log,
        ["do fence", "do mark", "do revoke", "find", "do tear-down"]
    );
}

#[test]
fn invariant_08_spent_attempts_park_and_a_retry_goes_on() {
    let mut walk = Walk::new(plan());
    let tired = |name: &str, _, _| {
        if name == "tear-down" {
            Verdict::again("busy")
        } else {
            Verdict::done()
        }
    };
    assert_eq!(walk.go(tired), Move::Rest);
    assert!(matches!(
        walk.state.parked,
        Some(ParkReason::Exhausted {
            step: 4,
            attempts: 3,
            ..
        })
    ));
    walk.signals.push(Signal {
        id: 1,
        kind: SignalKind::Retry,
    });
    assert_eq!(walk.go(|_, _, _| Verdict::done()), DELETED);
}

#[test]
fn invariant_11_a_step_that_kills_its_worker_is_parked_at_the_fifth_start() {
    let mut walk = Walk::new(plan());
    for start in 1..STARTS_MAX {
        walk.record(Entry::Intent {
            step: 1,
            aim: Aim::Do,
            attempt: start,
        });
        assert_eq!(
            walk.next(),
            Move::Find {
                step: 1,
                aim: Aim::Do,
                attempt: start
            }
        );
        walk.verdict(1, Aim::Do, start, Verdict::Stopped, true);
    }
    walk.record(Entry::Intent {
        step: 1,
        aim: Aim::Do,
        attempt: STARTS_MAX,
    });
    assert_eq!(walk.go(|_, _, _| Verdict::done()), Move::Rest);
    assert!(matches!(
        walk.state.parked,
        Some(ParkReason::Killer {
            step: 1,
            starts: STARTS_MAX,
            ..
        })
    ));
}

#[test]
fn what_a_plan_says_of_failure_is_followed() {
    let failing = |name: &str, aim: Aim, _| match (name, aim) {
        ("mark" | "tear-down", Aim::Do) => Verdict::failed("gone for good"),
        _ => Verdict::done(),
    };
    let mut undoing = plan();
    undoing.steps[1].if_failed = IfFailed::Undo;
    let mut walk = Walk::new(undoing);
    assert_eq!(
        walk.go(failing),
        Move::End(End::Refused {
            why: "gone for good".into(),
            step: Some(2),
        })
    );
    assert_eq!(
        walk.log,
        ["do fence", "do mark", "turned", "undo mark", "undo fence"]
    );

    let mut leaving = plan();
    leaving.steps[1].if_failed = IfFailed::Orphan;
    leaving.steps[3].if_failed = IfFailed::Orphan;
    let mut walk = Walk::new(leaving);
    let Move::End(End::CompletedWithOrphans { orphans }) = walk.go(failing) else {
        panic!("{:?}", walk.log)
    };
    assert_eq!(
        orphans.iter().map(|orphan| orphan.step).collect::<Vec<_>>(),
        [2, 4]
    );
}

#[test]
fn a_passed_deadline_is_said_once_and_parks_only_where_the_plan_says_so() {
    let mut walk = Walk::new(plan());
    walk.deadline = Some(NOW);
    assert_eq!(walk.go(|_, _, _| Verdict::done()), DELETED);
    assert_eq!(walk.log.iter().filter(|word| *word == "overdue").count(), 1);

    let mut strict = plan();
    strict.deadline = Some(Deadline {
        after: Duration::from_secs(1),
        then: Overdue::Park,
    });
    let mut walk = Walk::new(strict);
    walk.deadline = Some(NOW);
    assert_eq!(walk.go(|_, _, _| Verdict::done()), Move::Rest);
    walk.signals.push(Signal {
        id: 1,
        kind: SignalKind::Retry,
    });
    assert_eq!(walk.go(|_, _, _| Verdict::done()), DELETED);
}

#[test]
fn a_halt_lets_nothing_begin_until_it_is_lifted() {
    let mut walk = Walk::new(plan());
    walk.signals.push(Signal {
        id: 1,
        kind: SignalKind::Halt,
    });
    assert_eq!(walk.go(|_, _, _| Verdict::done()), Move::Rest);
    assert_eq!(walk.log, ["signalled"]);
    walk.signals.push(Signal {
        id: 2,
        kind: SignalKind::Resume,
    });
    assert_eq!(walk.go(|_, _, _| Verdict::done()), DELETED);
}

#[test]
fn a_wait_never_sleeps_through_the_deadline() {
    let mut walk = Walk::new(plan());
    walk.record(Entry::Intent {
        step: 1,
        aim: Aim::Do,
        attempt: 1,
    });
    let (verdict, due) = (Verdict::again("busy"), Some(NOW + Duration::from_secs(60)));
    walk.record(Entry::Verdict {
        step: 1,
        aim: Aim::Do,
        attempt: 1,
        verdict,
        found_out: false,
        due,
    });
    walk.deadline = Some(NOW + Duration::from_secs(5));
    assert_eq!(
        walk.next(),
        Move::Wait {
            until: NOW + Duration::from_secs(5)
        }
    );
}

#[test]
fn an_interruption_that_was_asked_for_does_not_count_as_a_lost_start() {
    let mut walk = Walk::new(plan());
    for attempt in 1..=2 * STARTS_MAX {
        walk.record(Entry::Intent {
            step: 1,
            aim: Aim::Do,
            attempt,
        });
        walk.record(Entry::Interrupted {
            step: 1,
            aim: Aim::Do,
            attempt,
        });
        assert_eq!(
            walk.next(),
            Move::Find {
                step: 1,
                aim: Aim::Do,
                attempt
            }
        );
        // What the look finds is no attempt either.
        walk.verdict(
            1,
            Aim::Do,
            attempt,
            Verdict::not_yet("repeating it is harmless"),
            true,
        );
        assert_eq!(walk.state.tracks[1].spent, 0);
    }
    assert_eq!(walk.go(|_, _, _| Verdict::done()), DELETED);
}

#[test]
fn an_attempt_with_an_unknown_outcome_is_spent_once_and_each_look_that_finds_nothing_out_as_well() {
    let mut walk = Walk::new(plan());
    walk.record(Entry::Intent {
        step: 1,
        aim: Aim::Do,
        attempt: 1,
    });
    walk.verdict(1, Aim::Do, 1, Verdict::unknown("silence"), false);
    assert_eq!(walk.state.tracks[1].spent, 1);
    walk.verdict(1, Aim::Do, 1, Verdict::unknown("silence again"), false);
    assert_eq!(walk.state.tracks[1].spent, 2, "or it would be looked at for ever");
    walk.verdict(1, Aim::Do, 1, Verdict::again("it stands"), false);
    assert_eq!(walk.state.tracks[1].spent, 2);
}

#[test]
fn a_deadline_is_noted_while_an_outcome_is_unknown() {
    let mut walk = Walk::new(plan());
    walk.record(Entry::Intent {
        step: 1,
        aim: Aim::Do,
        attempt: 1,
    });
    walk.verdict(1, Aim::Do, 1, Verdict::unknown("silence"), false);
    walk.state.tracks[1].due = Some(NOW + Duration::from_secs(600));
    walk.deadline = Some(NOW + Duration::from_secs(5));
    let until = NOW + Duration::from_secs(5);
    assert_eq!(walk.next(), Move::Wait { until });
    walk.now = until;
    assert_eq!(walk.next(), Move::Note(vec![Entry::Overdue]));
}

#[test]
fn a_pivot_that_was_rolled_back_leaves_the_way_back_open_and_one_that_may_have_worked_does_not() {
    let answering = |first: Verdict| {
        let mut walk = Walk::new(plan());
        let mut last = Move::Nothing;
        // It waits between two attempts.
        for _ in 0..2 {
            let first = first.clone();
            last = walk.go(move |name, aim, attempt| match (name, aim, attempt) {
                ("revoke", Aim::Do, 1) => first.clone(),
                ("revoke", Aim::Do, _) => Verdict::refused("it has started"),
                _ => Verdict::done(),
            });
            walk.now += Duration::from_secs(3_600);
        }
        (last, walk.state.parked.is_some())
    };
    let (last, parked) = answering(Verdict::rolled_back("a lock was not had in time"));
    assert!(
        matches!(last, Move::End(End::Refused { step: Some(3), .. })),
        "{last:?}"
    );
    assert!(!parked);
    let (_, parked) = answering(Verdict::again("500"));
    assert!(parked, "nobody knows what it did");
}

#[test]
fn invariant_07_a_target_to_which_nothing_was_done_is_neither_deleted_nor_gone() {
    let mut walk = Walk::new(plan());
    for step in 1..=4 {
        walk.record(skip(step));
    }
    assert!(matches!(walk.next(), Move::End(End::Refused { .. })));
}

#[test]
fn a_condition_may_ask_for_a_param_that_was_not_given_and_for_who_asks() {
    let test = |name: &str, is| crate::plan::Test {
        name: name.into(),
        is,
    };
    let mut plan = plan();
    plan.steps[0].when = Some(crate::plan::Condition {
        all: vec![
            test("depth", crate::plan::Is::Present(false)),
            test("tenant", crate::plan::Is::Equal("org_1".into())),
        ],
    });
    let mut walk = Walk::new(plan);
    walk.given = [("depth", serde_json::Value::Null), ("tenant", "org_1".into())]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
    let run = Move::Run {
        step: 1,
        aim: Aim::Do,
        attempt: 1,
    };
    assert_eq!(walk.next(), run);
}
