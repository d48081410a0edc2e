//! The throw-away servers themselves: they work, each world is alone, and nothing of them remains, however they end.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};
use sexton::services::{Cluster, Ending, NODES, Options, Services, ServicesError};
use sqlx::Connection;

use crate::house::patience;
use crate::world::{World, databases};

/// The watchdog gives servers five seconds to end; a machine that compiles beside it may need more.
const GONE_MAX_S: u64 = 30;

#[tokio::test]
async fn a_world_has_a_database_and_a_vhost_of_its_own() {
    let (one, two) = tokio::join!(World::new(), World::new());
    assert_ne!(
        (&one.database_url, &one.amqp_url),
        (&two.database_url, &two.amqp_url)
    );

    select_one(&one.database_url).await;
    declare(&one.amqp_url, "here", false).await.expect("a queue");
    declare(&one.amqp_url, "here", true).await.expect("still there");
    declare(&two.amqp_url, "here", true)
        .await
        .expect_err("the other world must not see it");

    let platform = one.another_database("platform").await;
    select_one(&platform).await;
    let (urls, name) = (
        one.urls.clone(),
        one.database_url.rsplit('/').next().unwrap().to_owned(),
    );
    assert_eq!(
        databases(&urls, &name).await.unwrap(),
        [name.clone(), format!("{name}_platform")]
    );
    tokio::task::spawn_blocking(move || drop(one)).await.unwrap();
    assert!(databases(&urls, &name).await.unwrap().is_empty());
    assert!(
        matches!(
            urls.drop_vhost(&name).await,
            Err(ServicesError::Management { .. })
        ),
        "already gone"
    );
}

#[tokio::test]
async fn private_servers_survive_outages_and_leave_nothing() {
    let mut services = Services::start(Options::private()).await.expect("both servers");
    let urls = services.urls.clone();
    let left = Left::of(services.folder().expect("a folder"));
    assert_eq!(left.names(), ["epmd", "postgres", "rabbitmq"]);

    select_one(&urls.database_url).await;
    services.stop_postgres(Ending::Kill).await.unwrap();
    sqlx::PgConnection::connect(&urls.database_url)
        .await
        .expect_err("Postgres is down");
    services.start_postgres().await.unwrap();
    select_one(&urls.database_url).await;

    // RabbitMQ writes a declaration down a moment after it has said yes: a kill in between would lose the queue.
    declare(&urls.amqp_url, "durable", false).await.expect("a queue");
    services.stop_broker(Ending::Clean).await.unwrap();
    declare(&urls.amqp_url, "durable", true)
        .await
        .expect_err("the broker is down");
    services.start_broker().await.unwrap();
    declare(&urls.amqp_url, "durable", true)
        .await
        .expect("the queue outlived the broker");

    let left = [left, Left::of(services.folder().expect("a folder"))];
    services.stop().await.expect("a clean end");
    for left in left {
        left.vanishes();
    }
}

/// A quorum queue of three copies: what it has confirmed is there while any one node is away.
#[tokio::test]
async fn private_nodes_are_one_broker_and_leave_nothing() {
    let cluster = Cluster::start().await.expect("three nodes");
    let left = Left::of(cluster.folder());
    assert_eq!(left.names(), ["epmd", "rabbitmq-1", "rabbitmq-2", "rabbitmq-3"]);
    assert_eq!(cluster.running(0).await.expect("a list").len(), NODES);
    let urls = cluster.amqp_urls().await;
    declare_replicated(&urls[0], "copied").await;
    // One is killed. Of one after the other, RabbitMQ 3.10 may make a queue without a leader: the copy that was killed first
    // has not caught up when the next one goes.
    for (place, ending) in [(0, Ending::Kill), (1, Ending::Clean), (2, Ending::Clean)] {
        cluster.stop_node(place, ending).await.expect("stopped");
        let other = (place + 1) % NODES;
        assert_eq!(cluster.running(other).await.expect("a list").len(), NODES - 1);
        publish_confirmed(&urls[other], "copied").await;
        cluster.start_node(place).await.expect("started");
    }
    let connection = lapin::Connection::connect(&urls[2], lapin::ConnectionProperties::default())
        .await
        .expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    for kept in 0..NODES {
        let taken = channel.basic_get("copied".into(), Default::default()).await;
        assert!(taken.expect("an answer").is_some(), "message {kept}");
    }
    connection.close(200, "bye".into()).await.expect("a clean end");
    cluster.stop().await;
    left.vanishes();
}

