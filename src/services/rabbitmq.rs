//! A private RabbitMQ node: own folder, cookie, name, ports, and an epmd of its own, since a shared one would outlive it
//! and tell it about strangers. The management plugin is on, because vhosts are created through it; `rabbitmqctl`
//! would start an Erlang machine for each.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::Signal;
use tokio::net::TcpStream;

use super::lair::Lair;
use super::server::{Ending, Program, Server};
use super::{ServicesError, TlsFiles, binaries, ports, urls};

/// Five seconds on an idle machine, fourteen on one that compiles beside it; ten times that is broken.
const READY_MAX_S: u64 = 140;

/// epmd answers in milliseconds.
const EPMD_READY_MAX_S: u64 = 20;

/// Of the plugins, which the node reads one by one at every start, only these: it halves the start.
const PLUGINS: [&str; 4] = [
    "rabbitmq_management-",
    "rabbitmq_management_agent-",
    "rabbitmq_web_dispatch-",
    "rabbitmq_prelaunch-",
];

/// What nodes have in common that are to know each other.
pub(super) struct Bonds {
    program: PathBuf,
    plugins: PathBuf,
    epmd: u16,
    /// Erlang looks for its cookie in HOME; a strange node would need this one to talk to ours.
    cookie: String,
    password: String,
}

impl Bonds {
    pub(super) async fn tie(lair: &Lair) -> Result<Self, ServicesError> {
        let program = binaries::rabbitmq()?;
        let [epmd] = ports::free()?;
        start_epmd(lair, epmd).await?;
        let plugins = few_plugins(&program, lair.subfolder(&format!("plugins-{epmd}"))?)?;
        Ok(Self {
            program,
            plugins,
            epmd,
            cookie: format!("{:032x}", rand::random::<u128>()),
            password: format!("{:032x}", rand::random::<u128>()),
        })
    }
}

pub(super) struct RabbitMq {
    name: &'static str,
    broker: Option<Server>,
    bonds: Arc<Bonds>,
    home: PathBuf,
    ports: Ports,
    /// With these it takes connections under TLS as well.
    tls: Option<TlsFiles>,
}

#[derive(Clone, Copy)]
struct Ports {
    amqp: u16,
    management: u16,
    distribution: u16,
    amqps: u16,
}

impl RabbitMq {
    /// One that is alone.
    pub(super) async fn create(lair: &Lair, tls: Option<&TlsFiles>) -> Result<Self, ServicesError> {
        let bonds = Arc::new(Bonds::tie(lair).await?);
        let mut this = Self::place(lair, bonds, "rabbitmq", tls)?;
        this.settle(lair, &[])?;
        this.start(lair).await?;
        Ok(this)
    }

    /// A name and ports, and nothing that runs yet.
    pub(super) fn place(
        lair: &Lair,
        bonds: Arc<Bonds>,
        name: &'static str,
        tls: Option<&TlsFiles>,
    ) -> Result<Self, ServicesError> {
        let [amqp, management, distribution, amqps] = ports::free()?;
        let home = lair.subfolder(&format!("rabbitmq-{amqp}"))?;
        let ports = Ports {
            amqp,
            management,
            distribution,
            amqps,
        };
        Ok(Self {
            name,
            broker: None,
            bonds,
            home,
            ports,
            tls: tls.cloned(),
        })
    }

    /// Its settings. `members` are the names of the whole cluster, its own among them; they are read at its first start.
    pub(super) fn settle(&self, lair: &Lair, members: &[String]) -> Result<(), ServicesError> {
        let home = &self.home;
        let mut settings = vec![
            format!("listeners.tcp.1 = 127.0.0.1:{}", self.ports.amqp),
            "management.tcp.ip = 127.0.0.1".to_owned(),
            format!("management.tcp.port = {}", self.ports.management),
            "default_user = sexton".to_owned(),
            format!("default_pass = {}", self.bonds.password),
            "log.console = false".to_owned(),
        ];
        if !members.is_empty() {
            settings.push("cluster_formation.peer_discovery_backend = classic_config".to_owned());
            let nodes = members.iter().enumerate();
            settings.extend(nodes.map(|(place, member)| {
                format!("cluster_formation.classic_config.nodes.{} = {member}", place + 1)
            }));
        }
        if let Some(TlsFiles { certificate, key }) = &self.tls {
            settings.extend([
                format!("listeners.ssl.1 = 127.0.0.1:{}", self.ports.amqps),
                format!("ssl_options.certfile = {}", certificate.display()),
                format!("ssl_options.keyfile = {}", key.display()),
                "ssl_options.verify = verify_none".to_owned(),
            ]);
        }
        lair.write(home.join("rabbitmq.conf"), &(settings.join("\n") + "\n"))?;
        lair.write(home.join("enabled_plugins"), "[rabbitmq_management].\n")?;
        lair.write(home.join("rabbitmq-env.conf"), "")?;
        let cookie = lair.write(home.join(".erlang.cookie"), &self.bonds.cookie)?;
        only_owner_reads(&cookie)
    }

    pub(super) fn node(&self) -> String {
        format!("sexton-{}@localhost", self.ports.amqp)
    }

    pub(super) fn amqp_url(&self) -> String {
        format!(
            "amqp://sexton:{}@127.0.0.1:{}/%2f",
            self.bonds.password, self.ports.amqp
        )
    }

