//! Postgres, as our own and as a system's, and RabbitMQ, all three by TLS alone; and each with what cannot be believed.

use std::path::Path;
use std::process::Stdio;

use reqwest::Url;
use serde_json::Value;
use sexton::services::{Options, Services};

use super::certificates::Authority;
use crate::connectors::build;
use crate::house::House;
use crate::shop::delete;

/// The certificate is for this name, and the servers listen on it; by its number it is another.
const NAME: &str = "localhost";

fn by_tls(url: &str, host: &str, authority: &Path) -> String {
    let mut url = Url::parse(url).expect("a URL");
    url.set_host(Some(host)).expect("a host");
    url.query_pairs_mut()
        .append_pair("sslmode", "verify-full")
        .append_pair("sslrootcert", authority.to_str().expect("text"));
    url.into()
}

/// `amqps` at the vhost of the plain URL.
fn amqps(services: &Services, plain: &str, host: &str) -> String {
    let mut url = Url::parse(&services.amqps_url().expect("it speaks TLS")).expect("a URL");
    url.set_host(Some(host)).expect("a host");
    url.set_path(Url::parse(plain).expect("a URL").path());
    url.into()
}

async fn sexton(settings: &str, folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let file = folder.join("wrong.toml");
    std::fs::write(&file, settings).expect("settings");
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_sexton"))
        .arg("--config")
        .arg(file)
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(crate::house::patience(), output)
        .await
        .expect("soon")
        .expect("the binary");
    let said = String::from_utf8(output.stderr).expect("text");
    (
        output.status.code(),
        said.lines().last().unwrap_or_default().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_by_tls_and_none_that_cannot_be_believed_outage() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "authority");
    let stranger = Authority::new(folder.path(), "stranger");
    let services = Services::start(Options {
        durable: false,
        tls: Some(authority.signs(folder.path(), &[NAME])),
        ..Options::private()
    })
    .await
    .expect("both servers");
    let mut house = House::in_servers(services.urls.clone()).await;
    let (database, amqp) = (house.world.database_url.clone(), house.world.amqp_url.clone());
    // Sexton's own tables and the shop, each with its URL: both are written with the same one.
    house.change_settings(&database, &by_tls(&database, NAME, &authority.file));
    house.change_settings(&amqp, &amqps(&services, &amqp, NAME));
    house.change_settings("[broker]", &format!("[broker]\nca_file = {:?}", authority.file));
    house.things(&["a"]).await;
    let worker = house.process(&[]);
    house.publish(delete("a")).await;
    assert_eq!(
        house.heard.end("k-a").await.detail("result"),
        Some("deleted"),
        "{}",
        worker.log()
    );
    let mut plain: Vec<(String, bool)> = sqlx::query_as(
        "select application_name, ssl from pg_stat_activity join pg_stat_ssl using (pid)
         where application_name like 'sexton%' group by 1, 2 order by 1",
    )
    .fetch_all(&house.db)
    .await
    .expect("the connections");
    let all = plain.len();
    plain.retain(|(_, ssl)| !ssl);
    assert!(
        all >= 2 && plain.is_empty(),
        "{all} kinds of connections, in plain text: {plain:?}"
    );
    inlet_is_by_tls(&services).await;
    worker.signal(rustix::process::Signal::TERM);
    let (status, log) = worker.ended().await;
    assert!(status.success(), "{log}");

    let right = std::fs::read_to_string(house.settings_file()).expect("settings");
    store(&right, &database, folder.path(), &stranger, &authority).await;
    broker(&right, &services, &amqp, folder.path(), &stranger).await;
    drop(house);
    services.stop().await.expect("an end");
}

/// The broker's own word for it, which comes some seconds after the connection.
async fn inlet_is_by_tls(services: &Services) {
    let page = format!("{}api/connections", services.urls.management_url);
    let is_ours = |one: &&Value| {
        let name = one["client_properties"]["connection_name"].as_str();
        name.is_some_and(|name| name.contains("inlet"))
    };
    let mut every = tokio::time::interval(std::time::Duration::from_millis(100));
    let seen = tokio::time::timeout(crate::house::patience(), async {
        loop {
            every.tick().await;
            let all: Vec<Value> = reqwest::get(&page)
                .await
                .expect("the management API")
                .json()
                .await
                .expect("JSON");
            if let Some(ours) = all.iter().find(is_ours) {
                return ours["ssl"].clone();
            }
        }
    });
    assert_eq!(seen.await.expect("it is listed"), true);
}

