//! The one binary. Order and nothing else.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    sexton::cli::main().await
}
