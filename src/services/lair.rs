//! The folder in which the servers live, and the watchdog that ends it. The watchdog is a shell in a process group of
//! its own that waits for the end of a pipe whose other end only we hold. However we go (stop, panic, signal, kill -9)
//! the pipe ends; then it ends what is recorded in `pids/` and removes the folder. There is no second way to clean up.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ServicesError;

/// It also makes the folder, so that there is no moment at which the folder is there and nobody would remove it. Another
/// user's server must be able to walk through to its own folder inside (711), and see nothing else.
/// Renaming `pids` first makes a server that starts at this very moment fail to record itself, and so not start.
/// A server that ignores its signal for five seconds is killed.
const WATCHDOG: &str = r#"
trap '' HUP INT PIPE QUIT TERM
exec 2>&1
mkdir -m 711 "$1" || exit 1
mkdir -m 700 "$1/pids" && echo ready
exec > /dev/null 2>&1
cat
cd "$1" || exit 1
mv pids ended
for file in ended/*; do
  [ -f "$file" ] && read -r signal pid < "$file" && kill "-$signal" "$pid" 2>/dev/null
done
tries=0
while [ "$tries" -lt 100 ]; do
  alive=
  for file in ended/*; do
    [ -f "$file" ] && read -r signal pid < "$file" && kill -0 "$pid" 2>/dev/null && alive=1
  done
  [ -z "$alive" ] && break
  sleep 0.05
  tries=$((tries + 1))
done
for file in ended/*; do
  [ -n "$alive" ] && [ -f "$file" ] && read -r signal pid < "$file" && kill -KILL "$pid" 2>/dev/null
done
cd /
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
"#;

/// Longer than the watchdog can take: five seconds for the signals, one for the folder, and a slow disk.
const CLOSE_MAX_S: u64 = 20;

pub(super) struct Lair {
    folder: PathBuf,
    watchdog: Child,
    /// All that were started here, so that the ended ones are collected and the watchdog sees no zombies.
    children: Mutex<Vec<SharedChild>>,
}

pub(super) type SharedChild = Arc<Mutex<Child>>;

impl Lair {
    pub(super) fn open() -> Result<Self, ServicesError> {
        let name = format!("sexton-dev-{:016x}", rand::random::<u64>());
        let failed = |path: &Path, source| ServicesError::Folder {
            action: "create",
            path: path.into(),
            source,
        };
        let above = std::env::temp_dir();
        let folder = std::path::absolute(above.join(name)).map_err(|source| failed(&above, source))?;
        let mut watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "sexton-watchdog"])
            .arg(&folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|source| ServicesError::Spawn {
                name: "the watchdog".into(),
                source,
            })?;
        let mut said = String::new();
        if let Some(mut output) = watchdog.stdout.take() {
            output
                .read_to_string(&mut said)
                .map_err(|source| failed(&folder, source))?;
        }
        let lair = Self {
            folder,
            watchdog,
            children: Mutex::default(),
        };
        if said.trim() == "ready" {
            Ok(lair)
        } else {
            let source = std::io::Error::other(said.trim());
            Err(ServicesError::Folder {
                action: "create",
                path: lair.folder.clone(),
                source,
            })
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    pub(super) fn pid_file(&self, name: &str) -> PathBuf {
        self.folder.join("pids").join(name)
    }

    /// Private to its owner: cookies, passwords and rows lie in these.
    pub(super) fn subfolder(&self, name: &str) -> Result<PathBuf, ServicesError> {
        let path = self.folder.join(name);
        let made = fs::create_dir(&path)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o700)));
        match made {
            Ok(()) => Ok(path),
            Err(source) => Err(ServicesError::Folder {
                action: "create",
                path,
                source,
            }),
        }
    }

    pub(super) fn write(&self, path: PathBuf, text: &str) -> Result<PathBuf, ServicesError> {
        match fs::write(&path, text) {
            Ok(()) => Ok(path),
            Err(source) => Err(ServicesError::Folder {
                action: "write",
                path,
                source,
            }),
        }
    }

    pub(super) fn keep(&self, child: Child) -> SharedChild {
        let child = Arc::new(Mutex::new(child));
        self.children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&child));
        child
    }

    fn collect_ended(&self) {
        for child in self
            .children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            let _ = child.lock().unwrap_or_else(PoisonError::into_inner).try_wait();
        }
    }
}

/// Lets the watchdog do its work and waits for it.
impl Drop for Lair {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(CLOSE_MAX_S);
        while matches!(self.watchdog.try_wait(), Ok(None)) && Instant::now() < deadline {
            self.collect_ended();
            #[expect(
                clippy::disallowed_methods,
                reason = "drop cannot await; the normal stop drops off the runtime"
            )]
            std::thread::sleep(Duration::from_millis(5));
        }
        self.collect_ended();
    }
}
