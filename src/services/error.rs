//! What can go wrong while the throw-away servers start, run and stop. Each text speaks for its own level and, where a
//! person can act, says what to do; the cause stays in `source`.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    #[error("no {what} on this machine: run `make setup`, or install the package {package}")]
    Missing {
        what: &'static str,
        package: &'static str,
    },
    #[error("could not {action} {}", path.display())]
    Folder {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("could not start {name}")]
    Spawn { name: String, source: std::io::Error },
    #[error("{name} ended while it should run; its last words:\n{log}")]
    Died { name: &'static str, log: String },
    #[error("{name} was not ready after {waited_s} s; its last words:\n{log}")]
    NotReady {
        name: &'static str,
        waited_s: u64,
        log: String,
    },
    #[error("{name} did not end within {waited_s} s of being told to")]
    NotEnding { name: &'static str, waited_s: u64 },
    #[error("{name} was not started here, so it cannot be stopped or started here")]
    NotOurs { name: &'static str },
    #[error("no free ports found on 127.0.0.1")]
    NoPorts,
    #[error("{what} is not a usable address")]
    BadUrl { what: &'static str },
    #[error("the name {name:?} is not usable: lower case letters, digits, `_` and `-` only, 63 at most")]
    BadName { name: String },
    #[error("could not {action} {name}")]
    Database {
        action: &'static str,
        name: String,
        source: sqlx::Error,
    },
    #[error("could not {action} {name} through the management API")]
    Management {
        action: &'static str,
        name: String,
        source: reqwest::Error,
    },
    #[error("could not listen for signals")]
    Signals { source: std::io::Error },
}
