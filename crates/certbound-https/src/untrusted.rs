//! The reason why a server's certificate is not trusted, with its facts.

use std::sync::Arc;

use certbound_core::time::UnixTime as Moment;
use certbound_core::untrusted::Untrusted;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Checks certificates with an inner verifier, and explains the refusals of the inner verifier: the error of the
/// handshake is then an [`Untrusted`]. The TLS library shows most refusals as identifiers of its source code, and does
/// not show the issuer.
#[derive(Debug)]
pub struct Explaining(pub Arc<dyn ServerCertVerifier>);

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
                let last = intermediates.last().unwrap_or(end_entity);
                let reason = explain(&error, end_entity, last, server_name);
                rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
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

/// Returns the reason from [`Explaining`], if the handshake failed because of it.
pub(crate) fn untrusted(error: &rustls::Error) -> Option<&Untrusted> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => cause.downcast_ref(),
        _ => None,
    }
}

/// Returns the reason. `last` is the last certificate of the chain, which a trusted root should have issued.
fn explain(
    error: &CertificateError,
    leaf: &CertificateDer<'_>,
    last: &CertificateDer<'_>,
    name: &ServerName<'_>,
) -> Untrusted {
    let moment = |time: &UnixTime| Moment::from_secs(time.as_secs());
    let reason = match error {
        CertificateError::UnknownIssuer => {
            let last = X509Certificate::from_der(last).ok().map(|(_, last)| last);
            return Untrusted::UnknownRoot {
                issuer: last.as_ref().map(|last| last.issuer().to_string()),
                is_self_signed: last.is_some_and(|last| last.issuer() == last.subject()),
            };
        }
        CertificateError::ExpiredContext { time, not_after } => {
            return Untrusted::Expired { not_after: moment(not_after), now: moment(time) };
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            return Untrusted::NotYetValid { not_before: moment(not_before), now: moment(time) };
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            return Untrusted::OtherName { expected: name.to_str().into_owned(), presented: names(leaf) };
        }
        CertificateError::Expired => "it has expired".to_owned(),
        CertificateError::NotValidYet => "it is not valid yet".to_owned(),
        CertificateError::Revoked => "it is revoked".to_owned(),
        CertificateError::BadSignature => "the key of its issuer does not verify its signature".to_owned(),
        CertificateError::BadEncoding => "it cannot be read".to_owned(),
        CertificateError::Other(OtherError(cause)) => match cause.to_string().as_str() {
            "CaUsedAsEndEntity" => "it is the certificate of a CA, not of a server".to_owned(),
            "EndEntityUsedAsCa" => "its issuer is not a CA".to_owned(),
            "UnsupportedCertVersion" => "it is not an X.509 certificate of version 3".to_owned(),
            other => words(other),
        },
        other => words(&other.to_string()),
    };
    Untrusted::Other { reason }
}

/// Returns the host names and addresses of a certificate.
fn names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else { return Vec::new() };
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return Vec::new() };
    let names = names.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        })
        .collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    use std::net::IpAddr;

    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        _ => <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
    }
}

/// Splits a name of the library's code, such as `PathLenConstraintViolated`, into words. A sentence is returned
/// unchanged.
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
    use std::time::Duration;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct OfLibrary(&'static str);

    #[test]
    fn a_refusal_is_a_sentence_with_the_issuer_the_dates_and_the_names() {
        let key = rcgen::KeyPair::generate().unwrap();
        let root = rcgen::CertificateParams::new(["root.example".to_owned()]).unwrap();
        let itself = root.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(root, key);
        let names = ["leaf.example", "127.0.0.2"].map(str::to_owned);
        let mut leaf = rcgen::CertificateParams::new(names).unwrap();
        leaf.distinguished_name.push(rcgen::DnType::CommonName, "leaf");
        let leaf = leaf.signed_by(&rcgen::KeyPair::generate().unwrap(), &issuer).unwrap();
        let other = |name| CertificateError::Other(OtherError(Arc::new(OfLibrary(name))));
        let seconds = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let localhost = ServerName::try_from("localhost").unwrap();
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
            (
                CertificateError::ExpiredContext {
                    time: seconds(1_785_086_400),
                    not_after: seconds(1_785_000_000),
                },
                leaf.der(),
                "the certificate, or a certificate of its issuers, was valid until 2026-07-25T17:20:00Z and expired 1 day ago; the clock shows 2026-07-26T17:20:00Z",
            ),
            (
                CertificateError::NotValidYetContext {
                    time: seconds(1_785_000_000),
                    not_before: seconds(1_785_086_400),
                },
                leaf.der(),
                "the certificate, or a certificate of its issuers, becomes valid at 2026-07-26T17:20:00Z, in 1 day; the clock shows 2026-07-25T17:20:00Z",
            ),
            (
                CertificateError::NotValidForName,
                leaf.der(),
                "it is for leaf.example, 127.0.0.2, not for localhost",
            ),
        ] {
            let reason = explain(&error, leaf.der(), last, &localhost);
            assert_eq!(
                reason.to_string(),
                format!("the server's certificate is not trusted: {text}"),
                "{error:?}"
            );
        }
    }
}
