//! `[access]`: how often a key may come, and whose tokens are believed.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Calls a second of one key that has no rate of its own.
    pub rate: u16,
    /// How many may come at once, before the rate holds.
    pub burst: u16,
    /// A key set (JWKS) whose tokens are believed; left out, none are. It is read again when it changes.
    pub jwt_keys: Option<PathBuf>,
    /// Who must have issued a token, and for whom.
    pub jwt_issuer: String,
    pub jwt_audience: String,
    /// The claim that says the tenant.
    pub jwt_tenant_claim: String,
    /// What its bearer may do, and where.
    pub jwt_roles: Vec<String>,
    pub jwt_dialects: Vec<String>,
    /// How far the issuer's clock may be from this one.
    #[serde(with = "humantime_serde")]
    pub jwt_leeway: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            rate: 100,
            burst: 200,
            jwt_keys: None,
            jwt_issuer: String::new(),
            jwt_audience: "sexton".to_owned(),
            jwt_tenant_claim: "tenant".to_owned(),
            jwt_roles: vec!["requester".to_owned()],
            jwt_dialects: vec!["factory".to_owned(), "agno".to_owned()],
            jwt_leeway: Duration::from_secs(60),
        }
    }
}

impl Settings {
    pub fn check(&self) -> Result<(), String> {
        use crate::decide::access::{Dialect, Role};
        for (name, number) in [("rate", self.rate), ("burst", self.burst)] {
            if number == 0 {
                return Err(format!("access.{name}: found 0; wanted 1 to 65535"));
            }
        }
        if let Some(word) = self.jwt_roles.iter().find(|word| Role::parse(word).is_none()) {
            return Err(format!(
                "access.jwt_roles: found {word:?}; wanted viewer or requester"
            ));
        }
        if let Some(word) = self
            .jwt_dialects
            .iter()
            .find(|word| Dialect::parse(word).is_none())
        {
            return Err(format!(
                "access.jwt_dialects: found {word:?}; wanted native, factory, powerdrill, pave or agno"
            ));
        }
        if self.jwt_leeway > Duration::from_secs(600) {
            return Err(format!(
                "access.jwt_leeway: found {:?}; wanted at most 10m",
                self.jwt_leeway
            ));
        }
        Ok(())
    }

    /// What only the file of keys can tell; before anything is opened.
    pub fn check_keys(&self) -> Result<(), String> {
        let Some(keys) = &self.jwt_keys else {
            return Ok(());
        };
        if self.jwt_issuer.is_empty() {
            return Err(
                "access.jwt_issuer: found nothing; wanted the `iss` of the tokens, since access.jwt_keys is set".to_owned(),
            );
        }
        super::tokens::read(keys).map(drop).map_err(|why| {
            let file = keys.display();
            format!("access.jwt_keys: found {file}: {why}; wanted a key set (JWKS) of public keys")
        })
    }
}
