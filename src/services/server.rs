//! One server process. It records its own process id in the lair before it becomes the server, so that there is no
//! moment at which it runs and the watchdog does not know it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::ServicesError;
use super::lair::{Lair, SharedChild};

/// Writes "SIGNAL PID" and then becomes the program.
const RECORD_THEN_BECOME: &str = r#"file="$1"; shift; echo "$0 $$" > "$file" && exec "$@""#;

/// What of a log a person needs to see; the rest repeats it.
const LAST_WORDS_LINES: usize = 12;

/// Between two looks at a process or a port that says nothing by itself.
pub(super) const LOOK_AGAIN_MS: u64 = 25;

/// A server that is there answers within this, also beside a compiler; whoever is silent for longer is asked again, as
/// a stranger who has taken the port never answers at all.
const TRY_MAX_S: u64 = 5;

/// A server asked to end cleanly that has not done so by now hangs; RabbitMQ takes 6 s on a loaded machine.
const END_MAX_S: u64 = 60;

/// How a test ends a server: as an operator would, or as a power cut would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Clean,
    Kill,
}

/// What is to run; the watchdog ends it with `end_signal`.
pub(super) struct Program<'a> {
    pub(super) name: &'static str,
    pub(super) end_signal: &'static str,
    pub(super) command: Vec<OsString>,
    pub(super) env: Vec<(&'static str, OsString)>,
    pub(super) lair: &'a Lair,
}

pub(super) struct Server {
    name: &'static str,
    child: SharedChild,
    pid_file: PathBuf,
    log: PathBuf,
}

impl Program<'_> {
    pub(super) fn start(self) -> Result<Server, ServicesError> {
        let pid_file = self.lair.pid_file(self.name);
        let log = self.lair.path().join(format!("{}.log", self.name));
        let (out, err) = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(|source| ServicesError::Folder {
                action: "open",
                path: log.clone(),
                source,
            })?;
        let child = recorded(self.end_signal, &pid_file, &self.command)
            .envs(self.env)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .map_err(|source| ServicesError::Spawn {
                name: self.name.into(),
                source,
            })?;
        Ok(Server {
            name: self.name,
            child: self.lair.keep(child),
            pid_file,
            log,
        })
    }
}

/// A command that records itself first; also for what ends with the servers.
pub(super) fn recorded(end_signal: &str, pid_file: &Path, command: &[impl AsRef<OsStr>]) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", RECORD_THEN_BECOME, end_signal])
        .arg(pid_file)
        .args(command);
    shell
}

impl Server {
    pub(super) fn try_wait(&self) -> Option<ExitStatus> {
        match self
            .child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .try_wait()
        {
            Ok(ended) => ended,
            // Somebody else has collected it: it has ended, how is unknown.
            Err(_) => Some(ExitStatus::from_raw(0)),
        }
    }

    /// Looks until `ready` says so; ends early with the log's last words if the process does. A look that hangs counts as
    /// "not yet", so that the bound holds whatever is on the other side.
    pub(super) async fn until<F: AsyncFnMut() -> bool>(
        &self,
        ready_max_s: u64,
        mut ready: F,
    ) -> Result<(), ServicesError> {
        let deadline = Instant::now() + Duration::from_secs(ready_max_s);
        loop {
            if self.try_wait().is_some() {
                return Err(ServicesError::Died {
                    name: self.name,
                    log: self.last_words(),
                });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let a_try = left.min(Duration::from_secs(TRY_MAX_S));
            if tokio::time::timeout(a_try, ready()).await == Ok(true) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let log = self.last_words();
                return Err(ServicesError::NotReady {
                    name: self.name,
                    waited_s: ready_max_s,
                    log,
                });
            }
            tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS)).await;
        }
    }

    /// For what runs once, as `initdb`.
    pub(super) async fn until_done(&self, done_max_s: u64) -> Result<(), ServicesError> {
        let deadline = Instant::now() + Duration::from_secs(done_max_s);
        loop {
            match self.try_wait() {
                Some(status) if status.success() => {
                    self.forget();
                    return Ok(());
                }
                Some(_) => {
                    return Err(ServicesError::Died {
                        name: self.name,
                        log: self.last_words(),
                    });
                }
                None if Instant::now() > deadline => {
                    let log = self.last_words();
                    return Err(ServicesError::NotReady {
                        name: self.name,
                        waited_s: done_max_s,
                        log,
                    });
                }
                None => tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS)).await,
            }
        }
    }

    pub(super) async fn end(&self, signal: Signal) -> Result<(), ServicesError> {
        let deadline = Instant::now() + Duration::from_secs(END_MAX_S);
        if self.try_wait().is_none() {
            // It has not been collected, so the number is still its own; it may have ended this moment, which is fine.
            let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = kill_process(Pid::from_child(&child), signal);
        }
        while self.try_wait().is_none() {
            if Instant::now() > deadline {
                return Err(ServicesError::NotEnding {
                    name: self.name,
                    waited_s: END_MAX_S,
                });
            }
            tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS)).await;
        }
        self.forget();
        Ok(())
    }

    /// SIGKILL for it and for what it has started. It goes first, so that nothing new comes; the next start needs all of
    /// them gone.
    pub(super) async fn end_with_children(&self) -> Result<(), ServicesError> {
        let parent = {
            let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
            Pid::from_child(&child)
        };
        let children = children_of(parent);
        self.end(Signal::KILL).await?;
        let deadline = Instant::now() + Duration::from_secs(END_MAX_S);
        for child in children {
            let _ = kill_process(child, Signal::KILL);
            while runs(child) {
                if Instant::now() > deadline {
                    return Err(ServicesError::NotEnding {
                        name: self.name,
                        waited_s: END_MAX_S,
                    });
                }
                tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS)).await;
            }
        }
        Ok(())
    }

    /// Its number may soon be another process's: the watchdog must not see it.
    fn forget(&self) {
        let _ = fs::remove_file(&self.pid_file);
    }

    fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(LAST_WORDS_LINES)..].join("\n")
    }
}

/// As Linux tells it. Elsewhere none are known; those of Postgres end by themselves when their parent is gone.
fn children_of(parent: Pid) -> Vec<Pid> {
    let pid = parent.as_raw_nonzero();
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed
        .split_whitespace()
        .filter_map(|child| Pid::from_raw(child.parse().ok()?))
        .collect()
}

/// Whoever has ended and was not collected yet holds nothing any more.
fn runs(process: Pid) -> bool {
    let told = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    let state = told.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_stranger_who_never_answers_does_not_hold_up_the_start() {
        let lair = Lair::open().unwrap();
        let program = Program {
            name: "sleeper",
            end_signal: "KILL",
            command: vec!["sleep".into(), "600".into()],
            env: Vec::new(),
            lair: &lair,
        };
        let server = program.start().unwrap();
        // It takes connections, which the kernel does for it, and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let page = format!("http://{}/", silent.local_addr().unwrap());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let started = server.until(1, async || client.get(&page).send().await.is_ok());
        let bound = Duration::from_secs(30);
        let ended = tokio::time::timeout(bound, started)
            .await
            .expect("the bound holds");
        assert!(
            matches!(ended, Err(ServicesError::NotReady { waited_s: 1, .. })),
            "{ended:?}"
        );
        tokio::task::spawn_blocking(move || drop(lair)).await.unwrap();
    }
}
