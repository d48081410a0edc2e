//! What the broker folder counts about itself. Plain atomics, so that telemetry can read them whenever it
//! is asked, and counting costs nothing when it is not.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$why:meta])* $name:ident),+ $(,)?) => {
        /// Counts since the process began.
        #[derive(Debug, Default)]
        pub struct Tally {
            $($(#[$why])* $name: AtomicU64,)+
            consuming: AtomicBool,
            held: AtomicBool,
        }

        /// One reading of the tally.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct TallyNow {
            $($(#[$why])* pub $name: u64,)+
            /// The inlet has a live consumer.
            pub consuming: bool,
            /// The inlet gave its deliveries back and takes none until it is asked again.
            pub held: bool,
        }

        impl Tally {
            pub fn now(&self) -> TallyNow {
                TallyNow {
                    $($name: self.$name.load(Relaxed),)+
                    consuming: self.consuming.load(Relaxed),
                    held: self.held.load(Relaxed),
                }
            }

            $(pub(super) fn $name(&self, more: usize) {
                self.$name.fetch_add(more as u64, Relaxed);
            })+

            pub(super) fn set_consuming(&self, is: bool) {
                self.consuming.store(is, Relaxed);
            }

            pub(super) fn set_held(&self, is: bool) {
                self.held.store(is, Relaxed);
            }
        }
    };
}

counters! {
    /// Deliveries handed to the intake.
    delivered,
    /// Of these, the ones that the broker had sent before.
    redelivered,
    /// Body bytes handed to the intake.
    delivered_bytes,
    /// Batches handed to the intake.
    batches,
    /// Batches whose acknowledgement was written to the broker.
    acks_sent,
    /// Batches whose acknowledgement could not be written: their deliveries come again.
    acks_not_sent,
    /// Times the consumer was rebuilt after a cancel, a closed channel or a lost connection.
    consumer_rebuilds,
    /// Messages the broker took responsibility for.
    confirmed,
    /// Of these, the ones that nobody was bound to and that went where their message said instead.
    diverted,
    /// Messages that no queue was bound for.
    unroutable,
    /// Messages the broker answered with a negative confirm.
    nacked,
    /// Messages that cannot be sent as they are.
    refused,
    /// Messages whose fate is unknown because the connection or channel went away.
    lost,
    /// Times a link lost its connection.
    outages,
    /// Times a link lost its connection because a message on it could not be read as AMQP. These are no outages.
    unreadable,
}
