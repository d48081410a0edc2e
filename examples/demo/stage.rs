//! The servers, the cloud and the worker of one run, and how all of it goes again.
//!
//! Every process started here is known to the watchdog of the servers, and everything written lies in their folder; so
//! nothing remains, whatever way this process ends. With servers that were given, the database and vhost of this run
//! are dropped instead, and the folder is a temporary one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sexton::services::{Options, Services};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::Fault;

/// A worker that drains needs a step's timeout at most; one that takes longer hangs.
const STOP_MAX: Duration = Duration::from_secs(30);
/// What of a worker's log a person needs to see when something is off.
const LAST_WORDS_LINES: usize = 15;
/// Beside the platform, which has its computers and its sessions.
const WORLDS: [&str; 3] = ["powerdrill", "pave", "agno"];
const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

pub(crate) struct Stage {
    services: Services,
    scratch: PathBuf,
    /// Only where no folder of the servers could be used.
    _temporary: Option<tempfile::TempDir>,
    name: String,
    pub(crate) sexton_url: String,
    pub(crate) platform_url: String,
    /// The other worlds' databases, by name.
    worlds: BTreeMap<&'static str, String>,
    pub(crate) amqp_url: String,
    pub(crate) cloud_url: String,
    /// Where the workers serve HTTP.
    pub(crate) gateway: String,
    cloud: Option<Child>,
    worker: Option<Child>,
    workers: usize,
}

impl Stage {
    pub(crate) async fn open() -> Result<Self, Fault> {
        let services = Services::start(Options::from_env()).await?;
        let (scratch, temporary) = match services.folder() {
            Some(folder) => (folder.join("demo"), None),
            None => {
                let temporary = tempfile::tempdir()?;
                (temporary.path().join("demo"), Some(temporary))
            }
        };
        std::fs::create_dir(&scratch)?;
        Ok(Stage {
            services,
            scratch,
            _temporary: temporary,
            name: format!("sexton-demo-{:08x}", rand::random::<u32>()),
            sexton_url: String::new(),
            platform_url: String::new(),
            worlds: BTreeMap::new(),
            amqp_url: String::new(),
            cloud_url: String::new(),
            gateway: format!("127.0.0.1:{}", sexton::services::free_port()?),
            cloud: None,
            worker: None,
            workers: 0,
        })
    }

    /// A place of this run's own in both servers, and the cloud beside them.
    pub(crate) async fn furnish(&mut self, cloud: &[&str]) -> Result<(), Fault> {
        let urls = &self.services.urls;
        self.sexton_url = urls.create_database(&self.name).await?;
        self.platform_url = urls.create_database(&self.platform()).await?;
        for world in WORLDS {
            let url = urls.create_database(&format!("{}-{world}", self.name)).await?;
            self.worlds.insert(world, url);
        }
        self.amqp_url = urls.create_vhost(&self.name).await?;
        let program = beside("examples/cloud")?;
        let mut child = self
            .command("cloud", "KILL", &program, cloud)
            .stdout(Stdio::piped())
            .stderr(self.log("cloud")?)
            .spawn()?;
        let said = child.stdout.take().ok_or("the cloud has no output")?;
        self.cloud = Some(child);
        let first = BufReader::new(said).lines().next_line().await?;
        self.cloud_url = first.ok_or("the cloud ended before it said where it is")?;
        Ok(())
    }

    /// Writes the settings, with the addresses of this run in the template's places.
    pub(crate) fn settings(&self, template: &str) -> Result<(), Fault> {
        let archive = self.archive();
        let mut text = template.to_owned();
        for (place, value) in [
            ("{sexton}", self.sexton_url.as_str()),
            ("{platform}", &self.platform_url),
            ("{amqp}", &self.amqp_url),
            ("{cloud}", &self.cloud_url),
            ("{gateway}", &self.gateway),
            ("{archive}", &archive.to_string_lossy()),
            ("{repository}", REPOSITORY),
        ] {
            text = text.replace(place, value);
        }
        for (world, url) in &self.worlds {
            text = text.replace(&format!("{{{world}}}"), url);
        }
        std::fs::write(self.scratch.join("sexton.toml"), text)?;
        Ok(())
    }

    pub(crate) async fn migrate(&self) -> Result<(), Fault> {
        let mut migrate = self.command("migrate", "KILL", &beside("sexton")?, &["migrate"]);
        let ended = migrate
            .stdout(Stdio::null())
            .stderr(self.log("migrate")?)
            .status()
            .await?;
        self.services.forget("migrate");
        if ended.success() {
            Ok(())
        } else {
            Err(format!("`sexton migrate`: {ended}\n{}", self.last_words_of("migrate")).into())
        }
    }

