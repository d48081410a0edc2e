//! Waiting for one event: a private queue that lives as long as the one who waits.
//!
//! Bind first, publish after: what is published once `listen` has returned is heard.

use futures::StreamExt;
use lapin::Consumer;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::browse::Desk;
use super::connection::Live;
use super::error::BrokerError;
use super::message::{Delivery, Headers, table_of};
use super::topology::{EVENTS_EXCHANGE, EVENTS_HEADERS_EXCHANGE};

/// One who waits for an event and does not read must not fill the broker's memory; the oldest go first.
const LISTEN_MAX: i64 = 10_000;

/// Which events to hear.
#[derive(Debug, Clone, PartialEq)]
pub enum Binding {
    /// Routing key pattern, `TENANT.TYPE.EVENT` with `*` for a word and `#` for any.
    Topic(String),
    /// All of these headers, with these values.
    Headers(Headers),
}

pub struct EventStream {
    consumer: Consumer,
    /// The queue goes when its connection does.
    _live: Live,
}

impl Desk {
    /// Hears what is published from now on. Several bindings are one stream; an event that fits two comes once.
    pub async fn listen(&self, bindings: &[Binding]) -> Result<EventStream, BrokerError> {
        let channel = self.channel().await?;
        let failed = |source| BrokerError::Listen {
            exchange: EVENTS_EXCHANGE.to_owned(),
            source,
        };
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(LISTEN_MAX));
        // Exclusive and named by the broker: nobody else can read it, and it goes with this connection.
        let options = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel
            .queue_declare("".into(), options, arguments)
            .await
            .map_err(failed)?;
        for binding in bindings {
            let (exchange, key, table) = match binding {
                Binding::Topic(pattern) => (EVENTS_EXCHANGE, pattern.as_str(), Ok(FieldTable::default())),
                Binding::Headers(headers) => (EVENTS_HEADERS_EXCHANGE, "", all_of(headers)),
            };
            let unfit = |why| BrokerError::Unfit {
                exchange: exchange.to_owned(),
                why,
            };
            let key = super::message::short("routing key", key).map_err(unfit)?;
            let table = table.map_err(unfit)?;
            channel
                .queue_bind(
                    queue.name().clone(),
                    exchange.into(),
                    key,
                    QueueBindOptions::default(),
                    table,
                )
                .await
                .map_err(|source| BrokerError::Listen {
                    exchange: exchange.to_owned(),
                    source,
                })?;
        }
        // Nothing to give back: an event is a copy, and its outcome stands in Postgres.
        let consume = BasicConsumeOptions {
            no_ack: true,
            exclusive: true,
            ..BasicConsumeOptions::default()
        };
        let consumer = channel
            .basic_consume(queue.name().clone(), "".into(), consume, FieldTable::default())
            .await
            .map_err(failed)?;
        Ok(EventStream {
            consumer,
            _live: self.live.clone(),
        })
    }
}

impl EventStream {
    /// The next event. An error means that events may have been missed: listen again, then look at the
    /// outcome itself.
    pub async fn next(&mut self) -> Result<Delivery, BrokerError> {
        match self.consumer.next().await {
            Some(Ok(delivery)) => Ok(Delivery::from_amqp(delivery)),
            Some(Err(_)) | None => Err(BrokerError::Cut),
        }
    }
}

fn all_of(headers: &Headers) -> Result<FieldTable, String> {
    let mut table = table_of(headers)?;
    table.insert("x-match".into(), AMQPValue::LongString("all".into()));
    Ok(table)
}
