//! How many outcomes had come, moment by moment.

use std::time::{Duration, Instant};

use crate::Fail;
use crate::listening::Listening;

pub(crate) struct Samples {
    began: Instant,
    /// Seconds since then, and outcomes until then.
    all: Vec<(f64, usize)>,
}

impl Samples {
    pub(crate) fn begin(listening: &Listening) -> Result<Self, Fail> {
        Ok(Samples {
            began: Instant::now(),
            all: vec![(0.0, listening.count()?)],
        })
    }

    /// One so often for so long, each with what `also` looks at besides.
    pub(crate) async fn take(
        &mut self,
        listening: &Listening,
        every: Duration,
        lasts: Duration,
        mut also: impl AsyncFnMut(f64) -> Result<(), Fail>,
    ) -> Result<(), Fail> {
        let until = tokio::time::Instant::now() + lasts;
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        while tokio::time::Instant::now() < until {
            tokio::select! {
                _ = ticks.tick() => {}
                () = tokio::time::sleep_until(until) => {}
            }
            let at = self.began.elapsed().as_secs_f64();
            self.all.push((at, listening.count()?));
            also(at).await?;
        }
        Ok(())
    }

    /// The place of the last sample, to count from.
    pub(crate) fn last(&self) -> usize {
        self.all.len() - 1
    }

    pub(crate) fn rate_since(&self, place: usize) -> f64 {
        self.rate(place, self.last())
    }

    /// Of the time between two moments, in seconds.
    pub(crate) fn rate_between(&self, from: f64, to: f64) -> f64 {
        let before = |moment: f64| {
            let after = self.all.partition_point(|(at, _)| *at <= moment);
            after.saturating_sub(1)
        };
        self.rate(before(from), before(to))
    }

    /// The rate since the sample before, at each but the first.
    pub(crate) fn rates(&self) -> Vec<(f64, f64)> {
        (1..self.all.len())
            .filter(|nth| self.all[*nth].0 > self.all[nth - 1].0)
            .map(|nth| (self.all[nth].0, self.rate(nth - 1, nth)))
            .collect()
    }

    fn rate(&self, from: usize, to: usize) -> f64 {
        let ((from_at, before), (to_at, after)) = (self.all[from], self.all[to]);
        (after - before) as f64 / (to_at - from_at)
    }
}
