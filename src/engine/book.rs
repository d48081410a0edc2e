//! The plans this worker knows: those of its files, in force for new requests, and every stored version that its
//! settings can run.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use crate::connectors::Systems;
use crate::deletion::{Action, TargetType};
use crate::plan::{MeantBy, Plan};
use crate::store::{Opened, Store, StoreError, StoredPlan};

/// Beyond this they are made anew: a plan costs some kilobytes.
const CHOSEN_MAX: usize = 4_096;

#[derive(Clone, Default)]
pub struct PlanBook(Arc<RwLock<Book>>);

#[derive(Default)]
struct Book {
    /// In force for new requests.
    current: HashMap<TargetType, Arc<StoredPlan>>,
    /// Each course as a plan of its own.
    by_id: HashMap<(i32, Action), Arc<StoredPlan>>,
    /// Versions whose courses depend on what a request chooses. It takes a look at every statement to tell, so it is told
    /// once and not for each deletion.
    choosing: HashSet<i32>,
    /// Courses with what requests have chosen. Closed lists are short, so there are few.
    chosen: HashMap<(i32, Action, Vec<String>), Arc<StoredPlan>>,
    /// Versions whose systems and calls this worker's settings have.
    runnable: Vec<i32>,
    retired: HashSet<TargetType>,
    /// Of a newer release; said once.
    unreadable: HashSet<i32>,
}

impl PlanBook {
    /// Keeps the plans of the files under their hashes, then learns all other versions.
    pub async fn introduce(
        &self,
        store: &Store,
        plans: &[Plan],
        systems: &Systems,
        lease: Duration,
    ) -> Result<(), StoreError> {
        for plan in plans {
            let stored = Arc::new(store.introduce_plan(plan).await?);
            self.write(|book| {
                book.current.insert(plan.target.clone(), stored);
            });
        }
        self.learn(store, systems, lease).await
    }

    /// Versions that came in elsewhere since the last look.
    pub async fn learn(&self, store: &Store, systems: &Systems, lease: Duration) -> Result<(), StoreError> {
        let known: Vec<i32> = self.read(|book| {
            let readable = book.by_id.keys().map(|(id, _)| id);
            readable.chain(&book.unreadable).copied().collect()
        });
        let (plans, unreadable) = store.plans_but(&known).await?;
        for (_, error) in &unreadable {
            tracing::warn!(error = %error, "left a stored plan to workers that can read it");
        }
        self.write(|book| {
            book.unreadable.extend(unreadable.into_iter().map(|(id, _)| id));
            for stored in plans {
                book.retired.insert(stored.plan.target.clone());
                match systems
                    .can_run(&stored.plan)
                    .and_then(|()| fits(&stored.plan, lease))
                {
                    Ok(()) => book.runnable.push(stored.id),
                    Err(why) => tracing::info!(
                        plan = stored.hash.short(),
                        target_type = stored.plan.target.as_str(),
                        why,
                        "this worker's settings cannot run a stored plan; others may"
                    ),
                }
                if stored.plan.has_choices() {
                    book.choosing.insert(stored.id);
                }
                for (action, plan) in stored.plan.courses() {
                    let course = Arc::new(StoredPlan {
                        plan,
                        ..stored.clone()
                    });
                    book.by_id.insert((stored.id, action), course);
                }
            }
        });
        Ok(())
    }

    pub fn runnable(&self) -> Vec<i32> {
        self.read(|book| book.runnable.clone())
    }

    /// What a version does for this deletion, with everything chosen.
    pub fn course_of(&self, opened: &Opened) -> Option<Arc<StoredPlan>> {
        let (course, chooses) = self.course(opened.plan, opened.action)?;
        if !chooses {
            return Some(course);
        }
        let which = (opened.plan, opened.action, course.plan.choice_of(&opened.params));
        if let Some(known) = self.read(|book| book.chosen.get(&which).cloned()) {
            return Some(known);
        }
        let chosen = Arc::new(StoredPlan {
            plan: course.plan.chosen(&opened.params),
            ..(*course).clone()
        });
        Some(self.write(|book| {
            if book.chosen.len() >= CHOSEN_MAX {
                book.chosen.clear();
            }
            book.chosen.entry(which).or_insert(chosen).clone()
        }))
    }

    /// Which one is meant by the deletion's target and params.
    pub fn meant_by(&self, opened: &Opened) -> Vec<MeantBy> {
        self.course(opened.plan, opened.action)
            .map_or_else(Vec::new, |(course, _)| course.plan.meant_by(&opened.params))
    }

    /// What a version does for an action, and whether that depends on a request; without steps where it has no such course.
    fn course(&self, id: i32, action: Action) -> Option<(Arc<StoredPlan>, bool)> {
        self.read(|book| {
            let found = book.by_id.get(&(id, action)).cloned();
            let course = found.or_else(|| {
                let stored = book.by_id.get(&(id, Action::Delete))?;
                let plan = stored.plan.course(action);
                Some(Arc::new(StoredPlan {
                    plan,
                    ..(**stored).clone()
                }))
            });
            Some((course?, book.choosing.contains(&id)))
        })
    }

    pub fn current(&self, kind: &TargetType) -> Option<Arc<StoredPlan>> {
        self.read(|book| book.current.get(kind).cloned())
    }

    pub fn is_retired(&self, kind: &TargetType) -> bool {
        self.read(|book| book.retired.contains(kind))
    }

    pub fn can_run(&self, id: i32) -> bool {
        self.read(|book| book.runnable.contains(&id))
    }

    fn read<T>(&self, of: impl FnOnce(&Book) -> T) -> T {
        of(&self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn write<T>(&self, with: impl FnOnce(&mut Book) -> T) -> T {
        with(&mut self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// No effect begins unless the lease outlasts its hard timeout; between two renewals a third of it may have passed.
pub fn fits(plan: &Plan, lease: Duration) -> Result<(), String> {
    let longest = lease * 2 / 3;
    match plan.all_steps().find(|step| step.timeout > longest) {
        None => Ok(()),
        Some(step) => Err(format!(
            "store.lease: found {lease:?}, and step {:?} of the plan for {} may take {:?}; wanted a lease of at least {:?}",
            step.name,
            plan.target,
            step.timeout,
            step.timeout * 3 / 2
        )),
    }
}
