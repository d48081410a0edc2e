//! The pages for machines: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever starts and stops processes.
//!
//! Alive means that the process answers. Ready means that every part says so; what is not ready is named, so that
//! nobody needs the log to learn why a rollout waits.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Instruments;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// A reader that hangs must not keep the process from ending.
const FAREWELL: Duration = Duration::from_secs(2);

/// The named checks behind `/readyz`. A clone adds to the same list.
#[derive(Clone, Default)]
pub struct Readiness(Arc<RwLock<Vec<Check>>>);

struct Check {
    name: &'static str,
    /// `Err` says why not, in a few words without content of requests.
    ask: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl Readiness {
    /// Asked on every look, so it must not wait for anything: let it read a flag.
    pub fn add(&self, name: &'static str, ask: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        let check = Check {
            name,
            ask: Box::new(ask),
        };
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(check);
    }

    /// Ready or not, and one line for each check, those that are not ready first.
    pub fn look(&self) -> (bool, String) {
        let checks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (mut not_ready, mut ready) = (String::new(), String::new());
        for check in checks.iter() {
            // Writing to a String never fails.
            let _ = match (check.ask)() {
                Ok(()) => writeln!(ready, "{}: ready", check.name),
                Err(why) => writeln!(not_ready, "{}: not ready: {why}", check.name),
            };
        }
        let is_ready = not_ready.is_empty();
        if is_ready && ready.is_empty() {
            ready.push_str("ready\n");
        }
        (is_ready, not_ready + &ready)
    }
}

/// Bound, so that a port in use is said at the start; serves once [`Endpoint::serve`] runs.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
}

impl Endpoint {
    pub async fn bind(listen: SocketAddr) -> std::io::Result<Self> {
        Ok(Endpoint {
            listener: TcpListener::bind(listen).await?,
        })
    }

    /// Where it listens; of use if the settings asked for port 0.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Until `stop`; then what is being read is finished, within bounds.
    pub async fn serve(
        self,
        instruments: Instruments,
        readiness: Readiness,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let router = Router::new()
            .route("/metrics", get(metrics))
            .with_state(instruments)
            .route("/livez", get("alive\n"))
            .route("/readyz", get(ready).with_state(readiness));
        let serving =
            axum::serve(self.listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        let serving = serving.into_future();
        tokio::select! {
            done = serving => done,
            () = async { stop.cancelled().await; tokio::time::sleep(FAREWELL).await } => Ok(()),
        }
    }
}

async fn metrics(State(instruments): State<Instruments>) -> Response {
    match instruments.page() {
        Ok(page) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics cannot be written\n",
        )
            .into_response(),
    }
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let (is_ready, lines) = readiness.look();
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, lines)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn what_is_not_ready_is_named_first() {
        let readiness = Readiness::default();
        assert_eq!(readiness.look(), (true, "ready\n".to_owned()));
        let connected = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&connected);
        readiness.add("store", || Ok(()));
        readiness.clone().add("broker", move || {
            if flag.load(Ordering::SeqCst) {
                Ok(())
            } else {
                Err("no connection".to_owned())
            }
        });
        assert_eq!(
            readiness.look(),
            (
                false,
                "broker: not ready: no connection\nstore: ready\n".to_owned()
            )
        );
        connected.store(true, Ordering::SeqCst);
        assert_eq!(
            readiness.look(),
            (true, "store: ready\nbroker: ready\n".to_owned())
        );
    }
}
