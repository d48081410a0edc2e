//! Looking again: what a late writer brought back is said, and removed again by a request of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;

use super::{Retention, Tally};
use crate::connectors::Looked;
use crate::plan::{Plan, Values};
use crate::store::{StoreError, Term, Watched};

/// Looks at once: enough for ten thousand in a few seconds, few enough that no database notices.
const LOOKS_AT_ONCE: usize = 16;
/// One turn's looks end within this, far below the term: a system that does not answer must not keep batches and purges
/// waiting.
const LOOKS_MAX: Duration = Duration::from_secs(3);
/// What comes back again and again is written by somebody who wants it there; a person must talk to them.
const REAPPEARED_MAX: u32 = 10;

/// Versions of plans that were met.
pub(super) type Plans = HashMap<i32, Option<Arc<Plan>>>;

impl Retention {
    /// One page of looks. Whether there may be more at once.
    pub(super) async fn watches(
        &self,
        term: &Term,
        tally: &Tally,
        plans: &mut Plans,
    ) -> Result<bool, StoreError> {
        let page = i64::from(self.settings.page_max);
        let Some(due) = self.store.due_watches(term, page).await? else {
            return Ok(false);
        };
        let full = due.len() >= usize::from(self.settings.page_max);
        for watched in &due {
            self.learn(watched.plan, plans).await?;
        }
        let looks = due.into_iter().map(|watched| {
            let plan = plans.get(&watched.plan).cloned().flatten();
            async move { (self.is_there(plan, &watched).await, watched) }
        });
        // What is not answered by then is looked at again later.
        let looked: Vec<(Option<bool>, Watched)> = futures::stream::iter(looks)
            .buffer_unordered(LOOKS_AT_ONCE)
            .take_until(tokio::time::sleep(LOOKS_MAX))
            .collect()
            .await;
        let mut over = Vec::new();
        for (there, watched) in looked {
            match there {
                Some(true) => {
                    let gives_up = watched.reappeared + 1 >= REAPPEARED_MAX;
                    if self.store.reappeared(term, &watched, gives_up).await?.is_none() {
                        return Ok(false);
                    }
                    tally.reappeared.fetch_add(1, Ordering::Relaxed);
                    self.outbox_wake.poke();
                    tracing::warn!(deletion.id = %watched.deletion, gives_up, "what was deleted is there again");
                }
                Some(false) if watched.last => over.push(watched.deletion),
                // Not known, and so looked at again, also past its time.
                Some(false) | None => {}
            }
        }
        if !over.is_empty() {
            self.store.watches_over(&over).await?;
        }
        Ok(full)
    }

    async fn learn(&self, id: i32, plans: &mut Plans) -> Result<(), StoreError> {
        if plans.contains_key(&id) {
            return Ok(());
        }
        let plan = match self.store.plan(id).await {
            Ok(stored) if self.systems.can_run(&stored.plan).is_ok() => Some(Arc::new(stored.plan)),
            // A process that can run it will lead one day.
            Ok(_) | Err(StoreError::Plan { .. }) => None,
            Err(error) => return Err(error),
        };
        plans.insert(id, plan);
        Ok(())
    }

    /// `None`: it cannot be told for now.
    async fn is_there(&self, plan: Option<Arc<Plan>>, watched: &Watched) -> Option<bool> {
        let plan = plan?;
        let plan = plan.chosen(&watched.params);
        let lookup = plan.lookup.as_ref()?;
        let mut values: Values = plan.param_values(&watched.params);
        let built_in = [
            ("id", watched.target.id.as_str().to_owned()),
            ("tenant", watched.target.tenant.as_str().to_owned()),
            ("type", watched.target.kind.as_str().to_owned()),
            ("deletion_id", watched.deletion.to_string()),
        ];
        values.extend(built_in.map(|(name, value)| (name.to_owned(), value.into())));
        match self.systems.look(lookup, &values).await {
            Looked::Found(_) => Some(true),
            Looked::NotFound => Some(false),
            Looked::Trouble(verdict) => {
                tracing::debug!(
                    deletion.id = %watched.deletion,
                    why = verdict.why().unwrap_or_default(),
                    "what was deleted could not be looked up again for now"
                );
                None
            }
        }
    }
}
