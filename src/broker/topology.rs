//! The exchanges, queues and bindings of DESIGN's fixed names, each option with its why.
//!
//! Declaring is repeatable: the same arguments twice change nothing, other arguments are an error that
//! repeats the broker's own words, and nothing that stands is ever deleted or altered from here.
//!
//! Why no alternate exchange. `deletion.events` must serve topic bindings and, behind it, header bindings.
//! RabbitMQ asks for the alternate exchange of one exchange by that exchange's own bindings alone. The topic
//! exchange is always "heard", since the headers exchange is bound to it with `#`. An alternate exchange on
//! the headers exchange would take each event that only topic consumers heard. Every wiring of two exchanges
//! ends in one of these, because "neither of the two" is a question that no single exchange can answer. The
//! broker does answer it for the message as a whole: a mandatory message that reached no queue at all comes
//! back. So the outlet publishes events as mandatory and sends what comes back to `deletion.unheard`
//! ([`Unrouted::Divert`](super::Unrouted)), which the sender then counts as sent.

use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ExchangeKind};

use super::error::{BrokerError, PRECONDITION_FAILED, refusal};

/// Where requests are published: topic, so that a key may later tell kinds of requests apart.
pub const REQUESTS_EXCHANGE: &str = "deletion.requests";
/// The one queue of all workers; the broker shares it out among them.
pub const REQUESTS_QUEUE: &str = "deletion.requests";
/// What cannot be accepted, with its reason. Reached through the default exchange by its own name.
pub const REJECTED_QUEUE: &str = "deletion.rejected";
/// Where outcome events come from; topic bindings go here.
pub const EVENTS_EXCHANGE: &str = "deletion.events";
/// The same events for those who bind by headers.
pub const EVENTS_HEADERS_EXCHANGE: &str = "deletion.events.headers";
/// Takes the events that nobody is bound to.
pub const UNHEARD_EXCHANGE: &str = "deletion.unheard";
/// The bounded place where unheard events are kept for a person to see.
pub const UNHEARD_QUEUE: &str = "deletion.unheard";

/// A good message is sent again once for each crash or hold of a worker that had it in its hands, and 3.10 counts each.
/// Twenty (the default from 4.0) is one bad night. While our database is away nothing is consumed at all; what can
/// repeat is a database that answers and then refuses each admission, and between two tries of a worker lie up to 60 s.
/// At one delivery a minute this is 33 hours of that with one worker, and 8 hours with four. A message that nobody can
/// read comes every 0.2 s or so ([`caution`](super::caution)) and is among the rejected within seven minutes.
const DELIVERIES_MAX: i64 = 2_000;
/// Nobody of ours consumes the unheard; whoever does may give one back as often as it takes.
const UNHEARD_DELIVERIES_MAX: i64 = 10_000;
/// Rejected messages wait for a person. When so many wait, the broker refuses more of them: ours stay in the
/// outbox, dead-lettered ones stay in their source queue, none is dropped.
const REJECTED_MAX: i64 = 1_000_000;
/// Unheard events are a convenience for whoever binds late: the newest are kept, the oldest go.
const UNHEARD_MAX: i64 = 100_000;

