//! Where the machine keeps the servers. Debian hides the Postgres binaries from the PATH, and its `rabbitmq-server` on
//! the PATH is a wrapper that switches user: the package's own folders come first.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::ServicesError;

/// Each entry: a folder, what its children's names begin with, and where below such a child the programs lie.
type Places<'a> = &'a [(&'a str, &'a str, &'a str)];

const POSTGRES: Places<'static> = &[
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

const RABBITMQ: Places<'static> = &[
    ("/usr/lib/rabbitmq/lib", "rabbitmq_server-", "sbin"),
    ("/opt/homebrew/Cellar/rabbitmq", "", "sbin"),
    ("/usr/local/Cellar/rabbitmq", "", "sbin"),
    ("/opt", "rabbitmq", "sbin"),
];

const EPMD: Places<'static> = &[
    ("/usr/lib/erlang", "erts-", "bin"),
    ("/opt/homebrew/lib/erlang", "erts-", "bin"),
    ("/usr/local/lib/erlang", "erts-", "bin"),
];

/// The folder with `initdb` and `postgres`.
pub(super) fn postgres() -> Result<PathBuf, ServicesError> {
    find(POSTGRES, &["initdb", "postgres"], &search_path()).ok_or(ServicesError::Missing {
        what: "Postgres server",
        package: "postgresql",
    })
}

/// The package's own `rabbitmq-server`, beside which its `plugins` lie.
pub(super) fn rabbitmq() -> Result<PathBuf, ServicesError> {
    find(RABBITMQ, &["rabbitmq-server"], &search_path())
        .map(|folder| folder.join("rabbitmq-server"))
        .ok_or(ServicesError::Missing {
            what: "RabbitMQ server",
            package: "rabbitmq-server",
        })
}

pub(super) fn epmd() -> Result<PathBuf, ServicesError> {
    find(EPMD, &["epmd"], &search_path())
        .map(|folder| folder.join("epmd"))
        .ok_or(ServicesError::Missing {
            what: "Erlang port mapper (epmd)",
            package: "erlang-base",
        })
}

fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default()
}

/// The first place that has all of them wins; of several versions there the highest.
fn find(places: Places<'_>, programs: &[&str], search_path: &[PathBuf]) -> Option<PathBuf> {
    let complete = |folder: &PathBuf| programs.iter().all(|program| folder.join(program).is_file());
    let placed = places.iter().find_map(|(root, prefix, below)| {
        let mut found: Vec<PathBuf> = std::fs::read_dir(root)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.file_name()
                    .and_then(OsStr::to_str)
                    .is_some_and(|name| name.starts_with(prefix))
            })
            .map(|path| path.join(below))
            .filter(complete)
            .collect();
        found.sort_by_key(|path| version(path));
        found.pop()
    });
    placed.or_else(|| {
        let linked = search_path
            .iter()
            .find(|folder| complete(folder))?
            .join(programs[0]);
        let real = std::fs::canonicalize(linked).ok()?;
        real.parent().map(Path::to_path_buf)
    })
}

/// The numbers in a path, so that 15 stands above 9.
fn version(path: &Path) -> Vec<u32> {
    let text = path.to_string_lossy();
    text.split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_complete_version_wins() {
        let root = tempfile::tempdir().unwrap();
        for (version, programs) in [("9", 2), ("15", 2), ("16", 1)] {
            let bin = root.path().join(version).join("bin");
            std::fs::create_dir_all(&bin).unwrap();
            for program in &["initdb", "postgres"][..programs] {
                std::fs::write(bin.join(program), "").unwrap();
            }
        }
        let root = root.path().to_str().unwrap();
        let found = find(
            &[("/nowhere", "", "bin"), (root, "", "bin")],
            &["initdb", "postgres"],
            &[],
        );
        assert_eq!(found, Some(Path::new(root).join("15/bin")));
    }

    #[test]
    fn nothing_found_is_one_sentence_that_names_the_way_out() {
        assert_eq!(find(&[("/nowhere", "", "bin")], &["initdb"], &[]), None);
        let error = ServicesError::Missing {
            what: "Postgres server",
            package: "postgresql",
        };
        let text = error.to_string();
        assert!(
            text.contains("make setup") && text.contains("package postgresql"),
            "{text}"
        );
    }
}
