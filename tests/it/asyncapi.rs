//! The AsyncAPI 3.0 document, made from the same constants that the code publishes with.

use serde_json::{Value, json};
use sexton::deletion::{
    EVENT_CONTENT_TYPE, EventKind, HEADER_BATCH, HEADER_EVENT, HEADER_FIELD, HEADER_KEY, HEADER_REASON,
    HEADER_REQUEST, HEADER_TENANT, HEADER_TRACEPARENT, HEADER_TYPE, HEADER_WHY, REQUEST_BODY_MAX_BYTES,
    RejectionReason,
};

use crate::contract::same_as_file;

const UUID: &str = "uuid";

#[test]
fn the_document_is_what_the_code_gives() {
    same_as_file("asyncapi.json", &document());
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
                    is not known. For bindings by headers there are headers. An event that no queue is bound to is kept in \
                    `deletion.unheard`.",
                "messages": {"event": reference("messages", "event")},
                "bindings": exchange("deletion.events", "topic"),
            },
            "rejected": {
                "address": "deletion.rejected",
                "title": "Rejected requests",
                "description": "A quorum queue of requests that could not be accepted: the body as it came, the reason in headers.",
                "messages": {"rejected": reference("messages", "rejected")},
                "bindings": {"amqp": {"is": "queue", "queue": {"name": "deletion.rejected", "durable": true,
                                      "exclusive": false, "autoDelete": false}, "bindingVersion": "0.3.0"}},
            },
        },
        "operations": {
            "receiveRequest": {"action": "receive", "channel": {"$ref": "#/channels/requests"},
                               "summary": "Acknowledged once it is kept."},
            "sendEvent": {"action": "send", "channel": {"$ref": "#/channels/events"},
                          "summary": "Published, with a confirm, at least once."},
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

fn exchange(name: &str, kind: &str) -> Value {
    json!({"amqp": {"is": "routingKey", "exchange": {"name": name, "type": kind, "durable": true, "autoDelete": false},
                    "bindingVersion": "0.3.0"}})
}
