//! One run of one rival, from an empty database and a full queue to the last outcome. Each is a process of its own with
//! a database and a vhost of its own; what it leaves behind is counted, so that nobody is fast by doing less.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sexton::services::Services;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::costs::{Meter, cpu_of_family, peak_kib};
use crate::messages::{Asker, Outcomes, WORD as PUBLISH, drain_begins, preload, somebody_reads};
use crate::scenarios::Run;
use crate::{Fail, bare, single};

/// A program that has not begun by now does not begin.
const BEGIN_MAX: Duration = Duration::from_secs(60);
const WARM_UP: usize = 100;
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
pub(crate) enum Rival {
    Sexton,
    Bare,
    /// Bare, one request at a time.
    Single,
}

/// When the requests come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feed {
    /// All of them are queued.
    Before,
    /// By another process, as fast as the broker takes them.
    Meanwhile,
}

impl Rival {
    /// Sexton and its base in this turn. Whoever goes first finds a fresher disk; that is each one's luck in turn.
    pub(crate) fn in_turn(turn: usize, base: Rival) -> [Rival; 2] {
        match turn % 2 {
            0 => [Rival::Sexton, base],
            _ => [base, Rival::Sexton],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Rival::Sexton => "sexton",
            Rival::Bare => "bare",
            Rival::Single => "single",
        }
    }

    /// Of its tables, which have the same names with all.
    fn schema(self) -> &'static str {
        match self {
            Rival::Sexton => "sexton",
            Rival::Bare | Rival::Single => "bare",
        }
    }

    fn command(self, word: &str, place: &Place) -> Result<Command, Fail> {
        let mut command = match self {
            Rival::Sexton => {
                let mut command = Command::new(std::env::current_exe()?.with_file_name("sexton"));
                command.arg("--config").arg(&place.settings);
                command
            }
            Rival::Bare | Rival::Single => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(if self == Rival::Bare {
                    bare::WORD
                } else {
                    single::WORD
                });
                command
            }
        };
        place.furnish(command.arg(word).stdout(Stdio::null()));
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
    /// With its tables.
    async fn migrated(services: &Services, rival: Rival, turn: usize) -> Result<Place, Fail> {
        let place = Place::make(services, rival, turn).await?;
        let migrated = rival.command("migrate", &place)?.status().await?;
        if migrated.success() {
            return Ok(place);
        }
        Err(format!("{} could not make its tables: {migrated}", rival.name()).into())
    }

    /// What a program of this place must know.
    fn furnish(&self, command: &mut Command) {
        command
            .env("DATABASE_URL", &self.database_url)
            .env("AMQP_URL", &self.amqp_url)
            .current_dir(self.folder.path())
            .kill_on_drop(true);
    }

    async fn clear(self, services: &Services) -> Result<(), Fail> {
        services.urls.drop_database(&self.name).await?;
        services.urls.drop_vhost(&self.name).await?;
        Ok(())
    }

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

/// So many sagas, from when the first request is taken (or published) to the last outcome.
pub(crate) async fn measure(
    services: &Services,
    rival: Rival,
    feed: Feed,
    turn: usize,
    requests: usize,
) -> Result<Run, Fail> {
    let place = Place::migrated(services, rival, turn).await?;
    let mut outcomes = Outcomes::listen(&place.amqp_url).await?;
    if feed == Feed::Before {
        preload(&place.amqp_url, requests).await?;
    }
    let meter = Meter::begin(services, &place.name).await?;
    let mut program = Program::start(rival, &place)?;
    let mut publisher = None;
    let began = match feed {
        Feed::Before => program.meanwhile(drain_begins(&place.amqp_url, requests)).await?,
        Feed::Meanwhile => {
            program.meanwhile(somebody_reads(&place.amqp_url)).await?;
            let (child, began) = publish(&place, requests).await?;
            publisher = Some(child);
            began
        }
    };
    let last = program.count(&mut outcomes, requests).await?;
    let (cpu, peak_kib) = (cpu_of_family(program.pid), peak_kib(program.pid));
    program.stop().await?;
    if let Some(mut publisher) = publisher {
        let ended = publisher.wait().await?;
        if !ended.success() {
            return Err(format!("the publisher did not end well: {ended}").into());
        }
    }
    let mut spent = meter.end(services, cpu).await?;
    spent.peak_kib = peak_kib;
    spent.messages = requests + outcomes.delivered;
    drop(outcomes);
    spent.dead_rows = count_rows(&place, rival, requests).await?;
    place.clear(services).await?;
    Ok(Run {
        sagas: requests,
        took: last - began,
        spent,
    })
}

