//! The door of HTTP: the native API and the five dialects, over the same calls.
//!
//! A request over HTTP becomes the same published message as any other (`calls.rs`); a caller that waits is one of many
//! that one task looks after (`waiting.rs`); what strangers may hold is bounded (`serving.rs`, `bounds.rs`).

pub mod access;
pub mod bounds;
mod calls;
mod serving;
mod settings;
mod waiting;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

pub use calls::{About, CallError, Calls, Published};
pub use settings::Settings;

use access::Access;

use crate::stopper::Stopper;
use crate::store::{Outgoing, Store, Wake};
use waiting::Waiting;

/// What the gateway works with, handed in by whoever starts it.
pub struct Parts {
    pub settings: Settings,
    pub access: Access,
    pub store: Store,
    /// To the relay.
    pub tap: mpsc::Sender<Outgoing>,
    /// Hints that calls may have been answered.
    pub hints: Wake,
    pub stopper: Stopper,
}

/// Bound, so that a port in use is said at the start; serves once [`Gateway::run`] does.
pub struct Gateway {
    listener: TcpListener,
    parts: Parts,
}

impl Gateway {
    pub async fn bind(listen: SocketAddr, parts: Parts) -> std::io::Result<Self> {
        Ok(Gateway {
            listener: TcpListener::bind(listen).await?,
            parts,
        })
    }

    /// Where it listens; of use if the settings asked for port 0.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Until it is told to stop and what was under way has been answered.
    pub async fn run(self) {
        let Parts {
            settings,
            access,
            store,
            tap,
            hints,
            stopper,
        } = self.parts;
        let waiting = Waiting::new();
        let looking = tokio::spawn(waiting.clone().run(store.clone(), hints, stopper.clone()));
        let desk = Desk {
            settings: Arc::new(settings),
            access,
            calls: Calls { store, waiting, tap },
        };
        serving::serve(self.listener, router(&desk), desk.settings.clone(), stopper).await;
        looking.abort();
    }
}

/// What every handler works with. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    pub settings: Arc<Settings>,
    pub access: Access,
    pub calls: Calls,
}

/// Every part brings its own routes.
fn router(_desk: &Desk) -> Router {
    Router::new()
}
