//! Decisions on plans written by hand: plain runs, cancels and refusals; trouble has a file of its own.

use std::time::Duration;

use super::*;
use crate::deletion::{CompletedResult, TargetType};
use crate::plan::{Call, Lookup, Sql, StepKind, SystemName};

pub(super) const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

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
pub(super) fn plan() -> Plan {
    Plan {
        target: TargetType::parse("factory.computer").expect("a good name"),
        params: std::collections::BTreeMap::default(),
        choices: std::collections::BTreeMap::default(),
        lookup: None,
        steps: vec![
            step("fence", StepKind::Compensable),
            step("mark", StepKind::Compensable),
            step("revoke", StepKind::Pivot),
            step("tear-down", StepKind::Retriable),
        ],
        deadline: None,
        tombstone: Duration::from_secs(60),
        restorable: None,
        watch: None,
    }
}

/// Follows the moves as a worker would; `say` answers each attempt. Stops at the first move that waits or ends.
pub(super) struct Walk {
    pub(super) plan: Plan,
    pub(super) state: State,
    pub(super) signals: Vec<Signal>,
    pub(super) now: OffsetDateTime,
    pub(super) action: Action,
    pub(super) has_window: bool,
    pub(super) deadline: Option<OffsetDateTime>,
    pub(super) log: Vec<String>,
    pub(super) given: Values,
}

impl Walk {
    pub(super) fn new(plan: Plan) -> Self {
        let state = State::new(plan.steps.len());
        Walk {
            plan,
            state,
            signals: vec![],
            now: NOW,
            action: Action::Delete,
            has_window: false,
            deadline: None,
            log: vec![],
            given: Values::new(),
        }
    }

    pub(super) fn next(&self) -> Move {
        let given = self.given.clone();
        let cx = Circumstances {
            now: self.now,
            action: self.action,
            has_window: self.has_window,
            deadline: self.deadline,
            signals: &self.signals,
            given: &given,
        };
        next(&self.plan, &self.state, &cx)
    }

    pub(super) fn record(&mut self, entry: Entry) {
        self.state
            .apply(&entry)
            .unwrap_or_else(|error| panic!("{error} after {:?}", self.log));
    }

    pub(super) fn go(&mut self, mut say: impl FnMut(&str, Aim, u32) -> Verdict) -> Move {
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

    pub(super) fn verdict(
        &mut self,
        step: StepNumber,
        aim: Aim,
        attempt: u32,
        verdict: Verdict,
        found_out: bool,
    ) {
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

pub(super) const DELETED: Move = Move::End(End::Completed {
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
fn a_look_that_proves_that_nothing_happened_leaves_the_way_back_open() {
    let says = |found: fn() -> Verdict| {
        let mut walk = Walk::new(plan());
        let mut tries = 0;
        walk.go(|name, aim, _| match (name, aim) {
            ("mark", Aim::Do) => {
                tries += 1;
                match tries {
                    1 => Verdict::unknown("no answer"),
                    _ => Verdict::refused("it has started"),
                }
            }
            ("find mark", _) => found(),
            _ => Verdict::done(),
        });
        walk.log
    };
    let ways = ["do fence", "do mark", "find", "do mark", "turned"];
    assert_eq!(
        says(|| Verdict::undone("it is still there")),
        [&ways[..], &["undo fence"]].concat(),
        "only what was done is undone"
    );
    assert_eq!(
        says(|| Verdict::not_yet("who knows")),
        [&ways[..], &["undo mark", "undo fence"]].concat(),
        "what may have been done is undone as well"
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
            why: "it has started".into(),
            step: Some(2),
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
fn what_is_gone_after_an_own_attempt_whose_outcome_nobody_heard_was_deleted() {
    let mut walk = Walk::new(plan());
    let end = walk.go(|name, _, attempt| match (name, attempt) {
        ("revoke", 1) => Verdict::unknown("cut off"),
        ("find revoke", _) => Verdict::not_yet("repeating it is harmless"),
        _ => Verdict::AlreadyGone,
    });
    assert_eq!(end, DELETED, "{:?}", walk.log);
}
