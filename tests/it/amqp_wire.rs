//! A wire between a client and RabbitMQ that a test can cut, hold still, or speak into. It forwards whole
//! frames from the client, so that a frame of the test's own falls between two of them and never into one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};

/// The protocol header comes first and is no frame.
const HEADER_BYTES: usize = 8;
/// Type, channel, size.
const FRAME_HEAD_BYTES: usize = 7;
const METHOD_FRAME: u8 = 1;
/// Each byte of this becomes 0xff on its way to the broker: no client library would write what is no UTF-8.
pub(crate) const GARBLED: &str = "garble-this-text";
const FRAME_END: u8 = 0xCE;
const BASIC: u16 = 60;
const CONSUME: u16 = 20;
const ACK: u16 = 80;

#[derive(Clone, Debug)]
enum Word {
    Cut,
    Say(Vec<u8>),
}

pub(crate) struct Wire {
    pub(crate) url: String,
    say: broadcast::Sender<Word>,
    open: watch::Sender<bool>,
    consuming_on: Arc<AtomicU16>,
    /// All that were ever made.
    pub(crate) connections: Arc<AtomicUsize>,
    /// Those that still stand.
    pub(crate) standing: Arc<AtomicUsize>,
}

impl Wire {
    pub(crate) async fn to(amqp_url: &str) -> Wire {
        let mut url = reqwest::Url::parse(amqp_url).expect("an AMQP URL");
        let target = format!(
            "{}:{}",
            url.host_str().expect("a host"),
            url.port().expect("a port")
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        url.set_port(Some(listener.local_addr().expect("an address").port()))
            .expect("a URL with ports");
        let (say, _) = broadcast::channel(16);
        let (open, is_open) = watch::channel(true);
        let consuming_on = Arc::new(AtomicU16::new(0));
        let connections = Arc::new(AtomicUsize::new(0));
        let standing = Arc::new(AtomicUsize::new(0));
        let wire = Wire {
            url: url.into(),
            say: say.clone(),
            open,
            consuming_on: consuming_on.clone(),
            connections: connections.clone(),
            standing: standing.clone(),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !*is_open.borrow() {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&target).await else {
                    continue;
                };
                connections.fetch_add(1, Ordering::SeqCst);
                standing.fetch_add(1, Ordering::SeqCst);
                let carried = carry(client, server, say.subscribe(), consuming_on.clone());
                let standing = standing.clone();
                tokio::spawn(async move {
                    carried.await;
                    standing.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        wire
    }

    /// Cuts what is connected and refuses what comes, until [`Wire::mend`].
    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
        let _nobody_connected = self.say.send(Word::Cut);
    }

    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }

    /// An acknowledgement of a delivery that never was, on the channel that consumes: the broker answers
    /// with 406 and closes that channel.
    pub(crate) fn acknowledge_nonsense(&self) {
        let mut frame = vec![METHOD_FRAME];
        frame.extend(self.consuming_on.load(Ordering::SeqCst).to_be_bytes());
        let mut method = Vec::new();
        method.extend(BASIC.to_be_bytes());
        method.extend(ACK.to_be_bytes());
        method.extend(u64::from(u32::MAX).to_be_bytes());
        method.push(0);
        frame.extend(u32::try_from(method.len()).expect("13").to_be_bytes());
        frame.extend(method);
        frame.push(FRAME_END);
        self.say.send(Word::Say(frame)).expect("somebody is connected");
    }
}

async fn carry(
    client: TcpStream,
    server: TcpStream,
    words: broadcast::Receiver<Word>,
    consuming_on: Arc<AtomicU16>,
) {
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let back = tokio::io::copy(&mut from_server, &mut to_client);
    let forth = frames(from_client, to_server, words, consuming_on);
    tokio::select! {
        _ = back => {}
        _ = forth => {}
    }
}

async fn frames(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut words: broadcast::Receiver<Word>,
    consuming_on: Arc<AtomicU16>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; HEADER_BYTES];
    from.read_exact(&mut buffer).await?;
    to.write_all(&buffer).await?;
    buffer.clear();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            word = words.recv() => match word {
                Ok(Word::Say(frame)) => to.write_all(&frame).await?,
                Ok(Word::Cut) | Err(_) => return Ok(()),
            },
            read = from.read(&mut chunk) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                buffer.extend_from_slice(&chunk[..read]);
                let whole = whole_frames(&buffer, &consuming_on);
                garble(&mut buffer[..whole]);
                to.write_all(&buffer[..whole]).await?;
                buffer.drain(..whole);
            }
        }
    }
}

fn garble(frames: &mut [u8]) {
    let found = frames
        .windows(GARBLED.len())
        .position(|seen| seen == GARBLED.as_bytes());
    if let Some(at) = found {
        frames[at..at + GARBLED.len()].fill(0xff);
    }
}

fn whole_frames(buffer: &[u8], consuming_on: &AtomicU16) -> usize {
    let mut at = 0;
    while buffer.len() >= at + FRAME_HEAD_BYTES {
        let head = &buffer[at..at + FRAME_HEAD_BYTES];
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let end = at + FRAME_HEAD_BYTES + size + 1;
        if buffer.len() < end {
            break;
        }
        let body = &buffer[at + FRAME_HEAD_BYTES..end];
        if head[0] == METHOD_FRAME && body[..2] == BASIC.to_be_bytes() && body[2..4] == CONSUME.to_be_bytes()
        {
            consuming_on.store(u16::from_be_bytes([head[1], head[2]]), Ordering::SeqCst);
        }
        at = end;
    }
    at
}