#[tokio::test]
async fn a_panic_leaves_nothing() {
    let only_postgres = Options {
        amqp_url: Some("amqp://127.0.0.1:1".into()),
        ..Options::private()
    };
    let services = Services::start(only_postgres).await.expect("Postgres");
    let left = Left::of(services.folder().expect("a folder"));
    assert_eq!(left.names(), ["postgres"]);
    let task = tokio::task::spawn_blocking(move || {
        let _held = services;
        panic!("on purpose");
    });
    assert!(task.await.expect_err("it panics").is_panic());
    left.vanishes();
}

#[test]
fn sexton_dev_told_to_end_leaves_nothing() {
    // Postgres alone: that both end is shown by the next test, and RabbitMQ's start is the long part.
    let (mut dev, left) = dev_running(sexton_dev().env("AMQP_URL", "amqp://127.0.0.1:1"), &["postgres"]);
    kill_process(Pid::from_child(&dev), Signal::TERM).unwrap();
    assert!(dev.wait().unwrap().success());
    left.vanishes();
}

#[test]
fn sexton_dev_interrupted_from_the_keyboard_leaves_nothing() {
    use std::os::unix::process::CommandExt;
    // Ctrl-C goes to the whole group in the foreground, not to one process of it.
    let mut command = sexton_dev();
    command.env("AMQP_URL", "amqp://127.0.0.1:1").process_group(0);
    let (mut dev, left) = dev_running(&mut command, &["postgres"]);
    kill_process_group(Pid::from_child(&dev), Signal::INT).unwrap();
    assert!(dev.wait().unwrap().success());
    left.vanishes();
}

#[test]
fn sexton_dev_killed_leaves_nothing() {
    let (mut dev, left) = dev_running(&mut sexton_dev(), &["epmd", "postgres", "rabbitmq"]);
    dev.kill().unwrap();
    dev.wait().unwrap();
    left.vanishes();
}

#[test]
fn sexton_dev_runs_a_command_with_the_urls_and_ends_with_its_code() {
    let run = |script: &str| {
        sexton_dev()
            .env("DATABASE_URL", "postgres://given/db")
            .env("AMQP_URL", "amqp://me:word@given/%2f")
            .args(["--", "sh", "-c", script])
            .output()
            .unwrap()
    };
    let output = run("echo $DATABASE_URL $AMQP_URL $SEXTON_MANAGEMENT_URL; exit 7");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        said.trim(),
        "postgres://given/db amqp://me:word@given/%2f http://me:word@given:15672/"
    );
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(run("kill -TERM $$").status.code(), Some(128 + 15));
}

async fn select_one(database_url: &str) {
    let mut connection = sqlx::PgConnection::connect(database_url)
        .await
        .expect("a connection");
    let one: i32 = sqlx::query_scalar("select 1")
        .fetch_one(&mut connection)
        .await
        .expect("a row");
    assert_eq!(one, 1);
}

async fn declare(amqp_url: &str, queue: &str, passive: bool) -> lapin::Result<()> {
    let connection = lapin::Connection::connect(amqp_url, lapin::ConnectionProperties::default()).await?;
    let options = lapin::options::QueueDeclareOptions {
        passive,
        durable: true,
        ..Default::default()
    };
    let channel = connection.create_channel().await?;
    channel
        .queue_declare(queue.into(), options, Default::default())
        .await?;
    connection.close(200, "bye".into()).await
}

async fn declare_replicated(amqp_url: &str, queue: &str) {
    let connection = lapin::Connection::connect(amqp_url, lapin::ConnectionProperties::default())
        .await
        .expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    let options = lapin::options::QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let mut arguments = lapin::types::FieldTable::default();
    let quorum = lapin::types::AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), quorum);
    channel
        .queue_declare(queue.into(), options, arguments)
        .await
        .expect("a queue");
    connection.close(200, "bye".into()).await.expect("a clean end");
}

