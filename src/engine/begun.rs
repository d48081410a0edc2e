//! Whether an attempt's effect has begun, agreed between the one who waits for it and the one who lets it act.
//!
//! An attempt that is given up before its effect began changed nothing and spends nothing; one that was under way is
//! *unknown*. Exactly one of the two sides wins.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

#[derive(Clone, Debug, Default)]
pub(super) struct Begun(Arc<AtomicU8>);

impl Begun {
    /// The effect may begin, unless whoever waited has given up.
    pub(super) fn begin(&self) -> bool {
        self.decide(BEGUN)
    }

    /// Nobody waits any more; `false` if the effect has begun.
    pub(super) fn give_up(&self) -> bool {
        self.decide(GIVEN_UP)
    }

    fn decide(&self, on: u8) -> bool {
        self.0
            .compare_exchange(WAITING, on, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_does_not_begin_and_what_began_is_not_given_up() {
        let first = Begun::default();
        assert!(first.clone().give_up() && !first.begin());
        let second = Begun::default();
        assert!(second.clone().begin() && !second.give_up());
    }
}
