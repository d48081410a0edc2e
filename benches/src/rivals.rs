//! One run of one rival, from an empty database and a full queue to the last outcome. Each is a process of its own with
//! a database and a vhost of its own; what it leaves behind is counted, so that nobody is fast by doing less.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sexton::services::Services;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::{Child, Command};

use crate::costs::{Meter, cpu_of_family};
use crate::messages::{Outcomes, drain_begins, preload};
use crate::table::Run;
use crate::{Fail, bare};

/// A program that has not begun by now does not begin.
const BEGIN_MAX: Duration = Duration::from_secs(60);
const PLAN: &str = r#"target = "bench.noop"
on = "nowhere"

[[step]]
name = "one"
nothing = true

[[step]]
name = "two"
nothing = true

[[step]]
name = "three"
nothing = true

[[step]]
name = "four"
nothing = true
"#;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rival {
    Sexton,
    Bare,
}

impl Rival {
    pub(super) fn name(self) -> &'static str {
        match self {
            Rival::Sexton => "sexton",
            Rival::Bare => "bare",
        }
    }

    /// Also the schema of its tables, which have the same names with both.
    fn schema(self) -> &'static str {
        self.name()
    }

    fn command(self, word: &str, place: &Place) -> Result<Command, Fail> {
        let mut command = match self {
            Rival::Sexton => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_sexton"));
                command.arg("--config").arg(&place.settings);
                command
            }
            Rival::Bare => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(bare::WORD);
                command
            }
        };
        command
            .arg(word)
            .env("DATABASE_URL", &place.database_url)
            .env("AMQP_URL", &place.amqp_url)
            .current_dir(place.folder.path())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }
}

struct Place {
    name: String,
    database_url: String,
    amqp_url: String,
    folder: tempfile::TempDir,
    settings: PathBuf,
}

impl Place {
    async fn make(services: &Services, rival: Rival, turn: usize) -> Result<Place, Fail> {
        let name = format!("bench_{}_{turn}", rival.name());
        let (database_url, amqp_url) = tokio::try_join!(
            services.urls.create_database(&name),
            services.urls.create_vhost(&name)
        )?;
        let folder = tempfile::tempdir()?;
        let settings = folder.path().join("bench.toml");
        std::fs::create_dir(folder.path().join("plans"))?;
        std::fs::write(folder.path().join("plans/noop.toml"), PLAN)?;
        std::fs::write(&settings, settings_in(folder.path()))?;
        Ok(Place {
            name,
            database_url,
            amqp_url,
            folder,
            settings,
        })
    }
}

/// Everything as it comes, but for the limit of the system that the plan has to name: nothing is ever called there.
fn settings_in(folder: &Path) -> String {
    format!(
        "[plans]\nfolder = {:?}\n[telemetry]\nlisten = \"127.0.0.1:0\"\nlog = \"warn\"\n\
         [systems.nowhere]\nkind = \"archive\"\nfolder = {:?}\nlimit = 1000\n",
        folder.join("plans"),
        folder
    )
}

pub(super) async fn measure(
    services: &Services,
    rival: Rival,
    turn: usize,
    requests: usize,
) -> Result<Run, Fail> {
    let place = Place::make(services, rival, turn).await?;
    let migrated = rival.command("migrate", &place)?.status().await?;
    if !migrated.success() {
        return Err(format!("{} could not make its tables: {migrated}", rival.name()).into());
    }
    let mut outcomes = Outcomes::listen(&place.amqp_url).await?;
    preload(&place.amqp_url, requests).await?;

    let meter = Meter::begin(services, &place.name).await?;
    let mut program = rival.command("run", &place)?.spawn()?;
    let pid = program.id().ok_or("the program ended at once")?;
    let began = tokio::select! {
        began = tokio::time::timeout(BEGIN_MAX, drain_begins(&place.amqp_url, requests)) => began??,
        ended = program.wait() => return Err(format!("{} ended before it began: {}", rival.name(), ended?).into()),
    };
    let last = tokio::select! {
        last = outcomes.count(requests) => last?,
        ended = program.wait() => return Err(format!("{} ended in the middle: {}", rival.name(), ended?).into()),
    };
    let cpu = cpu_of_family(pid);
    stop(&mut program, pid, rival).await?;
    let spent = meter.end(services, cpu).await?;

    drop(outcomes);
    count_rows(&place, rival, requests).await?;
    services.urls.drop_database(&place.name).await?;
    services.urls.drop_vhost(&place.name).await?;
    Ok(Run {
        sagas: requests,
        took: last - began,
        spent,
    })
}

/// Politely: what it still has to cross off belongs to the run.
async fn stop(program: &mut Child, pid: u32, rival: Rival) -> Result<(), Fail> {
    let pid = Pid::from_raw(i32::try_from(pid)?).ok_or("a process without a number")?;
    kill_process(pid, Signal::TERM)?;
    let ended = program.wait().await?;
    if ended.success() {
        return Ok(());
    }
    Err(format!("{} did not end well: {ended}", rival.name()).into())
}

/// A request, a key, an end and at least five records for each (waiting in turn is worth a record of its own); nothing
/// open, nothing unsent.
async fn count_rows(place: &Place, rival: Rival, requests: usize) -> Result<(), Fail> {
    let mut connection = PgConnection::connect(&place.database_url).await?;
    let of = |table: &str| format!("(select count(*) from {}.{table})", rival.schema());
    let sql = format!(
        "select array[{}, {}, {}, {}, {}, {}]",
        of("requests"),
        of("keys"),
        of("journal"),
        of("deletions"),
        of("open_deletions"),
        of("outbox")
    );
    let found: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    let all = i64::try_from(requests)?;
    let records = found.get(2).copied().unwrap_or_default().max(5 * all);
    let wanted = [all, all, records, all, 0, 0];
    if found == wanted {
        return Ok(());
    }
    Err(format!(
        "{}: requests, keys, records, ends, open and unsent are {found:?}; wanted {wanted:?}",
        rival.name()
    )
    .into())
}
