//! What is counted and measured. Every counter begins at zero for each of its labels, so that a panel and an alert
//! exist before the first trouble. This table is the whole list; a test holds it to what `/metrics` serves.
//!
//! | metric | unit, labels | meaning |
//! |---|---|---|
//! | `sexton_requests_admitted_total` | | requests that began a deletion or joined one |
//! | `sexton_requests_copies_total` | | copies of a request that was known already |
//! | `sexton_requests_folded_total` | | of the admitted, those that joined an open deletion |
//! | `sexton_requests_rejected_total` | `reason` | requests turned away |
//! | `sexton_deletions_ended_total` | `end`, `result` | deletions that reached their end |
//! | `sexton_deletions_overdue_total` | | deadlines that passed with the deletion still open |
//! | `sexton_deletions_parked_total` | | times a deletion came to need a person |
//! | `sexton_deletions_open` | | admitted and not ended, also the waiting and the parked |
//! | `sexton_deletions_in_flight` | | held by a lane of this process |
//! | `sexton_oldest_open_age_seconds` | seconds | since the oldest open deletion was asked for |
//! | `sexton_saga_duration_seconds` | seconds | from admission to end, waits included |
//! | `sexton_steps_total` | `verdict` | attempts, by what they said |
//! | `sexton_step_duration_seconds` | seconds | one attempt, from its effect's begin to its verdict |
//! | `sexton_batches_written_total` | | group commits of the journal |
//! | `sexton_batch_records` | records | how many records shared one commit |
//! | `sexton_transaction_duration_seconds` | seconds, `transaction` | one transaction, commit included |
//! | `sexton_outbox_published_total` | | events and rejected requests that the broker has confirmed |
//! | `sexton_outbox_unsent` | | rows that wait for their confirm |
//! | `sexton_lanes_lost_total` | | lanes that another worker took over |
//! | `sexton_breaker_open` | `system` | 1 while nothing is sent to a system in trouble |
//! | `sexton_system_shut` | `system` | 1 while a system, or what one step wants of it, does not let Sexton in |
//! | `sexton_spans_lost_total` | | spans that could not be exported |
//!
//! Beside these stand counters that other parts keep for themselves: `app/watched.rs` lists them.

use std::fmt;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::registry::Registry;

use super::labels::{Ended, Reason, Said, System, Transaction};
use super::registered::Registered;
use super::watched::Watched;
use crate::deletion::{End, RejectionReason, Verdict};

/// A handle for whoever has something to count; cheap to clone, and silent about labels.
#[derive(Clone, Default)]
pub struct Instruments(Arc<Registered>);

impl Instruments {
    pub fn new() -> Self {
        Self::default()
    }

    /// Systems and transactions are known only once the settings are; from here on theirs are shown too.
    pub fn expect<'s>(&self, systems: impl IntoIterator<Item = &'s str>, transactions: &[&'static str]) {
        for system in systems {
            self.breaker(system, false);
            self.system_shut(system, false);
        }
        for transaction in transactions {
            drop(
                self.0
                    .transaction_duration
                    .get_or_create(&Transaction { transaction }),
            );
        }
    }

    /// A number that somebody else keeps, read at each scrape. `name` without prefix, and without `_total`.
    pub fn watch_counter(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.registry()
            .register_collector(Box::new(Watched::new(name, help, Box::new(read))));
    }

    pub fn requests_admitted(&self, requests: usize) {
        self.0.requests_admitted.inc_by(requests as u64);
    }

    pub fn requests_copies(&self, requests: usize) {
        self.0.requests_copies.inc_by(requests as u64);
    }

    pub fn requests_folded(&self, requests: usize) {
        self.0.requests_folded.inc_by(requests as u64);
    }

    pub fn request_rejected(&self, reason: RejectionReason) {
        self.0
            .requests_rejected
            .get_or_create(&Reason {
                reason: reason.word(),
            })
            .inc();
    }

    /// `took` is from admission to end.
    pub fn deletion_ended(&self, end: &End, took: Duration) {
        self.0.deletions_ended.get_or_create(&Ended::of(end)).inc();
        self.0.saga_duration.observe(took.as_secs_f64());
    }

    pub fn deletion_parked(&self) {
        self.0.deletions_parked.inc();
    }

    pub fn deletions_open(&self, deletions: u64, oldest: Option<Duration>) {
        self.0.deletions_open.set(gauge(deletions));
        self.0
            .oldest_open_age
            .set(oldest.unwrap_or_default().as_secs_f64());
    }

    /// One deletion more or fewer that a lane carries.
    pub fn in_flight_changed(&self, by: i64) {
        self.0.deletions_in_flight.inc_by(by);
    }

    pub fn deletion_overdue(&self) {
        self.0.deletions_overdue.inc();
    }

    pub fn step(&self, verdict: &Verdict, took: Duration) {
        self.0
            .steps
            .get_or_create(&Said {
                verdict: verdict.word(),
            })
            .inc();
        self.0.step_duration.observe(took.as_secs_f64());
    }

