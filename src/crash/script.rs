//! What a test wants to go wrong, deletion by deletion. A folder: `script` in it says what, and is read once; whoever is
//! held leaves a file in `there`, and goes on once a file of that name, or `all`, is in `go`. So it works across processes,
//! also for one that is stopped or killed meanwhile.
//!
//!     hold POINT TARGET STEP AIM
//!     fault KIND TARGET STEP AIM TIMES
//!     lose EVERY                          # the answer to every so-manieth commit of a lane is lost

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::{CrashPoint, Fault, Scene};

/// How often whoever is held looks whether it may go on.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// So many looks after an outcome that nobody saw fail.
const LOOKS_UNSEEN: u32 = 2;

pub(super) struct Script {
    folder: PathBuf,
    holds: Mutex<HashSet<String>>,
    faults: Mutex<HashMap<String, (Fault, u32)>>,
    unseen: Mutex<HashMap<String, u32>>,
    lose_every: Option<u64>,
    commits: AtomicU64,
    /// Whom the folder lets go, and when it was looked at.
    gone: Mutex<(Option<Instant>, HashSet<String>)>,
}

pub(super) fn in_force() -> Option<&'static Script> {
    static SCRIPT: OnceLock<Option<Script>> = OnceLock::new();
    SCRIPT
        .get_or_init(|| {
            let folder = PathBuf::from(std::env::var_os("SEXTON_SCRIPT")?);
            Some(Script::read(&folder))
        })
        .as_ref()
}

fn key(parts: &[&str]) -> String {
    parts.join(" ")
}

fn whose(scene: &Scene<'_>) -> String {
    key(&[scene.target, &scene.step, scene.aim])
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Script {
    /// A script that cannot be read is a test that shows nothing: it ends the process.
    fn read(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join("script"))
            .unwrap_or_else(|error| panic!("the script of {} cannot be read: {error}", folder.display()));
        let (mut holds, mut faults, mut lose_every) = (HashSet::new(), HashMap::new(), None);
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["hold", rest @ ..] => drop(holds.insert(key(rest))),
                ["fault", kind, target, step, aim, times] => {
                    let fault = Fault::ALL.into_iter().find(|fault| fault.name() == *kind);
                    let fault = fault.unwrap_or_else(|| panic!("found fault {kind:?}"));
                    let times = times.parse().unwrap_or_else(|_| panic!("found {times:?} times"));
                    faults.insert(key(&[target, step, aim]), (fault, times));
                }
                ["lose", every] => lose_every = every.parse().ok(),
                _ => panic!("found {line:?}; wanted hold, fault or lose"),
            }
        }
        Script {
            folder: folder.to_owned(),
            holds: Mutex::new(holds),
            faults: Mutex::new(faults),
            unseen: Mutex::default(),
            lose_every,
            commits: AtomicU64::new(0),
            gone: Mutex::default(),
        }
    }

    /// Only the first time that it passes.
    pub(super) async fn hold(&self, at: CrashPoint, scene: &Scene<'_>) {
        let name = key(&[at.name(), &whose(scene)]);
        if !locked(&self.holds).remove(&name) {
            return;
        }
        let there = self.folder.join("there").join(&name);
        std::fs::write(&there, "").unwrap_or_else(|error| panic!("{}: {error}", there.display()));
        while !self.may_go(&name) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn may_go(&self, name: &str) -> bool {
        let mut gone = locked(&self.gone);
        if gone.0.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            let files = std::fs::read_dir(self.folder.join("go")).into_iter().flatten();
            let names = files
                .flatten()
                .map(|file| file.file_name().to_string_lossy().into_owned());
            *gone = (Some(Instant::now()), names.collect());
        }
        gone.1.contains("all") || gone.1.contains(name)
    }

    pub(super) fn fault(&self, scene: &Scene<'_>) -> Option<Fault> {
        let mut faults = locked(&self.faults);
        let (fault, left) = faults.get_mut(&whose(scene))?;
        *left = left.checked_sub(1)?;
        if *fault == Fault::UnknownUnseen {
            locked(&self.unseen).insert(whose(scene), LOOKS_UNSEEN);
        }
        Some(*fault)
    }

    pub(super) fn is_unseen(&self, scene: &Scene<'_>) -> bool {
        let mut unseen = locked(&self.unseen);
        let left = unseen.get_mut(&whose(scene)).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    }

    pub(super) fn loses_an_answer(&self) -> bool {
        let Some(every) = self.lose_every else {
            return false;
        };
        self.commits.fetch_add(1, Ordering::Relaxed) % every == every - 1
    }
}
