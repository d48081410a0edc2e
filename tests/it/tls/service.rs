//! A service by HTTPS: the one whose certificate is believed is called, and no other is told anything.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sexton::deletion::Verdict;
use sexton::plan::{Call, SystemName};
use sexton::services::TlsFiles;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::certificates::Authority;
use crate::connectors::{attempt, build};

const PROFILE: &str = "[call.end]\nmethod = \"DELETE\"\npath = \"/x/{id}\"\ndone = [204]\n";

/// Says 204 to whoever gets through, and counts what was asked.
async fn service(shown: Option<&TlsFiles>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let shown = shown.map(|files| {
        let shown = sexton::tls::shown(&files.certificate, &files.key);
        TlsAcceptor::from(shown.expect("a certificate"))
    });
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match &shown {
                None => answer(stream, &count).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        answer(stream, &count).await;
                    }
                }
            }
        }
    });
    (port, asked)
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, asked: &AtomicUsize) {
    let mut head = vec![0; 4096];
    let read = stream.read(&mut head).await.unwrap_or(0);
    if head[..read].starts_with(b"DELETE ") {
        asked.fetch_add(1, Ordering::SeqCst);
        let _ = stream
            .write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            .await;
    } else if read > 0 {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    }
    let _ = stream.shutdown().await;
}

async fn call(folder: &Path, url: &str, authority: Option<&Path>) -> Verdict {
    let profile = folder.join("profile.toml");
    std::fs::write(&profile, PROFILE).expect("a profile");
    let believed = authority.map_or_else(String::new, |file| format!("ca_file = {file:?}\n"));
    let settings = format!(
        "[far]\nkind = \"http\"\nurl = {url:?}\nprofile = {profile:?}\n{believed}auth = {{ bearer = \"t\" }}\n"
    );
    let systems = build(&settings).expect("a system");
    let call = Call::Http {
        call: "end".to_owned(),
    };
    let connector = systems.connector(&SystemName("far".to_owned()), &call);
    connector.expect("a connector").run(&call, &attempt("c")).await
}

#[tokio::test]
async fn a_service_is_called_by_https_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let authority = Authority::new(here, "authority");
    let stranger = Authority::new(here, "stranger");
    let (right, asked) = service(Some(&authority.signs(here, &["localhost"]))).await;
    let (expired, _) = service(Some(&authority.signs_expired(here, &["localhost"]))).await;
    let (plain, told) = service(None).await;
    let at = |host: &str, port: u16| format!("https://{host}:{port}");

    let verdict = call(here, &at("localhost", right), Some(&authority.file)).await;
    assert!(matches!(verdict, Verdict::Done { .. }), "{verdict:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    for (url, believed, why) in [
        (
            at("localhost", right),
            Some(&stranger.file),
            "its certificate is signed by nobody who is believed here",
        ),
        (
            at("localhost", right),
            None,
            "its certificate is signed by nobody who is believed here",
        ),
        (
            at("127.0.0.1", right),
            Some(&authority.file),
            "its certificate is for another name than 127.0.0.1",
        ),
        (
            at("localhost", expired),
            Some(&authority.file),
            "its certificate has expired",
        ),
        (
            at("localhost", plain),
            Some(&authority.file),
            "it does not speak TLS",
        ),
    ] {
        let verdict = call(here, &url, believed.map(|file| file.as_path())).await;
        let wanted = format!("DELETE /x/{{id}}: no TLS connection to the service: {why}");
        assert!(matches!(verdict, Verdict::Again { .. }), "{verdict:?}");
        assert_eq!(verdict.why(), Some(wanted.as_str()), "{url}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "nobody else was told anything");
    assert_eq!(told.load(Ordering::SeqCst), 0, "nor in plain text");
}

#[tokio::test]
async fn whom_to_believe_is_looked_at_before_anything_is_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "authority");
    let broken = folder.path().join("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA").expect("a file");
    let no_file = folder.path().join("none.pem");
    let profile = folder.path().join("profile.toml");
    std::fs::write(&profile, PROFILE).expect("a profile");
    for (url, file, found) in [
        (
            "http://h",
            &authority.file,
            "while `url` is plain http; wanted https there",
        ),
        ("https://h", &no_file, "no file: "),
        ("https://h", &broken, "(/"),
    ] {
        let settings =
            format!("[far]\nkind = \"http\"\nurl = {url:?}\nprofile = {profile:?}\nca_file = {file:?}\n");
        let Err(wrong) = build(&settings) else {
            panic!("{found}")
        };
        let said = wrong.to_string();
        assert!(
            said.starts_with("setting `systems.far.ca_file`: found ") && said.contains(found),
            "{said}"
        );
    }
}
