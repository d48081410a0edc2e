//! The same over HTTP: one thing in each of the five worlds, deleted by plain `curl` in the shape of its system, and one
//! more over the native API. What is shown is what was sent and what came back.

use std::process::Stdio;
use std::time::Duration;

use sqlx::{Executor, PgPool};
use tokio::process::Command;

use crate::Fault;
use crate::checks::Sheet;
use crate::others::Others;
use crate::say::say;
use crate::stage::Stage;

/// Until the gateway answers.
const OPEN_MAX: Duration = Duration::from_secs(20);

struct Call {
    what: &'static str,
    /// As it is typed, after `curl`.
    typed: String,
    /// The status, and a part of the body.
    wanted: (&'static str, &'static str),
}

/// Whether every answer was the right one, and everything is gone.
pub(crate) async fn show(stage: &mut Stage, platform: &PgPool, others: &Others) -> Result<bool, Fault> {
    fill(platform, others).await?;
    stage.start_worker()?;
    let address = stage.gateway.clone();
    say!("\nThe same over HTTP, at http://{address}, with plain curl");
    open(&address).await?;
    let mut wrong = Vec::new();
    let calls = calls(&address);
    for call in &calls {
        let tenant = match call.what {
            "Powerdrill session" => "team_blue",
            "Pave session" => "acc_north",
            "Agno sessions" => "agno-os",
            _ => "org_selected",
        };
        let key = stage.key(tenant).await?;
        let answer = curl(call, &key).await?;
        say!("\n  {}", call.what);
        say!("  $ curl {}", call.typed);
        for line in answer.lines().filter(|line| is_told(line)) {
            say!("    {line}");
        }
        let (status, part) = call.wanted;
        if !answer.starts_with(&format!("HTTP/1.1 {status}")) || !answer.contains(part) {
            wrong.push(format!("{}: wanted {status} with {part:?}", call.what));
        }
    }
    stage.stop_worker().await?;
    say!("");
    let mut sheet = Sheet::default();
    sheet.check(
        "each call over HTTP was answered as its document says",
        calls.len(),
        &wrong,
    );
    let left = left(platform, others).await?;
    sheet.check("and what was answered as gone is gone", calls.len(), &left);
    Ok(sheet.all_well())
}

fn calls(address: &str) -> Vec<Call> {
    let call = |what, wanted, typed: &str| Call {
        what,
        wanted,
        typed: typed.replace("HOST", address),
    };
    vec![
        call(
            "Factory session",
            ("204", ""),
            r#"-X DELETE -H "Authorization: Bearer $KEY" http://HOST/api/v0/sessions/fs_http"#,
        ),
        call(
            "Factory computer",
            ("204", ""),
            r#"-X DELETE -H "Authorization: Bearer $KEY" http://HOST/api/v0/computers/cmp_http"#,
        ),
        call(
            "Powerdrill session",
            ("200", "\"code\":0"),
            r#"-X DELETE -H "x-pd-api-key: $KEY" "http://HOST/api/v1/team/sessions/pd_http?userId=u_ann""#,
        ),
        call(
            "Pave session",
            ("200", "Session pv_http has been successfully removed."),
            r#"-X DELETE -H "API-Key: $KEY" -H "API-Token: tok_pv_http" -H "API-Timestamp: $(date -u +%Y-%m-%dT%H:%M:%SZ)" http://HOST/v1/sessions/pv_http"#,
        ),
        call(
            "Agno sessions",
            ("204", ""),
            r#"-X DELETE -H "Authorization: Bearer $KEY" -H "content-type: application/json" -d '{"session_ids": ["ag_http", "nobody"], "session_types": ["agent", "agent"]}' http://HOST/sessions"#,
        ),
        call(
            "And over the native API: a computer that is nobody's",
            ("200", "\"result\":\"absent\""),
            r#"-H "Authorization: Bearer $KEY" -H "Idempotency-Key: once" -H "content-type: application/json" -d '{"target": {"type": "factory.computer", "id": "nobody"}}' http://HOST/v1/deletions"#,
        ),
    ]
}

async fn curl(call: &Call, key: &str) -> Result<String, Fault> {
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("curl -sS -i --max-time 60 --noproxy '*' {}", call.typed))
        .env("KEY", key)
        .stdin(Stdio::null())
        .output()
        .await?;
    if !output.status.success() {
        return Err(format!(
            "curl: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a person reads of an answer.
fn is_told(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let told = ["http/1.1", "x-pd-trace-id", "location", "content-location"]
        .iter()
        .any(|one| name.starts_with(one));
    told || line.starts_with('{')
}

async fn open(address: &str) -> Result<(), Fault> {
    let opened = async {
        let mut every = tokio::time::interval(Duration::from_millis(50));
        while tokio::net::TcpStream::connect(address).await.is_err() {
            every.tick().await;
        }
    };
    tokio::time::timeout(OPEN_MAX, opened)
        .await
        .map_err(|_| format!("no gateway at {address} within {OPEN_MAX:?}").into())
}

/// One thing for each call, of which nothing else here knows.
async fn fill(platform: &PgPool, others: &Others) -> Result<(), Fault> {
    platform
        .execute(
            "insert into computers (id, organization_id, provider_type, status) values ('cmp_http', 'org_selected', 'byom', 'active');
             insert into api_keys (id, computer_id) values ('key_http', 'cmp_http');
             insert into sessions (id, organization_id, computer_id, title) values ('fs_http', 'org_selected', null, 'over HTTP')",
        )
        .await?;
    let stores = &others.stores;
    stores
        .powerdrill
        .execute("insert into sessions (id, team, user_id, name) values ('pd_http', 'team_blue', 'u_ann', 'over HTTP')")
        .await?;
    stores
        .pave
        .execute("insert into sessions (session_key, account, token, status) values ('pv_http', 'acc_north', 'tok_pv_http', 'IDLE')")
        .await?;
    stores
        .agno
        .execute("insert into ai.agno_sessions (session_id, session_type, created_at) values ('ag_http', 'agent', 1760000000)")
        .await?;
    Ok(())
}

/// What is there though it was answered as gone.
async fn left(platform: &PgPool, others: &Others) -> Result<Vec<String>, Fault> {
    let stores = &others.stores;
    let mut left = Vec::new();
    for (pool, what, sql) in [
        (
            platform,
            "the computer",
            "select exists (select from computers where id = 'cmp_http' and deleted_at is null)",
        ),
        (
            platform,
            "its key",
            "select exists (select from api_keys where id = 'key_http' and revoked_at is null)",
        ),
        (
            platform,
            "Factory's session",
            "select exists (select from sessions where id = 'fs_http' and deleted_at is null)",
        ),
        (
            &stores.powerdrill,
            "Powerdrill's session",
            "select exists (select from sessions where id = 'pd_http')",
        ),
        (
            &stores.pave,
            "Pave's session",
            "select exists (select from sessions where session_key = 'pv_http')",
        ),
        (
            &stores.agno,
            "Agno's session",
            "select exists (select from ai.agno_sessions where session_id = 'ag_http')",
        ),
    ] {
        if sqlx::query_scalar::<_, bool>(sql).fetch_one(pool).await? {
            left.push(format!("{what} is there"));
        }
    }
    Ok(left)
}
