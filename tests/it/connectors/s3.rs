//! Archives in a bucket of a real S3-compatible server.

use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use serde_json::{Value, json};
use sexton::connectors::{Attempt, Systems};
use sexton::deletion::Verdict;
use sexton::plan::Call;
use sha2::{Digest, Sha256};

use super::bucket::Bucket;
use super::place::{Place, archive_of, attempt, build, on};

fn messages() -> Call {
    archive_of(
        "select m.* from messages m join sessions s on s.id = m.session_id where s.computer_id = :id order by m.id",
    )
}

/// The platform of a place, and an archive of these settings.
fn systems(place: &Place, archive: &str) -> Systems {
    let platform = format!(
        "[platform]\nkind = \"postgres\"\nurl = {:?}\n",
        place.platform_url
    );
    build(&format!("{platform}{archive}")).expect("settings that can be addressed")
}

async fn run(systems: &Systems, attempt: &Attempt) -> Verdict {
    let call = messages();
    let connector = systems.connector(&on(&call), &call).unwrap();
    connector.run(&call, attempt).await
}

async fn proof(systems: &Systems, attempt: &Attempt) -> Value {
    match run(systems, attempt).await {
        Verdict::Done { proof } => proof.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn kept(bucket: &Bucket) -> Vec<ObjectMeta> {
    bucket.store().list(None).try_collect().await.unwrap()
}

#[tokio::test]
async fn a_large_archive_in_parts_reads_back_and_a_repeat_changes_nothing() {
    let (place, bucket) = tokio::join!(Place::new(), Bucket::start());
    place.computer("c").await;
    // Random text hardly compresses: more than one part of 5 MiB.
    place
        .execute(
            "insert into messages (session_id, role, body)
             select 's1-c', 'user', string_agg(md5(random()::text), '') from generate_series(1, 360) g,
             generate_series(1, 1000) h group by g",
        )
        .await;
    let systems = systems(&place, &bucket.settings());
    let patient = Attempt {
        timeout: Duration::from_secs(120),
        ..attempt("c")
    };
    let first = proof(&systems, &patient).await;
    assert_eq!((&first["rows"], &first["repeated"]), (&json!(410), &json!(false)));

    let all = kept(&bucket).await;
    let [object] = all.as_slice() else {
        panic!("{all:?}")
    };
    assert_eq!(
        object.location.as_ref(),
        format!("kept/{}", first["path"].as_str().unwrap())
    );
    // S3 marks what came in parts by how many they were.
    assert!(
        object.e_tag.as_ref().is_some_and(|tag| tag.contains("-2")),
        "{object:?}"
    );
    let bytes = bucket
        .store()
        .get(&object.location)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let digest: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        (&first["bytes"], &first["object_sha256"]),
        (&json!(bytes.len()), &json!(digest))
    );
    let lines = zstd::decode_all(&bytes[..]).unwrap();
    let rows: Vec<Value> = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(
        json!(rows),
        place.json("select * from messages order by id").await
    );

    let second = proof(&systems, &patient).await;
    assert_eq!(
        (&second["repeated"], &second["path"]),
        (&json!(true), &first["path"])
    );
    assert_eq!(kept(&bucket).await, all, "nothing was written again");
    // A small one is put at once, and an object cut short is not taken for it.
    place
        .execute("delete from messages where length(body) > 1000")
        .await;
    let small = proof(&systems, &patient).await;
    let path = Path::from(format!("kept/{}", small["path"].as_str().unwrap()));
    let whole = bucket.store().get(&path).await.unwrap().bytes().await.unwrap();
    bucket
        .store()
        .put(&path, whole.slice(..whole.len() / 2).into())
        .await
        .unwrap();
    assert_eq!(proof(&systems, &patient).await["repeated"], json!(false));
    assert_eq!(
        bucket.store().get(&path).await.unwrap().bytes().await.unwrap(),
        whole
    );
}

#[tokio::test]
async fn what_a_person_must_repair_is_said_and_nothing_is_written() {
    let (place, bucket) = tokio::join!(Place::new(), Bucket::start());
    place.computer("c").await;
    let right = bucket.settings();
    let secret = format!("secret_access_key = {:?}", bucket.secret);
    let cases = [
        (
            right.replace(&secret, "secret_access_key = \"wrong\""),
            "the archive refuses this access",
            "credentials",
        ),
        (
            right.replace("\"sexton\"", "\"nobody\""),
            "the archive refuses this access",
            "credentials",
        ),
        (
            right.replace("bucket = \"archive\"", "bucket = \"nowhere\""),
            "the archive's bucket or folder is not there",
            "create it",
        ),
    ];
    for (settings, wanted, repair) in cases {
        let systems = systems(&place, &settings);
        let verdict = run(&systems, &attempt("c")).await;
        let Verdict::Blocked { why, unblock, .. } = &verdict else {
            panic!("{wanted}: {verdict:?}")
        };
        assert!(why == wanted && unblock.contains(repair), "{verdict:?}");
        let ready = systems.check().await;
        let archive = ready.iter().find(|(name, _)| name.0 == "archive");
        assert!(
            archive.is_some_and(|(_, ready)| ready.is_err()),
            "{wanted}: {ready:?}"
        );
    }
    assert!(kept(&bucket).await.is_empty());
}
