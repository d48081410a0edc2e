//! Connections, within bounds: how many, how long until hands are shaken and the head of a request is there, how long an
//! answer may lie unread; and their end, in order, when the process stops.
//!
//! What a request itself may hold (its body, its path, its time) is bounded by the layers of the router.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Settings;
use crate::stopper::Stopper;

/// The head of a request: a path, a token of some kilobytes, the headers that proxies add.
const HEAD_MAX_BYTES: usize = 32 * 1024;
const HEADERS_MAX: usize = 100;
/// What is read ahead of a body that nobody reads yet.
const BUFFER_MAX_BYTES: usize = 64 * 1024;
/// Out of file descriptors, or the like: it passes, and trying at once does not help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Until the stop; then what is under way may end within `settings.drain`.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    settings: Arc<Settings>,
    stopper: Stopper,
) {
    let tls = tls.map(TlsAcceptor::from);
    let places = Arc::new(Semaphore::new(settings.connections_max));
    let ending = GracefulShutdown::new();
    let (open, cut) = (TaskTracker::new(), CancellationToken::new());
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(settings.head_timeout)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_MAX_BYTES)
        .max_buf_size(BUFFER_MAX_BYTES);
    loop {
        // Whoever finds no place waits in the listener's queue, which the system bounds.
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place,
            () = stopper.draining() => break,
        };
        let (Ok(place), stream) = (
            place,
            tokio::select! {
                stream = listener.accept() => stream,
                () = stopper.draining() => break,
            },
        ) else {
            break;
        };
        let stream = match stream {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Answers are small and whole; waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        let stream = Impatient::new(stream, settings.write_timeout);
        let service = TowerToHyperService::new(router.clone());
        let cut = cut.clone();
        let Some(tls) = tls.clone() else {
            let connection = ending.watch(protocol.serve_connection(TokioIo::new(stream), service));
            open.spawn(until_cut(connection, cut, place));
            continue;
        };
        let (protocol, watcher, stopper) = (protocol.clone(), ending.watcher(), stopper.clone());
        let patience = settings.head_timeout;
        open.spawn(async move {
            // It has its place while it shakes hands, and no more time for that than for the head of a request.
            let shaken = tokio::select! {
                shaken = tokio::time::timeout(patience, tls.accept(stream)) => shaken,
                // Nothing was asked for yet, so nobody waits for an answer.
                () = stopper.draining() => return,
            };
            let Ok(Ok(stream)) = shaken else { return };
            let connection = protocol.serve_connection(TokioIo::new(stream), service);
            until_cut(watcher.watch(connection), cut, place).await;
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(settings.drain, ending.shutdown()).await;
    cut.cancel();
    open.close();
    open.wait().await;
}

/// How a stranger's connection ends is their business: a reset is none of our faults.
async fn until_cut<T>(
    connection: impl Future<Output = T>,
    cut: CancellationToken,
    place: OwnedSemaphorePermit,
) {
    tokio::select! {
        _ = connection => {}
        () = cut.cancelled() => {}
    }
    drop(place);
}

/// A stream whose other side must go on reading: else a thousand of them hold a thousand answers for ever.
struct Impatient {
    stream: TcpStream,
    patience: Duration,
    /// Runs while the other side takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn new(stream: TcpStream, patience: Duration) -> Self {
        Impatient {
            stream,
            patience,
            stalled: None,
        }
    }

    fn minded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let until = Instant::now() + self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.minded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.minded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.minded(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.minded(cx, shut)
    }
}
