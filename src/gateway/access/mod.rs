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
use sha2::{Digest, Sha256};
use uuid::Uuid;

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
        self.in_turn(key.id, standing.rate, standing.burst)?;
        Ok(Principal {
            name: format!("key:{}", standing.name),
            tenant: standing.tenant,
            roles: standing.roles,
            dialects: standing.dialects,
            subject: None,
            key: Some(key.id),
        })
    }

    /// Whether whoever this is has not come too often.
    fn in_turn(&self, who: Uuid, rate: Option<u16>, burst: Option<u16>) -> Result<(), Denied> {
        let settings = &self.inner.settings;
        let rate = Rate {
            per_second: f64::from(rate.unwrap_or(settings.rate).max(1)),
            burst: f64::from(burst.unwrap_or(settings.burst).max(1)),
        };
        let mut buckets = self.inner.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = buckets.take(who, rate, Instant::now());
        taken.map_err(|retry_after| Denied::TooFast { retry_after })
    }

    /// By a key, or by a token.
    pub async fn by_bearer(&self, credential: &str) -> Result<Principal, Denied> {
        match &self.inner.tokens {
            // A token has two dots, a key has none.
            Some(tokens) if credential.contains('.') => {
                let principal = tokens.who(credential).map_err(|why| {
                    tracing::debug!(why, "a token is not believed");
                    Denied::Unknown
                })?;
                self.in_turn(bearer_of(&principal), None, None)?;
                Ok(principal)
            }
            _ => self.by_key(credential).await,
        }
    }
}

/// Whoever bears a token has the rate of a key, whichever of their tokens they show.
fn bearer_of(principal: &Principal) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(principal.tenant.as_str());
    hash.update(b"\0");
    hash.update(&principal.name);
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    Uuid::from_bytes(half)
}