async fn publish_confirmed(amqp_url: &str, queue: &str) {
    // A queue that has just lost its leader says no, or nothing at all, until it has another: then a publisher says it again.
    let trying =
        async { while tokio::time::timeout(CONFIRM_MAX, publish_once(amqp_url, queue)).await != Ok(true) {} };
    let confirmed = tokio::time::timeout(patience(), trying).await;
    assert!(confirmed.is_ok(), "nothing is confirmed while one node is away");
}

/// So long a confirm is waited for.
const CONFIRM_MAX: Duration = Duration::from_secs(3);

async fn publish_once(amqp_url: &str, queue: &str) -> bool {
    let connection = lapin::Connection::connect(amqp_url, lapin::ConnectionProperties::default())
        .await
        .expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    channel
        .confirm_select(Default::default())
        .await
        .expect("confirms");
    let properties = lapin::BasicProperties::default().with_delivery_mode(2);
    let confirm = channel
        .basic_publish("".into(), queue.into(), Default::default(), b"kept", properties)
        .await
        .expect("published");
    let is_ack = confirm.await.expect("an answer").is_ack();
    connection.close(200, "bye".into()).await.expect("a clean end");
    is_ack
}

fn sexton_dev() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sexton"));
    command.args(["dev", "--no-fsync"]);
    for given in ["DATABASE_URL", "AMQP_URL", "SEXTON_MANAGEMENT_URL"] {
        command.env_remove(given);
    }
    command
}

/// `sexton dev` once it has said that it runs, and what it would leave.
fn dev_running(command: &mut Command, expected: &[&str]) -> (std::process::Child, Left) {
    let mut dev = command.stdout(Stdio::piped()).spawn().expect("the sexton binary");
    let lines = BufReader::new(dev.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let said: Vec<String> = lines.take_while(|line| !line.starts_with("Running")).collect();
    let folder = said
        .iter()
        .find_map(|line| line.strip_prefix("folder"))
        .expect("where it keeps its files");
    let left = Left::of(Path::new(folder.trim()));
    assert_eq!(left.names(), expected);
    (dev, left)
}

/// What servers would leave: their folder, and every process that was in one of their process groups.
struct Left {
    folder: PathBuf,
    processes: Vec<(String, Pid)>,
}

impl Left {
    fn of(folder: &Path) -> Self {
        let recorded = fs::read_dir(folder.join("pids"))
            .expect("recorded processes")
            .map(|file| {
                let path = file.unwrap().path();
                let mut text = String::new();
                fs::File::open(&path).unwrap().read_to_string(&mut text).unwrap();
                let pid = text.trim().rsplit(' ').next().unwrap().parse().unwrap();
                (
                    path.file_name().unwrap().to_string_lossy().into_owned(),
                    Pid::from_raw(pid).unwrap(),
                )
            });
        let mut left = Self {
            folder: folder.to_path_buf(),
            processes: recorded.collect(),
        };
        left.processes.sort_by(|one, other| one.0.cmp(&other.0));
        for (name, pid) in &left.processes {
            assert!(runs(*pid), "{name} runs");
        }
        left
    }

    fn names(&self) -> Vec<&str> {
        self.processes.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// A process table sends no events: looked at, with a bound, until nothing is left.
    fn vanishes(self) {
        let deadline = Instant::now() + Duration::from_secs(GONE_MAX_S);
        loop {
            let running: Vec<_> = self.processes.iter().filter(|(_, pid)| runs(*pid)).collect();
            if running.is_empty() && !self.folder.exists() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "left: {running:?} {:?} {}",
                self.folder,
                self.folder.exists()
            );
            std::thread::yield_now();
        }
    }
}

/// One that has ended and that nobody has collected yet counts as gone; only Linux tells.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    test_kill_process(pid).is_ok() && !stat.contains(") Z ")
}
