//! What may still go wrong in a story: a budget, so that every story has an end.

/// What may still go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Luck {
    pub(super) crashes: u8,
    pub(super) stalls: u8,
    pub(super) lost_answers: u8,
    pub(super) unknowns: u8,
    pub(super) lost_publishes: u8,
    pub(super) cancels: u8,
    /// Of all of them together.
    pub(super) most: u8,
}

impl Luck {
    fn sum(&self) -> u8 {
        self.crashes + self.stalls + self.lost_answers + self.unknowns + self.lost_publishes + self.cancels
    }

    /// One of them has just gone wrong.
    pub(super) fn is_counted(&mut self, before: &Luck) {
        self.most -= before.sum() - self.sum();
        if self.most == 0 {
            *self = Luck::default();
        }
    }

    pub(super) fn is_used_up(&self) -> bool {
        *self == Luck::default()
    }

    /// All that may go wrong by the other may go wrong by this.
    pub(super) fn has(&self, other: &Luck) -> bool {
        let all = |of: &Luck| {
            [
                of.crashes,
                of.stalls,
                of.lost_answers,
                of.unknowns,
                of.lost_publishes,
                of.cancels,
                of.most,
            ]
        };
        all(self)
            .iter()
            .zip(all(other))
            .all(|(mine, others)| *mine >= others)
    }
}