    /// One group commit, which is also a transaction.
    pub fn batch(&self, records: usize) {
        self.0.batches_written.inc();
        self.0.batch_records.observe(records as f64);
    }

    pub fn transaction(&self, transaction: &'static str, took: Duration) {
        self.0
            .transaction_duration
            .get_or_create(&Transaction { transaction })
            .observe(took.as_secs_f64());
    }

    pub fn outbox_published(&self, rows: usize) {
        self.0.outbox_published.inc_by(rows as u64);
    }

    pub fn outbox_unsent(&self, rows: u64) {
        self.0.outbox_unsent.set(gauge(rows));
    }

    pub fn lane_lost(&self) {
        self.0.lanes_lost.inc();
    }

    pub fn breaker(&self, system: &str, is_open: bool) {
        let labels = System {
            system: system.to_owned(),
        };
        self.0.breaker_open.get_or_create(&labels).set(is_open.into());
    }

    pub fn system_shut(&self, system: &str, is_shut: bool) {
        let labels = System {
            system: system.to_owned(),
        };
        self.0.system_shut.get_or_create(&labels).set(is_shut.into());
    }

    pub fn spans_lost(&self, spans: usize) {
        self.0.spans_lost.inc_by(spans as u64);
    }

    /// The page that Prometheus reads, in the text form of OpenMetrics.
    pub fn page(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry())?;
        Ok(page)
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Instruments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Instruments")
    }
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The names that a page serves, as the table writes them.
    fn served(page: &str) -> BTreeSet<String> {
        let kinds = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        kinds
            .filter_map(|line| line.split_once(' '))
            .map(|(name, kind)| format!("{name}{}", if kind == "counter" { "_total" } else { "" }))
            .collect()
    }

    #[test]
    fn the_table_names_what_is_served_and_nothing_else() {
        let listed = include_str!("instruments.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! | `")?.split('`').next())
            .map(str::to_owned)
            .collect::<BTreeSet<String>>();
        let instruments = Instruments::new();
        instruments.expect(["platform"], &["admit"]);
        let page = instruments.page().expect("a page");
        assert_eq!(listed, served(&page), "{page}");
    }

    #[test]
    fn every_counter_begins_at_zero_for_each_label() {
        let page = Instruments::new().page().expect("a page");
        for reason in RejectionReason::ALL {
            let line = format!("sexton_requests_rejected_total{{reason=\"{}\"}} 0", reason.word());
            assert!(page.contains(&line), "{line}\n{page}");
        }
        for verdict in Verdict::WORDS {
            let line = format!("sexton_steps_total{{verdict=\"{verdict}\"}} 0");
            assert!(page.contains(&line), "{line}");
        }
        for labels in [
            "end=\"completed\",result=\"deleted\"",
            "end=\"completed\",result=\"already_gone\"",
            "end=\"completed\",result=\"absent\"",
            "end=\"completed_with_orphans\",result=\"none\"",
            "end=\"cancelled\",result=\"none\"",
            "end=\"refused\",result=\"none\"",
        ] {
            assert!(
                page.contains(&format!("sexton_deletions_ended_total{{{labels}}} 0")),
                "{labels}"
            );
        }
    }

    #[test]
    fn what_is_told_is_shown() {
        let instruments = Instruments::new();
        instruments.expect(["platform"], &["admit"]);
        let page = instruments.page().expect("a page");
        assert!(
            page.contains("sexton_breaker_open{system=\"platform\"} 0"),
            "{page}"
        );
        assert!(
            page.contains("sexton_transaction_duration_seconds_count{transaction=\"admit\"} 0"),
            "{page}"
        );

        instruments.requests_admitted(3);
        instruments.request_rejected(RejectionReason::NotJson);
        instruments.deletion_ended(&End::Cancelled, Duration::from_secs(2));
        instruments.deletions_open(7, Some(Duration::from_millis(1_500)));
        instruments.step(&Verdict::AlreadyGone, Duration::from_millis(3));
        instruments.batch(40);
        instruments.transaction("admit", Duration::from_millis(2));
        instruments.breaker("platform", true);
        instruments.watch_counter("broker_delivered", "Deliveries", || 5);
        let page = instruments.clone().page().expect("a page");
        for line in [
            "sexton_requests_admitted_total 3",
            "sexton_requests_rejected_total{reason=\"not_json\"} 1",
            "sexton_deletions_ended_total{end=\"cancelled\",result=\"none\"} 1",
            "sexton_deletions_open 7",
            "sexton_oldest_open_age_seconds 1.5",
            "sexton_saga_duration_seconds_sum 2.0",
            "sexton_steps_total{verdict=\"already_gone\"} 1",
            "sexton_batch_records_sum 40.0",
            "sexton_transaction_duration_seconds_count{transaction=\"admit\"} 1",
            "sexton_breaker_open{system=\"platform\"} 1",
            "sexton_broker_delivered_total 5",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }
}
