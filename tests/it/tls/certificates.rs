//! An authority of the test's own, and what it signs.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use sexton::services::TlsFiles;

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    pub(crate) file: PathBuf,
}

impl Authority {
    /// Its certificate lies in the folder as `NAME.pem`.
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, &pem).expect("a file");
        Authority {
            issuer: Issuer::new(params, key),
            pem,
            file,
        }
    }

    /// A certificate for these names, and its key.
    pub(crate) fn signs(&self, folder: &Path, names: &[&str]) -> TlsFiles {
        self.signs_with(folder, names, |_| {})
    }

    pub(crate) fn signs_expired(&self, folder: &Path, names: &[&str]) -> TlsFiles {
        self.signs_with(folder, names, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        })
    }

    fn signs_with(&self, folder: &Path, names: &[&str], change: fn(&mut CertificateParams)) -> TlsFiles {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        let at = folder.join(uuid::Uuid::now_v7().simple().to_string());
        let files = TlsFiles {
            certificate: at.with_extension("crt"),
            key: at.with_extension("key"),
        };
        std::fs::write(&files.certificate, signed.pem()).expect("a file");
        std::fs::write(&files.key, key.serialize_pem()).expect("a file");
        files
    }
}
