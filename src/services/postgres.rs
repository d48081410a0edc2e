//! A private Postgres: a cluster of its own in the lair, reachable over 127.0.0.1 by password only. `initdb` takes under
//! a second, so there is nothing to keep between runs.

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use sqlx::{Connection, PgConnection};

use super::lair::Lair;
use super::server::{Ending, Program, Server};
use super::{ServicesError, TlsFiles, binaries, ports};

/// `initdb` and the start take about a second; a machine that compiles at the same time may take thirty.
const READY_MAX_S: u64 = 60;

pub(super) struct Postgres {
    server: Option<Server>,
    bin: PathBuf,
    data: PathBuf,
    port: u16,
    password: String,
    durable: bool,
    connections: u32,
    /// Copies of its own, in which it believes only if nobody else reads the key.
    tls: Option<TlsFiles>,
    /// Postgres refuses to run as root.
    switch_user: Vec<OsString>,
}

impl Postgres {
    pub(super) async fn create(
        lair: &Lair,
        durable: bool,
        connections: u32,
        tls: Option<&TlsFiles>,
    ) -> Result<Self, ServicesError> {
        let bin = binaries::postgres()?;
        let [port] = ports::free()?;
        let home = lair.subfolder(&format!("postgres-{port}"))?;
        let password = format!("{:032x}", rand::random::<u128>());
        let password_file = lair.write(home.join("password"), &password)?;
        let tls = tls.map(|given| own_copies(lair, &home, given)).transpose()?;
        let mut its_own = vec![home.clone(), password_file.clone()];
        its_own.extend(
            tls.iter()
                .flat_map(|own| [own.certificate.clone(), own.key.clone()]),
        );
        let mut switch_user = Vec::new();
        if rustix::process::geteuid().is_root() {
            let (name, user, group) = unprivileged()?;
            for path in its_own {
                chown(&path, Some(user), Some(group)).map_err(|source| ServicesError::Folder {
                    action: "hand over",
                    path,
                    source,
                })?;
            }
            let flags =
                ["--reuid", &name, "--regid", &group.to_string(), "--clear-groups"].map(OsString::from);
            switch_user = vec!["setpriv".into()];
            switch_user.extend(flags);
        }
        let data = home.join("data");
        let mut this = Self {
            server: None,
            bin,
            data,
            port,
            password,
            durable,
            connections,
            tls,
            switch_user,
        };
        let mut initdb = this.command("initdb");
        initdb.extend(
            [
                "--no-sync",
                "--auth=password",
                "--username=sexton",
                "--encoding=UTF8",
            ]
            .map(OsString::from),
        );
        initdb.extend(["--locale=C".into(), "--pwfile".into(), password_file.into()]);
        initdb.extend(["--pgdata".into(), this.data.clone().into()]);
        let program = Program {
            name: "initdb",
            end_signal: "TERM",
            command: initdb,
            env: Vec::new(),
            lair,
        };
        program.start()?.until_done(READY_MAX_S).await?;
        this.start(lair).await?;
        Ok(this)
    }

    pub(super) fn url(&self) -> String {
        format!(
            "postgres://sexton:{}@127.0.0.1:{}/postgres",
            self.password, self.port
        )
    }

    /// Starts it on the port it had before; one that runs is left as it is.
    pub(super) async fn start(&mut self, lair: &Lair) -> Result<(), ServicesError> {
        if self.server.is_some() {
            return Ok(());
        }
        let fsync = if self.durable { "on" } else { "off" };
        let mut command = self.command("postgres");
        command.extend(["-D".into(), self.data.clone().into()]);
        let mut settings = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            "unix_socket_directories=".to_owned(),
            format!("max_connections={}", self.connections),
            format!("fsync={fsync}"),
        ];
        if let Some(own) = &self.tls {
            settings.push("ssl=on".to_owned());
            settings.push(format!("ssl_cert_file={}", own.certificate.display()));
            settings.push(format!("ssl_key_file={}", own.key.display()));
        }
        for setting in settings {
            command.extend(["-c".into(), setting.into()]);
        }
        // QUIT ends it at once and still takes its shared memory away, which KILL would leave.
        let program = Program {
            name: "postgres",
            end_signal: "QUIT",
            command,
            env: Vec::new(),
            lair,
        };
        let server = program.start()?;
        let url = self.url();
        server
            .until(READY_MAX_S, async || PgConnection::connect(&url).await.is_ok())
            .await?;
        self.server = Some(server);
        Ok(())
    }

    pub(super) async fn stop(&mut self, ending: Ending) -> Result<(), ServicesError> {
        match (self.server.take(), ending) {
            // The "fast" shutdown: it does not wait for its guests to leave.
            (Some(server), Ending::Clean) => server.end(Signal::INT).await,
            // With all that it has started: as the kernel kills a cgroup, or a power cut a machine.
            (Some(server), Ending::Kill) => server.end_with_children().await,
            (None, _) => Ok(()),
        }
    }

    fn command(&self, program: &str) -> Vec<OsString> {
        let mut command = self.switch_user.clone();
        command.push(self.bin.join(program).into());
        command
    }
}

fn own_copies(lair: &Lair, home: &Path, given: &TlsFiles) -> Result<TlsFiles, ServicesError> {
    let copy = |from: &Path, name: &str| {
        let text = std::fs::read_to_string(from).map_err(|source| ServicesError::Folder {
            action: "read",
            path: from.to_path_buf(),
            source,
        })?;
        let own = lair.write(home.join(name), &text)?;
        let closed = std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o600));
        closed.map_err(|source| ServicesError::Folder {
            action: "close to others",
            path: own.clone(),
            source,
        })?;
        Ok(own)
    };
    Ok(TlsFiles {
        certificate: copy(&given.certificate, "server.crt")?,
        key: copy(&given.key, "server.key")?,
    })
}

/// Whom to run as instead of root: name, user, group.
fn unprivileged() -> Result<(String, u32, u32), ServicesError> {
    let users = std::fs::read_to_string("/etc/passwd").map_err(|source| ServicesError::Folder {
        action: "read",
        path: "/etc/passwd".into(),
        source,
    })?;
    ["postgres", "nobody"]
        .iter()
        .find_map(|wanted| user(&users, wanted))
        .ok_or(ServicesError::Missing {
            what: "user `postgres` to run it as",
            package: "postgresql",
        })
}

fn user(users: &str, wanted: &str) -> Option<(String, u32, u32)> {
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, user, group, ..] = fields[..] else {
            return None;
        };
        (name == wanted).then_some(())?;
        Some((name.to_owned(), user.parse().ok()?, group.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:7::/:\npostgres:x:101:104:admin:/var:/bin/sh\n";
        assert_eq!(
            super::user(users, "postgres"),
            Some(("postgres".into(), 101, 104))
        );
        assert_eq!(super::user(users, "nobody"), None);
    }
}
