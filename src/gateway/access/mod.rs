//! Who calls: from a credential to a principal, or to one answer for all that is wrong.
//!
//! Nothing is remembered of a key: a revoked one opens nothing from the next call on. What cannot be a credential is
//! turned away before anything is looked up.

mod key;
mod rate;
mod settings;
mod tokens;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use key::ApiKey;
pub use settings::Settings;

use crate::decide::access::Principal;
use crate::store::{Store, StoreError};
use rate::{Buckets, Rate};
use tokens::Tokens;

/// Cheap to clone: all of it is shared with its clones.
#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    settings: Settings,
    tokens: Option<Tokens>,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Missing, malformed, unknown, wrong, expired or revoked: a stranger is not told which.
    #[error("the credentials are not good")]
    Unknown,
    #[error("the key comes too often")]
    TooFast { retry_after: Duration },
    #[error("cannot use Sexton's own database")]
    Store {
        #[from]
        source: StoreError,
    },
}

impl Access {
    pub fn new(store: Store, settings: Settings) -> Result<Self, String> {
        Ok(Access {
            inner: Arc::new(Inner {
                store,
                tokens: Tokens::new(&settings).map_err(|why| format!("access.jwt_keys: {why}"))?,
                settings,
                buckets: Mutex::default(),
            }),
        })
    }

    /// By a key only.
    pub async fn by_key(&self, credential: &str) -> Result<Principal, Denied> {
        let key = ApiKey::parse(credential).ok_or(Denied::Unknown)?;
        let standing = self.inner.store.standing_key(key.id).await?;
        let is = key.is(standing.as_ref().map(|key| &key.digest[..]));
        let Some(standing) = standing.filter(|_| is) else {
            return Err(Denied::Unknown);
        };
        let settings = &self.inner.settings;
        let rate = Rate {
            per_second: f64::from(standing.rate.unwrap_or(settings.rate).max(1)),
            burst: f64::from(standing.burst.unwrap_or(settings.burst).max(1)),
        };
        let mut buckets = self.inner.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = buckets.take(key.id, rate, Instant::now());
        taken.map_err(|retry_after| Denied::TooFast { retry_after })?;
        Ok(Principal {
            name: format!("key:{}", standing.name),
            tenant: standing.tenant,
            roles: standing.roles,
            dialects: standing.dialects,
            subject: None,
            key: Some(key.id),
        })
    }

    /// By a key, or by a token.
    pub async fn by_bearer(&self, credential: &str) -> Result<Principal, Denied> {
        match &self.inner.tokens {
            // A token has two dots, a key has none.
            Some(tokens) if credential.contains('.') => tokens.who(credential).map_err(|why| {
                tracing::debug!(why, "a token is not believed");
                Denied::Unknown
            }),
            _ => self.by_key(credential).await,
        }
    }
}
