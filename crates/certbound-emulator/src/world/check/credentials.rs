//! What proves an application, and whom the world believes.

use certbound_core::certificate::CertificateChain;
use certbound_core::jws::PublicKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{Mistakes, Seen};
use crate::world::{Application, ExternalIssuer, FederatedCredential};

/// How many federated credentials an application may have.
const MAX_FEDERATED: usize = 20;

pub(super) fn check(application: &Application, at: &str, found: &mut Mistakes) {
    for (index, secret) in application.secrets.iter().enumerate() {
        if secret.is_empty() {
            found.add(format!("{at}.secrets[{index}]"), "is empty");
        }
    }
    for (index, subject) in application.trusted_subjects.iter().enumerate() {
        if !subject.contains('=') {
            found.add(
                format!("{at}.trusted_subjects[{index}]"),
                format!("'{subject}' is not a subject name such as CN=my-app"),
            );
        }
    }
    for (index, pem) in application.registered_certificates.iter().enumerate() {
        certificates(pem, Some(1), &format!("{at}.registered_certificates[{index}]"), found);
    }
    federated(&application.federated_credentials, &format!("{at}.federated_credentials"), found);
}

pub(super) fn authorities(authorities: &[String], found: &mut Mistakes) {
    for (index, pem) in authorities.iter().enumerate() {
        certificates(pem, None, &format!("trusted_authorities[{index}]"), found);
    }
}

fn certificates(pem: &str, expected: Option<usize>, at: &str, found: &mut Mistakes) {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = match all {
        Ok(all) if !all.is_empty() => all,
        Ok(_) => return found.add(at, "is not PEM with a CERTIFICATE in it"),
        Err(error) => return found.add(at, format!("is not PEM: {error}")),
    };
    if expected.is_some_and(|expected| expected != all.len()) {
        found.add(at, format!("holds {} certificates; give each its own entry", all.len()));
    }
    for certificate in all {
        if let Err(error) = CertificateChain::from_der(vec![certificate.to_vec()]) {
            found.add(at, format!("holds a certificate that cannot be read: {error}"));
        }
    }
}

fn federated(credentials: &[FederatedCredential], at: &str, found: &mut Mistakes) {
    if credentials.len() > MAX_FEDERATED {
        found.add(at, format!("there are {}; an application has at most {MAX_FEDERATED}", credentials.len()));
    }
    let mut pairs = Seen::new();
    for (index, credential) in credentials.iter().enumerate() {
        let at = format!("{at}[{index}]");
        found.text(&format!("{at}.issuer"), &credential.issuer);
        found.text(&format!("{at}.subject"), &credential.subject);
        found.text(&format!("{at}.audience"), &credential.audience);
        pairs.once((&credential.issuer, &credential.subject), &at, found);
    }
}

pub(super) fn issuers(issuers: &[ExternalIssuer], found: &mut Mistakes) {
    let mut names = Seen::new();
    for (index, external) in issuers.iter().enumerate() {
        let at = format!("external_issuers[{index}]");
        found.text(&format!("{at}.issuer"), &external.issuer);
        names.once(&external.issuer, &format!("{at}.issuer"), found);
        for (index, key) in external.keys.iter().enumerate() {
            let at = format!("{at}.keys[{index}]");
            if key.get("kid").and_then(|kid| kid.as_str()).is_none() {
                found.add(&at, "has no `kid`: assertions name their key by it");
            }
            if let Err(error) = PublicKey::from_jwk(key) {
                found.add(&at, format!("is not a public key: {error}"));
            }
        }
    }
}