async fn store(right: &str, database: &str, folder: &Path, stranger: &Authority, authority: &Authority) {
    let url = by_tls(database, NAME, &authority.file);
    let port = Url::parse(database).expect("a URL").port().expect("a port");
    // The servers that all tests share speak no TLS.
    let shared = crate::world::World::new().await;
    let plain = Url::parse(&shared.database_url)
        .expect("a URL")
        .port()
        .expect("a port");
    let signed_by_nobody = "its certificate is signed by nobody who is believed here";
    for (wrong, at, why) in [
        (
            by_tls(database, NAME, &stranger.file),
            format!("localhost:{port}"),
            signed_by_nobody,
        ),
        (
            // Without a file, whom the driver brings.
            url.split("&sslrootcert").next().expect("a URL").to_owned(),
            format!("localhost:{port}"),
            signed_by_nobody,
        ),
        (
            by_tls(database, "127.0.0.1", &authority.file),
            format!("127.0.0.1:{port}"),
            "its certificate is for another name than 127.0.0.1",
        ),
        (
            by_tls(&shared.database_url, NAME, &authority.file),
            format!("localhost:{plain}"),
            "server does not support TLS",
        ),
    ] {
        // A system's database is said to be unready, for the same reason.
        let systems = build(&format!("[far]\nkind = \"postgres\"\nurl = {wrong:?}\n")).expect("a system");
        let unready = systems.check().await;
        let said = unready.into_values().next().expect("the system").expect_err(why);
        assert_eq!(said, format!("no TLS connection to the database: {why}"));
        let settings = right.replacen(&url, &wrong, 1);
        for arguments in [&["migrate"][..], &["run"], &["deletions", "list"]] {
            let (code, said) = sexton(&settings, folder, arguments).await;
            let wanted = format!("cannot connect to Postgres at {at} by TLS: {why}");
            assert!(said.ends_with(&wanted), "{arguments:?}: {said}; wanted {wanted}");
            assert_eq!(code, Some(69), "{said}");
        }
    }
    let (code, said) = sexton(&right.replacen("verify-full", "prefer", 1), folder, &["migrate"]).await;
    assert!(
        said.contains("store.url: found an sslrootcert, which sslmode=prefer does not look at"),
        "{said}"
    );
    assert_eq!(code, Some(64), "{said}");
}

async fn broker(right: &str, services: &Services, amqp: &str, folder: &Path, stranger: &Authority) {
    let url = amqps(services, amqp, NAME);
    let port = Url::parse(&url).expect("a URL").port().expect("a port");
    let plain = Url::parse(amqp).expect("a URL").port().expect("a port");
    let authority = format!("{:?}", folder.join("authority.pem"));
    let signed_by_nobody = "its certificate is signed by nobody who is believed here";
    for (from, to, at, why) in [
        (
            authority.as_str(),
            format!("{:?}", stranger.file),
            format!("localhost:{port}"),
            signed_by_nobody,
        ),
        (
            url.as_str(),
            amqps(services, amqp, "127.0.0.1"),
            format!("127.0.0.1:{port}"),
            "its certificate is for another name than 127.0.0.1",
        ),
        (
            url.as_str(),
            url.replace(&format!(":{port}/"), &format!(":{plain}/")),
            format!("localhost:{plain}"),
            "it does not speak TLS",
        ),
    ] {
        let settings = right.replacen(from, &to, 1);
        assert_ne!(settings, right, "{from}");
        let (code, said) = sexton(&settings, folder, &["run"]).await;
        let wanted = format!("cannot connect to the broker at {at}");
        assert!(said.contains(&wanted), "{said}; wanted {wanted}");
        assert!(said.ends_with(&format!("by TLS: {why}")), "{said}; wanted {why}");
        assert_eq!(code, Some(69), "{said}");
    }
    for (from, to, wanted) in [
        (
            "amqps://",
            "amqp://",
            "while broker.url is plain amqp://; wanted amqps:// there",
        ),
        ("/authority.pem\"\n", "/no-such.pem\"\n", "found no file: "),
    ] {
        let at = right.find("[broker]").expect("a section");
        let (before, after) = right.split_at(at);
        let settings = format!("{before}{}", after.replacen(from, to, 1));
        let (code, said) = sexton(&settings, folder, &["run"]).await;
        assert!(
            said.contains("broker.ca_file: ") && said.contains(wanted),
            "{said}"
        );
        assert_eq!(code, Some(64), "{said}");
    }
}
