//! The gateway over real HTTP, on real servers.

mod access;
mod asking;
mod documented;
mod following;
mod limits;
mod looking;
mod waiting;

use serde_json::{Value, json};

/// A thing of the shop.
fn thing(id: &str) -> Value {
    json!({"target": {"type": "shop.thing", "id": id}})
}

const ASYNC: [(&str, &str); 1] = [("prefer", "respond-async")];
