use std::time::Duration;

use super::*;
use crate::deletion::TargetType;
use crate::plan::{Call, Deadline, Lookup, Sql, StepKind, SystemName};

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn step(name: &str, kind: StepKind) -> Step {
    Step {
        name: name.into(),
        on: SystemName("platform".into()),
        kind,
        call: Call::Nothing,
        when: None,
        read: None,
        undo: (kind == StepKind::Compensable).then_some(Call::Nothing),
        verify: None,
        timeout: Duration::from_secs(5),
        retry: Retry {
            attempts: 3,
            base: Duration::from_secs(1),
            max: Duration::from_secs(60),
        },
        if_failed: IfFailed::Park,
    }
}

/// fence (compensable), mark (compensable), revoke (pivot), tear-down (retriable)
fn plan() -> Plan {
    Plan {
        target: TargetType::parse("factory.computer").expect("a good name"),
        params: std::collections::BTreeMap::default(),
        lookup: None,
        steps: vec![
            step("fence", StepKind::Compensable),
            step("mark", StepKind::Compensable),
            step("revoke", StepKind::Pivot),
            step("tear-down", StepKind::Retriable),
        ],
        deadline: None,
    }
}

/// Follows the moves as a worker would; `say` answers each attempt. Stops at the first move that waits or ends.
struct Walk {
    plan: Plan,
    state: State,
    signals: Vec<Signal>,
    now: OffsetDateTime,
    deadline: Option<OffsetDateTime>,
    log: Vec<String>,
}

impl Walk {
    fn new(plan: Plan) -> Self {
        let state = State::new(plan.steps.len());
        Walk {
            plan,
            state,
            signals: vec![],
            now: NOW,
            deadline: None,
            log: vec![],
        }
    }

    fn next(&self) -> Move {
        let params = Map::new();
        let cx = Circumstances {
            now: self.now,
            deadline: self.deadline,
            signals: &self.signals,
            params: &params,
        };
        next(&self.plan, &self.state, &cx)
    }

    fn record(&mut self, entry: Entry) {
        self.state
            .apply(&entry)
            .unwrap_or_else(|error| panic!("{error} after {:?}", self.log));
    }

    fn go(&mut self, mut say: impl FnMut(&str, Aim, u32) -> Verdict) -> Move {
        for _ in 0..200 {
            match self.next() {
                Move::Note(entries) => entries.into_iter().for_each(|entry| {
                    self.log.push(entry.word().into());
                    self.record(entry);
                }),
                Move::Run { step, aim, attempt } => {
                    let name = self.plan.steps[usize::from(step) - 1].name.clone();
                    self.log.push(format!("{} {name}", aim.word()));
                    self.record(Entry::Intent { step, aim, attempt });
                    let verdict = say(&name, aim, attempt);
                    self.verdict(step, aim, attempt, verdict, false);
                }
                Move::Find { step, aim, attempt } => {
                    self.log.push("find".into());
                    let name = self.plan.steps[usize::from(step) - 1].name.clone();
                    let found_out = !matches!(
                        self.state.track(step.into(), aim).and_then(|t| t.last.as_ref()),
                        Some(Verdict::Unknown { .. })
                    );
                    let verdict = say(&format!("find {name}"), aim, attempt);
                    self.verdict(step, aim, attempt, verdict, found_out);
                }
                other => return other,
            }
        }
        panic!("no end in sight: {:?}", self.log);
    }

    fn verdict(&mut self, step: StepNumber, aim: Aim, attempt: u32, verdict: Verdict, found_out: bool) {
        self.record(Entry::Verdict {
            step,
            aim,
            attempt,
            verdict,
            found_out,
            due: None,
        });
    }
}

const DELETED: Move = Move::End(End::Completed {
    result: CompletedResult::Deleted,
});

#[test]
fn a_plain_run_goes_through_the_steps_in_order_and_ends_deleted() {
    let mut walk = Walk::new(plan());
    assert_eq!(walk.go(|_, _, _| Verdict::done()), DELETED);
    assert_eq!(walk.log, ["do fence", "do mark", "do revoke", "do tear-down"]);
}

