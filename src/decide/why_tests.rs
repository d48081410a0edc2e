//! Each answer to "why is it not done?", from journals written by hand.

use time::macros::datetime;

use super::*;
use crate::deletion::{End, Entry, ParkReason, SignalKind, Turn};
use crate::plan::parse_plan;

const NOW: OffsetDateTime = datetime!(2030-01-01 12:00 UTC);
const LATER: OffsetDateTime = datetime!(2030-01-01 12:05 UTC);
const EARLIER: OffsetDateTime = datetime!(2030-01-01 11:00 UTC);

fn plan() -> Plan {
    let text = r#"
target = "a.b"
on = "db"
[[step]]
name = "fence"
sql = "update t set g = :generation where id = :id and g < :generation"
undo = "update t set g = :generation, f = null where id = :id and g < :generation"
[[step]]
name = "kill"
sql = "delete from u where id = :id"
"#;
    parse_plan(text, "plan").unwrap_or_else(|errors| panic!("{errors}"))
}

fn row() -> Row {
    Row {
        now: NOW,
        admitted_at: EARLIER,
        due_at: EARLIER,
        at_rest: false,
        recorded_at: Some(EARLIER),
        parked_at: None,
        starts: 0,
        holder: None,
        behind: None,
        unheard: Vec::new(),
    }
}

fn intent(step: u16) -> Entry {
    Entry::Intent {
        step,
        aim: Aim::Do,
        attempt: 1,
    }
}

fn verdict(step: u16, verdict: Verdict, due: Option<OffsetDateTime>) -> Entry {
    Entry::Verdict {
        step,
        aim: Aim::Do,
        attempt: 1,
        verdict,
        found_out: false,
        due,
    }
}

fn asked(entries: &[Entry], row: &Row) -> Why {
    let plan = plan();
    let state = State::replay(plan.steps.len(), entries).expect("a plain run");
    why(&plan, &state, row)
}

fn held(until: OffsetDateTime) -> Row {
    Row {
        holder: Some(HeldBy {
            name: "lane 4 of h:1".into(),
            lease_until: Some(until),
        }),
        ..row()
    }
}

#[test]
fn what_is_in_somebodys_hands_names_them() {
    let under_way = asked(&[intent(1)], &held(LATER));
    assert_eq!(under_way.word, "under_way");
    assert_eq!(
        under_way.because,
        "attempt 1 of step 1 \"fence\" at db is under way, by lane 4 of h:1"
    );
    let done = [intent(1), verdict(1, Verdict::done(), None)];
    assert_eq!(asked(&done, &held(LATER)).word, "in_hand");
    assert!(
        asked(&done, &held(LATER))
            .because
            .contains("next is step 2 \"kill\"")
    );
    assert_eq!(asked(&[intent(1)], &held(EARLIER)).word, "worker_lost");
}

#[test]
fn what_waits_says_for_what_and_until_when() {
    let waiting = Row {
        due_at: LATER,
        ..row()
    };
    let last = |said: Verdict| asked(&[intent(1), verdict(1, said, Some(LATER))], &waiting);
    let retrying = last(Verdict::again("locked"));
    assert_eq!((retrying.word, retrying.next_at), ("retrying", Some(LATER)));
    assert!(
        retrying.because.ends_with("attempts spent): locked"),
        "{}",
        retrying.because
    );
    let pending = Verdict::Pending {
        look_again: std::time::Duration::from_secs(5),
        handle: None,
    };
    assert_eq!(last(pending).word, "pending");
    let throttled = Verdict::Throttled {
        retry_after: std::time::Duration::from_secs(5),
    };
    assert_eq!(last(throttled).word, "throttled");
    assert_eq!(last(Verdict::unknown("cut")).word, "unknown");
    assert_eq!(
        asked(&[intent(1)], &waiting).word,
        "unknown",
        "its worker was lost"
    );
    let done = [intent(1), verdict(1, Verdict::done(), None)];
    assert_eq!(asked(&done, &waiting).word, "held_back");
    let fresh = Row {
        recorded_at: None,
        ..waiting
    };
    assert_eq!(asked(&[], &fresh).word, "not_before");
    assert_eq!(asked(&done, &row()).word, "due");
}

#[test]
fn what_needs_a_person_says_what_would_help() {
    let reason = ParkReason::Blocked {
        step: 2,
        aim: Aim::Do,
        why: "no right to delete".into(),
        unblock: "grant delete on u".into(),
    };
    let at = Row {
        parked_at: Some(LATER),
        ..row()
    };
    let parked = asked(&[Entry::Parked { reason }], &at);
    assert_eq!((parked.word, parked.since), ("parked", LATER));
    assert_eq!(
        parked.because,
        "step 2 \"kill\" at db cannot go on: no right to delete"
    );
    assert_eq!(parked.unblock.as_deref(), Some("grant delete on u; then retry"));
    let halt = Entry::Signalled {
        id: 1,
        signal: SignalKind::Halt,
        heeded: true,
    };
    assert_eq!(asked(&[halt], &row()).word, "halted");
    let queued = Row {
        behind: Some("another".into()),
        ..row()
    };
    assert_eq!(asked(&[], &queued).word, "queued");
}

#[test]
fn a_cancel_is_possible_up_to_the_pivots_intent() {
    let fenced = [intent(1), verdict(1, Verdict::done(), None)];
    assert!(asked(&fenced, &row()).can_cancel);
    let mut killed = fenced.to_vec();
    killed.push(intent(2));
    assert!(!asked(&killed, &row()).can_cancel);
    let mut turned = fenced.to_vec();
    turned.push(Entry::Turned { why: Turn::Cancel });
    let back = asked(&turned, &row());
    assert!(!back.can_cancel && back.also[0].starts_with("it is on its way back"));
    assert!(
        back.because.contains("the undo of step 1 \"fence\""),
        "{}",
        back.because
    );
    let ended = asked(&[Entry::Ended { end: End::Cancelled }], &row());
    assert_eq!((ended.word, ended.also.len()), ("ended", 0));
}
