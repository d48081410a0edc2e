//! What `/metrics` shows of parts that count for themselves, and which labels exist before the first trouble.
//!
//! Each line of the table is a metric `sexton_broker_NAME_total`.

use std::sync::Arc;

use crate::broker::{Tally, TallyNow};
use crate::telemetry::Instruments;

/// Transactions that are timed, by the name that also stands in their SQL comment.
pub(super) const TRANSACTIONS: [&str; 4] = ["write_records", "claim", "release", "admit"];

type Reading = (&'static str, &'static str, fn(&TallyNow) -> u64);

const BROKER: [Reading; 15] = [
    (
        "broker_unreadable",
        "Connections lost to a message that cannot be read",
        |now| now.unreadable,
    ),
    ("broker_delivered", "Deliveries handed to the intake", |now| {
        now.delivered
    }),
    (
        "broker_redelivered",
        "Of these, those that were delivered before",
        |now| now.redelivered,
    ),
    (
        "broker_delivered_bytes",
        "Body bytes handed to the intake",
        |now| now.delivered_bytes,
    ),
    ("broker_batches", "Batches handed to the intake", |now| {
        now.batches
    }),
    (
        "broker_acks_sent",
        "Batches whose acknowledgement was written",
        |now| now.acks_sent,
    ),
    (
        "broker_acks_not_sent",
        "Batches whose acknowledgement was lost: they come again",
        |now| now.acks_not_sent,
    ),
    (
        "broker_consumer_rebuilds",
        "Times the consumer was made anew",
        |now| now.consumer_rebuilds,
    ),
    (
        "broker_confirmed",
        "Messages that the broker has confirmed",
        |now| now.confirmed,
    ),
    (
        "broker_diverted",
        "Of these, events that nobody was bound to",
        |now| now.diverted,
    ),
    (
        "broker_unroutable",
        "Messages that no queue was bound for",
        |now| now.unroutable,
    ),
    (
        "broker_nacked",
        "Messages that the broker could not take",
        |now| now.nacked,
    ),
    (
        "broker_refused",
        "Messages that cannot be sent as they are",
        |now| now.refused,
    ),
    (
        "broker_lost",
        "Messages whose fate is unknown, and which are sent again",
        |now| now.lost,
    ),
    ("broker_outages", "Times a link lost its connection", |now| {
        now.outages
    }),
];

pub(super) fn broker(instruments: &Instruments, tally: &Arc<Tally>) {
    for (name, help, read) in BROKER {
        let tally = tally.clone();
        instruments.watch_counter(name, help, move || read(&tally.now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_counts_is_served_from_the_beginning() {
        let instruments = Instruments::new();
        broker(&instruments, &Arc::new(Tally::default()));
        let page = instruments.page().expect("a page");
        for (name, ..) in BROKER {
            assert!(
                page.contains(&format!("sexton_{name}_total 0\n")),
                "{name}\n{page}"
            );
        }
    }
}
