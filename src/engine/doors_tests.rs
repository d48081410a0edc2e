//! Doors by themselves: what shuts one, what opens it, and who is let through meanwhile (invariant 8: nothing ends in silence).

use super::*;

const LONG: Duration = Duration::from_secs(50);

fn doors(pause: Duration) -> Arc<Doors> {
    Arc::new(Doors::new("cloud".into(), pause, Instruments::default()))
}

fn at() -> Where {
    Where::Step {
        of: "shop.thing".into(),
        step: "end".into(),
        aim: Aim::Do,
    }
}

fn elsewhere() -> Where {
    Where::Step {
        of: "shop.other".into(),
        step: "end".into(),
        aim: Aim::Do,
    }
}

fn who() -> DeletionId {
    DeletionId(uuid::Uuid::now_v7())
}

fn denied(doors: &Doors, who: DeletionId, whom: Denied) -> Met {
    doors.denied(at, who, whom, "401", "another key")
}

#[test]
fn credentials_that_fail_shut_the_whole_system_at_once_and_one_who_is_let_in_opens_it() {
    let doors = doors(LONG);
    assert!(doors.enter(at).is_ok());
    assert!(matches!(denied(&doors, who(), Denied::All), Met::Wait(left) if left >= LONG));
    assert!(doors.enter(at).is_err() && doors.enter(elsewhere).is_err());
    let shut = doors.shut_now();
    assert_eq!((shut.len(), shut[0].place.as_str()), (1, "everything"));
    doors.try_now();
    let first = doors.enter(elsewhere).expect("one tries");
    assert!(doors.enter(at).is_err(), "and one only");
    doors.let_in(elsewhere, who());
    drop(first);
    assert!(doors.enter(at).is_ok() && doors.enter(at).is_ok());
    // Whoever was turned away is forgotten with a later door.
    assert!(doors.shut_now().is_empty());
}

#[test]
fn several_in_a_row_shut_the_door_of_a_step_and_no_other() {
    let doors = doors(LONG);
    for _ in 1..DENIED_IN_A_ROW {
        assert!(matches!(denied(&doors, who(), Denied::Perhaps), Met::Wait(_)));
        assert!(doors.enter(at).is_ok());
    }
    denied(&doors, who(), Denied::Perhaps);
    assert!(doors.enter(at).is_err() && doors.enter(elsewhere).is_ok());
}

#[test]
fn whoever_is_turned_away_again_while_others_are_let_in_has_a_trouble_of_its_own() {
    let doors = doors(LONG);
    let one = who();
    for _ in 0..DENIED_IN_A_ROW {
        assert!(
            matches!(denied(&doors, one, Denied::Perhaps), Met::Wait(_)),
            "nobody knows"
        );
        doors.try_now();
    }
    doors.let_in(at, who());
    assert!(
        matches!(denied(&doors, who(), Denied::Perhaps), Met::Wait(_)),
        "another one"
    );
    doors.let_in(at, who());
    assert_eq!(denied(&doors, one, Denied::Perhaps), Met::Own);
    assert!(doors.enter(at).is_ok(), "and shuts nothing");
}

#[test]
fn a_try_that_says_nothing_is_free_for_others_and_one_in_vain_makes_the_pause_longer() {
    let doors = doors(LONG);
    denied(&doors, who(), Denied::All);
    doors.try_now();
    drop(doors.enter(at).expect("a try that comes to nothing"));
    let _try = doors.enter(at).expect("another");
    let shut = || doors.shut_now().pop().expect("it is shut");
    assert_eq!(shut().tries, 0);
    denied(&doors, who(), Denied::All);
    assert!(shut().tries == 1 && shut().next_in > LONG);
    denied(&doors, who(), Denied::All);
    assert_eq!(shut().tries, 1, "one that was on its way before says nothing new");
}
