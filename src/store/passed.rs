//! How far claims have come.

use time::OffsetDateTime;

/// Until when what is due has been taken, of batches and else. None: nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    pub single: Option<OffsetDateTime>,
    pub batched: Option<OffsetDateTime>,
}

impl Passed {
    /// By a claim that took these: whether each is of a batch, and when it was due. A claim takes what was due first.
    pub(super) fn by(taken: impl Iterator<Item = (bool, OffsetDateTime)>) -> Self {
        taken.fold(Passed::default(), |passed, (batched, due)| {
            let one = match batched {
                true => Passed {
                    batched: Some(due),
                    single: None,
                },
                false => Passed {
                    single: Some(due),
                    batched: None,
                },
            };
            passed.on(one)
        })
    }

    pub fn at_most(self, until: OffsetDateTime) -> Self {
        Passed {
            single: self.single.map(|passed| passed.min(until)),
            batched: self.batched.map(|passed| passed.min(until)),
        }
    }

    /// Further, by what another claim has taken.
    pub fn on(self, taken: Passed) -> Self {
        Passed {
            single: self.single.max(taken.single),
            batched: self.batched.max(taken.batched),
        }
    }
}
