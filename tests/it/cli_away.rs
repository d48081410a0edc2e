//! What the command line says when something is wrong: one clear sentence, a code that says whose fault it is, soon,
//! and never a panic.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use crate::world::World;

/// A person waits no longer than this for "it is away".
const SOON: Duration = Duration::from_secs(15);

struct Said {
    code: Option<i32>,
    sentence: String,
}

async fn sexton(folder: &Path, arguments: &[&str]) -> Said {
    let asked = tokio::process::Command::new(env!("CARGO_BIN_EXE_sexton"))
        .args(["--config", "settings.toml"])
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(SOON, asked)
        .await
        .expect("soon")
        .expect("the binary");
    let sentence = String::from_utf8(output.stderr)
        .expect("text")
        .trim_end()
        .to_owned();
    assert!(!sentence.contains("panicked"), "{sentence}");
    assert!(!sentence.contains("hunter2"), "{sentence}");
    Said {
        code: output.status.code(),
        sentence,
    }
}

/// A folder with settings and no plans.
fn folder(settings: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("plans")).expect("plans");
    std::fs::write(folder.path().join("settings.toml"), settings).expect("settings");
    folder
}

fn settings(database: &str, amqp: &str) -> String {
    format!("[store]\nurl = {database:?}\n[broker]\nurl = {amqp:?}\n[telemetry]\nlisten = \"127.0.0.1:0\"\n")
}

/// Where nobody listens any more.
fn nobody() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[tokio::test]
async fn wrong_settings_are_one_sentence_and_64() {
    let away = folder("[store]\nurl = \"postgres://u:hunter2@127.0.0.1/x\"\nlanes = 0\n");
    let said = sexton(away.path(), &["run"]).await;
    assert_eq!(
        said.sentence,
        "sexton: store.lanes: found 0; wanted 1 to 64 (in settings.toml)"
    );
    assert_eq!(said.code, Some(64));
    let said = sexton(away.path(), &["deletions", "list", "--limit", "0"]).await;
    assert_eq!(said.code, Some(64), "{}", said.sentence);
    let said = sexton(folder("").path(), &["deletions", "list"]).await;
    assert_eq!(said.code, Some(64));
    assert!(
        said.sentence
            .starts_with("sexton: store.url: found nothing; wanted "),
        "{}",
        said.sentence
    );
    let said = sexton(folder("").path(), &["request", "Shop", "1", "--tenant", "t"]).await;
    assert_eq!(said.code, Some(64));
    assert!(
        said.sentence
            .contains("would be rejected: wrong_shape at /target/type"),
        "{}",
        said.sentence
    );
}

#[tokio::test]
async fn a_wrong_plan_is_named_with_its_line_and_65() {
    let folder = folder(&settings("postgres://u:hunter2@127.0.0.1/x", "amqp://127.0.0.1"));
    let plan = folder.path().join("plans/wrong.toml");
    std::fs::write(&plan, "target = \"a.b\"\non = \"shop\"\nsqll = \"delete\"\n").expect("a plan");
    for arguments in [
        &["run"][..],
        &["plan", "check", "plans/wrong.toml"],
        &["plan", "show", "a.b"],
    ] {
        let said = sexton(folder.path(), arguments).await;
        assert_eq!(said.code, Some(65), "{arguments:?}: {}", said.sentence);
        assert!(
            said.sentence.contains("plans/wrong.toml:3: "),
            "{arguments:?}: {}",
            said.sentence
        );
    }
    let said = sexton(folder.path(), &["plan", "show", "no.such"]).await;
    assert_eq!(said.code, Some(65), "{}", said.sentence);
}

#[tokio::test]
async fn a_postgres_that_is_away_or_silent_is_said_soon_and_69() {
    let port = nobody();
    let away = folder(&settings(
        &format!("postgres://u:hunter2@127.0.0.1:{port}/x"),
        "amqp://127.0.0.1",
    ));
    for arguments in [
        &["run"][..],
        &["migrate"],
        &["deletions", "list"],
        &["deletions", "retry", "018f0000-0000-7000-8000-000000000000"],
        &["rejected", "requeue", "--all"],
    ] {
        let said = sexton(away.path(), arguments).await;
        assert_eq!(said.code, Some(69), "{arguments:?}: {}", said.sentence);
        let wanted = format!("cannot connect to Postgres at 127.0.0.1:{port}: ");
        assert!(
            said.sentence.contains(&wanted),
            "{arguments:?}: {}",
            said.sentence
        );
        assert_eq!(
            said.sentence.lines().count(),
            1,
            "{arguments:?}: {}",
            said.sentence
        );
    }
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let hangs = folder(&settings(
        &format!("postgres://u:hunter2@127.0.0.1:{port}/x"),
        "amqp://127.0.0.1",
    ));
    let said = sexton(hangs.path(), &["run"]).await;
    assert_eq!(said.code, Some(69));
    let wanted = format!("Postgres at 127.0.0.1:{port} did not answer within 5 s");
    assert!(said.sentence.ends_with(&wanted), "{}", said.sentence);
}

#[tokio::test]
async fn a_broker_that_is_away_or_silent_is_said_soon_and_69() {
    let world = World::new().await;
    let port = nobody();
    let away = folder(&settings(
        &world.database_url,
        &format!("amqp://u:hunter2@127.0.0.1:{port}"),
    ));
    for arguments in [
        &["run"][..],
        &["request", "a.b", "1", "--tenant", "t"],
        &["rejected", "list"],
    ] {
        let said = sexton(away.path(), arguments).await;
        assert_eq!(said.code, Some(69), "{arguments:?}: {}", said.sentence);
        let wanted = format!("cannot connect to the broker at 127.0.0.1:{port}");
        assert!(
            said.sentence.contains(&wanted),
            "{arguments:?}: {}",
            said.sentence
        );
    }
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let url = format!("amqp://u:hunter2@127.0.0.1:{port}");
    let hangs =
        settings(&world.database_url, &url).replace("[telemetry]", "connect_timeout = \"1s\"\n[telemetry]");
    let said = sexton(folder(&hangs).path(), &["request", "a.b", "1", "--tenant", "t"]).await;
    assert_eq!(said.code, Some(69), "{}", said.sentence);
    assert!(
        said.sentence
            .ends_with("did not finish the handshake within 1000 ms"),
        "{}",
        said.sentence
    );
}

#[tokio::test]
async fn tables_of_another_release_are_said_and_migrate_brings_them() {
    let world = World::new().await;
    let empty = world.another_database("empty").await;
    let folder = folder(&settings(&empty, &world.amqp_url));
    for arguments in [&["run"][..], &["deletions", "list"]] {
        let said = sexton(folder.path(), arguments).await;
        assert_eq!(said.code, Some(69), "{arguments:?}");
        assert!(
            said.sentence
                .contains("the tables are at migration 0, this release wants ")
                && said.sentence.ends_with("run `sexton migrate` first"),
            "{}",
            said.sentence
        );
    }
    for _ in 0..2 {
        let said = sexton(folder.path(), &["migrate"]).await;
        assert_eq!(said.code, Some(0), "{}", said.sentence);
    }
    assert_eq!(sexton(folder.path(), &["deletions", "list"]).await.code, Some(0));
}
