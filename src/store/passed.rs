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
        let mut passed = Passed::default();
        for (batched, due) in taken {
            let last = match batched {
                true => &mut passed.batched,
                false => &mut passed.single,
            };
            *last = (*last).max(Some(due));
        }
        passed
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
