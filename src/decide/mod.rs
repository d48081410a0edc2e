//! The rules: pure functions that say what should happen, and never do it.
//!
//! Time and chance are handed in, so every decision can be tried without a database, a broker or a clock.

mod ends;
mod next;
pub use next::{Circumstances, Move, STARTS_MAX, Signal, next};

pub mod access;
mod admission;
pub use admission::{Admitted, Known, Place, SlotView, WindowView, admit, place};

mod cadence;
pub use cadence::due;

mod why;
pub use why::{HeldBy, Row, WHY_WORDS, Why, why};
mod parking;
mod story;
pub use story::tell;
