//! Why a handshake failed, in words that say what to correct. Nothing of what the other side sent is repeated but the
//! name that was looked for, which is ours.

use std::error::Error;

use rustls::CertificateError;

/// More causes than this are a loop.
const CAUSES_MAX: usize = 12;

/// `None` if the trouble is not one of TLS.
pub fn why(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    for _ in 0..CAUSES_MAX {
        let one = cause?;
        if let Some(tls) = one.downcast_ref::<rustls::Error>() {
            return Some(in_words(tls));
        }
        // What an `io::Error` was made of is not among its sources.
        cause = match one
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
        {
            Some(inside) => Some(inside),
            None => one.source(),
        };
    }
    None
}

fn in_words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(wrong) => match wrong {
            CertificateError::UnknownIssuer => {
                "its certificate is signed by nobody who is believed here".to_owned()
            }
            CertificateError::NotValidForNameContext { expected, .. } => {
                format!("its certificate is for another name than {}", expected.to_str())
            }
            CertificateError::NotValidForName => "its certificate is for another name".to_owned(),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet".to_owned()
            }
            CertificateError::Revoked => "its certificate was revoked".to_owned(),
            _ => "its certificate cannot be believed".to_owned(),
        },
        rustls::Error::InvalidMessage(_) => "it does not speak TLS".to_owned(),
        rustls::Error::AlertReceived(alert) => format!("it broke off the handshake ({alert:?})"),
        rustls::Error::PeerIncompatible(_) => "it and we have no way of TLS in common".to_owned(),
        _ => "the handshake failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn it_is_found_in_whatever_it_is_wrapped_in() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        assert_eq!(
            why(&wrapped).as_deref(),
            Some("its certificate is signed by nobody who is believed here")
        );
        assert_eq!(why(&io::Error::other("no TLS in it")), None);
    }
}
