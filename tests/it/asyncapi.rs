//! The AsyncAPI 3.0 document, made from the same constants that the code publishes with.

use serde_json::{Value, json};
use sexton::deletion::{
    EVENT_CONTENT_TYPE, EventKind, HEADER_BATCH, HEADER_EVENT, HEADER_FIELD, HEADER_KEY, HEADER_REASON,
    HEADER_REQUEST, HEADER_TENANT, HEADER_TRACEPARENT, HEADER_TYPE, HEADER_WHY, REQUEST_BODY_MAX_BYTES,
    RejectionReason,
};

use sexton::broker::{
    EVENTS_EXCHANGE, EVENTS_HEADERS_EXCHANGE, REJECTED_QUEUE, REQUESTS_EXCHANGE, UNHEARD_QUEUE,
};

use crate::contract::same_as_file;

const UUID: &str = "uuid";

#[test]
fn the_document_is_what_the_code_gives() {
    same_as_file("asyncapi.json", &document());
}

#[test]
fn every_exchange_and_queue_of_ours_has_a_channel() {
    let document = document();
    let channels = document["channels"].as_object().expect("channels");
    for name in [
        REQUESTS_EXCHANGE,
        EVENTS_EXCHANGE,
        EVENTS_HEADERS_EXCHANGE,
        UNHEARD_QUEUE,
        REJECTED_QUEUE,
    ] {
        assert!(
            channels.values().any(|channel| channel["address"] == name),
            "{name}"
        );
    }
}

