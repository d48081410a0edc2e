//! A model of the protocol, searched to its end with `stateright`.
//!
//! It drives the functions that the engine drives: `decide::next` and `State::apply` on every journal, `decide::place` on
//! every request. What is not a pure function is a seam, a few lines that stand for a part of the product and name it:
//! a fenced batch, a claim, a takeover, a heartbeat, an effect with its hard timeout, an acknowledgement, the relay.
//! What a seam relies on, it looks up in the product's own source (`guards.rs`).
//!
//! Time is ticks. A lease lasts two, a step one. It passes while somebody is silent, and never past an effect that a
//! process which is well has under way. What can go wrong is a budget, so every story has an end, and every end must be
//! a good one: all that was accepted has ended or is parked, and all who asked have heard.

mod batch;
mod beside;
mod cluster;
mod drawn;
mod effects;
mod guards;
mod intake;
mod luck;
mod outside;
mod process;
mod projected;
mod protocol;
mod words;

use std::io::Write as _;
use std::time::Instant;

use stateright::{Checker, Model};

use drawn::Chance;
use guards::{Guard, Guards};
use luck::Luck;
use protocol::Protocol;

/// A request in the broker's queue: for which target, and under which key.
#[derive(Clone, Copy, Debug)]
struct Message {
    target: u8,
    key: Option<u8>,
}

const fn keyed(target: u8, key: u8) -> Message {
    Message {
        target,
        key: Some(key),
    }
}

const fn keyless(target: u8) -> Message {
    Message { target, key: None }
}

/// One request of one target.
const ALONE: &[Message] = &[keyed(0, 0)];
/// It comes twice under its key, and once more without one.
const COPIES: &[Message] = &[keyed(0, 0), keyed(0, 0), keyless(0)];
/// It comes twice under its key.
const A_COPY: &[Message] = &[keyed(0, 0), keyed(0, 0)];
/// Two targets.
const TWO: &[Message] = &[keyed(0, 0), keyed(1, 1)];

/// Two targets, and one of the requests twice.
const TWO_AND_A_COPY: &[Message] = &[keyed(0, 0), keyed(1, 1), keyed(0, 0)];

/// Drawn in `make test`, of which seed, and in `make model`, of a new one each time.
const DRAWN: usize = 300_000;
const DRAWN_SEED: u64 = 5;
const DRAWN_LONG: usize = 30_000_000;

struct Bounds {
    name: &'static str,
    messages: &'static [Message],
    /// It begins when all are admitted in one batch: how they come to be is searched elsewhere.
    admitted: bool,
    /// An admission may carry the first intent.
    at_once: bool,
    one_way: bool,
    beside: bool,
    luck: Luck,
}

const fn bounds(name: &'static str, messages: &'static [Message], luck: Luck) -> Bounds {
    Bounds {
        name,
        messages,
        admitted: false,
        at_once: true,
        one_way: false,
        beside: false,
        luck,
    }
}

/// One deletion and its copies, and any number of others in the same lanes.
const fn beside_others(name: &'static str, luck: Luck) -> Bounds {
    Bounds {
        one_way: true,
        beside: true,
        ..admitted(bounds(name, A_COPY, luck))
    }
}

const fn admitted(bounds: Bounds) -> Bounds {
    Bounds {
        admitted: true,
        ..bounds
    }
}

/// What one story of the long searches has at once.
const THE_WORST: Luck = luck([2, 1, 1, 0, 0, 1]);
const EVERYTHING: Luck = luck([2, 1, 1, 1, 1, 1]);
const ALL_OF_IT: u8 = EVERYTHING.most;

/// So many of all that can go wrong.
const fn any(most: u8) -> Luck {
    Luck { most, ..EVERYTHING }
}

/// All that can go wrong, and so many of it in one story.
const fn everything(name: &'static str, messages: &'static [Message], most: u8) -> Bounds {
    Bounds {
        one_way: true,
        ..bounds(name, messages, any(most))
    }
}

/// In this order: crashes, stalls, lost answers, unknown outcomes, lost publishes, cancels.
const fn luck([crashes, stalls, lost_answers, unknowns, lost_publishes, cancels]: [u8; 6]) -> Luck {
    Luck {
        crashes,
        stalls,
        lost_answers,
        unknowns,
        lost_publishes,
        cancels,
        most: crashes + stalls + lost_answers + unknowns + lost_publishes + cancels,
    }
}

