//! What is kept in short reads as what was written, and nothing else is an entry.

use serde_json::json;

use super::{read, write};
use crate::deletion::{Aim, CompletedResult, End, Entry, Verdict};

fn verdict(aim: Aim, verdict: Verdict, found_out: bool) -> Entry {
    Entry::Verdict {
        step: 2,
        aim,
        attempt: 3,
        verdict,
        found_out,
        due: None,
    }
}

fn all() -> Vec<Entry> {
    let proof = Verdict::Done {
        proof: Some(json!({"rows": 1})),
    };
    let intent = |aim| Entry::Intent {
        step: 1,
        aim,
        attempt: 70_000,
    };
    let completed = |result| Entry::Ended {
        end: End::Completed { result },
    };
    vec![
        Entry::Looked {
            facts: None,
            known: true,
        },
        intent(Aim::Do),
        intent(Aim::Undo),
        verdict(Aim::Do, Verdict::done(), false),
        verdict(Aim::Do, Verdict::done(), true),
        verdict(Aim::Undo, Verdict::done(), false),
        verdict(Aim::Do, proof, false),
        verdict(Aim::Do, Verdict::AlreadyGone, false),
        verdict(Aim::Do, Verdict::Absent, false),
        verdict(Aim::Do, Verdict::unknown("a, b: \"[c]\""), false),
        Entry::Overdue,
        completed(CompletedResult::Deleted),
        completed(CompletedResult::AlreadyGone),
        completed(CompletedResult::Absent),
        Entry::Ended { end: End::Cancelled },
    ]
}

#[test]
fn what_is_kept_reads_as_it_was() {
    let record = |entries: &[Entry]| format!("[1,12,-5{}]", write(entries));
    for entry in all() {
        let one = [entry];
        assert_eq!(read(&record(&one)), Ok(vec![one.to_vec()]));
    }
    let (older, newer) = (&all()[..3], &all()[3..]);
    let both = format!("{},{}", record(newer), record(older));
    assert_eq!(read(&both), Ok(vec![older.to_vec(), newer.to_vec()]));
    assert_eq!(read(""), Ok(Vec::new()));
}

#[test]
fn four_words_are_kept_in_short() {
    let all = all();
    let short = [&all[1], &all[3], &all[7], &all[11]].map(|entry| write(std::slice::from_ref(entry)));
    let wanted = [
        r#",["i",1,70000]"#,
        r#",["d",2,3]"#,
        r#",["g",2,3]"#,
        r#",["e","deleted"]"#,
    ];
    assert_eq!(short, wanted);
}

#[test]
fn what_is_no_entry_is_said() {
    for (records, wanted) in [
        (
            "[1,2,3,[\"x\",1,1]]",
            "found [\"x\",1,1] in a journal; wanted an entry",
        ),
        (
            "[1,2,3,[\"i\",-1,1]]",
            "found [\"i\",-1,1] in a journal; wanted an entry",
        ),
        (
            "[1,2,3,[\"e\",\"gone\"]]",
            "found [\"e\",\"gone\"] in a journal; wanted an entry",
        ),
        ("[1,2,3,{\"e\":\"danced\"}]", "unknown variant `danced`"),
        ("[1,2", "EOF while parsing"),
    ] {
        let error = read(records).expect_err(records);
        assert!(error.contains(wanted), "{records}: {error}");
    }
}
