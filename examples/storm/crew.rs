//! The three workers, each a process with somebody who starts it again, and what is done to them: SIGKILL, SIGSTOP for
//! longer than the lease, and in the end SIGTERM.

use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::Fault;
use crate::faults::WORKERS;
use crate::ground::Ground;

/// As service managers wait before they start something again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const LOOK_AT_MEMORY: Duration = Duration::from_millis(500);
/// A worker that drains needs a step's timeout at most, and then its last words; one that takes longer hangs.
const STOP_MAX: Duration = Duration::from_secs(40);
/// EX_UNAVAILABLE: its database or its broker was not there when it started.
const UNAVAILABLE: i32 = 69;

#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) starts: u64,
    /// Starts that ended at once, since a server was away.
    pub(crate) refused: u64,
    /// Ends that nobody asked for and no outage explains.
    pub(crate) died: Vec<String>,
    pub(crate) peak_rss_kib: u64,
}

enum Ask {
    Kill(Duration),
    Freeze(Duration),
    Stop,
}

pub(crate) struct Crew {
    workers: Vec<mpsc::Sender<(Ask, oneshot::Sender<Option<ExitStatus>>)>>,
    keepers: Vec<JoinHandle<()>>,
    tally: Arc<Mutex<Tally>>,
}

impl Crew {
    pub(crate) fn start(ground: &Arc<Ground>) -> Crew {
        let tally = Arc::<Mutex<Tally>>::default();
        let mut workers = Vec::new();
        let mut keepers = Vec::new();
        for place in 0..WORKERS {
            let (tell, asked) = mpsc::channel(8);
            let keeper = Keeper {
                place,
                ground: ground.clone(),
                tally: tally.clone(),
                asked,
            };
            keepers.push(tokio::spawn(keeper.keep()));
            workers.push(tell);
        }
        Crew {
            workers,
            keepers,
            tally,
        }
    }

    /// Returns when the fault has ended: the process that follows is started then.
    pub(crate) async fn kill(&self, place: usize, away: Duration) {
        self.ask(place, Ask::Kill(away)).await;
    }

    pub(crate) async fn freeze(&self, place: usize, lasts: Duration) {
        self.ask(place, Ask::Freeze(lasts)).await;
    }

    /// The code of each; none where it had to be killed.
    pub(crate) async fn stop(self) -> (Vec<Option<ExitStatus>>, Tally) {
        let asks = (0..WORKERS).map(|place| self.ask(place, Ask::Stop));
        let ended = futures::future::join_all(asks).await;
        for keeper in self.keepers {
            keeper.abort();
        }
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        (ended, tally.clone())
    }

    async fn ask(&self, place: usize, ask: Ask) -> Option<ExitStatus> {
        let (answer, told) = oneshot::channel();
        self.workers[place].send((ask, answer)).await.ok()?;
        told.await.ok().flatten()
    }
}

struct Keeper {
    place: usize,
    ground: Arc<Ground>,
    tally: Arc<Mutex<Tally>>,
    asked: mpsc::Receiver<(Ask, oneshot::Sender<Option<ExitStatus>>)>,
}

impl Keeper {
    async fn keep(mut self) {
        loop {
            match self.attend().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(fault) => self.note(|tally| tally.died.push(fault.to_string())),
            }
        }
    }

    /// One process from its start to its end. Whether another one follows.
    async fn attend(&mut self) -> Result<bool, Fault> {
        let began = Instant::now();
        let mut child = self.ground.start_worker(self.place).await?;
        self.note(|tally| tally.starts += 1);
        let mut look = tokio::time::interval(LOOK_AT_MEMORY);
        loop {
            tokio::select! {
                ended = child.wait() => {
                    let ended = ended?;
                    self.ground.forget_worker(self.place).await;
                    let (place, after) = (self.place + 1, began.elapsed());
                    match ended.code() {
                        Some(UNAVAILABLE) => self.note(|tally| tally.refused += 1),
                        _ => self.note(|tally| {
                            tally.died.push(format!("worker {place} ended by itself after {after:.1?}: {ended}"));
                        }),
                    }
                    tokio::time::sleep(AGAIN_AFTER).await;
                    return Ok(true);
                }
                _ = look.tick() => {
                    let rss = peak_rss_kib(&child);
                    self.note(|tally| tally.peak_rss_kib = tally.peak_rss_kib.max(rss));
                }
                Some((ask, answer)) = self.asked.recv() => match ask {
                    Ask::Kill(away) => {
                        child.kill().await?;
                        self.ground.forget_worker(self.place).await;
                        tokio::time::sleep(away).await;
                        let _nobody_waits = answer.send(None);
                        return Ok(true);
                    }
                    Ask::Freeze(lasts) => {
                        signal(&child, Signal::STOP);
                        tokio::time::sleep(lasts).await;
                        signal(&child, Signal::CONT);
                        let _nobody_waits = answer.send(None);
                    }
                    Ask::Stop => {
                        signal(&child, Signal::TERM);
                        let ended = match tokio::time::timeout(STOP_MAX, child.wait()).await {
                            Ok(ended) => Some(ended?),
                            Err(_) => {
                                child.kill().await?;
                                None
                            }
                        };
                        self.ground.forget_worker(self.place).await;
                        let _nobody_waits = answer.send(ended);
                        return Ok(false);
                    }
                },
            }
        }
    }

    fn note(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(pid) = pid {
        // It may have ended this moment; its keeper sees that.
        let _ = kill_process(pid, signal);
    }
}

/// As Linux counts it; elsewhere it is not known.
fn peak_rss_kib(child: &Child) -> u64 {
    let Some(pid) = child.id() else { return 0 };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
