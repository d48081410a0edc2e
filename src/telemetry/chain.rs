//! An error with its causes, for the one place where it is handled.

use std::error::Error;
use std::fmt::Write;

/// More causes than this are a loop.
const CAUSES_MAX: usize = 8;

pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    for _ in 0..CAUSES_MAX {
        let Some(next) = cause else { break };
        // Some libraries paste their causes into their own text; once is enough.
        let text = next.to_string();
        if !said.contains(&text) {
            let _ = write!(said, ": {text}");
        }
        cause = next.source();
    }
    said
}
