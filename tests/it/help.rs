//! `--help` of every command is pinned: what a person reads there is what they may rely on. Rewritten with
//! `SEXTON_BLESS=1`, and then read by whoever commits it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const COMMANDS: [&str; 23] = [
    "",
    "run",
    "migrate",
    "request",
    "deletions",
    "deletions list",
    "deletions show",
    "deletions retry",
    "deletions cancel",
    "rejected",
    "rejected list",
    "rejected requeue",
    "systems",
    "systems list",
    "systems retry",
    "keys",
    "keys make",
    "keys list",
    "keys revoke",
    "plan",
    "plan check",
    "plan show",
    "plan adopt",
];

fn help(command: &str) -> String {
    let asked = Command::new(env!("CARGO_BIN_EXE_sexton"))
        .args(command.split_whitespace())
        .arg("--help")
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .expect("the binary");
    assert!(asked.status.success(), "{command} --help: {asked:?}");
    String::from_utf8(asked.stdout).expect("text")
}

fn pinned(command: &str) -> PathBuf {
    let name = if command.is_empty() { "sexton" } else { command };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/help");
    folder.join(format!("{}.txt", name.replace(' ', "-")))
}

#[test]
fn help_is_what_is_pinned_and_no_command_is_without() {
    let bless = std::env::var_os("SEXTON_BLESS").is_some();
    for command in COMMANDS {
        let (said, file) = (help(command), pinned(command));
        if bless {
            std::fs::write(&file, &said).expect("a pinned help");
        }
        let wanted = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(said, wanted, "{}; SEXTON_BLESS=1 rewrites it", file.display());
        // Whatever has commands below it has those pinned too.
        let listed = said.split("Commands:\n").nth(1).unwrap_or_default();
        for line in listed.lines().take_while(|line| !line.is_empty()) {
            let Some(name) = line
                .strip_prefix("  ")
                .and_then(|line| line.split_whitespace().next())
            else {
                continue;
            };
            // The lines of a description that runs on are indented further.
            if line.starts_with("   ") || ["help", "dev"].contains(&name) {
                continue;
            }
            let below = format!("{command} {name}").trim().to_owned();
            assert!(COMMANDS.contains(&below.as_str()), "`{below}` is not pinned");
        }
    }
}
