//! Plans as they were when they came into force: canonical text under its hash, and a small number for the rows.

use super::{Store, StoreError};
use crate::deletion::{PlanHash, TargetType};
use crate::plan::Plan;

#[derive(Clone, Debug)]
pub struct StoredPlan {
    pub id: i32,
    pub hash: PlanHash,
    pub plan: Plan,
}

impl Store {
    /// Keeps this version before its first use. The same version introduced twice, or by two workers, is one.
    pub async fn introduce_plan(&self, plan: &Plan) -> Result<StoredPlan, StoreError> {
        let (canonical, hash) = crate::plan::canonical(plan);
        let kept: Option<i32> = sqlx::query_scalar(
            "/* introduce_plan */ insert into sexton.plans (hash, target_type, canonical) values ($1, $2, $3)
             on conflict (hash) do nothing returning id",
        )
        .bind(&hash.0)
        .bind(plan.target.as_str())
        .bind(&canonical)
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::doing("keeping a plan"))?;
        let id = match kept {
            Some(id) => id,
            // In a statement of its own: one that began before another worker's commit does not see its row.
            None => sqlx::query_scalar("/* introduced_plan */ select id from sexton.plans where hash = $1")
                .bind(&hash.0)
                .fetch_one(&self.pool)
                .await
                .map_err(StoreError::doing("looking a kept plan up"))?,
        };
        Ok(StoredPlan {
            id,
            hash,
            plan: plan.clone(),
        })
    }

    /// All versions but these: numbers are given before their transactions end, so "greater than the last" would miss
    /// some. One that this release cannot read is named and left out: its deletions wait for a worker that can.
    pub async fn plans_but(
        &self,
        known: &[i32],
    ) -> Result<(Vec<StoredPlan>, Vec<(i32, StoreError)>), StoreError> {
        let rows: Vec<(i32, String, String)> = sqlx::query_as(
            "/* plans_but */ select id, hash, canonical from sexton.plans where id <> all ($1) order by id",
        )
        .bind(known)
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::doing("reading the stored plans"))?;
        let mut plans = Vec::new();
        let mut unreadable = Vec::new();
        for (id, hash, canonical) in rows {
            match crate::plan::from_canonical(&canonical) {
                Ok(plan) => plans.push(StoredPlan {
                    id,
                    hash: PlanHash(hash),
                    plan,
                }),
                Err(error) => unreadable.push((
                    id,
                    StoreError::Plan {
                        hash,
                        why: error.to_string(),
                    },
                )),
            }
        }
        Ok((plans, unreadable))
    }

    /// One version by its small number.
    pub async fn plan(&self, id: i32) -> Result<StoredPlan, StoreError> {
        let (hash, canonical): (String, String) =
            sqlx::query_as("/* plan */ select hash, canonical from sexton.plans where id = $1")
                .bind(id)
                .fetch_one(&self.pool)
                .await
                .map_err(StoreError::doing("reading a stored plan"))?;
        match crate::plan::from_canonical(&canonical) {
            Ok(plan) => Ok(StoredPlan {
                id,
                hash: PlanHash(hash),
                plan,
            }),
            Err(error) => Err(StoreError::Plan {
                hash,
                why: error.to_string(),
            }),
        }
    }

    /// Was there ever a plan for this type?
    pub async fn type_is_known(&self, kind: &TargetType) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "/* type_is_known */ select exists (select from sexton.plans where target_type = $1)",
        )
        .bind(kind.as_str())
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::doing("asking whether a type is known"))
    }
}
