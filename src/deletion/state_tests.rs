//! The transition function, on journals written by hand.

use super::*;

fn intent(step: StepNumber, attempt: u32) -> Entry {
    Entry::Intent {
        step,
        aim: Aim::Do,
        attempt,
    }
}

fn verdict(step: StepNumber, attempt: u32, verdict: Verdict) -> Entry {
    Entry::Verdict {
        step,
        aim: Aim::Do,
        attempt,
        verdict,
        found_out: false,
        due: None,
    }
}

#[test]
fn invariant_04_a_settled_step_takes_no_further_intent() {
    let mut state = State::replay(2, &[intent(1, 1), verdict(1, 1, Verdict::done())]).expect("a plain run");
    let error = state.apply(&intent(1, 2)).expect_err("it is settled");
    assert_eq!(
        error.to_string(),
        "a deletion that is forward cannot take \"intent\" for attempt 2 of step 1"
    );
    state.apply(&intent(2, 1)).expect("the next step may begin");
}

#[test]
fn invariant_02_a_verdict_without_an_intent_is_not_believed() {
    let mut state = State::new(2);
    assert!(state.apply(&verdict(1, 1, Verdict::done())).is_err());
    state.apply(&intent(1, 1)).expect("first");
    assert!(
        state.apply(&verdict(1, 2, Verdict::done())).is_err(),
        "another attempt's verdict"
    );
    assert!(state.apply(&intent(2, 1)).is_err(), "one effect at a time");
}

#[test]
fn attempts_are_spent_by_trouble_and_not_by_patience() {
    let mut state = State::new(1);
    let patience = Verdict::Throttled {
        retry_after: std::time::Duration::from_secs(1),
    };
    for (attempt, said) in [
        (1, Verdict::again("x")),
        (2, patience),
        (3, Verdict::Stopped),
        (4, Verdict::unknown("y")),
    ] {
        state
            .apply(&intent(1, attempt))
            .expect("open for another attempt");
        state.apply(&verdict(1, attempt, said)).expect("said");
    }
    assert_eq!((state.tracks[1].spent, state.tracks[1].touched), (2, true));
}

#[test]
fn a_start_that_proved_harmless_leaves_nothing_to_undo() {
    let run = [
        intent(1, 1),
        verdict(1, 1, Verdict::Stopped),
        intent(1, 2),
        verdict(1, 2, Verdict::AlreadyGone),
    ];
    assert!(!State::replay(1, &run).expect("a plain run").tracks[1].touched);
}

#[test]
fn an_ended_deletion_takes_nothing_more() {
    let mut state = State::replay(1, &[Entry::Ended { end: End::Cancelled }]).expect("ended");
    for entry in [
        intent(1, 1),
        Entry::Overdue,
        Entry::Parked {
            reason: ParkReason::Deadline,
        },
    ] {
        assert!(state.apply(&entry).is_err(), "{entry:?}");
    }
}

#[test]
fn an_adopted_plan_lifts_the_parking_and_looks_anew_only_where_nothing_has_begun() {
    let looked = Entry::Looked {
        facts: Some(Values::new()),
        known: false,
    };
    let parked = Entry::Parked {
        reason: ParkReason::Failed {
            step: 1,
            aim: Aim::Do,
            why: "x".into(),
        },
    };
    let adopted = Entry::Adopted {
        plan: crate::deletion::PlanHash("ab".into()),
        steps: 3,
    };
    let early = State::replay(2, &[looked.clone(), parked.clone(), adopted.clone()]).expect("a plain run");
    assert_eq!((early.facts, early.parked, early.tracks.len()), (None, None, 4));
    let run = [
        looked,
        intent(1, 1),
        verdict(1, 1, Verdict::failed("x")),
        parked,
        adopted,
    ];
    let late = State::replay(2, &run).expect("a plain run");
    assert!(late.facts.is_some() && late.parked.is_none());
    assert_eq!(
        (late.tracks[1].attempt, late.tracks[1].spent, &late.tracks[1].last),
        (1, 0, &None)
    );
}
