//! May an effect on this system start now? A concurrency limit and a circuit breaker for each system.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::doors::Doors;
use super::pause::Pause;
use crate::connectors::Systems;
use crate::deletion::Verdict;
use crate::plan::SystemName;
use crate::telemetry::Instruments;

pub(super) struct Limits {
    systems: HashMap<SystemName, Arc<SystemLimit>>,
}

pub(super) struct SystemLimit {
    name: String,
    permits: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
    failures: u32,
    pause: Duration,
    instruments: Instruments,
    doors: Arc<Doors>,
}

/// Closed, open until a moment, or half open: one attempt is let through to try.
#[derive(Debug, Default)]
struct Breaker {
    in_a_row: u32,
    open: Option<Pause>,
    trying: bool,
}

/// The right to let one effect start. Given back when dropped; what the attempt said is told to the breaker.
pub(super) struct Permit {
    limit: Arc<SystemLimit>,
    trial: bool,
    _held: OwnedSemaphorePermit,
}

pub(super) enum Now {
    Granted(Permit),
    /// All permits are out; wait for one.
    Busy,
    /// The breaker is open.
    Later(Duration),
}

impl Limits {
    pub(super) fn new(systems: &Systems, instruments: Instruments) -> Self {
        let limits = systems.bounds().into_iter().map(|bounds| {
            let limit = SystemLimit {
                name: bounds.name.0.clone(),
                permits: Arc::new(Semaphore::new(bounds.limit)),
                breaker: Mutex::default(),
                failures: bounds.breaker_failures,
                pause: bounds.breaker_pause,
                doors: Arc::new(Doors::new(
                    bounds.name.0.clone(),
                    bounds.breaker_pause,
                    instruments.clone(),
                )),
                instruments: instruments.clone(),
            };
            (bounds.name, Arc::new(limit))
        });
        Limits {
            systems: limits.collect(),
        }
    }

    pub(super) fn of(&self, system: &SystemName) -> Option<&Arc<SystemLimit>> {
        self.systems.get(system)
    }

    /// Of every system.
    pub(super) fn doors(&self) -> impl Iterator<Item = (&SystemName, &Arc<Doors>)> {
        self.systems.iter().map(|(name, limit)| (name, &limit.doors))
    }
}

impl SystemLimit {
    pub(super) fn doors(&self) -> &Arc<Doors> {
        &self.doors
    }

    pub(super) fn try_now(self: &Arc<Self>) -> Now {
        match self.permits.clone().try_acquire_owned() {
            Ok(held) => self.admit(held),
            Err(_) => Now::Busy,
        }
    }

    /// Waits for a permit, in turn.
    pub(super) async fn in_turn(self: &Arc<Self>) -> Now {
        match self.permits.clone().acquire_owned().await {
            Ok(held) => self.admit(held),
            // Never closed; and if it were, later is the safe answer.
            Err(_) => Now::Later(self.pause),
        }
    }

    /// For how long nothing may start here, for whoever takes a permit only later: `None` if it may be tried now.
    pub(super) fn shut_for(&self) -> Option<Duration> {
        let mut breaker = self.breaker();
        let trying = breaker.trying;
        let open = breaker.open.as_mut()?;
        (trying || !open.is_over()).then(|| open.stay_away())
    }

    fn admit(self: &Arc<Self>, held: OwnedSemaphorePermit) -> Now {
        let mut breaker = self.breaker();
        let trying = breaker.trying;
        let trial = match &mut breaker.open {
            None => false,
            Some(open) if trying || !open.is_over() => return Now::Later(open.stay_away()),
            Some(_) => {
                breaker.trying = true;
                true
            }
        };
        Now::Granted(Permit {
            limit: self.clone(),
            trial,
            _held: held,
        })
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self, trouble: Option<bool>, trial: bool) {
        let mut breaker = self.breaker();
        match trouble {
            Some(true) => {
                breaker.in_a_row += 1;
                // Trouble after the pause opens it anew, also where it was met without a permit, and so without a trial.
                let enough = breaker.in_a_row >= self.failures;
                match &mut breaker.open {
                    Some(open) if trial || (enough && open.is_over()) => open.again(),
                    None if enough => {
                        breaker.open = Some(Pause::begin(self.pause));
                        self.instruments.breaker(&self.name, true);
                        tracing::warn!(
                            system = self.name,
                            "breaker opened: this system fails again and again"
                        );
                    }
                    _ => {}
                }
            }
            Some(false) => {
                breaker.in_a_row = 0;
                if breaker.open.take().is_some() {
                    self.instruments.breaker(&self.name, false);
                    tracing::info!(system = self.name, "breaker closed: this system answers again");
                }
            }
            None => {}
        }
        if trial {
            breaker.trying = false;
        }
    }
}

