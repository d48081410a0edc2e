//! One of the other systems under `benches/peers/`: installed into a folder of the build, and run in a database and a vhost of
//! its own. `benches/peers/README.md` says what their scripts take and give.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde::Deserialize;
use sexton::services::Services;
use tokio::process::Command;

use crate::Fail;
use crate::place::{Place, Stage};
use crate::report;

/// The code of a `setup` that cannot have what it needs.
const CANNOT: i32 = 3;
/// A workspace of Rust that is compiled on two busy cores.
const SETUP_MAX: Duration = Duration::from_secs(30 * 60);
/// Several times what the slowest takes.
const RUN_MAX: Duration = Duration::from_secs(5 * 60);

/// What a peer is for, and so what it is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Craft {
    /// Carries a backlog of jobs.
    Queue,
    /// Carries durable executions, as they come.
    Durable,
}

#[derive(Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) craft: Craft,
    /// Seconds of work, by its own speed.
    pub(crate) sagas: usize,
    /// Peers of one workspace share a folder of the build.
    folder: &'static str,
}

const fn peer(name: &'static str, craft: Craft, sagas: usize, folder: &'static str) -> Peer {
    Peer {
        name,
        craft,
        sagas,
        folder,
    }
}

impl Peer {
    pub(crate) const ALL: [Peer; 10] = [
        peer("pg-boss", Craft::Queue, 40_000, "pg-boss"),
        peer("graphile-worker", Craft::Queue, 40_000, "graphile-worker"),
        peer("graphile_worker", Craft::Queue, 40_000, "rust"),
        peer("awa", Craft::Queue, 10_000, "rust"),
        peer("restate", Craft::Durable, 10_000, "restate"),
        peer("dbos-ts", Craft::Durable, 3_000, "dbos-ts"),
        peer("dbos-py", Craft::Durable, 3_000, "dbos-py"),
        peer("dbos-rust", Craft::Durable, 3_000, "rust"),
        peer("celery", Craft::Queue, 500, "celery"),
        peer("temporal", Craft::Durable, 100, "temporal"),
    ];

    fn script(&self, name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("peers")
            .join(self.name)
            .join(name)
    }

    fn folder(&self) -> Result<PathBuf, Fail> {
        let folder = report::folder()?.join("peers").join(self.folder);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Why it cannot be had here, if it cannot.
    pub(crate) async fn set_up(&self, services: &Services) -> Result<Option<String>, Fail> {
        let words = [
            self.script("setup").into_os_string(),
            self.folder()?.into_os_string(),
        ];
        let output = ended(services, companion(services, &words), SETUP_MAX).await?;
        match output.status.code() {
            Some(0) => Ok(None),
            Some(CANNOT) => Ok(Some(last_line(&output.stderr))),
            _ => Err(format!(
                "setup ended with {}: {}",
                output.status,
                last_line(&output.stderr)
            )
            .into()),
        }
    }

    /// Sagas a second.
    pub(crate) async fn run(&self, services: &Services, sagas: usize) -> Result<f64, Fail> {
        // Names of databases have no capitals and no dots; these have none either.
        let place = Place::make(services, &format!("peer_{}", self.name), &Stage::of("")).await?;
        let words = [
            self.script("run").into_os_string(),
            self.folder()?.into_os_string(),
            sagas.to_string().into(),
        ];
        let mut command = companion(services, &words);
        place.furnish(&mut command);
        let output = ended(services, command, RUN_MAX).await?;
        place.clear(services).await?;
        if !output.status.success() {
            return Err(format!("run ended with {}: {}", output.status, last_line(&output.stderr)).into());
        }
        let said: Said = serde_json::from_str(&last_line(&output.stdout))?;
        if said.peer != self.name || said.sagas != sagas || said.seconds <= 0.0 {
            return Err(format!("it said {said:?}; wanted {sagas} sagas of {}", self.name).into());
        }
        Ok(sagas as f64 / said.seconds)
    }
}

/// The last line of a run.
#[derive(Debug, Deserialize)]
struct Said {
    peer: String,
    sagas: usize,
    seconds: f64,
}

/// A peer ends with the servers, whatever becomes of this program.
fn companion(services: &Services, words: &[OsString]) -> Command {
    Command::from(services.companion(NAME, "TERM", words))
}

const NAME: &str = "peer";

async fn ended(services: &Services, mut command: Command, most: Duration) -> Result<Output, Fail> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = tokio::time::timeout(most, child.wait_with_output()).await;
    services.forget(NAME);
    let output = output.map_err(|_| format!("it has not ended in {most:?}"))?;
    Ok(output?)
}

fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().last().unwrap_or("not a word").to_owned()
}