/// How long each of so many had to wait that were asked for one after the other.
pub(crate) async fn one_at_a_time(
    services: &Services,
    rival: Rival,
    turn: usize,
    requests: usize,
) -> Result<Vec<Duration>, Fail> {
    let place = Place::migrated(services, rival, turn).await?;
    let mut outcomes = Outcomes::listen(&place.amqp_url).await?;
    let mut program = Program::start(rival, &place)?;
    program.meanwhile(somebody_reads(&place.amqp_url)).await?;
    let asker = Asker::open(&place.amqp_url).await?;
    let mut waits = Vec::with_capacity(requests);
    // The first ones find nothing prepared.
    for nth in 0..WARM_UP + requests {
        let waited = program.meanwhile(asker.ask(&mut outcomes)).await?;
        if nth >= WARM_UP {
            waits.push(waited);
        }
    }
    program.stop().await?;
    drop(outcomes);
    count_rows(&place, rival, WARM_UP + requests).await?;
    place.clear(services).await?;
    Ok(waits)
}

/// The other process that publishes, and when it began to.
async fn publish(place: &Place, requests: usize) -> Result<(Child, Instant), Fail> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([PUBLISH, &requests.to_string()])
        .stdout(Stdio::piped());
    place.furnish(&mut command);
    let mut publisher = command.spawn()?;
    let mut out = BufReader::new(publisher.stdout.take().ok_or("a publisher without a voice")?).lines();
    match out.next_line().await?.as_deref() {
        Some("begun") => Ok((publisher, Instant::now())),
        other => Err(format!("the publisher said {other:?}; wanted \"begun\"").into()),
    }
}

/// A rival at work.
struct Program {
    rival: Rival,
    child: Child,
    pid: u32,
}

impl Program {
    fn start(rival: Rival, place: &Place) -> Result<Self, Fail> {
        let child = rival.command("run", place)?.spawn()?;
        let pid = child.id().ok_or("the program ended at once")?;
        Ok(Program { rival, child, pid })
    }

    /// Waits for something that takes seconds at most, unless the program ends first.
    async fn meanwhile<T>(&mut self, wait: impl Future<Output = Result<T, Fail>>) -> Result<T, Fail> {
        tokio::select! {
            done = tokio::time::timeout(BEGIN_MAX, wait) => done?,
            ended = self.child.wait() => Err(format!("{} ended by itself: {}", self.rival.name(), ended?).into()),
        }
    }

    async fn count(&mut self, outcomes: &mut Outcomes, requests: usize) -> Result<Instant, Fail> {
        tokio::select! {
            last = outcomes.count(requests) => last,
            ended = self.child.wait() => Err(format!("{} ended in the middle: {}", self.rival.name(), ended?).into()),
        }
    }

    /// Politely: what it still has to cross off belongs to the run.
    async fn stop(mut self) -> Result<(), Fail> {
        let pid = Pid::from_raw(i32::try_from(self.pid)?).ok_or("a process without a number")?;
        kill_process(pid, Signal::TERM)?;
        let ended = self.child.wait().await?;
        if ended.success() {
            return Ok(());
        }
        Err(format!("{} did not end well: {ended}", self.rival.name()).into())
    }
}

/// A request, a key, an end and at least five records for each (waiting in turn is worth a record of its own); nothing
/// open, nothing unsent. Gives the dead rows that are left.
async fn count_rows(place: &Place, rival: Rival, requests: usize) -> Result<i64, Fail> {
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
    let dead = sqlx::query_scalar("select coalesce(sum(n_dead_tup), 0)::bigint from pg_stat_user_tables")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    let all = i64::try_from(requests)?;
    let records = found.get(2).copied().unwrap_or_default().max(5 * all);
    let wanted = [all, all, records, all, 0, 0];
    if found == wanted {
        return Ok(dead);
    }
    Err(format!(
        "{}: requests, keys, records, ends, open and unsent are {found:?}; wanted {wanted:?}",
        rival.name()
    )
    .into())
}