impl SystemLimit {
    /// What was met there without a permit for it: a read beside the step, or whom a verdict was blamed on.
    pub(super) fn met(&self, verdict: &Verdict) {
        self.told(verdict.is_trouble(), false);
    }
}

impl Permit {
    pub(super) fn said(&self, verdict: &Verdict) {
        self.limit.told(verdict.is_trouble(), self.trial);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // A trial that was never told how it went must not keep the breaker open for good.
        if self.trial {
            self.limit.breaker().trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(permits: usize, failures: u32, pause: Duration) -> Arc<SystemLimit> {
        Arc::new(SystemLimit {
            name: "cloud".into(),
            permits: Arc::new(Semaphore::new(permits)),
            breaker: Mutex::default(),
            failures,
            pause,
            instruments: Instruments::default(),
            doors: Arc::new(Doors::new("cloud".into(), pause, Instruments::default())),
        })
    }

    fn granted(now: Now) -> Permit {
        match now {
            Now::Granted(permit) => permit,
            Now::Busy => panic!("busy"),
            Now::Later(left) => panic!("open for {left:?}"),
        }
    }

    #[test]
    fn invariant_11_no_more_effects_at_once_than_the_limit() {
        let limit = limit(1, 5, Duration::from_secs(60));
        let permit = granted(limit.try_now());
        assert!(matches!(limit.try_now(), Now::Busy));
        drop(permit);
        granted(limit.try_now());
    }

    #[test]
    fn failures_in_a_row_open_the_breaker_and_one_success_between_does_not() {
        let limit = limit(9, 2, Duration::from_secs(60));
        for verdict in [Verdict::again("x"), Verdict::done(), Verdict::again("x")] {
            granted(limit.try_now()).said(&verdict);
        }
        granted(limit.try_now()).said(&Verdict::unknown("x"));
        assert!(matches!(limit.try_now(), Now::Later(_)));
    }

    /// After a takeover every open intent is looked after at once, and "repeating it is harmless" is said of all.
    #[test]
    fn waiting_for_what_has_not_come_yet_never_opens_the_breaker() {
        let limit = limit(9, 2, Duration::from_secs(60));
        for _ in 0..9 {
            granted(limit.try_now()).said(&Verdict::not_yet("x"));
        }
        granted(limit.try_now()).said(&Verdict::again("x"));
        assert!(matches!(limit.try_now(), Now::Granted(_)));
    }

    #[test]
    fn after_the_pause_one_trial_decides() {
        let limit = limit(9, 1, Duration::ZERO);
        granted(limit.try_now()).said(&Verdict::again("x"));
        let trial = granted(limit.try_now());
        assert!(matches!(limit.try_now(), Now::Later(_)), "one at a time");
        trial.said(&Verdict::done());
        drop(trial);
        let (_a, _b) = (granted(limit.try_now()), granted(limit.try_now()));
    }

    /// What is begun in groups takes its permit later: it must not be begun only to wait for an open breaker.
    #[test]
    fn trouble_met_elsewhere_shuts_a_system_and_an_answer_there_opens_it_again() {
        let limit = limit(9, 2, Duration::from_secs(60));
        assert_eq!(limit.shut_for(), None);
        let is_shut = || {
            limit
                .shut_for()
                .is_some_and(|left| left > Duration::from_secs(50))
        };
        limit.met(&Verdict::again("x"));
        limit.met(&Verdict::unknown("x"));
        assert!(is_shut());
        limit.breaker().open.as_mut().expect("open").cut_short();
        assert_eq!(limit.shut_for(), None, "the pause is over");
        limit.met(&Verdict::again("x"));
        assert!(is_shut(), "one more trouble is enough");
        limit.met(&Verdict::done());
        assert_eq!(limit.shut_for(), None);
    }
}
