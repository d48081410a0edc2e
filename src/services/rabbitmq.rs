//! A private RabbitMQ node: own folder, cookie, name, ports, and an epmd of its own, since a shared one would outlive it
//! and tell it about strangers. The management plugin is on, because vhosts are created through it; `rabbitmqctl`
//! would start an Erlang machine for each.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

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

pub(super) struct RabbitMq {
    broker: Option<Server>,
    program: PathBuf,
    plugins: PathBuf,
    home: PathBuf,
    password: String,
    ports: Ports,
}

#[derive(Clone, Copy)]
struct Ports {
    amqp: u16,
    management: u16,
    epmd: u16,
    distribution: u16,
    amqps: Option<u16>,
}

impl RabbitMq {
    pub(super) async fn create(lair: &Lair, tls: Option<&TlsFiles>) -> Result<Self, ServicesError> {
        let program = binaries::rabbitmq()?;
        let [amqp, management, epmd, distribution, amqps] = ports::free()?;
        let ports = Ports {
            amqp,
            management,
            epmd,
            distribution,
            amqps: tls.is_some().then_some(amqps),
        };
        start_epmd(lair, epmd).await?;
        let home = lair.subfolder(&format!("rabbitmq-{amqp}"))?;
        let password = format!("{:032x}", rand::random::<u128>());
        let mut settings = vec![
            format!("listeners.tcp.1 = 127.0.0.1:{amqp}"),
            "management.tcp.ip = 127.0.0.1".to_owned(),
            format!("management.tcp.port = {management}"),
            "default_user = sexton".to_owned(),
            format!("default_pass = {password}"),
            "log.console = false".to_owned(),
        ];
        if let Some(TlsFiles { certificate, key }) = tls {
            settings.extend([
                format!("listeners.ssl.1 = 127.0.0.1:{amqps}"),
                format!("ssl_options.certfile = {}", certificate.display()),
                format!("ssl_options.keyfile = {}", key.display()),
                "ssl_options.verify = verify_none".to_owned(),
            ]);
        }
        lair.write(home.join("rabbitmq.conf"), &(settings.join("\n") + "\n"))?;
        lair.write(home.join("enabled_plugins"), "[rabbitmq_management].\n")?;
        lair.write(home.join("rabbitmq-env.conf"), "")?;
        // Erlang looks for its cookie in HOME; a strange node would need this one to talk to ours.
        let cookie = format!("{:032x}", rand::random::<u128>());
        let cookie = lair.write(home.join(".erlang.cookie"), &cookie)?;
        only_owner_reads(&cookie)?;
        let plugins = few_plugins(&program, lair.subfolder(&format!("plugins-{amqp}"))?)?;
        let mut this = Self {
            broker: None,
            program,
            plugins,
            home,
            password,
            ports,
        };
        this.start(lair).await?;
        Ok(this)
    }

    pub(super) fn amqp_url(&self) -> String {
        format!(
            "amqp://sexton:{}@127.0.0.1:{}/%2f",
            self.password, self.ports.amqp
        )
    }

    pub(super) fn amqps_url(&self) -> Option<String> {
        let port = self.ports.amqps?;
        Some(format!("amqps://sexton:{}@127.0.0.1:{port}/%2f", self.password))
    }

    pub(super) fn management_url(&self) -> String {
        format!(
            "http://sexton:{}@127.0.0.1:{}/",
            self.password, self.ports.management
        )
    }

    /// Starts it on the ports it had before; one that runs is left as it is.
    pub(super) async fn start(&mut self, lair: &Lair) -> Result<(), ServicesError> {
        if self.broker.is_some() {
            return Ok(());
        }
        // It is thrown away anyway: KILL spares the six seconds of a clean end.
        let command = vec![self.program.clone().into()];
        let broker = Program {
            name: "rabbitmq",
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

    fn env(&self) -> Vec<(&'static str, OsString)> {
        let at = |name: &str| self.home.join(name).into_os_string();
        vec![
            // Makes the script become the node instead of its parent, so that its process id is the node's.
            ("RUNNING_UNDER_SYSTEMD", "true".into()),
            ("HOME", self.home.clone().into()),
            ("ERL_EPMD_PORT", self.ports.epmd.to_string().into()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
            (
                "RABBITMQ_NODENAME",
                format!("sexton-{}@localhost", self.ports.amqp).into(),
            ),
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
            ("RABBITMQ_PLUGINS_DIR", self.plugins.clone().into()),
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
