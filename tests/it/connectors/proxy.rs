//! A way to a Postgres server that breaks at the worst moment: COMMIT goes through, its answer does not come back.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) async fn cut_at_commit(server: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = server.to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(relay(client, server));
        }
    });
    address
}

async fn relay(client: TcpStream, server: TcpStream) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    });
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
        let commit = bytes[..read].windows(7).any(|seen| seen == b"commit\0");
        if commit {
            back.abort();
        }
        if to_server.write_all(&bytes[..read]).await.is_err() {
            return;
        }
        if commit {
            // The server ends the connection when it has read to the end, so by then the commit is done.
            let _ = to_server.shutdown().await;
            let _ = back.await;
            return;
        }
    }
}