#[test]
fn invariant_07_nothing_done_is_never_called_deleted() {
    let mut walk = Walk::new(plan());
    let end = walk.go(|_, _, _| Verdict::AlreadyGone);
    assert_eq!(
        end,
        Move::End(End::Completed {
            result: CompletedResult::AlreadyGone
        })
    );

    let mut with_lookup = plan();
    with_lookup.lookup = Some(Lookup {
        on: SystemName("platform".into()),
        sql: Sql {
            text: "select 1".into(),
            binds: vec![],
        },
        none: LookupNone::Absent,
        timeout: Duration::from_secs(5),
    });
    let mut walk = Walk::new(with_lookup);
    assert_eq!(walk.next(), Move::Look);
    let trouble = Verdict::again("the database is away");
    let due = Some(NOW + Duration::from_secs(9));
    walk.record(Entry::Verdict {
        step: 0,
        aim: Aim::Do,
        attempt: 1,
        verdict: trouble,
        found_out: false,
        due,
    });
    assert_eq!(
        walk.next(),
        Move::Wait {
            until: NOW + Duration::from_secs(9)
        },
        "a failed lookup is no answer"
    );
    walk.now = NOW + Duration::from_secs(9);
    assert_eq!(walk.next(), Move::Look);
    walk.record(Entry::Looked {
        facts: None,
        known: false,
    });
    assert_eq!(
        walk.next(),
        Move::End(End::Completed {
            result: CompletedResult::Absent
        })
    );
}

#[test]
fn a_known_target_that_is_not_found_is_already_gone() {
    assert_eq!(
        not_found(true, LookupNone::Absent),
        End::Completed {
            result: CompletedResult::AlreadyGone
        }
    );
    assert_eq!(
        not_found(false, LookupNone::AlreadyGone),
        End::Completed {
            result: CompletedResult::AlreadyGone
        }
    );
    assert!(matches!(
        not_found(true, LookupNone::Refused),
        End::Refused { .. }
    ));
}

#[test]
fn a_cancel_before_the_pivot_undoes_in_reverse_and_ends_cancelled() {
    let mut walk = Walk::new(plan());
    walk.go(|name, _, _| {
        if name == "revoke" {
            Verdict::Stopped
        } else {
            Verdict::done()
        }
    });
}

#[test]
fn cancel_wins_only_before_the_pivots_intent() {
    for (upto, ends) in [(2_u16, Move::End(End::Cancelled)), (3, DELETED)] {
        let mut walk = Walk::new(plan());
        for step in 1..=upto {
            walk.record(Entry::Intent {
                step,
                aim: Aim::Do,
                attempt: 1,
            });
            walk.verdict(step, Aim::Do, 1, Verdict::done(), false);
        }
        walk.signals.push(Signal {
            id: 7,
            kind: SignalKind::Cancel,
        });
        assert_eq!(walk.go(|_, _, _| Verdict::done()), ends);
        let expected: &[&str] = match upto {
            2 => &["signalled", "turned", "undo mark", "undo fence"],
            _ => &["signalled", "do tear-down"],
        };
        assert_eq!(walk.log, expected);
    }
}

#[test]
fn a_cancel_that_meets_an_open_intent_finds_out_before_it_undoes() {
    let mut walk = Walk::new(plan());
    walk.record(Entry::Intent {
        step: 1,
        aim: Aim::Do,
        attempt: 1,
    });
    walk.signals.push(Signal {
        id: 1,
        kind: SignalKind::Cancel,
    });
    let end = walk.go(|name, _, _| {
        if name == "find fence" {
            Verdict::again("not there")
        } else {
            Verdict::done()
        }
    });
    assert_eq!(end, Move::End(End::Cancelled));
    assert_eq!(
        walk.log,
        ["signalled", "turned", "find", "undo fence"],
        "an unproven effect is undone as well"
    );
}

#[test]
fn a_refusal_before_the_pivot_undoes_and_after_it_parks() {
    let mut walk = Walk::new(plan());
    let end = walk.go(|name, aim, _| match (name, aim) {
        ("mark", Aim::Do) => Verdict::refused("it has started"),
        _ => Verdict::done(),
    });
    assert_eq!(
        end,
        Move::End(End::Refused {
            why: "it has started".into()
        })
    );
    assert_eq!(
        walk.log,
        ["do fence", "do mark", "turned", "undo fence"],
        "what had no effect is not undone"
    );

    let mut walk = Walk::new(plan());
    let rest = walk.go(|name, _, _| {
        if name == "tear-down" {
            Verdict::refused("no")
        } else {
            Verdict::done()
        }
    });
    assert_eq!(rest, Move::Rest);
    assert!(walk.state.parked.is_some());
}

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
            why: "gone for good".into()
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
