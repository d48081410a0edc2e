//! What must be true of everything that a stranger sends, whatever it is: the readers of requests, plans and settings
//! never panic, take in only what is within all bounds, and say in one sentence what is wrong with the rest.
//!
//! One place for both: `make test` tries them on near-misses and on noise (`tests/it/malformed`), the fuzz targets beside
//! this folder on whatever leads anywhere new.

mod lexed;
mod plans;
mod requests;
mod settings;

pub use plans::plan;
pub use requests::message;
pub use settings::settings;

/// What became of it, for whoever counts: properties that only ever see one side hold nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judged {
    TakenIn,
    TurnedAway(&'static str),
}

/// Stands where a person's data may stand; no sentence may repeat it.
pub const SECRET: &str = "Zq7-Secret";

/// One sentence for a person and a log: on one line, not without end, and without what was sent.
fn is_a_sentence(text: &str) {
    assert!(
        !text.is_empty() && text.len() < 4_000,
        "{} bytes: {text}",
        text.len()
    );
    assert!(!text.contains(SECRET), "what was sent is repeated: {text}");
}