    pub(super) fn amqps_url(&self) -> Option<String> {
        self.tls.as_ref()?;
        let (password, port) = (&self.bonds.password, self.ports.amqps);
        Some(format!("amqps://sexton:{password}@127.0.0.1:{port}/%2f"))
    }

    pub(super) fn management_url(&self) -> String {
        format!(
            "http://sexton:{}@127.0.0.1:{}/",
            self.bonds.password, self.ports.management
        )
    }

    /// Starts it on the ports it had before; one that runs is left as it is.
    pub(super) async fn start(&mut self, lair: &Lair) -> Result<(), ServicesError> {
        if self.broker.is_some() {
            return Ok(());
        }
        // It is thrown away anyway: KILL spares the six seconds of a clean end.
        let command = vec![self.bonds.program.clone().into()];
        let broker = Program {
            name: self.name,
            end_signal: "KILL",
            command,
            env: self.env(),
            lair,
        }
        .start()?;
        let failed = |source| ServicesError::Management {
            action: "ask",
            name: "the broker".into(),
            source,
        };
        let client = urls::client().map_err(failed)?;
        let vhosts = self.management_url() + "api/vhosts";
        let amqp = ("127.0.0.1", self.ports.amqp);
        broker
            .until(READY_MAX_S, async || {
                TcpStream::connect(amqp).await.is_ok()
                    && client
                        .get(&vhosts)
                        .send()
                        .await
                        .is_ok_and(|response| response.status().is_success())
            })
            .await?;
        self.broker = Some(broker);
        Ok(())
    }

    pub(super) async fn stop(&mut self, ending: Ending) -> Result<(), ServicesError> {
        let signal = match ending {
            Ending::Clean => Signal::TERM,
            Ending::Kill => Signal::KILL,
        };
        match self.broker.take() {
            Some(broker) => broker.end(signal).await,
            None => Ok(()),
        }
    }

    /// As if it ran out of memory: it takes nothing from publishers until that is over.
    pub(super) async fn memory_alarm(&self, on: bool) -> Result<(), ServicesError> {
        let word = if on { "set_alarm" } else { "clear_alarm" };
        let alarm = match on {
            true => "{{resource_limit, memory, node()}, []}",
            false => "{resource_limit, memory, node()}",
        };
        let program = self.bonds.program.with_file_name("rabbitmqctl");
        let failed = |source| ServicesError::Spawn {
            name: "rabbitmqctl".into(),
            source,
        };
        let status = tokio::process::Command::new(&program)
            .args(["-q", "eval", &format!("rabbit_alarm:{word}({alarm}).")])
            .envs(self.env())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .status()
            .await
            .map_err(failed)?;
        match status.success() {
            true => Ok(()),
            false => Err(failed(std::io::Error::other(status.to_string()))),
        }
    }

    fn env(&self) -> Vec<(&'static str, OsString)> {
        let at = |name: &str| self.home.join(name).into_os_string();
        vec![
            // Makes the script become the node instead of its parent, so that its process id is the node's.
            ("RUNNING_UNDER_SYSTEMD", "true".into()),
            ("HOME", self.home.clone().into()),
            ("ERL_EPMD_PORT", self.bonds.epmd.to_string().into()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
            ("RABBITMQ_NODENAME", self.node().into()),
            ("RABBITMQ_DIST_PORT", self.ports.distribution.to_string().into()),
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}".into(),
            ),
            ("RABBITMQ_CONF_ENV_FILE", at("rabbitmq-env.conf")),
            ("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf")),
            ("RABBITMQ_CONFIG_FILES", at("conf.d")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", at("advanced.config")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins")),
            ("RABBITMQ_PLUGINS_DIR", self.bonds.plugins.clone().into()),
            ("RABBITMQ_MNESIA_BASE", at("mnesia")),
            ("RABBITMQ_LOG_BASE", at("log")),
            ("RABBITMQ_PID_FILE", at("pid")),
        ]
    }
}

async fn start_epmd(lair: &Lair, port: u16) -> Result<(), ServicesError> {
    let command = vec![binaries::epmd()?.into(), "-port".into(), port.to_string().into()];
    let env = vec![("ERL_EPMD_ADDRESS", "127.0.0.1".into())];
    let epmd = Program {
        name: "epmd",
        end_signal: "KILL",
        command,
        env,
        lair,
    }
    .start()?;
    epmd.until(EPMD_READY_MAX_S, async || {
        TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await
}

/// A folder of links to the libraries and to the few plugins wanted. Where the package is laid out in another way, its
/// own folder serves.
fn few_plugins(program: &Path, few: PathBuf) -> Result<PathBuf, ServicesError> {
    let Some(all) = program
        .parent()
        .and_then(Path::parent)
        .map(|package| package.join("plugins"))
    else {
        return Ok(few);
    };
    let failed = |source| ServicesError::Folder {
        action: "choose plugins from",
        path: all.clone(),
        source,
    };
    for entry in std::fs::read_dir(&all).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let is_plugin = name.to_string_lossy().starts_with("rabbitmq_");
        if !is_plugin
            || PLUGINS
                .iter()
                .any(|wanted| name.to_string_lossy().starts_with(wanted))
        {
            symlink(entry.path(), few.join(&name)).map_err(failed)?;
        }
    }
    Ok(few)
}

/// Erlang refuses a cookie that others can read.
fn only_owner_reads(path: &Path) -> Result<(), ServicesError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o400)).map_err(|source| {
        ServicesError::Folder {
            action: "close to others",
            path: path.to_path_buf(),
            source,
        }
    })
}
