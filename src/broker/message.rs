//! What goes in and out, in words of our own, so that no floor above needs to know AMQP's value types.
//! Every name is checked before lapin sees it: lapin panics on a short string that is too long.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};

/// AMQP's "write it to disk".
const PERSISTENT: u8 = 2;
/// AMQP's "may be lost with the broker".
const TRANSIENT: u8 = 1;

pub type Headers = BTreeMap<String, Value>;

/// A header's value. What AMQP has beyond these is not used by anybody we know, and reads as `Other`.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    Int(i64),
    Bool(bool),
    Number(f64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Table(Headers),
    /// Seen but not understood; left out when a message is sent on.
    Other,
}

impl Value {
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

/// A message as it arrived. The body is whole, also when it is over any bound: the doors decide.
#[derive(Clone, PartialEq)]
pub struct Delivery {
    pub body: Bytes,
    pub exchange: String,
    pub routing_key: String,
    pub content_type: Option<String>,
    pub message_id: Option<String>,
    pub correlation_id: Option<String>,
    /// Who published it, vouched for by the broker; most publishers do not say.
    pub user_id: Option<String>,
    pub headers: Headers,
    /// The broker has sent it before, to somebody.
    pub redelivered: bool,
    /// How often it was sent before, where the queue counts (quorum queues do).
    pub delivery_count: u64,
}

/// Without the body and the values of headers: they are the sender's business, and a log is forever.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("routing_key", &self.routing_key)
            .field("body_bytes", &self.body.len())
            .field("header_names", &self.headers.keys())
            .field("redelivered", &self.redelivered)
            .field("delivery_count", &self.delivery_count)
            .finish_non_exhaustive()
    }
}

impl Delivery {
    pub(super) fn from_amqp(delivery: lapin::message::Delivery) -> Delivery {
        let properties = delivery.properties;
        let headers = properties
            .headers()
            .as_ref()
            .map(headers_from)
            .unwrap_or_default();
        let delivery_count = match headers.get("x-delivery-count") {
            Some(Value::Int(count)) => u64::try_from(*count).unwrap_or(0),
            _ => 0,
        };
        let own = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
        Delivery {
            body: Bytes::from(delivery.data),
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            content_type: own(properties.content_type()),
            message_id: own(properties.message_id()),
            correlation_id: own(properties.correlation_id()),
            user_id: own(properties.user_id()),
            headers,
            redelivered: delivery.redelivered,
            delivery_count,
        }
    }
}

/// What shall happen to a message that no queue is bound for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrouted {
    /// The sender is told, and decides.
    Tell,
    /// It goes to this exchange instead, and that counts as sent.
    Divert(&'static str),
    /// The broker drops it and confirms it all the same.
    Drop,
}

/// A message to send.
#[derive(Clone, PartialEq)]
pub struct Message {
    pub exchange: String,
    pub routing_key: String,
    pub headers: Headers,
    /// Stable over repeats: the same message sent twice is recognised by it.
    pub message_id: String,
    pub correlation_id: Option<String>,
    pub content_type: Option<String>,
    pub body: Bytes,
    pub persistent: bool,
    pub unrouted: Unrouted,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("exchange", &self.exchange)
            .field("routing_key", &self.routing_key)
            .field("message_id", &self.message_id)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What became of one message. Closed: whoever sends must say what each of these means to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The broker has it in its queues, or in the place that it was to be diverted to.
    Confirmed,
    /// No queue is bound for it. Nobody has it.
    Unroutable,
    /// The broker could not take it now (a full queue, a lost replica). Nobody has it, as far as it knows.
    Nacked,
    /// It cannot be sent as it is, now or later, and why.
    Refused(String),
    /// The way was lost before the answer. It may or may not have arrived: send it again.
    Lost,
}

/// A message in lapin's words, ready to be written.
pub(super) struct Wire {
    pub exchange: ShortString,
    pub routing_key: ShortString,
    pub properties: BasicProperties,
}

impl Message {
    pub(super) fn wire(&self) -> Result<Wire, String> {
        let mut properties = BasicProperties::default()
            .with_delivery_mode(if self.persistent { PERSISTENT } else { TRANSIENT })
            .with_message_id(short("message id", &self.message_id)?)
            .with_headers(table_of(&self.headers)?);
        if let Some(id) = &self.correlation_id {
            properties = properties.with_correlation_id(short("correlation id", id)?);
        }
        if let Some(kind) = &self.content_type {
            properties = properties.with_content_type(short("content type", kind)?);
        }
        Ok(Wire {
            exchange: short("exchange", &self.exchange)?,
            routing_key: short("routing key", &self.routing_key)?,
            properties,
        })
    }

    /// Roughly what the headers take on the wire.
    pub(super) fn header_bytes(&self) -> usize {
        weight_of_table(&self.headers)
    }
}

pub(super) fn short(what: &str, text: &str) -> Result<ShortString, String> {
    ShortString::try_new(text)
        .map_err(|_| format!("the {what} is {} bytes long, AMQP carries 255", text.len()))
}

