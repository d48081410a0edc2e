//! A journal that outgrows its deletion's row goes on in pages, and nobody who reads it can tell.

use serde_json::Value;
use sexton::clock;
use sexton::deletion::{Aim, Entry, Verdict};
use sexton::store::{BatchOutcome, Passed, Record, Written};

use crate::guards::{intent, one_kept};

#[tokio::test]
async fn invariant_03_a_journal_is_whole_however_long_it_grows() {
    let mut desk = one_kept().await;
    let long = Verdict::unknown("w".repeat(280));
    let verdict = |attempt: u32| Entry::Verdict {
        step: 1,
        aim: Aim::Do,
        attempt,
        verdict: if attempt.is_multiple_of(2) {
            Verdict::done()
        } else {
            long.clone()
        },
        found_out: false,
        due: None,
    };
    let records: Vec<Vec<Entry>> = (1..=20)
        .map(|attempt| vec![verdict(attempt), Entry::Overdue])
        .collect();
    let mut record = Record {
        announce: None,
        ..intent(&desk.opened)
    };
    for (seq, entries) in records.iter().enumerate() {
        record.seq = i32::try_from(seq).expect("few");
        record.entries = entries.clone();
        let outcome = desk
            .writer
            .write(0, clock::now(), std::slice::from_ref(&record))
            .await;
        assert!(
            matches!(
                outcome,
                Ok(BatchOutcome::Applied {
                    written: Written::All,
                    ..
                })
            ),
            "{outcome:?}"
        );
        let mine = desk
            .writer
            .already_mine(std::slice::from_ref(&record))
            .await
            .expect("an answer");
        assert_eq!(mine.len(), 1, "record {seq}");
    }
    let (seqs, kept): (Vec<i32>, Value) = sqlx::query_as(
        "select array_agg(seq order by seq), json_agg(entries order by seq)::jsonb from sexton.journal",
    )
    .fetch_one(&desk.db)
    .await
    .expect("a journal");
    assert_eq!(seqs, (1..=20).collect::<Vec<_>>());
    assert_eq!(kept, serde_json::to_value(&records).expect("JSON"), "spelled out");
    let (pages, most): (i64, i32) = sqlx::query_as(
        "select (select count(*) from sexton.journal_pages), (select octet_length(records) from sexton.open_deletions)",
    )
    .fetch_one(&desk.db)
    .await
    .expect("a row");
    assert!(
        pages >= 2 && most <= 1_000,
        "{pages} pages, and {most} bytes in the row"
    );

    // Whoever goes on knows all of it.
    desk.run("update sexton.open_deletions set lane = null, epoch = null, due_at = now()")
        .await;
    let (claimed, _) = desk
        .writer
        .claim(&[desk.opened.plan], Passed::default(), 1, 1)
        .await
        .expect("claimed");
    assert_eq!(claimed[0].journal, Ok(records.concat()));
}
