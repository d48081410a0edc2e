//! TLS on every way in and out, by certificates that the test makes: what works, and one clear sentence for whatever does
//! not. Nothing falls back to plain text.

pub(crate) mod certificates;
mod door;
mod servers;
mod service;
