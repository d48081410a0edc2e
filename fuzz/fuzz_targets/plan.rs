//! The text of a plan.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _judged = sexton_fuzz::plan(text);
});