/// Declares everything, on a channel of its own. Idempotent.
pub(super) async fn declare(connection: &Connection) -> Result<(), BrokerError> {
    let channel = connection
        .create_channel()
        .await
        .map_err(|source| BrokerError::Channel { source })?;

    exchange(&channel, REQUESTS_EXCHANGE, ExchangeKind::Topic).await?;
    exchange(&channel, EVENTS_EXCHANGE, ExchangeKind::Topic).await?;
    exchange(&channel, EVENTS_HEADERS_EXCHANGE, ExchangeKind::Headers).await?;
    // Fanout: what is unheard has no key that anybody could have chosen.
    exchange(&channel, UNHEARD_EXCHANGE, ExchangeKind::Fanout).await?;

    // The rejected first: the dead letters of the requests go there from the moment those exist.
    queue(&channel, REJECTED_QUEUE, rejected_arguments()).await?;
    queue(&channel, REQUESTS_QUEUE, requests_arguments()).await?;
    queue(&channel, UNHEARD_QUEUE, unheard_arguments()).await?;

    // `#`: a publisher with a key of its own making is heard all the same.
    bind(&channel, REQUESTS_QUEUE, REQUESTS_EXCHANGE, "#").await?;
    bind(&channel, UNHEARD_QUEUE, UNHEARD_EXCHANGE, "").await?;
    channel
        .exchange_bind(
            EVENTS_HEADERS_EXCHANGE.into(),
            EVENTS_EXCHANGE.into(),
            "#".into(),
            ExchangeBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(|source| failed("binding of exchange", EVENTS_HEADERS_EXCHANGE, source))?;

    // A channel that does not close politely closes with its connection.
    let _closed_anyway = channel.close(200, "done".into()).await;
    Ok(())
}

/// No `x-max-length`: refusing or dropping a delete request is worse than a full disk, and before the disk
/// is full the broker's alarm stops publishers, which loses nothing. No TTL and no `x-expires`: a request
/// does not become wrong by waiting. No `x-max-in-memory-length`: 3.10 keeps bodies of quorum queues on disk
/// and ignores it, 4.x refuses to know it.
fn requests_arguments() -> FieldTable {
    arguments([
        // Replicated and synced to disk before the publisher's confirm; the only durable kind 4.x replicates.
        ("x-queue-type", text("quorum")),
        // Explicit, because its default changed from none to 20 in 4.0.
        ("x-delivery-limit", AMQPValue::LongLongInt(DELIVERIES_MAX)),
        // The default exchange reaches the rejected queue by name and cannot be unbound by mistake.
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(REJECTED_QUEUE)),
        // Otherwise a quorum queue forgets a dead letter before its target has confirmed it.
        ("x-dead-letter-strategy", text("at-least-once")),
        // at-least-once is only granted together with this; without a length limit it refuses nobody.
        ("x-overflow", text("reject-publish")),
    ])
}

/// No delivery limit: a person who peeks counts as a delivery, and 4.x would drop the message after twenty
/// looks. 3.10 has no word for "none", so it is the same high bound, without a dead-letter exchange.
fn rejected_arguments() -> FieldTable {
    arguments([
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(REJECTED_MAX)),
        ("x-max-length", AMQPValue::LongLongInt(REJECTED_MAX)),
        // The one who rejects keeps what the queue refuses.
        ("x-overflow", text("reject-publish")),
    ])
}

fn unheard_arguments() -> FieldTable {
    arguments([
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(UNHEARD_DELIVERIES_MAX)),
        ("x-max-length", AMQPValue::LongLongInt(UNHEARD_MAX)),
        // The outcome itself stands in Postgres; an event nobody hears may never hold up the ones that are heard.
        ("x-overflow", text("drop-head")),
    ])
}

async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind) -> Result<(), BrokerError> {
    // Durable: a restarted broker must not answer publishers with "no such exchange".
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(name.into(), kind, options, FieldTable::default())
        .await
        .map_err(|source| failed("exchange", name, source))
}

async fn queue(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), BrokerError> {
    // Durable is what quorum queues are; saying otherwise is refused.
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(name.into(), options, arguments).await;
    declared.map(drop).map_err(|source| failed("queue", name, source))
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), BrokerError> {
    channel
        .queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(|source| failed("binding of queue", queue, source))
}

fn failed(what: &'static str, name: &str, source: lapin::Error) -> BrokerError {
    match refusal(&source) {
        Some((PRECONDITION_FAILED, difference)) => BrokerError::Differs {
            what,
            name: name.to_owned(),
            difference,
        },
        _ => BrokerError::Declare {
            what,
            name: name.to_owned(),
            source,
        },
    }
}

fn arguments<const N: usize>(pairs: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in pairs {
        table.insert(key.into(), value);
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
