//! Sexton makes deleted things really gone; `ARCHITECTURE.md` draws the house these modules stand in.
#![forbid(unsafe_code)]

// Ground: what every floor from 2 up may stand on.
pub mod clock;
pub mod crash;
pub mod secret;
pub mod stopper;
pub mod telemetry;
pub mod tls;

// Floor 0: words.
pub mod deletion;
pub mod plan;

// Floor 1: rules.
pub mod decide;

// Floor 2: hands.
pub mod broker;
pub mod connectors;
pub mod services;
pub mod store;

// Floor 3: work.
pub mod engine;
pub mod operator;

// Floor 4: doors.
pub mod cli;
pub mod gateway;
pub mod intake;
pub mod relay;
pub mod retention;

// Over all floors: the parts and what they are told.
pub mod app;
pub mod settings;