    /// A key for all that is served, as the command shows it.
    pub(crate) async fn key(&self, tenant: &str) -> Result<String, Fault> {
        let mut arguments = vec!["keys", "make", "--name", "demo", "--tenant", tenant];
        for dialect in ["native", "factory", "powerdrill", "pave", "agno"] {
            arguments.extend(["--dialect", dialect]);
        }
        let made = self
            .command("keys", "KILL", &beside("sexton")?, &arguments)
            .output()
            .await?;
        self.services.forget("keys");
        match made.status.success() {
            true => Ok(String::from_utf8(made.stdout)?.trim().to_owned()),
            false => Err(format!("`sexton keys make`: {}", String::from_utf8_lossy(&made.stderr)).into()),
        }
    }

    pub(crate) fn start_worker(&mut self) -> Result<(), Fault> {
        self.workers += 1;
        let child = self
            .command("worker", "KILL", &beside("sexton")?, &["run"])
            .stdout(Stdio::null())
            .stderr(self.log(&self.worker_name())?)
            .spawn()?;
        self.worker = Some(child);
        Ok(())
    }

    /// Resolves only if the worker ends without having been asked to.
    pub(crate) async fn worker_gone(&mut self) -> Fault {
        match &mut self.worker {
            Some(worker) => {
                let ended = worker.wait().await;
                let how = ended.map_or_else(|error| error.to_string(), |ended| ended.to_string());
                format!("the worker ended by itself: {how}\n{}", self.last_words()).into()
            }
            None => std::future::pending().await,
        }
    }

    /// SIGKILL: no word, no clean-up.
    pub(crate) async fn kill_worker(&mut self) -> Result<(), Fault> {
        if let Some(mut worker) = self.worker.take() {
            worker.kill().await?;
            self.services.forget("worker");
        }
        Ok(())
    }

    /// SIGTERM, and the code that it ended with.
    pub(crate) async fn stop_worker(&mut self) -> Result<Option<ExitStatus>, Fault> {
        let Some(mut worker) = self.worker.take() else {
            return Ok(None);
        };
        if let Some(pid) = worker.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            kill_process(pid, Signal::TERM)?;
        }
        let ended = match tokio::time::timeout(STOP_MAX, worker.wait()).await {
            Ok(ended) => Some(ended?),
            Err(_) => {
                worker.kill().await?;
                None
            }
        };
        self.services.forget("worker");
        Ok(ended)
    }

    /// Ends all of it and takes it away.
    pub(crate) async fn close(mut self) -> Result<(), Fault> {
        self.kill_worker().await?;
        if let Some(mut cloud) = self.cloud.take() {
            cloud.kill().await?;
            self.services.forget("cloud");
        }
        if self.services.folder().is_none() {
            let urls = self.services.urls.clone();
            urls.drop_database(&self.name).await?;
            urls.drop_database(&self.platform()).await?;
            for world in self.worlds.keys() {
                urls.drop_database(&format!("{}-{world}", self.name)).await?;
            }
            // An early end may have come before the vhost.
            let _ = urls.drop_vhost(&self.name).await;
        }
        self.services.stop().await?;
        Ok(())
    }

    pub(crate) fn world_url(&self, name: &str) -> Result<&str, Fault> {
        let url = self.worlds.get(name).ok_or("a world without a database")?;
        Ok(url)
    }

    pub(crate) fn archive(&self) -> PathBuf {
        self.scratch.join("archive")
    }

    pub(crate) fn last_words(&self) -> String {
        self.last_words_of(&self.worker_name())
    }

    fn last_words_of(&self, name: &str) -> String {
        let log = std::fs::read_to_string(self.scratch.join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS_LINES)..].join("\n")
    }

    fn worker_name(&self) -> String {
        format!("worker-{}", self.workers)
    }

    fn platform(&self) -> String {
        format!("{}-platform", self.name)
    }

    fn log(&self, name: &str) -> io::Result<File> {
        File::create(self.scratch.join(format!("{name}.log")))
    }

    /// With nothing of the caller's environment that could change what is shown.
    fn command(&self, name: &str, end_signal: &str, program: &Path, arguments: &[&str]) -> Command {
        let whole: Vec<OsString> = std::iter::once(program.into())
            .chain(arguments.iter().map(OsString::from))
            .collect();
        let mut command = Command::from(self.services.companion(name, end_signal, &whole));
        for (key, _) in std::env::vars_os() {
            let key_text = key.to_string_lossy();
            let changes = ["DATABASE_URL", "AMQP_URL", "RUST_LOG"].contains(&key_text.as_ref());
            if changes || key_text.starts_with("SEXTON_") || key_text.starts_with("OTEL_") {
                command.env_remove(&key);
            }
        }
        command
            .current_dir(&self.scratch)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

/// A program of the same build: `demo` lies in `examples/` of its folder.
fn beside(name: &str) -> Result<PathBuf, Fault> {
    let own = std::env::current_exe()?;
    let folder = own
        .parent()
        .and_then(Path::parent)
        .ok_or("this program lies nowhere")?;
    let found = folder.join(name);
    if found.is_file() {
        Ok(found)
    } else {
        Err(format!(
            "{} is missing; wanted all programs of one build, as scripts/demo makes them",
            found.display()
        )
        .into())
    }
}
