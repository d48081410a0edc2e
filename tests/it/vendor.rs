//! A foreign service for one test, which answers as it is told and remembers who asked for what.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::house::{House, patience};

/// How its calls look: a machine is asked to end, and looked at.
const PROFILE: &str = r#"
[evidence]
path = "/whoami"
done = [200]

[call.end]
method = "DELETE"
path = "/machines/{machine}"
idempotency_header = "Idempotency-Key"
done = [204]
pending = [202]

[call.end.look]
path = "/machines/{machine}"
every = "100ms"
gone = [404]
pending = [{ status = 200, at = "/status", is = "ending" }]
standing = [{ status = 200, at = "/status", is = "running" }]

[call.terminate]
method = "DELETE"
path = "/machines/{provider_id}"
idempotency_header = "Idempotency-Key"
done = [204]
gone = [404]

[call.terminate.look]
path = "/machines/{provider_id}"
every = "100ms"
gone = [404]
standing = [{ status = 200, at = "/status", is = "running" }]
"#;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Status(u16),
    /// 200 with this status in the body.
    Is(&'static str),
    Throttled {
        seconds: u32,
    },
    /// It has heard, and says nothing.
    Silence,
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) what: String,
    pub(crate) key: Option<String>,
    pub(crate) at: Instant,
}

#[derive(Default)]
struct Memory {
    /// By method and path; the last answer stays.
    answers: HashMap<String, VecDeque<Answer>>,
    /// Whatever is asked.
    to_all: Option<Answer>,
    asked: Vec<Asked>,
}

#[derive(Clone)]
struct Desk {
    memory: Arc<Mutex<Memory>>,
    told: watch::Sender<usize>,
}

pub(crate) struct Vendor {
    url: String,
    desk: Desk,
    serving: JoinHandle<()>,
}

impl Vendor {
    pub(crate) async fn open() -> Self {
        let desk = Desk {
            memory: Arc::default(),
            told: watch::channel(0).0,
        };
        let router = Router::new().fallback(answer).with_state(desk.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, desk, serving }
    }

    /// As `[systems.cloud]` of a house, with more of its keys.
    pub(crate) fn known_to(&self, house: &mut House, more: &str) {
        let profile = house.folder().join("vendor.toml");
        std::fs::write(&profile, PROFILE).expect("a profile");
        house.also_settings(&format!(
            "[systems.cloud]\nkind = \"http\"\nurl = {:?}\nprofile = {profile:?}\n{more}\n",
            self.url
        ));
    }

    /// From now on it answers so, in this order; the last one stays.
    pub(crate) fn answers(&self, what: &str, answers: &[Answer]) {
        let mut memory = self.desk.memory.lock().expect("no panic");
        memory
            .answers
            .insert(what.to_owned(), answers.iter().copied().collect());
    }

    /// From now on it answers so, whatever it is asked.
    pub(crate) fn answers_all(&self, answer: Answer) {
        self.desk.memory.lock().expect("no panic").to_all = Some(answer);
    }

    pub(crate) fn asked(&self, about: &str) -> Vec<Asked> {
        let memory = self.desk.memory.lock().expect("no panic");
        let all = memory.asked.iter().filter(|asked| asked.what.contains(about));
        all.cloned().collect()
    }

    /// Only what was asked, in order.
    pub(crate) fn words(&self, about: &str) -> Vec<String> {
        self.asked(about).into_iter().map(|asked| asked.what).collect()
    }

    /// Waits until it was asked this so often.
    pub(crate) async fn was_asked(&self, what: &str, times: usize) {
        let mut told = self.desk.told.subscribe();
        let waited = tokio::time::timeout(patience(), async {
            while self.asked(what).len() < times {
                told.changed().await.expect("it serves");
            }
        });
        if waited.await.is_err() {
            panic!("{what}: not asked {times} times, but {:?}", self.words(""));
        }
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(desk): State<Desk>, request: Request) -> Response<Body> {
    let what = format!("{} {}", request.method(), request.uri().path());
    let key = request.headers().get("idempotency-key");
    let key = key.and_then(|key| key.to_str().ok()).map(str::to_owned);
    let answer = {
        let mut memory = desk.memory.lock().expect("no panic");
        memory.asked.push(Asked {
            what: what.clone(),
            key,
            at: Instant::now(),
        });
        let to_all = memory.to_all;
        match memory.answers.get_mut(&what) {
            _ if to_all.is_some() => to_all,
            Some(answers) if answers.len() > 1 => answers.pop_front(),
            Some(answers) => answers.front().copied(),
            // Whoever asks who they are has the right account.
            None => Some(Answer::Status(if what == "GET /whoami" { 200 } else { 404 })),
        }
    };
    desk.told.send_modify(|count| *count += 1);
    let response = Response::builder();
    let response = match answer.unwrap_or(Answer::Silence) {
        Answer::Status(status) => response.status(status).body(Body::empty()),
        Answer::Is(status) => response
            .header("content-type", "application/json")
            .body(Body::from(format!("{{\"status\": \"{status}\"}}"))),
        Answer::Throttled { seconds } => response
            .status(429)
            .header("retry-after", seconds)
            .body(Body::empty()),
        Answer::Silence => std::future::pending().await,
    };
    response.expect("an answer")
}
