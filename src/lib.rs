//! Sexton makes deleted things really gone; `ARCHITECTURE.md` draws the house these modules stand in.
#![forbid(unsafe_code)]

pub mod services;
