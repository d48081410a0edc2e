//! The fault matrix: every step of every plan in the table, in every way that a step can go wrong, cut off in every window,
//! signalled in every window, and started again from every record of its journal.
//!
//! The judge is a world that writes down every change of state, target by target. What a clean run changes is what every
//! other run must change, once. A new plan or connector is a new row in `rows.rs`.

mod faults;
mod judge;
mod ledger;
mod rows;
mod script;
mod signals;
mod stage;
mod windows;
mod worlds;

use std::io::Write as _;

/// A line of figures, for whoever runs the tests.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "matrix: {line}");
}
