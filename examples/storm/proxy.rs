//! A way through which a worker reaches a server, and what can happen to it: stalled, delayed, or cut in half.
//!
//! A cut lets half of the next chunk through and then resets both sides: whoever reads has the beginning of a frame and
//! never its end. A connection that says nothing is cut when it next does.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What is read at once; a frame that is larger is cut all the same.
const CHUNK_BYTES: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sky {
    stalled: bool,
    delay: Duration,
    /// Connections that were opened before the cut of this number are cut.
    cuts: u64,
}

pub(crate) struct Link {
    pub(crate) port: u16,
    sky: watch::Sender<Sky>,
    /// Connections that were cut in half.
    halved: Arc<AtomicU64>,
    _listening: JoinSet<()>,
}

impl Link {
    /// The first of the servers that answers is taken, as a balancer in front of a cluster does.
    pub(crate) async fn open(servers: Vec<SocketAddr>) -> io::Result<Link> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (sky, looks) = watch::channel(Sky::default());
        let halved = Arc::<AtomicU64>::default();
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, servers, looks, halved.clone()));
        Ok(Link {
            port,
            sky,
            halved,
            _listening: listening,
        })
    }

    pub(crate) fn stall(&self, yes: bool) {
        self.sky.send_modify(|sky| sky.stalled = yes);
    }

    pub(crate) fn delay(&self, by: Duration) {
        self.sky.send_modify(|sky| sky.delay = by);
    }

    pub(crate) fn cut(&self) {
        self.sky.send_modify(|sky| sky.cuts += 1);
    }

    pub(crate) fn halved(&self) -> u64 {
        self.halved.load(Ordering::Relaxed)
    }
}

async fn listen(
    listener: TcpListener,
    servers: Vec<SocketAddr>,
    sky: watch::Receiver<Sky>,
    halved: Arc<AtomicU64>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((inner, _)) = accepted {
                connections.spawn(carry(inner, servers.clone(), sky.clone(), halved.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(
    inner: TcpStream,
    servers: Vec<SocketAddr>,
    sky: watch::Receiver<Sky>,
    halved: Arc<AtomicU64>,
) {
    let born = sky.borrow().cuts;
    let mut outer = None;
    for server in servers {
        if let Ok(stream) = TcpStream::connect(server).await {
            outer = Some(stream);
            break;
        }
    }
    // Nobody there is a reset, as it would be without a proxy; and a cut is one on both sides.
    let abrupt = |stream: &TcpStream| stream.set_nodelay(true).and_then(|()| stream.set_zero_linger());
    let Some(outer) = outer else {
        let _ = inner.set_zero_linger();
        return;
    };
    if abrupt(&inner).is_err() || abrupt(&outer).is_err() {
        return;
    }
    let (from_worker, to_worker) = inner.into_split();
    let (from_server, to_server) = outer.into_split();
    let was_cut = tokio::select! {
        cut = pump(from_worker, to_server, sky.clone(), born) => cut,
        cut = pump(from_server, to_worker, sky.clone(), born) => cut,
    };
    if was_cut {
        halved.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether it was cut; else one side has ended.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut sky: watch::Receiver<Sky>,
    born: u64,
) -> bool {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let Ok(read @ 1..) = from.read(&mut chunk).await else {
            return false;
        };
        if sky.wait_for(|sky| !sky.stalled).await.is_err() {
            return false;
        }
        let now = *sky.borrow();
        if !now.delay.is_zero() {
            tokio::time::sleep(now.delay).await;
        }
        if sky.borrow().cuts > born {
            // What is written must be on its way before the reset.
            let _ = to.write_all(&chunk[..read / 2]).await;
            let _ = to.flush().await;
            tokio::task::yield_now().await;
            return true;
        }
        if to.write_all(&chunk[..read]).await.is_err() {
            return false;
        }
    }
}
