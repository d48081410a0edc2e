//! One outage is one sentence, however many parts of the process meet it; and one more when the last is over it. What it
//! turns out to be later (sessions that end, then no room for new ones) is said as well, once for each cause.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::chain;

/// An outage of more faces than this has been described well enough.
const CAUSES_MAX: usize = 5;

type Cause = fn(&(dyn Error + 'static)) -> String;

/// Shared by all that use the same outside thing.
#[derive(Clone, Debug)]
pub struct Outage {
    of: &'static str,
    /// What two errors have in common that are the same trouble.
    cause: Cause,
    failing: Arc<AtomicUsize>,
    /// Said already, of the outage that lasts.
    causes: Arc<Mutex<BTreeSet<String>>>,
}

/// One part's view of it.
#[derive(Debug)]
pub struct Voice {
    outage: Outage,
    doing: &'static str,
    failing: bool,
}

impl Outage {
    pub fn new(of: &'static str, cause: Cause) -> Self {
        Outage {
            of,
            cause,
            failing: Arc::default(),
            causes: Arc::default(),
        }
    }

    /// Whether anybody is in trouble now.
    pub fn lasts(&self) -> bool {
        self.failing.load(Ordering::SeqCst) > 0
    }

    /// Whether it is the first time that this cause is met in this outage.
    fn is_new(&self, error: &(dyn Error + 'static)) -> bool {
        let mut causes = self.causes();
        causes.len() < CAUSES_MAX && causes.insert((self.cause)(error))
    }

    fn causes(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.causes.lock().unwrap_or_else(PoisonError::into_inner)
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
        let new = self.outage.is_new(error);
        let (of, doing, error) = (self.outage.of, self.doing, chain(error));
        match (said, new) {
            (false, _) => tracing::warn!(doing, error, "{of} is in trouble; going on trying"),
            (true, true) => tracing::warn!(doing, error, "{of} is still in trouble, and now by this"),
            (true, false) => tracing::debug!(doing, error, "{of} is still in trouble"),
        }
    }

    pub fn works(&mut self) {
        if self.end() {
            tracing::info!("{} works again", self.outage.of);
        }
    }

    /// Whether this was the last part in trouble.
    fn end(&mut self) -> bool {
        let last =
            std::mem::take(&mut self.failing) && self.outage.failing.fetch_sub(1, Ordering::SeqCst) == 1;
        if last {
            self.outage.causes().clear();
        }
        last
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
        let outage = Outage::new("Postgres", |error| error.to_string());
        let (mut one, mut two, mut gone) = (outage.voice("a"), outage.voice("b"), outage.voice("c"));
        let error = std::io::Error::other("x");
        for voice in [&mut one, &mut two, &mut gone] {
            voice.failed(&error);
            voice.failed(&error);
        }
        drop(gone);
        assert!(outage.lasts());
        assert!(!one.end() && two.end());
        assert!(!two.end() && !outage.lasts(), "it is over");
        one.failed(&error);
        assert!(one.end(), "another one");
    }

    #[test]
    fn another_cause_is_said_once_and_so_many_at_most() {
        let outage = Outage::new("Postgres", |error| error.to_string());
        let mut voice = outage.voice("a");
        let error = |n: usize| std::io::Error::other(format!("cause {n}"));
        voice.failed(&error(0));
        assert!(!outage.is_new(&error(0)) && outage.is_new(&error(1)));
        assert!(!outage.is_new(&error(1)));
        let new = (2..20).filter(|n| outage.is_new(&error(*n))).count();
        assert_eq!(new, CAUSES_MAX - 2);
        voice.end();
        assert!(outage.is_new(&error(0)), "another outage");
    }
}