fn document() -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sexton",
            "version": "1",
            "description": "Publish a request to have something deleted; bind a queue to `deletion.events` to hear what became of it. \
                Every request has an outcome. Requests and events may come more than once: requests are told apart by their key, \
                events by their id.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {"host": "localhost:5672", "protocol": "amqp", "protocolVersion": "0.9.1",
                       "description": "RabbitMQ 3.10 or newer."},
        },
        "channels": {
            "requests": {
                "address": "deletion.requests",
                "title": "Requests",
                "description": "A topic exchange; any routing key will do. It leads to a quorum queue of the same name.",
                "messages": {"request": reference("messages", "request"), "requestEvent": reference("messages", "requestEvent")},
                "bindings": exchange("deletion.requests", "topic"),
            },
            "events": {
                "address": "deletion.events",
                "title": "Outcomes",
                "description": "Routing key `TENANT.TYPE.EVENT`, with `-` for dots and wildcards in tenant and type, and for a name that \
                    is not known. For bindings by headers there is \
                    `deletion.events.headers`. An event that no queue is bound to is kept in \
                    `deletion.unheard`.",
                "messages": {"event": reference("messages", "event")},
                "bindings": exchange("deletion.events", "topic"),
            },
            "eventsByHeaders": {
                "address": EVENTS_HEADERS_EXCHANGE,
                "title": "Outcomes, for bindings by headers",
                "description": "The same events as those of `deletion.events`, in a headers exchange that is bound to it.",
                "messages": {"event": reference("messages", "event")},
                "bindings": exchange(EVENTS_HEADERS_EXCHANGE, "headers"),
            },
            "unheard": {
                "address": UNHEARD_QUEUE,
                "title": "Outcomes that nobody was bound to",
                "description": "A quorum queue, bounded: of what is unheard the newest are kept. An event that is here counts as sent.",
                "messages": {"event": reference("messages", "event")},
                "bindings": queue(UNHEARD_QUEUE),
            },
            "rejected": {
                "address": "deletion.rejected",
                "title": "Rejected requests",
                "description": "A quorum queue of requests that could not be accepted: the body as it came, the reason in headers.",
                "messages": {"rejected": reference("messages", "rejected")},
                "bindings": queue("deletion.rejected"),
            },
        },
        "operations": {
            "receiveRequest": {"action": "receive", "channel": {"$ref": "#/channels/requests"},
                               "summary": "Acknowledged once it is kept."},
            "sendEvent": {"action": "send", "channel": {"$ref": "#/channels/events"},
                          "summary": "Published, with a confirm, at least once."},
            "sendEventByHeaders": {"action": "send", "channel": {"$ref": "#/channels/eventsByHeaders"},
                                   "summary": "By the broker: every event of `deletion.events` is in both."},
            "sendUnheard": {"action": "send", "channel": {"$ref": "#/channels/unheard"},
                            "summary": "Published, with a confirm, when the broker has returned the event."},
            "sendRejected": {"action": "send", "channel": {"$ref": "#/channels/rejected"},
                             "summary": "Published, with a confirm, at least once."},
        },
        "components": {
            "messages": {
                "request": {
                    "name": "request",
                    "title": "A request, bare",
                    "summary": format!("At most {REQUEST_BODY_MAX_BYTES} bytes. Publish it persistent, with a confirm and a `message_id`."),
                    "contentType": "application/json",
                    "headers": reference("schemas", "requestHeaders"),
                    "payload": {"$ref": "./request.schema.json#/$defs/RequestBody"},
                    "examples": [{"name": "smallest", "payload": {"target": {"type": "factory.computer", "id": "cmp_123"}, "tenant": "org_1"}}],
                },
                "requestEvent": {
                    "name": "requestEvent",
                    "title": "A request as a CloudEvent",
                    "contentType": EVENT_CONTENT_TYPE,
                    "headers": reference("schemas", "requestHeaders"),
                    "payload": {"$ref": "./request.schema.json#/$defs/RequestEvent"},
                },
                "event": {
                    "name": "event",
                    "title": "What became of a request",
                    "contentType": EVENT_CONTENT_TYPE,
                    "headers": reference("schemas", "eventHeaders"),
                    "payload": {"$ref": "./event.schema.json"},
                },
                "rejected": {
                    "name": "rejected",
                    "title": "A request that was not accepted",
                    "headers": reference("schemas", "rejectedHeaders"),
                    "payload": {"description": "The body as it came: perhaps not even JSON."},
                },
            },
            "schemas": {
                "requestHeaders": {
                    "type": "object",
                    "properties": {
                        HEADER_TRACEPARENT: {"type": "string", "description": "W3C trace context; the trace goes on through every step."},
                        "tracestate": {"type": "string"},
                    },
                },
                "eventHeaders": {
                    "type": "object",
                    "required": [HEADER_EVENT, HEADER_REQUEST],
                    "properties": {
                        HEADER_EVENT: {"type": "string", "enum": EventKind::ALL.map(EventKind::word)},
                        HEADER_TENANT: {"type": "string"},
                        HEADER_TYPE: {"type": "string"},
                        HEADER_BATCH: {"type": "string"},
                        HEADER_KEY: {"type": "string"},
                        HEADER_REQUEST: {"type": "string", "format": UUID},
                        HEADER_TRACEPARENT: {"type": "string"},
                    },
                },
                "rejectedHeaders": {
                    "type": "object",
                    "required": [HEADER_REQUEST, HEADER_REASON, HEADER_FIELD, HEADER_WHY],
                    "properties": {
                        HEADER_REQUEST: {"type": "string", "format": UUID},
                        HEADER_REASON: {"type": "string", "enum": RejectionReason::ALL.map(RejectionReason::word)},
                        HEADER_FIELD: {"type": "string", "description": "A JSON pointer; empty for the whole body."},
                        HEADER_WHY: {"type": "string", "description": "What was found and what is wanted."},
                    },
                },
            },
        },
    })
}

fn reference(section: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{section}/{name}")})
}

fn queue(name: &str) -> Value {
    json!({"amqp": {"is": "queue", "queue": {"name": name, "durable": true, "exclusive": false, "autoDelete": false},
                    "bindingVersion": "0.3.0"}})
}

fn exchange(name: &str, kind: &str) -> Value {
    json!({"amqp": {"is": "routingKey", "exchange": {"name": name, "type": kind, "durable": true, "autoDelete": false},
                    "bindingVersion": "0.3.0"}})
}
