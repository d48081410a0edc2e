//! Every connector, held to the same promises: run twice, failed once, cut off anywhere, stopped before it began.
//!
//! A new connector is a new row in the table.

use std::future::poll_fn;
use std::task::Poll;

use serde_json::{Value, json};
use sexton::deletion::Verdict;
use sexton::plan::{Call, ZeroRows};

use super::place::{Place, archive_of, attempt, sql, statement, terminate};

/// Awaits at which a run is cut; the longest here has fewer.
const CUTS_MAX: usize = 40;

struct Row {
    name: &'static str,
    call: Call,
    /// What of the world the call is about; the same before and after a repeat.
    sees: Sees,
}

#[derive(Clone, Copy)]
enum Sees {
    /// A query with `ID` in it.
    Platform(&'static str),
    Machine,
    Archive,
    Nothing,
}

fn table() -> Vec<Row> {
    vec![
        Row {
            name: "nothing",
            call: Call::Nothing,
            sees: Sees::Nothing,
        },
        Row {
            name: "sql: a mark",
            call: sql(
                "update api_keys set revoked_at = coalesce(revoked_at, now()) where computer_id = :id",
                ZeroRows::AlreadyGone,
            ),
            sees: Sees::Platform("select * from api_keys where computer_id = 'ID' order by id"),
        },
        Row {
            name: "sql: a fence with a generation",
            call: sql(
                "update computers set deletion_requested_at = now(), generation = :generation
                 where id = :id and organization_id = :tenant and generation < :generation",
                ZeroRows::AlreadyGone,
            ),
            sees: Sees::Platform("select deletion_requested_at, generation from computers where id = 'ID'"),
        },
        Row {
            name: "sql: a delete",
            call: sql(
                "delete from messages where session_id in (select id from sessions where computer_id = :id)",
                ZeroRows::AlreadyGone,
            ),
            sees: Sees::Platform(
                "select count(*) from messages where session_id in (select id from sessions where computer_id = 'ID')",
            ),
        },
        Row {
            name: "chunks",
            call: Call::Chunks {
                sql: statement(
                    "delete from messages where id in (select m.id from messages m join sessions s on s.id = m.session_id
                     where s.computer_id = :id order by m.id limit :chunk)",
                ),
                size: 7,
            },
            sees: Sees::Platform(
                "select count(*) from messages where session_id in (select id from sessions where computer_id = 'ID')",
            ),
        },
        Row {
            name: "http: asynchronous, with a look",
            call: terminate(),
            sees: Sees::Machine,
        },
        Row {
            name: "archive",
            call: archive_of("select m.* from messages m join sessions s on s.id = m.session_id
                              where s.computer_id = :id order by m.id"),
            sees: Sees::Archive,
        },
    ]
}

impl Row {
    async fn world(&self, place: &Place, id: &str) -> Value {
        match self.sees {
            Sees::Platform(query) => place.json(&query.replace("ID", id)).await,
            Sees::Machine => {
                let stats = place.machine_stats(&format!("m-{id}")).await;
                json!([stats["terminations"], stats["terminated"]])
            }
            Sees::Archive => {
                let archived = place.archived();
                let of_it = archived
                    .iter()
                    .filter(|(name, _)| name.contains(&format!("/{id}/")));
                of_it.map(|(name, bytes)| json!([name, bytes.len()])).collect()
            }
            Sees::Nothing => Value::Null,
        }
    }

