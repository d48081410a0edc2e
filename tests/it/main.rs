//! The one integration test binary: real Postgres, real RabbitMQ, a database and a vhost for each test.
#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected shall stop there"
)]

mod world;

mod connectors;
mod services;
