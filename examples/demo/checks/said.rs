//! What the world was told: one outcome for each request, the right one, and every message that was turned away in
//! `deletion.rejected` with its reason and its body.

use std::collections::HashMap;

use sexton::broker::{Broker, Delivery, Desk, REJECTED_QUEUE, REQUESTS_QUEUE, UNHEARD_QUEUE, Value};
use sexton::deletion::HEADER_REASON;
use tokio_util::sync::CancellationToken;

use super::{Sheet, World};
use crate::Fault;
use crate::ledger::{Entry, Outcome};
use crate::play;
use crate::requests::Expected;

/// More than there are; the rest would be strange anyway.
const PEEK: usize = 500;

pub(crate) async fn check(world: &World<'_>, sheet: &mut Sheet) -> Result<(), Fault> {
    let ledger = &world.played.ledger;
    let wanted = ledger.wanted();
    let not_one: Vec<String> = ledger
        .entries
        .iter()
        .filter(|(_, entry)| entry.outcomes.len() != 1)
        .map(|(name, entry)| format!("{name}: {}", entry.outcomes.len()))
        .collect();
    sheet.check("one outcome event for each request", wanted, &not_one);

    let wrong: Vec<String> = ledger
        .entries
        .iter()
        .filter_map(|(name, entry)| {
            let outcome = entry.outcomes.first()?;
            (!right(world, entry, outcome)).then(|| {
                format!(
                    "{name}: wanted {:?}, found {} {}",
                    entry.expected,
                    outcome.event,
                    outcome
                        .result
                        .as_ref()
                        .or(outcome.reason.as_ref())
                        .map_or("", |word| word)
                )
            })
        })
        .collect();
    sheet.check("and it is the right one", wanted, &wrong);
    sheet.check("none without a request", ledger.deliveries, &ledger.strange);

    sheet.check(
        "one request came from a client that shares no line with Sexton",
        usize::from(world.played.foreign),
        &[] as &[&str],
    );

    let broker = Broker::open(play::broker_settings(world.stage), CancellationToken::new()).await?;
    let mut desk = broker.desk().await?;
    let ledger = &world.played.ledger;
    let wrong: Vec<String> = match ledger.batches.as_slice() {
        [counts] if counts["deleted"] == ledger.batched => vec![],
        other => vec![format!("said {} times: {other:?}", other.len())],
    };
    sheet.check(
        "one outcome for the whole batch, with true sums",
        ledger.batched,
        &wrong,
    );

    rejected(world, &mut desk, sheet).await?;
    let mut waiting = Vec::new();
    for queue in [REQUESTS_QUEUE, UNHEARD_QUEUE] {
        let ready = desk.depth(queue).await?.ready;
        if ready > 0 {
            waiting.push(format!("{queue}: {ready}"));
        }
    }
    sheet.check(
        "no request waits in its queue, no event went unheard",
        2,
        &waiting,
    );
    desk.close().await;
    Ok(())
}

fn right(world: &World<'_>, entry: &Entry, outcome: &Outcome) -> bool {
    let completed = |result: &str| outcome.event == "completed" && outcome.result.as_deref() == Some(result);
    match &entry.expected {
        Expected::Completed(result) => completed(result),
        Expected::Folded { into } => {
            let first = world.played.ledger.entries.get(into);
            let deletion = first.and_then(|first| first.outcomes.first()?.deletion.as_ref());
            completed("deleted") && deletion.is_some() && deletion == outcome.deletion.as_ref()
        }
        Expected::Rejected(reason) => {
            outcome.event == "rejected" && outcome.reason.as_deref() == Some(*reason)
        }
        Expected::Ended(event) => outcome.event == *event,
        Expected::Copy => false,
    }
}

async fn rejected(world: &World<'_>, desk: &mut Desk, sheet: &mut Sheet) -> Result<(), Fault> {
    let mut kept: HashMap<String, Vec<Delivery>> = HashMap::new();
    for delivery in desk.peek(REJECTED_QUEUE, PEEK).await? {
        let name = delivery.message_id.clone().unwrap_or_default();
        kept.entry(name).or_default().push(delivery);
    }
    let mut off = Vec::new();
    let mut looked_at = 0;
    for (name, entry) in &world.played.ledger.entries {
        let Expected::Rejected(reason) = entry.expected else {
            continue;
        };
        looked_at += 1;
        let whole = |delivery: &Delivery| {
            let said = delivery.headers.get(HEADER_REASON).and_then(Value::as_text);
            said == Some(reason) && delivery.body == entry.body
        };
        match kept.remove(name) {
            None => off.push(format!("{name}: not there")),
            Some(all) if !all.iter().all(whole) => off.push(format!("{name}: another reason or body")),
            Some(all) if all.len() > 1 => off.push(format!("{name}: {} times", all.len())),
            Some(_) => {}
        }
    }
    off.extend(kept.into_keys().map(|name| format!("{name}: not expected there")));
    let what = "what was malformed is in `deletion.rejected`, whole and with its reason";
    sheet.check(what, looked_at, &off);
    Ok(())
}
