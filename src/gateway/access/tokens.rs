//! Tokens (JWT) of an issuer whose public keys are configured.
//!
//! A token says by which key and algorithm it is to be checked, and is believed in neither: the key must be of the set, the
//! algorithm one of a closed list of signatures by public keys, and the two must fit. What is wrong with a token is for
//! our log; its bearer only hears that it is not good.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::Settings;
use crate::decide::access::{Dialect, Principal, Role};
use crate::deletion::Tenant;

/// Signatures by public keys; with a shared secret whoever checks a token could have made it.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// A token of a few claims; more is no token of a person.
const TOKEN_MAX_BYTES: usize = 8 * 1024;
/// Between two looks at whether the file of keys is another: a key that is taken out of it is believed no longer than this.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Tokens {
    file: PathBuf,
    settings: Settings,
    kept: Mutex<Kept>,
}

struct Kept {
    keys: Arc<JwkSet>,
    written_at: Option<SystemTime>,
    looked_at: Instant,
}

/// What is wrong with the file, for a person.
pub(super) fn read(file: &Path) -> Result<JwkSet, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let keys: JwkSet = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    for key in &keys.keys {
        if matches!(key.algorithm, jsonwebtoken::jwk::AlgorithmParameters::OctetKey(_)) {
            return Err("it holds a shared secret".to_owned());
        }
        if key.common.key_id.is_none() {
            return Err("a key in it has no `kid`".to_owned());
        }
    }
    match keys.keys.is_empty() {
        true => Err("it holds no key".to_owned()),
        false => Ok(keys),
    }
}

impl Tokens {
    /// `None`: no tokens are believed. The settings were checked.
    pub(super) fn new(settings: &Settings) -> Result<Option<Self>, String> {
        let Some(file) = settings.jwt_keys.clone() else {
            return Ok(None);
        };
        let kept = Kept {
            keys: Arc::new(read(&file)?),
            written_at: written_at(&file),
            looked_at: Instant::now(),
        };
        Ok(Some(Tokens {
            file,
            settings: settings.clone(),
            kept: Mutex::new(kept),
        }))
    }

    /// Whose it is, or why it is not believed.
    pub(super) fn who(&self, token: &str) -> Result<Principal, String> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err(format!("it has more than {TOKEN_MAX_BYTES} bytes"));
        }
        let header = decode_header(token).map_err(|error| format!("its head cannot be read: {error}"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(format!("it is signed by {:?}", header.alg));
        }
        let keys = self.keys();
        let kid = header.kid.ok_or("it names no key")?;
        let jwk = keys.find(&kid).ok_or("it names a key that is not of the set")?;
        self.believed(token, jwk, header.alg)
    }

    fn believed(&self, token: &str, jwk: &Jwk, algorithm: Algorithm) -> Result<Principal, String> {
        let meant = jwk.common.key_algorithm.map(|algorithm| algorithm.to_string());
        if meant.is_some_and(|meant| meant != format!("{algorithm:?}")) {
            return Err("its key is for another algorithm".to_owned());
        }
        let key = DecodingKey::from_jwk(jwk).map_err(|error| format!("its key cannot be used: {error}"))?;
        let settings = &self.settings;
        let mut wanted = Validation::new(algorithm);
        wanted.leeway = settings.jwt_leeway.as_secs();
        wanted.validate_nbf = true;
        wanted.set_issuer(&[&settings.jwt_issuer]);
        wanted.set_audience(&[&settings.jwt_audience]);
        wanted.required_spec_claims = HashSet::from(["exp", "iss", "aud", "sub"].map(str::to_owned));
        let token = decode::<Map<String, Value>>(token, &key, &wanted).map_err(|error| error.to_string())?;
        let claim = |name: &str| token.claims.get(name).and_then(Value::as_str);
        let tenant = claim(&settings.jwt_tenant_claim)
            .ok_or_else(|| format!("it has no claim {:?} that is a text", settings.jwt_tenant_claim))?;
        let tenant = Tenant::parse(tenant).map_err(|bad| format!("its tenant is {bad}"))?;
        let subject = claim("sub").ok_or("its subject is no text")?;
        Ok(Principal {
            name: format!("jwt:{subject}"),
            tenant,
            roles: settings
                .jwt_roles
                .iter()
                .filter_map(|word| Role::parse(word))
                .collect(),
            dialects: settings
                .jwt_dialects
                .iter()
                .filter_map(|word| Dialect::parse(word))
                .collect::<BTreeSet<_>>(),
            subject: Some(subject.to_owned()),
            key: None,
        })
    }

    /// The set as the file has it. One that cannot be read any more leaves the last that could.
    fn keys(&self) -> Arc<JwkSet> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.looked_at.elapsed() >= LOOK_EVERY {
            kept.looked_at = Instant::now();
            let written_at = written_at(&self.file);
            if written_at != kept.written_at {
                match read(&self.file) {
                    Ok(keys) => {
                        kept.keys = Arc::new(keys);
                        kept.written_at = written_at;
                        tracing::info!("the key set of tokens was read again");
                    }
                    Err(why) => tracing::warn!(why, "the key set of tokens cannot be read again"),
                }
            }
        }
        kept.keys.clone()
    }
}

fn written_at(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|of| of.modified()).ok()
}
