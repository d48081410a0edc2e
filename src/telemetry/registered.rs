//! Every metric by name, registered where it is declared: one that is counted is also served.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{Ended, Reason, Said, System, Transaction};

/// From a statement on this machine to the longest hard timeout that a step may have.
const STEP_BUCKETS_S: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0,
];
/// From a saga that never waits to one that waits for a day.
const SAGA_BUCKETS_S: [f64; 14] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3_600.0, 21_600.0, 86_400.0,
];
/// From a commit without waiting to where the statement timeout cuts it off.
const TRANSACTION_BUCKETS_S: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 10.0,
];
/// One record alone means no group commit at all.
const BATCH_BUCKETS_RECORDS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

macro_rules! metrics {
    ($($name:ident: $type:ty = $new:expr, $unit:expr, $help:literal;)+) => {
        pub(super) struct Registered {
            pub(super) registry: Mutex<Registry>,
            $(pub(super) $name: $type,)+
        }

        impl Default for Registered {
            fn default() -> Self {
                let registered = Registered {
                    registry: Mutex::new(Registry::with_prefix("sexton")),
                    $($name: $new,)+
                };
                let mut registry = registered.registry.lock().unwrap_or_else(PoisonError::into_inner);
                $(match $unit {
                    None => registry.register(stringify!($name), $help, registered.$name.clone()),
                    Some(unit) => {
                        registry.register_with_unit(stringify!($name), $help, unit, registered.$name.clone());
                    }
                })+
                drop(registry);
                registered.begin_at_zero();
                registered
            }
        }
    };
}

const PLAIN: Option<Unit> = None;
const SECONDS: Option<Unit> = Some(Unit::Seconds);

metrics! {
    requests_admitted: Counter = Counter::default(), PLAIN, "Requests that began a deletion or joined one";
    requests_copies: Counter = Counter::default(), PLAIN, "Copies of a request that was known already";
    requests_folded: Counter = Counter::default(), PLAIN, "Of the admitted, those that joined an open deletion";
    requests_rejected: Family<Reason, Counter> = Family::default(), PLAIN, "Requests turned away";
    deletions_ended: Family<Ended, Counter> = Family::default(), PLAIN, "Deletions that reached their end";
    deletions_overdue: Counter = Counter::default(), PLAIN, "Deadlines that passed with the deletion still open";
    deletions_parked: Counter = Counter::default(), PLAIN, "Times a deletion came to need a person";
    deletions_open: Gauge = Gauge::default(), PLAIN, "Admitted and not ended, also the waiting and the parked";
    deletions_in_flight: Gauge = Gauge::default(), PLAIN, "Held by a lane of this process";
    oldest_open_age: Gauge<f64, AtomicU64> = Gauge::default(), SECONDS, "Since the oldest open deletion was asked for";
    saga_duration: Histogram = Histogram::new(SAGA_BUCKETS_S), SECONDS, "From admission to end, waits included";
    steps: Family<Said, Counter> = Family::default(), PLAIN, "Attempts, by what they said";
    step_duration: Histogram = Histogram::new(STEP_BUCKETS_S), SECONDS, "One attempt, from its effect to its verdict";
    batches_written: Counter = Counter::default(), PLAIN, "Group commits of the journal";
    batch_records: Histogram = Histogram::new(BATCH_BUCKETS_RECORDS), PLAIN, "How many records shared one commit";
    transaction_duration: Histograms<Transaction> =
        Family::new_with_constructor(|| Histogram::new(TRANSACTION_BUCKETS_S)),
        SECONDS, "One transaction, commit included";
    outbox_published: Counter = Counter::default(), PLAIN, "Events and rejected requests that the broker confirmed";
    outbox_unsent: Gauge = Gauge::default(), PLAIN, "Rows that wait for their confirm";
    lanes_lost: Counter = Counter::default(), PLAIN, "Lanes that another worker took over";
    breaker_open: Family<System, Gauge> = Family::default(), PLAIN, "1 while nothing is sent to a system in trouble";
    system_shut: Family<System, Gauge> = Family::default(), PLAIN, "1 while a system, or a step there, lets nobody in";
    spans_lost: Counter = Counter::default(), PLAIN, "Spans that could not be exported";
}

impl Registered {
    fn begin_at_zero(&self) {
        Reason::all().for_each(|labels| drop(self.requests_rejected.get_or_create(&labels)));
        Ended::all().for_each(|labels| drop(self.deletions_ended.get_or_create(&labels)));
        Said::all().for_each(|labels| drop(self.steps.get_or_create(&labels)));
    }
}