pub(super) fn table_of(headers: &Headers) -> Result<FieldTable, String> {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        if let Some(value) = amqp_of(value)? {
            table.insert(short("name of a header", name)?, value);
        }
    }
    Ok(table)
}

fn amqp_of(value: &Value) -> Result<Option<AMQPValue>, String> {
    Ok(Some(match value {
        Value::Text(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Int(number) => AMQPValue::LongLongInt(*number),
        Value::Bool(is) => AMQPValue::Boolean(*is),
        Value::Number(number) => AMQPValue::Double(*number),
        Value::Bytes(bytes) => AMQPValue::ByteArray(bytes.as_slice().into()),
        Value::List(values) => {
            let mut list = FieldArray::default();
            for value in values {
                if let Some(value) = amqp_of(value)? {
                    list.push(value);
                }
            }
            AMQPValue::FieldArray(list)
        }
        Value::Table(headers) => AMQPValue::FieldTable(table_of(headers)?),
        Value::Other => return Ok(None),
    }))
}

fn headers_from(table: &FieldTable) -> Headers {
    table
        .into_iter()
        .map(|(name, value)| (name.to_string(), value_from(value)))
        .collect()
}

fn value_from(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(is) => Value::Bool(*is),
        AMQPValue::ShortShortInt(n) => Value::Int((*n).into()),
        AMQPValue::ShortShortUInt(n) => Value::Int((*n).into()),
        AMQPValue::ShortInt(n) => Value::Int((*n).into()),
        AMQPValue::ShortUInt(n) => Value::Int((*n).into()),
        AMQPValue::LongInt(n) => Value::Int((*n).into()),
        AMQPValue::LongUInt(n) => Value::Int((*n).into()),
        AMQPValue::LongLongInt(n) => Value::Int(*n),
        AMQPValue::Timestamp(n) => i64::try_from(*n).map_or(Value::Other, Value::Int),
        AMQPValue::Float(n) => Value::Number((*n).into()),
        AMQPValue::Double(n) => Value::Number(*n),
        AMQPValue::ShortString(text) => Value::Text(text.to_string()),
        AMQPValue::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Bytes(text.as_bytes().to_vec()),
        },
        AMQPValue::ByteArray(bytes) => Value::Bytes(bytes.as_slice().to_vec()),
        AMQPValue::FieldArray(list) => Value::List(list.as_slice().iter().map(value_from).collect()),
        AMQPValue::FieldTable(table) => Value::Table(headers_from(table)),
        AMQPValue::DecimalValue(_) | AMQPValue::Void => Value::Other,
    }
}

fn weight_of_table(headers: &Headers) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.len() + 2 + weight_of(value))
        .sum()
}

fn weight_of(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len() + 4,
        Value::Bytes(bytes) => bytes.len() + 4,
        Value::List(values) => values.iter().map(|value| weight_of(value) + 1).sum::<usize>() + 4,
        Value::Table(headers) => weight_of_table(headers) + 4,
        Value::Int(_) | Value::Number(_) => 8,
        Value::Bool(_) | Value::Other => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            exchange: "x".into(),
            routing_key: "a.b".into(),
            headers: Headers::new(),
            message_id: "m".into(),
            correlation_id: None,
            content_type: None,
            body: Bytes::new(),
            persistent: true,
            unrouted: Unrouted::Tell,
        }
    }

    #[test]
    fn headers_survive_the_way_there_and_back() {
        let headers = Headers::from([
            ("text".into(), Value::from("käse")),
            ("int".into(), Value::Int(-7)),
            ("yes".into(), Value::Bool(true)),
            ("half".into(), Value::Number(0.5)),
            ("raw".into(), Value::Bytes(vec![0, 255])),
            (
                "list".into(),
                Value::List(vec![Value::Int(1), Value::from("two")]),
            ),
            (
                "table".into(),
                Value::Table(Headers::from([("in".into(), Value::Bool(false))])),
            ),
        ]);
        let table = table_of(&headers).expect("all of these have a form in AMQP");
        assert_eq!(headers_from(&table), headers);
    }

    #[test]
    fn names_that_are_too_long_are_said_and_never_reach_lapin() {
        let long = "k".repeat(256);
        let key = Message {
            routing_key: long.clone(),
            ..message()
        };
        assert_eq!(
            key.wire().err(),
            Some("the routing key is 256 bytes long, AMQP carries 255".to_owned())
        );
        let header = Message {
            headers: Headers::from([(long, Value::Int(1))]),
            ..message()
        };
        assert!(
            header
                .wire()
                .is_err_and(|why| why.starts_with("the name of a header"))
        );
    }

    #[test]
    fn what_is_shown_of_a_message_holds_no_body_and_no_header_value() {
        let secret = Message {
            body: Bytes::from_static(b"secret body"),
            headers: Headers::from([("who".into(), Value::from("alice"))]),
            ..message()
        };
        let shown = format!("{secret:?}");
        assert!(!shown.contains("secret") && !shown.contains("alice"), "{shown}");
    }
}