    /// What the world looks like once the call is done, told by a run that nothing disturbs.
    async fn done_world(&self, place: &Place, id: &str) -> Value {
        place.computer(id).await;
        let verdict = place.run_to_the_end(&self.call, &attempt(id)).await;
        assert!(
            matches!(verdict, Verdict::Done { .. }),
            "{}: {verdict:?}",
            self.name
        );
        self.world(place, id).await
    }
}

#[tokio::test]
async fn invariant_05_every_connector_may_run_twice() {
    let place = Place::new().await;
    for (at, row) in table().into_iter().enumerate() {
        let id = format!("c{at}");
        place.computer(&id).await;
        let before = row.world(&place, &id).await;
        let first = place.run_to_the_end(&row.call, &attempt(&id)).await;
        assert!(matches!(first, Verdict::Done { .. }), "{}: {first:?}", row.name);
        let after = row.world(&place, &id).await;
        assert!(
            before != after || matches!(row.sees, Sees::Nothing),
            "{}: no effect",
            row.name
        );

        let again = place.run_to_the_end(&row.call, &attempt(&id)).await;
        assert!(again.is_final(), "{}: {again:?}", row.name);
        assert_eq!(
            row.world(&place, &id).await,
            after,
            "{}: a repeat changed something",
            row.name
        );

        // Another deletion of the same target, later: no key of the first one helps it.
        let mut later = attempt(&id);
        later.idempotency_key = format!("later-{id}");
        let later = place.run_to_the_end(&row.call, &later).await;
        assert!(later.is_final(), "{}: {later:?}", row.name);
        assert_eq!(
            row.world(&place, &id).await,
            after,
            "{}: a later run changed something",
            row.name
        );
    }
}

#[tokio::test]
async fn invariant_05_every_connector_may_fail_once() {
    let place = Place::new().await;
    // The cloud fails by its own seeds, in the file of http; here it is the platform that fails.
    for (at, row) in table().into_iter().enumerate() {
        if !matches!(row.sees, Sees::Platform(_) | Sees::Archive) {
            continue;
        }
        let id = format!("f{at}");
        place.computer(&id).await;
        let before = row.world(&place, &id).await;
        let mut locked = place.platform.begin().await.unwrap();
        sqlx::raw_sql("lock table computers, api_keys, sessions, messages in access exclusive mode")
            .execute(&mut *locked)
            .await
            .unwrap();
        let failed = place.run(&row.call, &attempt(&id)).await;
        assert!(
            matches!(failed, Verdict::Again { .. }),
            "{}: {failed:?}",
            row.name
        );
        locked.rollback().await.unwrap();
        assert_eq!(
            row.world(&place, &id).await,
            before,
            "{}: failed, with an effect",
            row.name
        );
        let then = place.run_to_the_end(&row.call, &attempt(&id)).await;
        assert!(matches!(then, Verdict::Done { .. }), "{}: {then:?}", row.name);
    }
}

#[tokio::test]
async fn invariant_05_every_connector_may_be_cut_off_anywhere() {
    let place = Place::new().await;
    for (at, row) in table().into_iter().enumerate() {
        let reference = row.done_world(&place, &format!("r{at}")).await;
        for cut in 1..=CUTS_MAX {
            let id = format!("x{at}-{cut}");
            place.computer(&id).await;
            let attempt = attempt(&id);
            let whole = cut_off(place.connector(&row.call).run(&row.call, &attempt), cut).await;
            if whole.is_none() {
                let probed = place.connector(&row.call).probe(&row.call, &attempt).await;
                let allowed = matches!(
                    probed,
                    Verdict::Done { .. }
                        | Verdict::AlreadyGone
                        | Verdict::Again { .. }
                        | Verdict::Pending { .. }
                );
                assert!(allowed, "{}: cut at {cut}, the probe says {probed:?}", row.name);
            }
            let end = place.run_to_the_end(&row.call, &attempt).await;
            assert!(end.is_final(), "{}: cut at {cut}, then {end:?}", row.name);
            let world = row.world(&place, &id).await;
            assert!(
                alike(&world, &reference),
                "{}: cut at {cut}: {world} is not {reference}",
                row.name
            );
            if whole.is_some() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_shut_gate_stops_every_connector_before_its_effect() {
    let place = Place::new().await;
    for (at, row) in table().into_iter().enumerate() {
        let id = format!("g{at}");
        place.computer(&id).await;
        let before = row.world(&place, &id).await;
        let attempt = attempt(&id);
        attempt.gate.say(1);
        assert_eq!(
            place.run(&row.call, &attempt).await,
            Verdict::Stopped,
            "{}",
            row.name
        );
        let many = [attempt.clone(), attempt];
        let verdicts = place.connector(&row.call).run_many(&row.call, &many).await;
        assert_eq!(verdicts, [Verdict::Stopped, Verdict::Stopped], "{}", row.name);
        assert_eq!(row.world(&place, &id).await, before, "{}", row.name);
    }
}

/// Drops the run at its so-manieth await that is not ready at once; its verdict if it ends before.
async fn cut_off(mut run: impl Future<Output = Verdict> + Unpin, awaits: usize) -> Option<Verdict> {
    let mut left = awaits;
    poll_fn(|cx| match std::pin::Pin::new(&mut run).poll(cx) {
        Poll::Ready(verdict) => Poll::Ready(Some(verdict)),
        Poll::Pending => {
            left -= 1;
            if left == 0 {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        }
    })
    .await
}

/// The same but for ids and times: in shape, and in what is null.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| alike(a, b))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, a)| other.get(key).is_some_and(|b| alike(a, b)))
        }
        (Value::String(_), Value::String(_)) => true,
        // Sizes of archives differ by ids.
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_u64() > Some(9) && other.as_u64() > Some(9)
        }
        (one, other) => one == other,
    }
}
