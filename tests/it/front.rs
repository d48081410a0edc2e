//! A gateway for one test: on a port of its own, with keys made by the command that makes them.

use std::process::Command;
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;

use crate::house::{House, patience};

pub(crate) struct Front {
    pub(crate) url: String,
    pub(crate) client: reqwest::Client,
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Said {
    pub(crate) async fn of(response: Response) -> Self {
        Said {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.expect("a body"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }
}

impl House {
    /// The settings of a gateway on a free port; a worker that starts afterwards serves it.
    pub(crate) fn front(&mut self, more: &str) -> Front {
        let port = free_port();
        self.also_settings(&format!("[gateway]\nlisten = \"127.0.0.1:{port}\"\n{more}\n"));
        Front::at(port)
    }

    /// A key, as `sexton keys make` shows it.
    pub(crate) fn key(&self, tenant: &str, more: &[&str]) -> String {
        let made = self.keys(&[&["make", "--tenant", tenant, "--name", "test"], more].concat());
        made.trim().to_owned()
    }

    pub(crate) fn keys(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_sexton"))
            .args(["--config"])
            .arg(self.settings_file())
            .arg("keys")
            .args(arguments)
            .output()
            .expect("the sexton binary");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }
}

/// None from which the system serves outgoing connections: another test's must not take it before the gateway does.
pub(crate) fn free_port() -> u16 {
    sexton::services::free_port().expect("a free port")
}

impl Front {
    pub(crate) fn at(port: u16) -> Self {
        Front {
            url: format!("http://127.0.0.1:{port}"),
            client: reqwest::Client::builder()
                .timeout(patience())
                // A connection for each call: whoever keeps one may find it closed by the other side.
                .pool_max_idle_per_host(0)
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .expect("a client"),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok());
        port.expect("its port")
    }

    /// Until it answers.
    pub(crate) async fn is_open(&self) {
        let deadline = tokio::time::Instant::now() + patience();
        let mut every = tokio::time::interval(Duration::from_millis(20));
        while self
            .client
            .get(format!("{}/openapi.json", self.url))
            .send()
            .await
            .is_err()
        {
            assert!(
                tokio::time::Instant::now() < deadline,
                "no gateway at {}",
                self.url
            );
            every.tick().await;
        }
    }

    pub(crate) fn ask(&self, method: Method, path: &str, key: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(key)
    }

    pub(crate) async fn get(&self, path: &str, key: &str) -> Said {
        Said::of(self.ask(Method::GET, path, key).send().await.expect("an answer")).await
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: &Value) -> Said {
        self.post_with(path, key, body, &[]).await
    }

    pub(crate) async fn post_with(
        &self,
        path: &str,
        key: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Said {
        let mut request = self.ask(Method::POST, path, key).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Said::of(request.send().await.expect("an answer")).await
    }
}
