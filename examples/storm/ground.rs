//! What the storm passes over: the cluster, Postgres, the cloud, the ways between them and the workers, and the disk of the
//! archive. Everything that is started here ends with the servers, whatever way this process goes.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::Url;
use sexton::services::{Cluster, Ending, NODES, Options, Services};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::Fault;
use crate::faults::{SERVICES, Service, WORKERS};
use crate::proxy::Link;
use crate::world::Stores;

const SETTINGS: &str = include_str!("../../deploy/demo/sexton.toml");
const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
const DATABASES: [&str; 5] = ["sexton", "platform", "powerdrill", "pave", "agno"];
const WORKER_NAMES: [&str; WORKERS] = ["worker-1", "worker-2", "worker-3"];
/// Of the cloud's answers, the share that goes wrong by itself.
const CLOUD_FAULTS: &str = "0.05";

pub(crate) struct Ground {
    pub(crate) cluster: Cluster,
    services: Mutex<Services>,
    /// By service and worker; each worker has its own way to each service.
    links: Vec<Link>,
    /// For the publisher and the ear.
    own: Link,
    pub(crate) stores: Stores,
    pub(crate) sexton: PgPool,
    pub(crate) cloud_url: String,
    /// Through the storm's own way.
    pub(crate) amqp_url: String,
    pub(crate) archive: PathBuf,
    disk: Option<PathBuf>,
    scratch: PathBuf,
    cloud: Mutex<Child>,
}

impl Ground {
    /// `disk` is a small file system of its own for the archive, which can be filled; `scratch` is where logs are kept.
    pub(crate) async fn prepare(seed: u64, scratch: &Path, disk: Option<PathBuf>) -> Result<Ground, Fault> {
        fs::create_dir_all(scratch)?;
        let (cluster, services) = tokio::join!(
            Cluster::start(),
            Services::start(Options {
                // None of its own: the cluster is the broker.
                amqp_url: Some("amqp://127.0.0.1:1".into()),
                ..Options::private()
            })
        );
        let (cluster, services) = (cluster?, services?);
        let mut urls = Vec::new();
        for name in DATABASES {
            urls.push(services.urls.create_database(&format!("storm-{name}")).await?);
        }
        let nodes = cluster.amqp_urls().await;
        let postgres = address(&services.urls.database_url)?;
        let brokers = nodes
            .iter()
            .map(|url| address(url))
            .collect::<Result<Vec<_>, _>>()?;
        let mut cloud = command(
            &services,
            "cloud",
            &beside("examples/cloud")?,
            &[
                "--seed",
                &seed.to_string(),
                "--faults",
                CLOUD_FAULTS,
                "--terminate-ms",
                "600",
            ],
        )
        .stdout(Stdio::piped())
        .stderr(File::create(scratch.join("cloud.log"))?)
        .spawn()?;
        let said = cloud.stdout.take().ok_or("the cloud has no output")?;
        let first = BufReader::new(said).lines().next_line().await?;
        let cloud_url = first.ok_or("the cloud ended before it said where it is")?;

        let mut links = Vec::new();
        for service in SERVICES {
            for place in 0..WORKERS {
                let servers = match service {
                    Service::Postgres => vec![postgres],
                    Service::Broker => nearest_first(&brokers, place),
                    Service::Provider => vec![address(&cloud_url)?],
                };
                links.push(Link::open(servers).await?);
            }
        }
        let own = Link::open(nearest_first(&brokers, 1)).await?;
        let archive = match &disk {
            Some(disk) => disk.join("archive"),
            None => scratch.join("archive"),
        };
        fs::create_dir_all(&archive)?;
        let [sexton, platform, powerdrill, pave, agno] = [0, 1, 2, 3, 4].map(|n: usize| pool(&urls[n]));
        let ground = Ground {
            // The broker lets go of a connection that is silent for twice as long, and of what it had given to it.
            amqp_url: through(&nodes[0], &own)? + "?heartbeat=4",
            cluster,
            services: Mutex::new(services),
            links,
            own,
            stores: Stores {
                platform: platform?,
                powerdrill: powerdrill?,
                pave: pave?,
                agno: agno?,
            },
            sexton: sexton?,
            cloud_url,
            archive,
            disk,
            scratch: scratch.to_owned(),
            cloud: Mutex::new(cloud),
        };
        for place in 0..WORKERS {
            ground.settings(place, &urls, &nodes[0])?;
        }
        ground.migrate().await?;
        Ok(ground)
    }

    /// A worker's settings: those of the demonstration, with its own ways to all servers.
    fn settings(&self, place: usize, databases: &[String], amqp: &str) -> Result<(), Fault> {
        let mut text = SETTINGS.to_owned();
        let postgres = self.link(Service::Postgres, place);
        for (name, url) in DATABASES.iter().zip(databases) {
            text = text.replace(&format!("{{{name}}}"), &through(url, postgres)?);
        }
        let gateway = format!("127.0.0.1:{}", sexton::services::free_port()?);
        for (hole, value) in [
            ("{amqp}", through(amqp, self.link(Service::Broker, place))?),
            (
                "{cloud}",
                through(&self.cloud_url, self.link(Service::Provider, place))?,
            ),
            ("{gateway}", gateway),
            ("{archive}", self.archive.to_string_lossy().into_owned()),
            ("{repository}", REPOSITORY.to_owned()),
        ] {
            text = text.replace(hole, value.trim_end_matches('/'));
        }
        // What is away comes back within seconds here, and is looked for as often.
        let patience = "[broker]\nreconnect_max = \"2s\"\nheartbeat = \"5s\"";
        text = text.replacen("[broker]", patience, 1);
        fs::create_dir_all(self.home(place))?;
        fs::write(self.home(place).join("sexton.toml"), text)?;
        Ok(())
    }

