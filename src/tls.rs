//! TLS, said once: whose certificates are believed, which one the gateway shows, and in plain words why a handshake
//! failed. One provider of cryptography (aws-lc-rs), named here and not left to whoever comes first.
//!
//! The invariant: where TLS is asked for, what does not speak it, or shows a certificate that nobody here believes, is
//! an error. Nothing falls back to plain text.

mod asked;
mod why;

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub use asked::postgres_url;
pub use why::why;

/// A file of certificates is some kilobytes; whatever is larger is something else.
const FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The certificates of a PEM file, one at least. What is wrong reads as `found …; wanted …`.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |found: &str| format!("found {found} ({}); wanted certificates as PEM", file.display());
    let text = read(file).map_err(|found| wrong(&found))?;
    let certificates: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Ok(all) if all.is_empty() => Err(wrong("a file without any")),
        Ok(all) => Ok(all),
        Err(_) => Err(wrong("a certificate that is not whole")),
    }
}

/// The same as the text that it is, held to be certificates and nothing else.
pub fn authorities(file: &Path) -> Result<String, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| format!("found {error} ({}); wanted certificates as PEM", file.display()))?;
    }
    let text = read(file).map_err(|found| format!("found {found} ({})", file.display()))?;
    String::from_utf8(text).map_err(|_| format!("found bytes that are no text ({})", file.display()))
}

/// What a server shows of itself. `Err` is the key of the setting that is wrong, and the rest of the sentence.
pub fn shown(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, (&'static str, String)> {
    const CERTIFICATE: &str = "tls_certificate";
    const KEY: &str = "tls_key";
    let chain = certificates(certificate).map_err(|why| (CERTIFICATE, why))?;
    let wrong = |found: &str| {
        let wanted = "wanted the private key of the certificate as PEM";
        (KEY, format!("found {found} ({}); {wanted}", key.display()))
    };
    let text = read(key).map_err(|found| wrong(&found))?;
    let private = PrivateKeyDer::from_pem_slice(&text).map_err(|_| wrong("no private key"))?;
    let mut shown =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| (CERTIFICATE, format!("found {error}")))?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => wrong("the key of another certificate"),
                _ => wrong("a certificate and a key that cannot be used together"),
            })?;
    shown.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(shown))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(file)
        .map_err(|error| format!("no file: {error}"))?
        .len();
    if size > FILE_MAX_BYTES {
        return Err(format!("a file of {size} bytes"));
    }
    std::fs::read(file).map_err(|error| format!("a file that cannot be read: {error}"))
}
