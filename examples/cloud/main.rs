//! The demonstration cloud: an HTTP provider that keeps machines and is not always well. Not part of the product.
//!
//! It terminates machines asynchronously, and at times answers 429, 500, nothing at all, or acts and then cuts the
//! connection. Every fault is decided by a hash of (seed, machine, number of the request), so a run can be repeated.
//! `/stats` tells what was really done, for those who check.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::routing::{get, put};
use clap::Parser;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;

mod cut;
use cut::{CuttableListener, Switch};

/// After so many faults in a row a machine's requests go well: a demonstration has to end.
const FAULTS_IN_A_ROW_MAX: u64 = 3;
/// Longer than any client waits.
const HANG: Duration = Duration::from_secs(120);

#[derive(Clone, Debug, Parser)]
#[command(about = "A small cloud that keeps machines, for demonstrations and tests")]
pub(crate) struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// The bearer token of the account `acct_demo`.
    #[arg(long, default_value = "demo-token")]
    pub(crate) token: String,
    /// The bearer token of the account `acct_other`, which sees none of the other's machines.
    #[arg(long, default_value = "other-token")]
    pub(crate) other_token: String,
    /// What the faults are decided by.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The share of requests for a machine that go wrong, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) faults: f64,
    /// Which faults there are.
    #[arg(long, value_delimiter = ',', default_values = ["seconds", "date", "error", "hang", "cut"])]
    pub(crate) kinds: Vec<Fault>,
    /// How long a termination takes.
    #[arg(long, default_value_t = 300)]
    pub(crate) terminate_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fault {
    /// 429 with Retry-After in seconds.
    Seconds,
    /// 429 with Retry-After as a date.
    Date,
    /// 500.
    Error,
    /// No answer at all.
    Hang,
    /// Acts, and then cuts the connection.
    Cut,
}

#[derive(Default)]
struct Machine {
    account: &'static str,
    terminating: bool,
    terminated: bool,
    /// RFC 3339.
    terminated_at: Option<String>,
    terminations: u64,
    /// DELETE and GET requests for it, by method.
    asked: BTreeMap<&'static str, u64>,
    keys: BTreeSet<String>,
}

struct Cloud {
    options: Options,
    machines: Mutex<BTreeMap<String, Machine>>,
    /// Idempotency keys whose answer was "accepted".
    accepted: Mutex<BTreeSet<String>>,
    /// DELETE and GET requests for machines that never were.
    strangers: AtomicU64,
}

type Shared = Arc<Cloud>;
type Answer = Response<Body>;

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind(Options::parse().listen).await?;
    // The first line is for programs; nothing else goes to stdout.
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    serve(listener, Options::parse()).await
}

/// Serves until dropped.
pub(crate) async fn serve(listener: TcpListener, options: Options) -> io::Result<()> {
    let cloud = Arc::new(Cloud {
        options,
        machines: Mutex::default(),
        accepted: Mutex::default(),
        strangers: AtomicU64::new(0),
    });
    let app = Router::new()
        .route("/whoami", get(whoami))
        .route("/machines", get(list).post(create_many))
        .route("/machines/{id}", put(create).get(show).delete(terminate))
        .route("/stats", get(stats))
        .with_state(cloud)
        .into_make_service_with_connect_info::<Switch>();
    axum::serve(CuttableListener(listener), app).await
}

async fn whoami(State(cloud): State<Shared>, headers: HeaderMap) -> Answer {
    match cloud.account(&headers) {
        Some(account) => answer(StatusCode::OK, &json!({ "account": account })),
        None => unauthorized(),
    }
}

async fn create(State(cloud): State<Shared>, headers: HeaderMap, Path(id): Path<String>) -> Answer {
    match cloud.account(&headers) {
        Some(account) => {
            cloud.create(account, &[id]);
            answer(StatusCode::CREATED, &json!({ "status": "running" }))
        }
        None => unauthorized(),
    }
}

/// `{"ids": ["m-1", "m-2"]}`
async fn create_many(State(cloud): State<Shared>, headers: HeaderMap, body: Bytes) -> Answer {
    let Some(account) = cloud.account(&headers) else {
        return unauthorized();
    };
    let ids: Option<Vec<String>> = serde_json::from_slice::<Value>(&body)
        .ok()
        .and_then(|body| serde_json::from_value(body["ids"].clone()).ok());
    match ids {
        Some(ids) => {
            cloud.create(account, &ids);
            answer(StatusCode::CREATED, &json!({ "created": ids.len() }))
        }
        None => answer(StatusCode::BAD_REQUEST, &json!({ "error": "ids_missing" })),
    }
}

async fn list(State(cloud): State<Shared>, headers: HeaderMap) -> Answer {
    let Some(account) = cloud.account(&headers) else {
        return unauthorized();
    };
    let machines = cloud.machines();
    let live: Vec<&String> = machines
        .iter()
        .filter(|(_, machine)| machine.account == account && !machine.terminated)
        .map(|(id, _)| id)
        .collect();
    answer(StatusCode::OK, &json!({ "count": live.len(), "machines": live }))
}

async fn show(State(cloud): State<Shared>, headers: HeaderMap, Path(id): Path<String>) -> Answer {
    let Some(account) = cloud.account(&headers) else {
        return unauthorized();
    };
    // A look has no effect that a cut could hide, so its faults are the others.
    if let Some(fault) = cloud.fault("GET", &id).filter(|fault| *fault != Fault::Cut) {
        return suffer(fault).await;
    }
    let machines = cloud.machines();
    match machines
        .get(&id)
        .filter(|machine| machine.account == account && !machine.terminated)
    {
        Some(machine) => {
            let status = if machine.terminating {
                "terminating"
            } else {
                "running"
            };
            answer(StatusCode::OK, &json!({ "id": id, "status": status }))
        }
        None => no_such_machine(),
    }
}