    async fn migrate(&self) -> Result<(), Fault> {
        let services = self.services.lock().await;
        let ended = command(&services, "migrate", &beside("sexton")?, &["migrate"])
            .current_dir(self.home(0))
            .output()
            .await?;
        services.forget("migrate");
        match ended.status.success() {
            true => Ok(()),
            false => Err(format!("`sexton migrate`: {}", String::from_utf8_lossy(&ended.stderr)).into()),
        }
    }

    pub(crate) fn link(&self, service: Service, place: usize) -> &Link {
        let row = SERVICES.iter().position(|known| *known == service).unwrap_or(0);
        &self.links[row * WORKERS + place]
    }

    /// Connections that ended in the middle of a frame.
    pub(crate) fn halved(&self) -> u64 {
        self.links.iter().chain([&self.own]).map(Link::halved).sum()
    }

    /// The way of whom: a worker's, and for the brokers also the publisher's and the ear's.
    pub(crate) fn ways(&self, service: Service, place: usize) -> Vec<&Link> {
        let mut ways = vec![self.link(service, place)];
        if service == Service::Broker && place == 0 {
            ways.push(&self.own);
        }
        ways
    }

    pub(crate) async fn start_worker(&self, place: usize) -> Result<Child, Fault> {
        let services = self.services.lock().await;
        let name = WORKER_NAMES[place];
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.scratch.join(format!("{name}.log")))?;
        Ok(command(&services, name, &beside("sexton")?, &["run"])
            .current_dir(self.home(place))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?)
    }

    pub(crate) async fn forget_worker(&self, place: usize) {
        self.services.lock().await.forget(WORKER_NAMES[place]);
    }

    pub(crate) async fn kill_postgres(&self) -> Result<(), Fault> {
        Ok(self.services.lock().await.stop_postgres(Ending::Kill).await?)
    }

    pub(crate) async fn start_postgres(&self) -> Result<(), Fault> {
        Ok(self.services.lock().await.start_postgres().await?)
    }

    pub(crate) fn can_fill_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// Until the file system has no byte left.
    pub(crate) fn fill_disk(&self) -> Result<u64, Fault> {
        let disk = self.disk.as_ref().ok_or("no disk of the archive's own")?;
        let mut ballast = File::create(disk.join("ballast"))?;
        let mut written = 0;
        let mut chunk = vec![0; 1 << 20];
        while !chunk.is_empty() {
            match ballast.write(&chunk) {
                Ok(bytes) => written += bytes as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => chunk.truncate(chunk.len() / 2),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(written)
    }

    pub(crate) fn free_disk(&self) -> Result<(), Fault> {
        let disk = self.disk.as_ref().ok_or("no disk of the archive's own")?;
        Ok(fs::remove_file(disk.join("ballast"))?)
    }

    fn home(&self, place: usize) -> PathBuf {
        self.scratch.join(WORKER_NAMES[place])
    }

    pub(crate) async fn close(self) -> Result<(), Fault> {
        self.cloud.into_inner().kill().await?;
        for pool in [
            &self.sexton,
            &self.stores.platform,
            &self.stores.powerdrill,
            &self.stores.pave,
            &self.stores.agno,
        ] {
            pool.close().await;
        }
        self.cluster.stop().await;
        self.services.into_inner().stop().await?;
        Ok(())
    }
}

/// Not connected yet, and connected again after an outage. Few connections: Postgres has three workers to serve.
fn pool(url: &str) -> Result<PgPool, Fault> {
    Ok(PgPoolOptions::new().max_connections(4).connect_lazy(url)?)
}

fn nearest_first(all: &[SocketAddr], place: usize) -> Vec<SocketAddr> {
    (0..NODES).map(|n| all[(place + n) % NODES]).collect()
}

fn address(url: &str) -> Result<SocketAddr, Fault> {
    let url = Url::parse(url)?;
    let port = url.port().ok_or("a server without a port")?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// The same server with the same credentials, by another way.
fn through(url: &str, link: &Link) -> Result<String, Fault> {
    let mut url = Url::parse(url)?;
    url.set_port(Some(link.port))
        .map_err(|()| "a URL that takes no port")?;
    Ok(url.into())
}

/// With nothing of the caller's environment that could change what happens.
fn command(services: &Services, name: &str, program: &Path, arguments: &[&str]) -> Command {
    let whole: Vec<OsString> = std::iter::once(program.into())
        .chain(arguments.iter().map(OsString::from))
        .collect();
    let mut command = Command::from(services.companion(name, "KILL", &whole));
    for (key, _) in std::env::vars_os() {
        let key_text = key.to_string_lossy();
        let changes = ["DATABASE_URL", "AMQP_URL", "RUST_LOG"].contains(&key_text.as_ref());
        if changes || key_text.starts_with("SEXTON_") || key_text.starts_with("OTEL_") {
            command.env_remove(&key);
        }
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A program of the same build: this one lies in `examples/` of its folder.
fn beside(name: &str) -> Result<PathBuf, Fault> {
    let own = std::env::current_exe()?;
    let folder = own
        .parent()
        .and_then(Path::parent)
        .ok_or("this program lies nowhere")?;
    let found = folder.join(name);
    match found.is_file() {
        true => Ok(found),
        false => Err(format!(
            "{} is missing; wanted all programs of one build, as scripts/storm makes them",
            found.display()
        )
        .into()),
    }
}
