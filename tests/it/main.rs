//! The one integration test binary: real Postgres, real RabbitMQ, a database and a vhost for each test.
#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected shall stop there"
)]

mod amqp_wire;
mod heard;
mod hostile;
mod house;
mod http_contract;
mod shop;
mod template;
mod vendor;
mod watches;
mod windows;
mod workers;
mod world;

mod admission;
mod agno;
mod agno_shapes;
mod asyncapi;
mod at_once;
mod away;
mod batches;
mod breakers;
mod broker;
mod bulks;
mod called;
mod calls;
mod choices;
mod claimed;
mod cli;
mod cli_away;
mod cli_repair;
mod cli_said;
mod computers;
mod connectors;
mod contract;
mod costs;
mod crashes;
mod dialects;
mod emptied;
mod ended;
mod factory_sessions;
mod flood;
mod front;
mod gateway;
mod guards;
mod help;
#[cfg(target_os = "linux")]
mod instructions;
mod late;
mod long_journals;
mod malformed;
mod malformed_kinds;
mod matrix;
mod outages;
mod outages_of_postgres;
mod outages_of_the_broker;
mod outbox;
mod pave;
mod plan_errors;
mod plan_rules;
mod plans;
mod powerdrill;
mod recoveries;
mod rejections;
mod roles;
mod scraped;
mod secrets;
mod security;
mod services;
mod shut;
mod speakers;
mod stops;
mod stores;
mod storm;
mod systems;
mod takeover;
mod telemetry;
mod terms;
mod tls;
mod tokens;
mod trouble;
mod unkeepable;
mod vendors;
mod vendors_served;
mod versions;

#[path = "../../examples/worlds/mod.rs"]
mod worlds;
