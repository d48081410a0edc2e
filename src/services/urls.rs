//! Where the two servers are, and a place of one's own in them: a database and a vhost for each test and each
//! demonstration, so that they can share one pair of servers and still meet nobody.

use std::time::Duration;

use reqwest::{Method, Url};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::ServicesError;

/// RabbitMQ's management plugin listens here unless told otherwise.
const MANAGEMENT_PORT: u16 = 15_672;

/// The management API makes a vhost in milliseconds, and in seconds beside a compiler; one that is silent for this long
/// is no management API.
const ANSWER_MAX_S: u64 = 30;

/// What Postgres cuts identifiers to; more would silently be another name.
const NAME_MAX_BYTES: usize = 63;

#[derive(Clone, Debug)]
pub struct Urls {
    pub database_url: String,
    pub amqp_url: String,
    /// RabbitMQ's management API, with user and password in it.
    pub management_url: String,
}

impl Urls {
    /// Creates an empty database and returns its URL.
    pub async fn create_database(&self, name: &str) -> Result<String, ServicesError> {
        checked(name)?;
        let mut url = parsed(&self.database_url, "the database URL")?;
        // template0 is never connected to, so parallel creations do not wait for each other's guests.
        self.database(
            format!("create database \"{name}\" template template0"),
            "create the database",
            name,
        )
        .await?;
        url.set_path(name);
        Ok(url.into())
    }

    /// Takes it away also from those still connected to it. One that is not there is fine.
    pub async fn drop_database(&self, name: &str) -> Result<(), ServicesError> {
        checked(name)?;
        self.database(
            format!("drop database if exists \"{name}\" with (force)"),
            "drop the database",
            name,
        )
        .await
    }

    /// Creates an empty vhost in which the user of the AMQP URL may do all, and returns its URL.
    pub async fn create_vhost(&self, name: &str) -> Result<String, ServicesError> {
        checked(name)?;
        let mut url = parsed(&self.amqp_url, "the AMQP URL")?;
        let user = if url.username().is_empty() {
            "guest"
        } else {
            url.username()
        };
        let all = r#"{"configure": ".*", "write": ".*", "read": ".*"}"#;
        self.management(
            Method::PUT,
            &format!("api/vhosts/{name}"),
            "{}",
            "create the vhost",
            name,
        )
        .await?;
        let rights = format!("api/permissions/{name}/{user}");
        self.management(Method::PUT, &rights, all, "give rights on the vhost", name)
            .await?;
        url.set_path(name);
        Ok(url.into())
    }

    /// Closes its connections too. One that is not there is an error.
    pub async fn drop_vhost(&self, name: &str) -> Result<(), ServicesError> {
        checked(name)?;
        self.management(
            Method::DELETE,
            &format!("api/vhosts/{name}"),
            "",
            "drop the vhost",
            name,
        )
        .await
    }

    async fn database(&self, sql: String, action: &'static str, name: &str) -> Result<(), ServicesError> {
        let failed = |source| ServicesError::Database {
            action,
            name: name.into(),
            source,
        };
        let mut connection = PgConnection::connect(&self.database_url).await.map_err(failed)?;
        connection.execute(AssertSqlSafe(sql)).await.map_err(failed)?;
        connection.close().await.map_err(failed)
    }

    async fn management(
        &self,
        method: Method,
        path: &str,
        body: &'static str,
        action: &'static str,
        name: &str,
    ) -> Result<(), ServicesError> {
        let failed = |source: reqwest::Error| {
            // Without its URL: the password is in it.
            ServicesError::Management {
                action,
                name: name.into(),
                source: source.without_url(),
            }
        };
        let url = parsed(&self.management_url, "the management URL")?
            .join(path)
            .map_err(|_| ServicesError::BadUrl {
                what: "the management URL",
            })?;
        let request = client()
            .map_err(failed)?
            .request(method, url)
            .header("content-type", "application/json");
        let response = request.body(body).send().await.map_err(failed)?;
        response.error_for_status().map(|_| ()).map_err(failed)
    }
}

/// The management API of a broker that was given, at its usual port beside the AMQP URL.
pub(super) fn management_beside(amqp_url: &str) -> Result<String, ServicesError> {
    let what = "the AMQP URL";
    let amqp = parsed(amqp_url, what)?;
    let host = amqp.host_str().ok_or(ServicesError::BadUrl { what })?;
    let user = if amqp.username().is_empty() {
        "guest"
    } else {
        amqp.username()
    };
    let password = amqp.password().unwrap_or("guest");
    Ok(format!("http://{user}:{password}@{host}:{MANAGEMENT_PORT}/"))
}

/// Made anew each time: its connections belong to the runtime that made it, and tests have one each.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(ANSWER_MAX_S))
        .build()
}

fn parsed(url: &str, what: &'static str) -> Result<Url, ServicesError> {
    Url::parse(url).map_err(|_| ServicesError::BadUrl { what })
}

/// Names go into SQL and into paths: what would need quoting is refused.
fn checked(name: &str) -> Result<(), ServicesError> {
    let usable = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.bytes().all(usable) {
        return Err(ServicesError::BadName { name: name.into() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_need_quoting_are_refused() {
        assert!(checked("t_0190-a").is_ok());
        for name in ["", "a\"b", "A", "a/b", "a b", &"x".repeat(64)] {
            assert!(checked(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_management_api_is_looked_for_beside_the_broker() {
        let found = management_beside("amqp://me:secret@broker:5673/%2f").unwrap();
        assert_eq!(found, "http://me:secret@broker:15672/");
        assert_eq!(
            management_beside("amqp://broker").unwrap(),
            "http://guest:guest@broker:15672/"
        );
    }
}
