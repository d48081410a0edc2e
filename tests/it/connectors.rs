//! Connectors on real parts: a foreign Postgres, the demonstration cloud, a folder as an object store.
//!
//! The harness holds every connector to the same promises, row by row of one table; the other files hold what is
//! special to each.

#[path = "../../examples/cloud/main.rs"]
#[allow(dead_code, reason = "its main belongs to the example")]
pub(crate) mod cloud;

mod answers;
mod archive;
mod bucket;
mod chunks;
mod guarded;
mod harness;
mod http;
mod oddly;
mod place;
mod postgres;
mod proxy;
mod reads;
mod s3;
mod together;

pub(crate) use place::{attempt, build, give};
