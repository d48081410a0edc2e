//! Whether the judge can be deceived: after each storm the evidence is spoilt in one way after the other, and each time the
//! judge has to say so. A judge that never says no has shown nothing.

use std::fs;

use serde_json::json;
use sqlx::{AssertSqlSafe, Executor, PgPool};

use crate::Fault;
use crate::checker::{Evidence, Verdict, judge};
use crate::ear::{Event, Heard};
use crate::worlds::archive::files_in;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Lost,
    Twice,
    Stuck,
}

#[derive(Clone, Copy)]
enum How {
    AnOutcomeIsNotTold,
    AnotherOutcomeIsToldAsWell,
    Sql(Base, &'static str),
    AnArchiveIsCut,
    AnArchiveIsThereTwice,
    AMachineIsTerminated,
}

#[derive(Clone, Copy)]
enum Base {
    Sexton,
    Platform,
    Pave,
    Powerdrill,
}

const FORGERIES: [(&str, Word, How); 12] = [
    ("an outcome that nobody heard", Word::Lost, How::AnOutcomeIsNotTold),
    (
        "a deleted row that is there again",
        Word::Lost,
        How::Sql(
            Base::Pave,
            "insert into sessions (session_key, account, token, status)
             select id, 'acc_north', 't', 'IDLE' from storm_changes where change = 'removed' limit 1",
        ),
    ),
    (
        "a row that is gone without a word",
        Word::Lost,
        How::Sql(
            Base::Pave,
            "delete from sessions where session_key = (select min(session_key) from sessions where status = 'STARTED')",
        ),
    ),
    (
        "half a job history of a session that stays",
        Word::Lost,
        How::Sql(
            Base::Powerdrill,
            "delete from jobs where id = (select min(id) from jobs)",
        ),
    ),
    (
        "a key of a deleted computer that is live",
        Word::Lost,
        How::Sql(
            Base::Platform,
            "update api_keys set revoked_at = null where id = (
                 select min(k.id) from api_keys k join computers c on c.id = k.computer_id where c.deleted_at is not null)",
        ),
    ),
    ("an archive that was cut", Word::Lost, How::AnArchiveIsCut),
    ("a machine that nobody asked for", Word::Lost, How::AMachineIsTerminated),
    ("a second archive", Word::Twice, How::AnArchiveIsThereTwice),
    ("a second outcome", Word::Twice, How::AnotherOutcomeIsToldAsWell),
    (
        "an effect that came a second time",
        Word::Twice,
        How::Sql(
            Base::Platform,
            "insert into storm_changes (what, id, change)
             select what, id, change from storm_changes where what = 'computers.deleted_at' limit 1",
        ),
    ),
    (
        "a record after the end of a journal",
        Word::Twice,
        How::Sql(
            Base::Sexton,
            "insert into sexton.journal_pages (deletion_id, seq, admitted_at, records)
             select id, seq + 1, admitted_at, '[1,1,0,[\"i\",1,1]]' from sexton.deletions limit 1",
        ),
    ),
    (
        "an event that is never said",
        Word::Stuck,
        How::Sql(
            Base::Sexton,
            "insert into sexton.outbox (id, destination, kind, taken_until) values (gen_random_uuid(), 'events', 'completed', now())",
        ),
    ),
];

/// How many there are, and which of them the judge did not notice.
pub(crate) async fn undetected(
    evidence: &Evidence<'_>,
    mut heard: Heard,
) -> Result<(usize, Vec<&'static str>), Fault> {
    let mut before = judge(evidence).await?;
    let mut missed = Vec::new();
    for (what, word, how) in FORGERIES {
        forge(how, evidence, &mut heard).await?;
        let after = judge(&Evidence {
            heard: &heard,
            ..*evidence
        })
        .await?;
        if count(&after, word) <= count(&before, word) {
            missed.push(what);
        }
        before = after;
    }
    Ok((FORGERIES.len(), missed))
}

fn count(verdict: &Verdict, word: Word) -> usize {
    match word {
        Word::Lost => verdict.lost.len(),
        Word::Twice => verdict.twice.len(),
        Word::Stuck => verdict.stuck.len(),
    }
}

async fn forge(how: How, evidence: &Evidence<'_>, heard: &mut Heard) -> Result<(), Fault> {
    match how {
        How::AnOutcomeIsNotTold => {
            let id = told(heard, "refused").ok_or("no outcome to forge")?.0;
            heard.events.remove(&id);
        }
        How::AnotherOutcomeIsToldAsWell => {
            let (_, mut event) = told(heard, "deleted").ok_or("no outcome to forge")?;
            event.body["id"] = json!("another");
            event.body["data"]["detail"]["result"] = json!("absent");
            heard.events.insert("another".into(), event);
        }
        How::Sql(base, sql) => {
            let changed = pool(base, evidence).execute(AssertSqlSafe(sql)).await?;
            if changed.rows_affected() == 0 {
                return Err(format!("nothing to forge by: {sql}").into());
            }
        }
        How::AnArchiveIsCut => {
            let file = files_in(evidence.archive)?.pop().ok_or("no archive to forge")?;
            let whole = fs::read(&file)?;
            fs::write(file, &whole[..whole.len() / 2])?;
        }
        How::AnArchiveIsThereTwice => {
            let file = files_in(evidence.archive)?.pop().ok_or("no archive to forge")?;
            fs::copy(&file, file.with_extension("again"))?;
        }
        How::AMachineIsTerminated => {
            let mut staying = evidence.world.estate.staying();
            let machine = staying
                .find_map(|computer| computer.machine())
                .ok_or("no machine to forge")?;
            terminate(evidence.cloud_url, machine).await?;
        }
    }
    Ok(())
}

/// The cloud is not always well, so it is asked until it has heard.
async fn terminate(cloud_url: &str, machine: &str) -> Result<(), Fault> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(std::time::Duration::from_secs(2))
        .build()?;
    for _ in 0..10 {
        let asked = client.delete(format!("{cloud_url}/machines/{machine}"));
        let answer = asked.bearer_auth("demo-token").send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
    }
    Err("the cloud does not terminate a machine".into())
}

fn told(heard: &Heard, outcome: &str) -> Option<(String, Event)> {
    let mut events = heard.events.iter();
    let found = events.find(|(_, event)| event.outcome() == outcome)?;
    Some((found.0.clone(), found.1.clone()))
}

fn pool<'a>(base: Base, evidence: &'a Evidence<'_>) -> &'a PgPool {
    match base {
        Base::Sexton => evidence.sexton,
        Base::Platform => &evidence.stores.platform,
        Base::Pave => &evidence.stores.pave,
        Base::Powerdrill => &evidence.stores.powerdrill,
    }
}
