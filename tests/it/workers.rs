//! Workers: in this process, to be looked into; or in one of their own, to be stopped, killed and told to crash.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use sexton::app::{self, AppError, Role};
use sexton::settings::{Part, Settings};
use sexton::stopper::Stopper;
use sexton::telemetry::Instruments;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::house::patience;

const SEXTON: &str = env!("CARGO_BIN_EXE_sexton");

pub(crate) struct Inside {
    stopper: Stopper,
    running: JoinHandle<Result<(), AppError>>,
}

impl Inside {
    pub(crate) fn start(settings: &Path) -> Self {
        Self::with_roles(settings, &Role::ALL)
    }

    pub(crate) fn with_roles(settings: &Path, roles: &[Role]) -> Self {
        let roles = roles.to_vec();
        let settings = Settings::load(&[settings.to_owned()], Part::ALL).expect("usable settings");
        let stopper = Stopper::new();
        let stop = stopper.clone();
        let running = tokio::spawn(async move { app::run(settings, &roles, Instruments::new(), stop).await });
        Self { stopper, running }
    }

    pub(crate) async fn stop(self) {
        self.stopper.drain();
        tokio::time::timeout(patience(), self.running)
            .await
            .expect("it stops in time")
            .expect("it does not panic")
            .expect("it ran");
    }
}

/// A file of its own, and its writing end.
fn a_log(folder: &Path) -> (PathBuf, Stdio) {
    let log = folder.join(format!("{}.log", Uuid::now_v7().simple()));
    let stderr = File::create(&log).expect("a log");
    (log, stderr.into())
}

pub(crate) struct Outside {
    child: Child,
    log: PathBuf,
}

impl Outside {
    pub(crate) fn start(settings: &Path, folder: &Path, environment: &[(&str, &str)]) -> Self {
        let (log, stderr) = a_log(folder);
        Self::with_log(settings, folder, environment, &[], log, stderr)
    }

    /// One under another program, which has its own name first and then takes a command.
    pub(crate) fn under(program: &[&str], settings: &Path, folder: &Path) -> Self {
        let (log, stderr) = a_log(folder);
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(SEXTON);
        Self::spawn(command, settings, folder, Vec::new(), log, stderr)
    }

    /// One with these roles only.
    pub(crate) fn with_roles(settings: &Path, folder: &Path, roles: &[&str]) -> Self {
        let (log, stderr) = a_log(folder);
        Self::with_log(settings, folder, &[], roles, log, stderr)
    }

    /// One whose log goes into a pipe that nobody reads any more.
    pub(crate) fn unread(settings: &Path, folder: &Path) -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        // There is nothing in it, which is what there is to read.
        let log = folder.join("unread.log");
        File::create(&log).expect("a log");
        Self::with_log(settings, folder, &[], &[], log, writer.into())
    }

    fn with_log(
        settings: &Path,
        folder: &Path,
        environment: &[(&str, &str)],
        roles: &[&str],
        log: PathBuf,
        stderr: Stdio,
    ) -> Self {
        let mut command = Command::new(SEXTON);
        command.envs(environment.iter().copied());
        let roles = roles.iter().map(|role| format!("--role={role}")).collect();
        Self::spawn(command, settings, folder, roles, log, stderr)
    }

    fn spawn(
        mut command: Command,
        settings: &Path,
        folder: &Path,
        roles: Vec<String>,
        log: PathBuf,
        stderr: Stdio,
    ) -> Self {
        command
            .args(["run", "--config"])
            .arg(settings)
            .args(roles)
            .current_dir(folder)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
        Self { child, log }
    }

    /// The most memory that it ever had.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .expect("its peak");
        let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok());
        kib.expect("a number")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits for its end, on a thread where waiting is allowed.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let status = tokio::time::timeout(patience(), async {
            let mut every = tokio::time::interval(std::time::Duration::from_millis(10));
            loop {
                every.tick().await;
                if let Some(status) = self.child.try_wait().expect("a child") {
                    return status;
                }
            }
        })
        .await;
        let log = self.log();
        (status.unwrap_or_else(|_| panic!("it does not end:\n{log}")), log)
    }

    /// Waits until its log has these words.
    pub(crate) async fn says(&self, words: &str) {
        let waited = tokio::time::timeout(patience(), async {
            let mut every = tokio::time::interval(std::time::Duration::from_millis(10));
            while !self.log().contains(words) {
                every.tick().await;
            }
        });
        if waited.await.is_err() {
            panic!("{words}: not in time in:\n{}", self.log());
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("its log")
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // One that has ended already is fine; one that is stopped dies of this all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
