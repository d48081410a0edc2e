//! Throw-away Postgres and RabbitMQ, started from the machine's own binaries, for `sexton dev`, the demonstration and
//! the tests. Nothing of them remains: whatever way this process goes, the servers end and their folder is removed.
//! A server that is given by its URL is used as it is and never stopped.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

mod cluster;
mod lair;
mod postgres;
mod rabbitmq;

mod binaries;
mod dev;
mod error;
mod ports;
pub use ports::free_port;
mod server;
mod urls;

pub use cluster::{Cluster, NODES};
pub use dev::{dev, run_with};
pub use error::ServicesError;
pub use server::Ending;
pub use urls::Urls;

use lair::Lair;
use postgres::Postgres;
use rabbitmq::RabbitMq;

/// Each test has pools of its own; Postgres's default of 100 is gone at eight tests in parallel.
const CONNECTIONS_MAX: u32 = 500;

/// What to start, and what is given instead.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether Postgres writes through to the disk before it answers. Off, tests run faster and a crash of the
    /// *machine* may lose rows; a crash of Postgres alone loses none.
    pub durable: bool,
    /// How many clients a Postgres started here takes at once.
    pub connections: u32,
    pub database_url: Option<String>,
    pub amqp_url: Option<String>,
    /// Where it is not given, it is looked for at its usual port beside `amqp_url`.
    pub management_url: Option<String>,
    /// What is started here speaks TLS as well, and shows this.
    pub tls: Option<TlsFiles>,
}

/// A certificate and its private key, as PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Options {
    /// Both started here.
    pub fn private() -> Self {
        Self {
            durable: true,
            connections: CONNECTIONS_MAX,
            database_url: None,
            amqp_url: None,
            management_url: None,
            tls: None,
        }
    }

    /// What `DATABASE_URL` and `AMQP_URL` (with `SEXTON_MANAGEMENT_URL`) name is used, each by itself; the rest is
    /// started here. An empty variable counts as absent.
    pub fn from_env() -> Self {
        let given = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            durable: true,
            connections: CONNECTIONS_MAX,
            database_url: given("DATABASE_URL"),
            amqp_url: given("AMQP_URL"),
            management_url: given("SEXTON_MANAGEMENT_URL"),
            tls: None,
        }
    }
}

/// Running servers. Dropping it ends them too, but blocks the thread for up to a second: prefer [`Services::stop`].
pub struct Services {
    pub urls: Urls,
    postgres: Option<Postgres>,
    rabbitmq: Option<RabbitMq>,
    lair: Option<Lair>,
}

impl Services {
    pub async fn start(options: Options) -> Result<Self, ServicesError> {
        let Options {
            durable,
            connections,
            database_url,
            amqp_url,
            management_url,
            tls,
        } = options;
        let lair = if database_url.is_some() && amqp_url.is_some() {
            None
        } else {
            Some(Lair::open()?)
        };
        let postgres = async {
            match (&lair, &database_url) {
                (Some(lair), None) => Postgres::create(lair, durable, connections, tls.as_ref())
                    .await
                    .map(Some),
                _ => Ok(None),
            }
        };
        let rabbitmq = async {
            match (&lair, &amqp_url) {
                (Some(lair), None) => RabbitMq::create(lair, tls.as_ref()).await.map(Some),
                _ => Ok(None),
            }
        };
        let (postgres, rabbitmq) = tokio::try_join!(postgres, rabbitmq)?;
        let management_beside = || amqp_url.as_deref().map(urls::management_beside);
        let management_url = match (&rabbitmq, management_url) {
            (Some(ours), _) => ours.management_url(),
            (None, Some(given)) => given,
            (None, None) => management_beside().transpose()?.unwrap_or_default(),
        };
        let urls = Urls {
            database_url: postgres
                .as_ref()
                .map(Postgres::url)
                .or(database_url)
                .unwrap_or_default(),
            amqp_url: rabbitmq
                .as_ref()
                .map(RabbitMq::amqp_url)
                .or(amqp_url)
                .unwrap_or_default(),
            management_url,
        };
        Ok(Self {
            urls,
            postgres,
            rabbitmq,
            lair,
        })
    }

    /// Ends what was started here and removes its folder.
    pub async fn stop(self) -> Result<(), ServicesError> {
        let folder = self.folder().map(Path::to_path_buf);
        // Dropping waits for the watchdog, so it happens where waiting is allowed.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
        match folder {
            Some(folder) if folder.exists() => {
                let source = std::io::ErrorKind::DirectoryNotEmpty.into();
                Err(ServicesError::Folder {
                    action: "remove",
                    path: folder,
                    source,
                })
            }
            _ => Ok(()),
        }
    }

    /// As if the broker ran out of memory, for as long as it is on. Nothing happens to one that was given.
    pub async fn memory_alarm(&self, on: bool) -> Result<(), ServicesError> {
        match &self.rabbitmq {
            Some(rabbitmq) => rabbitmq.memory_alarm(on).await,
            None => Ok(()),
        }
    }

    /// By TLS, if the broker was started here with a certificate.
    pub fn amqps_url(&self) -> Option<String> {
        self.rabbitmq.as_ref().and_then(RabbitMq::amqps_url)
    }

    /// Where their data and logs lie; none if both were given.
    pub fn folder(&self) -> Option<&Path> {
        self.lair.as_ref().map(Lair::path)
    }

    /// A command that ends with these servers, whatever way this process goes. By `name` one runs at a time; whoever
    /// has waited for its end says so with [`Services::forget`]. With servers that were given it is a plain command.
    pub fn companion(&self, name: &str, end_signal: &str, command: &[OsString]) -> Command {
        match self.pid_file(name) {
            Some(file) => server::recorded(end_signal, &file, command),
            None => {
                let mut plain = Command::new("/usr/bin/env");
                plain.args(command);
                plain
            }
        }
    }

    /// The companion has ended: its number may soon be another process's.
    pub fn forget(&self, name: &str) {
        if let Some(file) = self.pid_file(name) {
            let _ = std::fs::remove_file(file);
        }
    }

    /// An outage, for tests. The URL stays the same until the next [`Services::start_broker`].
    pub async fn stop_broker(&mut self, ending: Ending) -> Result<(), ServicesError> {
        let ours = self
            .rabbitmq
            .as_mut()
            .ok_or(ServicesError::NotOurs { name: "the broker" })?;
        ours.stop(ending).await
    }

    /// Returns once it takes connections again, with all that it had made durable.
    pub async fn start_broker(&mut self) -> Result<(), ServicesError> {
        match (self.rabbitmq.as_mut(), &self.lair) {
            (Some(ours), Some(lair)) => ours.start(lair).await,
            _ => Err(ServicesError::NotOurs { name: "the broker" }),
        }
    }

    /// An outage, for tests. The URL stays the same until the next [`Services::start_postgres`].
    pub async fn stop_postgres(&mut self, ending: Ending) -> Result<(), ServicesError> {
        let ours = self
            .postgres
            .as_mut()
            .ok_or(ServicesError::NotOurs { name: "Postgres" })?;
        ours.stop(ending).await
    }

    /// Returns once it takes connections again.
    pub async fn start_postgres(&mut self) -> Result<(), ServicesError> {
        match (self.postgres.as_mut(), &self.lair) {
            (Some(ours), Some(lair)) => ours.start(lair).await,
            _ => Err(ServicesError::NotOurs { name: "Postgres" }),
        }
    }

    fn pid_file(&self, name: &str) -> Option<PathBuf> {
        self.lair.as_ref().map(|lair| lair.pid_file(name))
    }
}