async fn terminate(
    State(cloud): State<Shared>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Answer {
    let Some(account) = cloud.account(&headers) else {
        return unauthorized();
    };
    let fault = cloud.fault("DELETE", &id);
    if let Some(fault) = fault.filter(|fault| *fault != Fault::Cut) {
        return suffer(fault).await;
    }
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let said = cloud.terminate(account, &id, key);
    if fault == Some(Fault::Cut) {
        switch.cut();
    }
    said
}

async fn stats(State(cloud): State<Shared>) -> Answer {
    let machines = cloud.machines();
    let each: BTreeMap<&String, Value> = machines
        .iter()
        .map(|(id, machine)| {
            let of = json!({
                "terminations": machine.terminations,
                "terminated": machine.terminated,
                "terminated_at": machine.terminated_at,
                "asked": machine.asked,
                "keys": machine.keys.len(),
            });
            (id, of)
        })
        .collect();
    let strangers = cloud.strangers.load(Ordering::Relaxed);
    answer(
        StatusCode::OK,
        &json!({ "machines": each, "strangers": strangers }),
    )
}

impl Cloud {
    fn machines(&self) -> MutexGuard<'_, BTreeMap<String, Machine>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn account(&self, headers: &HeaderMap) -> Option<&'static str> {
        let bearer = headers
            .get(header::AUTHORIZATION)?
            .to_str()
            .ok()?
            .strip_prefix("Bearer ")?;
        if bearer == self.options.token {
            Some("acct_demo")
        } else {
            (bearer == self.options.other_token).then_some("acct_other")
        }
    }

    fn create(&self, account: &'static str, ids: &[String]) {
        let mut machines = self.machines();
        for id in ids {
            machines.entry(id.clone()).or_insert_with(|| Machine {
                account,
                ..Machine::default()
            });
        }
    }

    fn terminate(self: &Arc<Self>, account: &str, id: &str, key: Option<&str>) -> Answer {
        let accepted = || answer(StatusCode::ACCEPTED, &json!({ "status": "terminating" }));
        let mut machines = self.machines();
        let Some(machine) = machines.get_mut(id).filter(|machine| machine.account == account) else {
            return no_such_machine();
        };
        let mut keys = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = key {
            machine.keys.insert(key.to_owned());
            if keys.contains(&format!("{account} {key}")) {
                return accepted();
            }
        }
        if machine.terminated {
            return no_such_machine();
        }
        keys.extend(key.map(|key| format!("{account} {key}")));
        if !machine.terminating {
            machine.terminating = true;
            machine.terminations += 1;
            let (cloud, id) = (self.clone(), id.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(cloud.options.terminate_ms)).await;
                if let Some(machine) = cloud.machines().get_mut(&id) {
                    machine.terminated = true;
                    machine.terminated_at = sexton::clock::now().format(&Rfc3339).ok();
                }
            });
        }
        accepted()
    }

    /// Counts the request and says what goes wrong with it.
    fn fault(&self, method: &'static str, id: &str) -> Option<Fault> {
        let number = {
            let mut machines = self.machines();
            let Some(machine) = machines.get_mut(id) else {
                self.strangers.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            let asked = machine.asked.entry(method).or_default();
            *asked += 1;
            *asked
        };
        let worn_out = number > FAULTS_IN_A_ROW_MAX
            && (number - FAULTS_IN_A_ROW_MAX..number)
                .all(|earlier| self.drawn(method, id, earlier).is_some());
        if worn_out {
            None
        } else {
            self.drawn(method, id, number)
        }
    }

    fn drawn(&self, method: &str, id: &str, number: u64) -> Option<Fault> {
        let digest = Sha256::digest(format!("{} {method} {id} {number}", self.options.seed));
        let draw = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        let kind = usize::from(digest[4]) % self.options.kinds.len().max(1);
        (f64::from(draw) < self.options.faults * f64::from(u32::MAX))
            .then(|| self.options.kinds.get(kind).copied())
            .flatten()
    }
}

async fn suffer(fault: Fault) -> Answer {
    let throttled = |retry_after: String| {
        let mut said = answer(StatusCode::TOO_MANY_REQUESTS, &json!({ "error": "slow_down" }));
        if let Ok(value) = retry_after.parse() {
            said.headers_mut().insert(header::RETRY_AFTER, value);
        }
        said
    };
    match fault {
        Fault::Seconds => throttled("1".to_owned()),
        Fault::Date => throttled(httpdate::fmt_http_date(
            SystemTime::from(sexton::clock::now()) + Duration::from_secs(2),
        )),
        Fault::Hang => {
            tokio::time::sleep(HANG).await;
            answer(StatusCode::GATEWAY_TIMEOUT, &json!({}))
        }
        Fault::Error | Fault::Cut => {
            answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": "internal" }))
        }
    }
}

fn no_such_machine() -> Answer {
    answer(StatusCode::NOT_FOUND, &json!({ "error": "no_such_machine" }))
}

fn unauthorized() -> Answer {
    answer(StatusCode::UNAUTHORIZED, &json!({ "error": "unauthorized" }))
}

fn answer(status: StatusCode, body: &Value) -> Answer {
    let mut said = Response::new(Body::from(body.to_string()));
    *said.status_mut() = status;
    said.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    said
}