/// Each is searched to its end; together they have every three faults at once of one deletion beside any others; of two in
/// full, each one and two pairs.
const SHORT: &[Bounds] = &[
    bounds(
        "two crashes, an unknown outcome, a cancel",
        ALONE,
        luck([2, 0, 0, 1, 0, 1]),
    ),
    bounds("a crash, a stall, a cancel", ALONE, luck([1, 1, 0, 0, 0, 1])),
    bounds(
        "a stall, a lost answer, an unknown outcome",
        ALONE,
        luck([0, 1, 1, 1, 0, 0]),
    ),
    bounds(
        "a crash, a lost answer, a lost publish, a cancel",
        ALONE,
        luck([1, 0, 1, 0, 1, 1]),
    ),
    bounds(
        "a stall, an unknown outcome, a lost publish",
        ALONE,
        luck([0, 1, 0, 1, 1, 0]),
    ),
    bounds("copies of one request, a crash", COPIES, luck([1, 0, 0, 0, 0, 0])),
    bounds(
        "copies of one request, a lost answer, a cancel",
        COPIES,
        luck([0, 0, 1, 0, 0, 1]),
    ),
    admitted(bounds(
        "two deletions, a crash, a cancel",
        TWO,
        luck([1, 0, 0, 0, 0, 1]),
    )),
    admitted(bounds(
        "two deletions, a lost answer, a cancel",
        TWO,
        luck([0, 0, 1, 0, 0, 1]),
    )),
    admitted(everything(
        "any three of all that can go wrong, copies",
        COPIES,
        3,
    )),
    admitted(everything(
        "any of all that can go wrong, two deletions and a copy",
        TWO_AND_A_COPY,
        1,
    )),
    beside_others(
        "any three of all that can go wrong, a copy, beside others",
        any(3),
    ),
];

/// `make model`: the same with more at once; minutes, not seconds.
const LONG: &[Bounds] = &[
    bounds("two crashes, a stall, a cancel", ALONE, luck([2, 1, 0, 0, 0, 1])),
    bounds("two crashes, all but a stall", ALONE, luck([2, 0, 1, 1, 1, 1])),
    bounds("a crash, a stall, a lost answer", ALONE, luck([1, 1, 1, 0, 0, 0])),
    bounds(
        "copies of one request, a crash, a lost answer",
        COPIES,
        luck([1, 0, 1, 0, 0, 0]),
    ),
    bounds(
        "copies of one request, a crash, a cancel",
        COPIES,
        luck([1, 0, 0, 0, 0, 1]),
    ),
    bounds(
        "two requests on their way, a crash",
        TWO,
        luck([1, 0, 0, 0, 0, 0]),
    ),
    admitted(bounds("two deletions, a stall", TWO, luck([0, 1, 0, 0, 0, 0]))),
    admitted(everything("any four of all that can go wrong, copies", COPIES, 4)),
    admitted(everything(
        "any two of all that can go wrong, two deletions and a copy",
        TWO_AND_A_COPY,
        2,
    )),
    everything(
        "any of all that can go wrong, on their way, two deletions and a copy",
        TWO_AND_A_COPY,
        1,
    ),
    beside_others("any four of all that can go wrong, a copy, beside others", any(4)),
    beside_others(
        "two crashes, a stall, a lost answer, a cancel, a copy, beside others",
        THE_WORST,
    ),
];

impl Protocol {
    fn of(bounds: &Bounds, guards: Guards) -> Self {
        Protocol {
            messages: bounds.messages,
            admitted: bounds.admitted,
            at_once: bounds.at_once,
            luck: bounds.luck,
            one_way: bounds.one_way,
            beside: bounds.beside,
            guards,
        }
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "model: {line}");
}

/// Every state there is. The name of the property that does not hold, with the story that shows it.
fn search(bounds: &Bounds, guards: Guards) -> Result<usize, String> {
    verdict(
        Protocol::of(bounds, guards)
            .checker()
            .threads(2)
            .spawn_bfs()
            .join(),
    )
}

