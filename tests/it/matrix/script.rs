//! What a process is told to do wrong, and whom it holds (`src/crash/script.rs` is the other side of this).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sexton::crash::{CrashPoint, Fault};
use tempfile::TempDir;

use crate::house::patience;

pub(super) struct Script {
    folder: TempDir,
    text: String,
}

impl Script {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["there", "go"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        Script {
            folder,
            text: String::new(),
        }
    }

    pub(super) fn goes_wrong(&mut self, fault: Fault, (target, step, aim): (&str, &str, &str), times: u32) {
        let fault = fault.name();
        writeln!(self.text, "fault {fault} {target} {step} {aim} {times}").expect("a line");
    }

    /// Held until [`Script::go`]; the name is what to say then.
    pub(super) fn hold(&mut self, at: CrashPoint, (target, step, aim): (&str, &str, &str)) -> String {
        let name = format!("{} {target} {step} {aim}", at.name());
        writeln!(self.text, "hold {name}").expect("a line");
        name
    }

    pub(super) fn lose_every(&mut self, so_manieth: u32) {
        writeln!(self.text, "lose {so_manieth}").expect("a line");
    }

    /// The environment of the process that is to follow it.
    pub(super) fn ready(&self) -> PathBuf {
        std::fs::write(self.path().join("script"), &self.text).expect("a script");
        self.path().to_owned()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Until all of these are held.
    pub(super) async fn all_there(&self, names: impl IntoIterator<Item = &String>) {
        let wanted: BTreeSet<&String> = names.into_iter().collect();
        let missing = || -> Vec<&&String> { wanted.iter().filter(|name| !self.is_there(name)).collect() };
        let waited = tokio::time::timeout(patience(), async {
            let mut every = tokio::time::interval(Duration::from_millis(50));
            while !missing().is_empty() {
                every.tick().await;
            }
        });
        if waited.await.is_err() {
            panic!("these were never held: {:#?}", missing());
        }
    }

    pub(super) fn is_there(&self, name: &str) -> bool {
        self.path().join("there").join(name).exists()
    }

    pub(super) fn go(&self, name: &str) {
        std::fs::write(self.path().join("go").join(name), "").expect("a file");
    }

    pub(super) fn go_all(&self) {
        self.go("all");
    }
}
