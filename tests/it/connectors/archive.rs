//! Archives: what was in the rows can be read back, and nothing archived is ever lost.

use std::time::Duration;

use serde_json::{Value, json};
use sexton::connectors::Attempt;
use sexton::deletion::Verdict;
use sexton::plan::Call;
use sha2::{Digest, Sha256};

use super::place::{Place, archive_of, attempt, build, give, settings};

fn messages() -> Call {
    archive_of(
        "select m.* from messages m join sessions s on s.id = m.session_id where s.computer_id = :id order by m.id -- all",
    )
}

async fn proof(place: &Place, call: &Call, attempt: &Attempt) -> Value {
    match place.run(call, attempt).await {
        Verdict::Done { proof } => proof.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn lines(object: &[u8]) -> Vec<Value> {
    let text = zstd::decode_all(object).unwrap();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[tokio::test]
async fn what_was_in_the_rows_can_be_read_back_and_is_proven() {
    let place = Place::new().await;
    place.computer("c").await;
    place
        .execute("update messages set body = E'line\\nbreak \"quoted\" é \\\\ ' || body where id % 2 = 0")
        .await;
    let rows = place.json("select * from messages order by id").await;
    let proof = proof(&place, &messages(), &attempt("c")).await;
    let archived = place.archived();
    let (path, object) = archived.iter().next().unwrap();
    assert_eq!(archived.len(), 1);
    assert_eq!(json!(lines(object)), rows);
    assert_eq!(proof["rows"], json!(50));
    assert_eq!(proof["path"], json!(path));
    assert_eq!(proof["bytes"], json!(object.len()));
    assert_eq!(proof["object_sha256"], json!(hex(object)));
    let digest = hex(&zstd::decode_all(object.as_slice()).unwrap());
    assert_eq!(proof["sha256"], json!(digest));
    assert_eq!(*path, format!("org_1/c/sessions-{}.ndjson.zst", &digest[..16]));
}

#[tokio::test]
async fn the_same_rows_are_one_object_and_other_rows_never_replace_it() {
    let place = Place::new().await;
    place.computer("c").await;
    let first = proof(&place, &messages(), &attempt("c")).await;
    let before = place.archived();
    let second = proof(&place, &messages(), &attempt("c")).await;
    assert_eq!(
        (&first["repeated"], &second["repeated"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        (&second["path"], place.archived()),
        (&first["path"], before.clone())
    );

    // A late row, and then rows that somebody removed: siblings, and the fullest is still there.
    place
        .execute("insert into messages (session_id, role, body) values ('s1-c', 'user', 'late')")
        .await;
    assert_eq!(proof(&place, &messages(), &attempt("c")).await["rows"], json!(51));
    place.execute("delete from messages").await;
    assert_eq!(proof(&place, &messages(), &attempt("c")).await["rows"], json!(0));
    let mut counts: Vec<usize> = place
        .archived()
        .values()
        .map(|object| lines(object).len())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [0, 50, 51]);
    assert!(
        before
            .iter()
            .all(|(path, object)| place.archived().get(path) == Some(object))
    );
}

#[tokio::test]
async fn an_object_that_is_not_whole_is_never_taken_for_the_archive() {
    let place = Place::new().await;
    place.computer("c").await;
    let first = proof(&place, &messages(), &attempt("c")).await;
    let path = place.archive.path().join(first["path"].as_str().unwrap());
    let whole = std::fs::read(&path).unwrap();
    let mut garbage = whole.clone();
    garbage[whole.len() / 2] ^= 0xff;
    let mut longer = whole.clone();
    longer.extend_from_slice(b"and more");
    // The last bytes are the frame's end and its checksum: all rows come out without them.
    let cut = (1..=8).map(|bytes| &whole[..whole.len() - bytes]);
    let broken = [&whole[..whole.len() / 2], &[], &garbage, &longer];
    for broken in broken.into_iter().chain(cut) {
        std::fs::write(&path, broken).unwrap();
        let repaired = proof(&place, &messages(), &attempt("c")).await;
        assert_eq!(repaired["repeated"], json!(false));
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}

#[tokio::test]
async fn a_large_archive_goes_up_in_parts() {
    let place = Place::new().await;
    place.computer("c").await;
    // Random text hardly compresses: more than one part of 5 MiB.
    place
        .execute(
            "insert into messages (session_id, role, body)
             select 's1-c', 'user', string_agg(md5(random()::text), '') from generate_series(1, 360) g,
             generate_series(1, 1000) h group by g",
        )
        .await;
    // Checksums are slow in a build without optimization.
    let patient = Attempt {
        timeout: Duration::from_secs(120),
        ..attempt("c")
    };
    let proof = proof(&place, &messages(), &patient).await;
    assert_eq!(proof["rows"], json!(410));
    assert!(proof["bytes"].as_u64() > Some(5 * 1024 * 1024), "{proof}");
    let archived = place.archived();
    let object = archived.values().next().unwrap();
    assert_eq!(proof["object_sha256"], json!(hex(object)));
}

#[tokio::test]
async fn a_path_never_leaves_its_folder_and_a_missing_store_says_so() {
    let place = Place::new().await;
    let mut one = attempt("../../../etc/passwd");
    let path = proof(&place, &messages(), &one).await["path"].clone();
    assert!(
        path.as_str()
            .unwrap()
            .starts_with("org_1/..%2F..%2F..%2Fetc%2Fpasswd/sessions-"),
        "{path}"
    );
    assert!(place.archived().contains_key(path.as_str().unwrap()));
    give(&mut one, "tenant", json!(""));
    assert_eq!(place.run(&messages(), &one).await.word(), "failed");

    let Call::Archive { rows, path, .. } = messages() else {
        panic!()
    };
    let elsewhere = Call::Archive {
        rows,
        path,
        store: sexton::plan::SystemName("glacier".into()),
    };
    let verdict = place.run(&elsewhere, &attempt("c")).await;
    assert!(
        matches!(&verdict, Verdict::Blocked { unblock, .. } if unblock.contains("[systems.glacier]")),
        "{verdict:?}"
    );
    let ready = place.systems.check().await;
    assert!(ready.len() == 3 && ready.values().all(Result::is_ok), "{ready:?}");
    let file = place.archive.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let error = build(&settings(
        &place.platform_url,
        &place.cloud_url,
        file.to_str().unwrap(),
    ))
    .err()
    .unwrap();
    assert!(
        error.to_string().starts_with("setting `systems.archive.folder`"),
        "{error}"
    );
}
