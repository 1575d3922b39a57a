//! The reason why a server's certificate is not trusted, as a sentence.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The reason why a server's certificate is not trusted. The TLS library's error contains it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's certificate is not trusted: {reason}")]
pub(super) struct Untrusted {
    reason: String,
}

/// Checks with the inner verifier, and explains its refusals. The TLS library shows most refusals as names of its own
/// code, without the issuer.
#[derive(Debug)]
pub(super) struct Explaining(pub(super) Arc<dyn ServerCertVerifier>);

impl ServerCertVerifier for Explaining {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.map_err(|error| match error {
            rustls::Error::InvalidCertificate(error) => {
                let reason = explain(&error, intermediates.last().unwrap_or(end_entity));
                let untrusted = OtherError(Arc::new(Untrusted { reason }));
                rustls::Error::InvalidCertificate(CertificateError::Other(untrusted))
            }
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Returns the reason. `last` is the certificate of the chain that should be issued by a trusted root.
fn explain(error: &CertificateError, last: &CertificateDer<'_>) -> String {
    match error {
        CertificateError::UnknownIssuer => match X509Certificate::from_der(last) {
            Ok((_, last)) if last.issuer() == last.subject() => {
                format!(
                    "its chain ends with the self-signed certificate `{}`, which is not a trusted root",
                    last.subject()
                )
            }
            Ok((_, last)) => format!("its issuer `{}` is not a trusted root", last.issuer()),
            Err(_) => "its issuer is not a trusted root".to_owned(),
        },
        CertificateError::Revoked => "it is revoked".to_owned(),
        CertificateError::BadSignature => "the key of its issuer does not verify its signature".to_owned(),
        CertificateError::BadEncoding => "it cannot be read".to_owned(),
        CertificateError::Other(OtherError(cause)) => match cause.to_string().as_str() {
            "CaUsedAsEndEntity" => "it is the certificate of a CA, not of a server".to_owned(),
            "EndEntityUsedAsCa" => "its issuer is not a CA".to_owned(),
            "UnsupportedCertVersion" => "it is not an X.509 certificate of version 3".to_owned(),
            other => words(other),
        },
        // The library has sentences for the errors with details: about the name, the times and the purpose.
        other => words(&other.to_string()),
    }
}

/// Splits a name of the library's code, such as `PathLenConstraintViolated`, into words. A sentence is not changed.
fn words(text: &str) -> String {
    if text.contains(' ') {
        return text.to_owned();
    }
    let mut words = String::new();
    for c in text.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(c.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_sentence_with_the_issuer() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct OfLibrary(&'static str);

        let key = rcgen::KeyPair::generate().unwrap();
        let root = rcgen::CertificateParams::new(["root.example".to_owned()]).unwrap();
        let itself = root.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(root, key);
        let mut leaf = rcgen::CertificateParams::new(["leaf.example".to_owned()]).unwrap();
        leaf.distinguished_name.push(rcgen::DnType::CommonName, "leaf");
        let leaf = leaf.signed_by(&rcgen::KeyPair::generate().unwrap(), &issuer).unwrap();
        let other = |name| CertificateError::Other(OtherError(Arc::new(OfLibrary(name))));
        for (error, last, text) in [
            (
                CertificateError::UnknownIssuer,
                leaf.der(),
                "its issuer `CN=rcgen self signed cert` is not a trusted root",
            ),
            (
                CertificateError::UnknownIssuer,
                itself.der(),
                "its chain ends with the self-signed certificate `CN=rcgen self signed cert`, which is not a trusted root",
            ),
            (other("CaUsedAsEndEntity"), leaf.der(), "it is the certificate of a CA, not of a server"),
            (other("PathLenConstraintViolated"), leaf.der(), "path len constraint violated"),
            (other("the platform says no"), leaf.der(), "the platform says no"),
            (
                CertificateError::UnknownIssuer,
                &CertificateDer::from(vec![1]),
                "its issuer is not a trusted root",
            ),
        ] {
            assert_eq!(explain(&error, last), text, "{error:?}");
        }
    }
}
