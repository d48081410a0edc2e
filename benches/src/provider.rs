//! A service that takes its time: whatever it is asked, it answers 204 after two seconds. It says `begun` once it listens, and
//! at the end how many it held at once at most.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::Fail;
use crate::report::tell;

pub(crate) const WORD: &str = "provider";

/// As a provider's API that tears something down.
pub(crate) const ANSWERS_AFTER: Duration = Duration::from_secs(2);
/// Longer than any head that is sent here.
const HEAD_MAX_BYTES: usize = 8_192;
const HEAD_ENDS: &[u8] = b"\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

#[derive(Default)]
struct Held {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// Until SIGTERM.
pub(crate) async fn run(address: &str) -> Result<(), Fail> {
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(address.parse::<SocketAddr>()?).await?;
    tell("begun");
    let held = Arc::<Held>::default();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            caller = listener.accept() => {
                let (caller, held) = (caller?.0, held.clone());
                // Whoever leaves in the middle is told nothing.
                tokio::spawn(async move { let _ = serve(caller, &held).await; });
            }
        }
    }
    tell(&held.most.load(Ordering::Relaxed).to_string());
    Ok(())
}

/// One request after the other; none has a body.
async fn serve(mut caller: TcpStream, held: &Held) -> Result<(), Fail> {
    let mut head = Vec::with_capacity(HEAD_MAX_BYTES);
    loop {
        head.clear();
        while !head.ends_with(HEAD_ENDS) {
            if caller.read_buf(&mut head).await? == 0 || head.len() > HEAD_MAX_BYTES {
                return Ok(());
            }
        }
        let now = held.now.fetch_add(1, Ordering::Relaxed) + 1;
        held.most.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(ANSWERS_AFTER).await;
        held.now.fetch_sub(1, Ordering::Relaxed);
        caller.write_all(ANSWER).await?;
    }
}
