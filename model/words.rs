//! A journal in small words, and the engine's own functions on it: [`State::replay`] and [`decide::next`].

use std::cell::RefCell;
use std::collections::HashMap;

use sexton::decide::{self, Circumstances, Move, Signal};
use sexton::deletion::{
    Action, Aim, CompletedResult, End, Entry, ParkReason, Phase, SignalKind, State, Turn, Verdict,
};
use sexton::plan::{Plan, Values, parse_plan};
use time::OffsetDateTime;

/// An entry of a journal, as far as decisions go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Word {
    Looked {
        found: bool,
        known: bool,
    },
    Intent(Attempt),
    Verdict {
        attempt: Attempt,
        said: Said,
        found_out: bool,
    },
    Cancel {
        heeded: bool,
    },
    Turned,
    Ended(Ended),
    Parked,
}

/// One attempt at one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Attempt {
    pub(super) step: u8,
    pub(super) undo: bool,
    pub(super) number: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Said {
    Done,
    Gone,
    NotYet,
    Unknown,
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Ended {
    Deleted,
    AlreadyGone,
    Absent,
    Cancelled,
}

/// What the engine would do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Note(Vec<Word>),
    Look,
    Run(Attempt),
    /// The attempt, and whether nobody has said anything of it yet.
    Find(Attempt, bool),
    Rest,
    End(Ended),
    Nothing,
    /// The journal does not replay: something was written that must not be.
    Broken,
}

pub(super) const PIVOT: u8 = 2;

/// One step that can be taken back, the pivot, one after it.
const PLAN: &str = "
target = \"model.thing\"
on     = \"db\"
[lookup]
sql  = \"select kind from things where id = :id\"
none = \"absent\"
[[step]]
name = \"fence\"
sql  = \"update things set fenced = true, generation = :generation where id = :id and generation < :generation\"
undo = \"update things set fenced = false, generation = :generation where id = :id and generation < :generation\"
[[step]]
name  = \"mark\"
pivot = true
sql   = \"update things set marked = true where id = :id and not marked\"
[[step]]
name = \"finish\"
sql  = \"delete from things where id = :id\"
";

thread_local! {
    static PARSED: Plan = parse_plan(PLAN, "the model's plan").expect("a plan");
    static DECIDED: RefCell<HashMap<(Vec<Word>, bool), Decision>> = RefCell::default();
}

/// Pure, so it is asked once for each journal.
pub(super) fn decided(words: &[Word], heard: bool) -> Decision {
    DECIDED.with_borrow_mut(|known| {
        known
            .entry((words.to_vec(), heard))
            .or_insert_with(|| PARSED.with(|plan| decide(plan, words, heard)))
            .clone()
    })
}

fn decide(plan: &Plan, words: &[Word], heard: bool) -> Decision {
    let entries: Vec<Entry> = words.iter().map(entry).collect();
    let Ok(state) = State::replay(plan.steps.len(), &entries) else {
        return Decision::Broken;
    };
    let signals: &[Signal] = match heard {
        true => &[Signal {
            id: 1,
            kind: SignalKind::Cancel,
        }],
        false => &[],
    };
    let circumstances = Circumstances {
        now: OffsetDateTime::UNIX_EPOCH,
        action: Action::Delete,
        has_window: false,
        deadline: None,
        signals,
        given: &Values::new(),
    };
    match decide::next(plan, &state, &circumstances) {
        Move::Note(entries) => Decision::Note(entries.iter().map(word).collect()),
        Move::Look => Decision::Look,
        Move::Run { step, aim, attempt } => Decision::Run(small(step, aim, attempt)),
        Move::Find { step, aim, attempt } => {
            let last = state
                .track(step.into(), aim)
                .and_then(|track| track.last.as_ref());
            let silent = !matches!(last, Some(Verdict::Unknown { .. }));
            Decision::Find(small(step, aim, attempt), silent)
        }
        Move::Wait { .. } | Move::Rest => Decision::Rest,
        Move::End(end) => Decision::End(ended(&end)),
        Move::Nothing => Decision::Nothing,
    }
}

/// Whether it is on its way back, for whoever asks for the same target meanwhile.
pub(super) fn is_unwinding(words: &[Word]) -> bool {
    let entries: Vec<Entry> = words.iter().map(entry).collect();
    let state = PARSED.with(|plan| State::replay(plan.steps.len(), &entries));
    state.is_ok_and(|state| matches!(state.phase, Phase::Unwinding(_)))
}

fn small(step: u16, aim: Aim, attempt: u32) -> Attempt {
    Attempt {
        step: u8::try_from(step).expect("few steps"),
        undo: aim == Aim::Undo,
        number: u8::try_from(attempt).expect("few attempts"),
    }
}

fn ended(end: &End) -> Ended {
    match end {
        End::Completed { result } => match result {
            CompletedResult::Deleted => Ended::Deleted,
            CompletedResult::AlreadyGone => Ended::AlreadyGone,
            CompletedResult::Absent => Ended::Absent,
        },
        End::Cancelled => Ended::Cancelled,
        other => panic!("the model's plan does not end {other:?}"),
    }
}

fn word(entry: &Entry) -> Word {
    match entry {
        Entry::Signalled { heeded, .. } => Word::Cancel { heeded: *heeded },
        Entry::Turned { .. } => Word::Turned,
        Entry::Parked { .. } => Word::Parked,
        other => panic!("the model's plan does not note {other:?}"),
    }
}

fn entry(word: &Word) -> Entry {
    let aim = |attempt: &Attempt| if attempt.undo { Aim::Undo } else { Aim::Do };
    match word {
        Word::Looked { found, known } => Entry::Looked {
            facts: found.then(Values::new),
            known: *known,
        },
        Word::Intent(attempt) => Entry::Intent {
            step: attempt.step.into(),
            aim: aim(attempt),
            attempt: attempt.number.into(),
        },
        Word::Verdict {
            attempt,
            said,
            found_out,
        } => Entry::Verdict {
            step: attempt.step.into(),
            aim: aim(attempt),
            attempt: attempt.number.into(),
            verdict: match said {
                Said::Done => Verdict::done(),
                Said::Gone => Verdict::AlreadyGone,
                Said::NotYet => Verdict::not_yet("it is not there"),
                Said::Unknown => Verdict::unknown("nobody heard"),
                Said::Stopped => Verdict::Stopped,
            },
            found_out: *found_out,
            due: None,
        },
        Word::Cancel { heeded } => Entry::Signalled {
            id: 1,
            signal: SignalKind::Cancel,
            heeded: *heeded,
        },
        Word::Turned => Entry::Turned { why: Turn::Cancel },
        Word::Ended(end) => Entry::Ended {
            end: match end {
                Ended::Cancelled => End::Cancelled,
                Ended::Deleted => completed(CompletedResult::Deleted),
                Ended::AlreadyGone => completed(CompletedResult::AlreadyGone),
                Ended::Absent => completed(CompletedResult::Absent),
            },
        },
        Word::Parked => Entry::Parked {
            reason: ParkReason::Unreadable { why: String::new() },
        },
    }
}

fn completed(result: CompletedResult) -> End {
    End::Completed { result }
}
