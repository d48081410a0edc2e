//! The body of a message. The first byte says how long the `message_id` before it is, 255 that there is none.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (id, body) = match bytes.split_first() {
        Some((255, body)) => (None, body),
        Some((length, rest)) => {
            let (id, body) = rest.split_at(rest.len().min(usize::from(*length)));
            (std::str::from_utf8(id).ok(), body)
        }
        None => (None, bytes),
    };
    let _judged = sexton_fuzz::message(body, id);
});
