//! The HTTP document and what is served by it, held against each other by a tool that did not come from us: schemathesis
//! makes requests from `/openapi.json`, good ones and bad ones, for the native API and all dialects, and judges the answers.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use time::macros::format_description;

use crate::batches::note;
use crate::house::{House, patience};

/// Of each operation; `make contract` has many.
const EXAMPLES: &str = "6";

/// What a plan of the dialects asks for, so that every type has one. Whatever is asked for is absent.
const TYPES: [(&str, &str); 5] = [
    ("factory.session", "computer_id = \"text?\""),
    ("factory.computer", ""),
    ("powerdrill.session", "user_id = \"text\""),
    ("pave.session", "token_sha256 = \"text?\""),
    (
        "agno.session",
        "db_id = \"text?\", table = \"text?\", user_id = \"text?\"",
    ),
];

fn tool() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    target.join("tools/schemathesis/bin/schemathesis")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_is_what_the_document_says() {
    let mut house = House::new().await;
    for (target, params) in TYPES {
        let plan = format!(
            "target = {target:?}\non = \"shop\"\ntimeout = \"1s\"\nparams = {{ {params} }}\n[lookup]\nsql = \"select 1 as there from shop.things \
             where id = :id and tenant = 'nobody'\"\nnone = \"absent\"\n[[step]]\nname = \"row\"\n\
             sql = \"delete from shop.things where id = :id and tenant = 'nobody'\""
        );
        house.plan(target, &plan);
    }
    let front = house.front("wait = \"1s\"\n[access]\nrate = 60000\nburst = 60000");
    let everywhere = ["native", "factory", "powerdrill", "pave", "agno"];
    let dialects: Vec<&str> = everywhere
        .iter()
        .flat_map(|dialect| ["--dialect", dialect])
        .collect();
    let key = house.key("t", &dialects);
    let worker = house.worker();
    front.is_open().await;
    let now = sexton::clock::now()
        .format(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second]Z"
        ))
        .expect("a time");
    let examples = std::env::var("SEXTON_CONTRACT_EXAMPLES").unwrap_or_else(|_| EXAMPLES.to_owned());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract");
    let mut headers = vec![
        format!("Authorization: Bearer {key}"),
        format!("x-pd-api-key: {key}"),
        format!("API-Key: {key}"),
        "API-Token: tok".to_owned(),
        format!("API-Timestamp: {now}"),
    ];
    headers = headers
        .into_iter()
        .flat_map(|header| ["-H".to_owned(), header])
        .collect();
    let output = tokio::process::Command::new(tool())
        .arg("--config-file")
        .arg(folder.join("schemathesis.toml"))
        .arg("run")
        .arg(format!("{}/openapi.json", front.url))
        .args(headers)
        .args([
            "--phases",
            "examples,coverage,fuzzing,stateful",
            "--max-examples",
            &examples,
        ])
        .args([
            "--generation-deterministic",
            "--suppress-health-check",
            "all",
            "--continue-on-failure",
        ])
        .args(["--request-timeout", "20"])
        .current_dir(house.folder())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(patience() * 2, output)
        .await
        .expect("it ends");
    let output = output.unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `scripts/setup tests` installs schemathesis",
            tool().display()
        )
    });
    let told = String::from_utf8_lossy(&output.stdout);
    let counted = told
        .lines()
        .find(|line| line.contains("generated,"))
        .unwrap_or_default();
    note(&format!("the HTTP contract: {}", counted.trim()));
    assert!(
        output.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tested = told.lines().find_map(|line| line.trim().strip_prefix("Tested: "));
    assert_eq!(tested, Some("13"), "every operation: {told}");
    worker.stop().await;
}
