//! What a Postgres URL asks for. The driver takes an option that it does not know for a mistake of no importance, and logs
//! it with its value; a misspelt `sslmode` would be plain text, and a misspelt `password` a password in the log.

use reqwest::Url;

const KNOWN: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];
const MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

/// Reads as `found …; wanted …`. Never repeats a value that may be a secret.
pub fn postgres_url(url: &str) -> Result<(), String> {
    let Ok(url) = Url::parse(url) else {
        return Err(
            "found something that is not an address; wanted postgres://user:password@host:port/database"
                .into(),
        );
    };
    let (mut mode, mut authorities) = ("prefer".to_owned(), None);
    for (name, value) in url.query_pairs() {
        match name.as_ref() {
            "sslmode" if MODES.contains(&value.as_ref()) => mode = value.into_owned(),
            "sslmode" => {
                return Err(format!(
                    "found another sslmode; wanted one of {}",
                    MODES.join(", ")
                ));
            }
            "sslrootcert" => authorities = Some(value.into_owned()),
            name if KNOWN.contains(&name) || name == "options" || name.starts_with("options[") => {}
            name => {
                return Err(format!(
                    "found the unknown option {name:?}; wanted one of {}, options",
                    KNOWN.join(", ")
                ));
            }
        }
    }
    let Some(file) = authorities else { return Ok(()) };
    if !mode.starts_with("verify-") {
        return Err(format!(
            "found an sslrootcert, which sslmode={mode} does not look at; wanted sslmode=verify-full"
        ));
    }
    // The driver takes the certificates themselves as well.
    if file.trim_start().starts_with("-----BEGIN CERTIFICATE-----") {
        return Ok(());
    }
    super::authorities(file.as_ref())
        .map(drop)
        .map_err(|why| format!("{why} as its sslrootcert"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_silently_be_plain_text_is_refused() {
        for (query, found) in [
            ("sslmod=verify-full", "the unknown option \"sslmod\""),
            ("sslmode=verify_full", "another sslmode"),
            ("passwrod=hunter2", "the unknown option \"passwrod\""),
            (
                "sslrootcert=/ca.pem",
                "an sslrootcert, which sslmode=prefer does not look at",
            ),
            (
                "sslmode=require&sslrootcert=/ca.pem",
                "an sslrootcert, which sslmode=require",
            ),
            ("sslmode=verify-full&sslrootcert=/no/such.pem", "no file: "),
        ] {
            let said = postgres_url(&format!("postgres://u:hunter2@h/d?{query}")).expect_err(query);
            assert!(said.starts_with(&format!("found {found}")), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        for query in [
            "",
            "?sslmode=verify-full",
            "?sslmode=disable&options[jit]=off&user=x",
        ] {
            assert_eq!(postgres_url(&format!("postgres://u@h/d{query}")), Ok(()));
        }
    }
}