fn verdict(checker: impl Checker<Protocol>) -> Result<usize, String> {
    match checker.discoveries().into_iter().next() {
        None => Ok(checker.unique_state_count()),
        Some((property, path)) => {
            let missing = format!("{:?}", checker.model().guards);
            let harm = path.last_state().harm;
            let story: Vec<String> = path.into_actions().iter().map(|act| format!("{act:?}")).collect();
            Err(format!("{property}: {harm:?}; {missing}\n{}", story.join("\n")))
        }
    }
}

#[test]
fn invariant_03_no_story_within_the_bounds_comes_to_harm() {
    let all = if is_long() { LONG } else { SHORT };
    for bounds in all {
        let began = Instant::now();
        match search(bounds, Guards::of_the_product()) {
            Ok(states) => say(&format!(
                "{states} states, {}: no harm, every end is good ({:.1?})",
                bounds.name,
                began.elapsed()
            )),
            Err(story) => panic!("{}: {story}", bounds.name),
        }
    }
}

/// All that can go wrong in one story: two crashes, a stall, a lost answer, an unknown outcome, a lost publish and a cancel, of
/// two deletions of which one is asked for twice. There are too many such stories to tell all of them.
#[test]
fn invariant_03_no_story_that_is_drawn_by_chance_comes_to_harm() {
    let (seed, states) = match is_long() {
        true => (rand::random(), DRAWN_LONG),
        false => (DRAWN_SEED, DRAWN),
    };
    let began = Instant::now();
    match draw(seed, states, Guards::of_the_product()) {
        Ok(states) => say(&format!(
            "{states} states, stories with everything in them, drawn by chance from seed {seed}: no harm ({:.1?})",
            began.elapsed()
        )),
        Err(story) => panic!("seed {seed}: {story}"),
    }
}

fn draw(seed: u64, states: usize, guards: Guards) -> Result<usize, String> {
    let model = Protocol::of(&everything("everything", TWO_AND_A_COPY, ALL_OF_IT), guards);
    let checker = model.checker().threads(2).target_state_count(states);
    verdict(checker.spawn_simulation(seed, Chance).join())
}

/// The model can fail: each guard that is taken out is missed.
#[test]
fn every_guard_is_needed() {
    assert_eq!(format!("{:?}", Guards::of_the_product()), "missing guards: []");
    Guards::each_stands_once();
    for guard in Guards::all() {
        let harm = search(&SHORT[soonest(guard)], Guards::without(guard)).err();
        let story = harm.unwrap_or_else(|| panic!("nothing comes of taking {guard:?} out"));
        say(&format!(
            "without {guard:?}: {}",
            story.split(';').next().unwrap_or_default()
        ));
    }
}

/// In which of the short searches a guard is soonest missed.
fn soonest(guard: Guard) -> usize {
    match guard {
        Guard::Epoch | Guard::Lease | Guard::TargetGeneration => 1,
        Guard::TenureAndSequence => 2,
        Guard::IntentFirst | Guard::AckAfterCommit | Guard::Sweep | Guard::Confirm => 3,
        Guard::Keys | Guard::Slot | Guard::Folded => 5,
        Guard::Generation | Guard::AdopterWaits => 0,
    }
}

/// What the searches of one deletion beside others are worth.
#[test]
fn invariant_03_one_of_two_meets_nothing_but_what_others_do() {
    let most = if is_long() { 2 } else { 1 };
    let of = |messages, beside| {
        let bounds = admitted(bounds("", messages, any(most)));
        // Admission is one batch for both of two, and so are their first records: they are apart in what follows.
        let at_once = false;
        Protocol::of(
            &Bounds {
                beside,
                at_once,
                ..bounds
            },
            Guards::of_the_product(),
        )
    };
    let two = of(TWO_AND_A_COPY, false);
    let (states, unforeseen) = projected::unforeseen(&two, &of(A_COPY, true));
    assert_eq!(unforeseen, None, "after {states}");
    say(&format!(
        "{states} states of two deletions, any {most} of all that can go wrong: to each of the two, what others do"
    ));
    let (_, unforeseen) = projected::unforeseen(&two, &of(A_COPY, false));
    assert_ne!(
        unforeseen, None,
        "one that is alone meets all that one of two does"
    );
}

fn is_long() -> bool {
    std::env::var_os("SEXTON_MODEL_LONG").is_some()
}
