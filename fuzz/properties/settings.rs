//! A settings file: read twice it means the same; what is wrong is one sentence with a place, and never a secret.

use std::path::Path;

use sexton::settings::{Part, Settings};

use super::{Judged, is_a_sentence};

/// `file` is where the text may be written: settings are read from files.
pub fn settings(text: &[u8], file: &Path) -> Judged {
    std::fs::write(file, text).expect("a file that can be written");
    let read = || Settings::load(&[file.to_owned()], Part::ALL);
    match read() {
        Ok(settings) => {
            settings.check(Part::ALL).expect("what is taken in is in bounds");
            assert!((1..=5_000).contains(&settings.intake.batch_max));
            let (once, again) = (format!("{settings:?}"), read().map(|again| format!("{again:?}")));
            assert_eq!(again, Ok(once), "the same text means the same");
            Judged::TakenIn
        }
        Err(error) => {
            let said = error.to_string();
            is_a_sentence(&said);
            assert!(!said.contains(char::is_control), "{said:?}");
            assert!(said.contains(": "), "{said}");
            let wants = said.contains("wanted ") || said.contains("cannot read this file");
            assert!(wants, "{said}");
            Judged::TurnedAway(if said.contains("not TOML") {
                "not TOML"
            } else {
                "a rule"
            })
        }
    }
}
