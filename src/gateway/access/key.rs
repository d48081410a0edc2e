//! A key as it is written: `sxt_`, its id, `_`, and 256 random bits. Shown once; what is kept is a digest.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

const PREFIX: &str = "sxt_";
const ID_CHARS: usize = 32;
const SECRET_BYTES: usize = 32;

/// Its text never prints by accident.
pub struct ApiKey {
    pub id: Uuid,
    secret: [u8; SECRET_BYTES],
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl ApiKey {
    /// Two random parts; neither can be guessed from the other, or from an earlier key.
    pub fn new(id: Uuid, secret: [u8; SECRET_BYTES]) -> Self {
        ApiKey { id, secret }
    }

    /// `None`: nobody ever made this, and nothing need be looked up to know it.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let (id, secret) = (rest.get(..ID_CHARS)?, rest.get(ID_CHARS..)?.strip_prefix('_')?);
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        Some(ApiKey {
            id: Uuid::try_parse(id).ok()?,
            secret: secret.try_into().ok()?,
        })
    }

    /// The whole key, for the one moment in which it is shown.
    pub fn reveal(&self) -> String {
        format!(
            "{PREFIX}{}_{}",
            self.id.simple(),
            URL_SAFE_NO_PAD.encode(self.secret)
        )
    }

    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }

    /// In the same time whatever is wrong with it, also for a key that is not there.
    pub fn is(&self, kept: Option<&[u8]>) -> bool {
        const NOBODYS: [u8; 32] = [0; 32];
        let equal = bool::from(self.digest().ct_eq(kept.unwrap_or(&NOBODYS)));
        equal && kept.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_shown_and_in_no_other_form() {
        let key = ApiKey::new(Uuid::from_bytes([7; 16]), [251; 32]);
        let text = key.reveal();
        let read = ApiKey::parse(&text).expect("a key");
        assert_eq!((read.id, read.digest()), (key.id, key.digest()));
        let short = &text[..text.len() - 2];
        let other = text.replacen("sxt_", "sxt-", 1);
        for wrong in [
            "",
            "sxt_",
            "x",
            short,
            other.as_str(),
            &format!("{text}A"),
            &format!(" {text}"),
        ] {
            assert!(ApiKey::parse(wrong).is_none(), "{wrong}");
        }
        assert!(!format!("{key:?}").contains(&text[40..]));
    }

    #[test]
    fn only_its_own_digest_is_its_own() {
        let key = ApiKey::new(Uuid::nil(), [1; 32]);
        let other = ApiKey::new(Uuid::nil(), [2; 32]);
        assert!(key.is(Some(&key.digest())));
        assert!(!key.is(Some(&other.digest())) && !key.is(None) && !key.is(Some(b"short")));
    }
}
