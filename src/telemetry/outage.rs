//! One outage is one sentence, however many parts of the process meet it; and one more when the last is over it.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::chain;

/// Shared by all that use the same outside thing.
#[derive(Clone, Debug)]
pub struct Outage {
    of: &'static str,
    failing: Arc<AtomicUsize>,
}

/// One part's view of it.
#[derive(Debug)]
pub struct Voice {
    outage: Outage,
    doing: &'static str,
    failing: bool,
}

impl Outage {
    pub fn new(of: &'static str) -> Self {
        Outage {
            of,
            failing: Arc::default(),
        }
    }

    pub fn voice(&self, doing: &'static str) -> Voice {
        Voice {
            outage: self.clone(),
            doing,
            failing: false,
        }
    }
}

impl Voice {
    pub fn failed(&mut self, error: &(dyn Error + 'static)) {
        let said = std::mem::replace(&mut self.failing, true)
            || self.outage.failing.fetch_add(1, Ordering::SeqCst) > 0;
        let (of, doing, error) = (self.outage.of, self.doing, chain(error));
        if said {
            tracing::debug!(doing, error, "{of} is still in trouble");
        } else {
            tracing::warn!(doing, error, "{of} is in trouble; going on trying");
        }
    }

    pub fn works(&mut self) {
        if self.end() {
            tracing::info!("{} works again", self.outage.of);
        }
    }

    /// Whether this was the last part in trouble.
    fn end(&mut self) -> bool {
        std::mem::take(&mut self.failing) && self.outage.failing.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_begins_it_and_the_last_ends_it() {
        let outage = Outage::new("Postgres");
        let (mut one, mut two, mut gone) = (outage.voice("a"), outage.voice("b"), outage.voice("c"));
        let error = std::io::Error::other("x");
        for voice in [&mut one, &mut two, &mut gone] {
            voice.failed(&error);
            voice.failed(&error);
        }
        drop(gone);
        assert!(!one.end() && two.end());
        assert!(!two.end(), "it is over");
        one.failed(&error);
        assert!(one.end(), "another one");
    }
}
