//! The one binary. Order and nothing else.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// A saga is some hundred small allocations, made and let go on different threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    sexton::cli::main().await
}
