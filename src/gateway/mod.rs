//! The door of HTTP: the native API and the five dialects, over the same calls.
//!
//! A request over HTTP becomes the same published message as any other (`calls.rs`); a caller that waits is one of many
//! that one task looks after (`waiting.rs`); what strangers may hold is bounded (`serving.rs`, `bounds.rs`).

pub mod access;
pub mod bounds;
mod calls;
mod dialects;
mod document;
mod following;
mod native;
mod serving;
mod settings;
mod tally;
mod waiting;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::Uri;
use axum::routing::get;
use axum::{Router, middleware};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use utoipa_axum::router::OpenApiRouter;

pub use calls::{About, CallError, Calls, Published};
pub use settings::Settings;

use access::Access;
use bounds::Room;

use crate::decide::access::Dialect;
use crate::stopper::Stopper;
use crate::store::{Outgoing, Store, Wake};
use crate::telemetry::Instruments;
use following::Following;
use tally::Tally;
use waiting::Waiting;

/// What the gateway works with, handed in by whoever starts it.
pub struct Parts {
    pub settings: Settings,
    /// What to show of itself; without it, plain HTTP is served.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub access: Access,
    pub store: Store,
    /// To the relay.
    pub tap: mpsc::Sender<Outgoing>,
    /// Hints that calls may have been answered.
    pub hints: Wake,
    pub instruments: Instruments,
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
            tls,
            access,
            store,
            tap,
            hints,
            instruments,
            stopper,
        } = self.parts;
        let tally = Tally::default();
        tally.shown_by(&instruments);
        let waiting = Waiting::new(stopper.clone());
        let looking = tokio::spawn(waiting.clone().run(store.clone(), hints));
        let desk = Desk {
            settings: Arc::new(settings),
            access,
            room: Room::default(),
            following: Following::default(),
            stopper: stopper.clone(),
            calls: Calls { store, waiting, tap },
        };
        let following = desk.following.clone();
        let store = desk.calls.store().clone();
        let looking_on = tokio::spawn(following.run(store, stopper.clone()));
        serving::serve(
            self.listener,
            tls,
            router(&desk, tally),
            desk.settings.clone(),
            stopper,
        )
        .await;
        looking.abort();
        looking_on.abort();
    }
}

/// What every handler works with. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    pub settings: Arc<Settings>,
    pub access: Access,
    pub calls: Calls,
    room: Room,
    following: Following,
    stopper: Stopper,
}

/// Every part brings its own routes, and its own answers to what has no route.
fn router(desk: &Desk, tally: Tally) -> Router {
    let served: Arc<[Dialect]> = desk.settings.dialects().into();
    let (router, document) = OpenApiRouter::with_openapi(document::head())
        .merge(dialects::routes(&served))
        .split_for_parts();
    let document = document::body(document);
    router
        .route("/openapi.json", get(move || async move { document.clone() }))
        .fallback({
            let served = served.clone();
            move |uri: Uri| async move {
                dialects::stray(
                    &served,
                    uri.path(),
                    native::Kind::NotFound,
                    "there is nothing here",
                )
            }
        })
        .method_not_allowed_fallback({
            let served = served.clone();
            move |uri: Uri| async move {
                let detail = "found another method; wanted one of `Allow`";
                dialects::stray(&served, uri.path(), native::Kind::MethodNotAllowed, detail)
            }
        })
        .layer(middleware::from_fn_with_state(served, bounds::path))
        .layer(middleware::from_fn_with_state(tally, tally::count))
        .with_state(desk.clone())
}
