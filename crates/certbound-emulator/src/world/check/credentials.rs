//! The checks of applications' credentials, of trusted authorities and of external issuers.

use certbound_core::certificate::CertificateChain;
use certbound_core::jws::PublicKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{Mistakes, Seen, is_host_name};
use crate::world::expression::Expression;
use crate::world::hosts::Host;
use crate::world::{Application, ExternalIssuer, FederatedCredential, World};

/// The maximum number of federated credentials of an application.
pub(crate) const MAX_FEDERATED: usize = 20;

pub(super) fn check(application: &Application, at: &str, found: &mut Mistakes) {
    let mut secrets = Seen::new();
    for (list, all) in [("secrets", &application.secrets), ("expired_secrets", &application.expired_secrets)]
    {
        for (index, secret) in all.iter().enumerate() {
            let at = format!("{at}.{list}[{index}]");
            if secret.is_empty() {
                found.add(&at, "is empty: write a value");
            }
            secrets.once(secret, &at, found);
        }
    }
    for (index, subject) in application.trusted_subjects.iter().enumerate() {
        if !subject.contains('=') {
            found.add(
                format!("{at}.trusted_subjects[{index}]"),
                format!("'{subject}' is not a subject name: write a name such as CN=my-app"),
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
        Ok(_) => {
            return found.add(
                at,
                "is not PEM with a certificate: write the text from BEGIN CERTIFICATE to END CERTIFICATE",
            );
        }
        Err(error) => return found.add(at, format!("is not PEM: {error}")),
    };
    if expected.is_some_and(|expected| expected != all.len()) {
        found.add(
            at,
            format!("contains {} certificates: write each certificate into an entry of its own", all.len()),
        );
    }
    for certificate in all {
        if let Err(error) = CertificateChain::from_der(vec![certificate.to_vec()]) {
            found.add(at, format!("contains a certificate that cannot be read: {error}"));
        }
    }
}

fn federated(credentials: &[FederatedCredential], at: &str, found: &mut Mistakes) {
    if credentials.len() > MAX_FEDERATED {
        found.add(
            at,
            format!(
                "there are {} credentials, but an application can have at most {MAX_FEDERATED}",
                credentials.len()
            ),
        );
    }
    let mut pairs = Seen::new();
    for (index, credential) in credentials.iter().enumerate() {
        let at = format!("{at}[{index}]");
        found.text(&format!("{at}.issuer"), &credential.issuer);
        found.text(&format!("{at}.audience"), &credential.audience);
        match &credential.claims_matching_expression {
            None => found.text(&format!("{at}.subject"), &credential.subject),
            Some(_) if !credential.subject.is_empty() => {
                found.add(&at, "has a subject and an expression: remove one of them");
            }
            Some(text) => expression(&credential.issuer, text, &at, found),
        }
        let subject = credential.claims_matching_expression.as_ref().unwrap_or(&credential.subject);
        pairs.once((&credential.issuer, subject), &at, found);
    }
}

/// The issuers that a flexible credential may have, and the claims that its expression may compare.
const FLEXIBLE: [(&str, &[&str]); 3] = [
    ("https://token.actions.githubusercontent.com", &["sub", "job_workflow_ref"]),
    ("https://gitlab.com", &["sub"]),
    ("https://app.terraform.io", &["sub"]),
];

fn expression(issuer: &str, text: &str, at: &str, found: &mut Mistakes) {
    if let Err((key, what)) = flexible(issuer, text) {
        found.add(format!("{at}.{key}"), what);
    }
}

/// Checks the issuer and the expression of a flexible credential.
///
/// # Errors
/// The key that is wrong, and a description of the mistake.
pub(crate) fn flexible(issuer: &str, text: &str) -> Result<(), (&'static str, String)> {
    let Some((_, allowed)) = FLEXIBLE.iter().find(|(known, _)| *known == issuer) else {
        let known = FLEXIBLE.map(|(issuer, _)| issuer).join(", ");
        let what = format!("must be one of {known}, because the credential has an expression");
        return Err(("issuer", what));
    };
    let at = "claims_matching_expression";
    let expression = Expression::parse(text).map_err(|why| (at, why))?;
    match expression.claims().find(|claim| !allowed.contains(claim)) {
        None => Ok(()),
        Some(claim) => {
            let allowed = allowed.join(", ");
            Err((at, format!("must not compare the claim '{claim}': for this issuer use {allowed}")))
        }
    }
}

pub(super) fn issuers(world: &World, found: &mut Mistakes) {
    let (mut names, mut bases) = (Seen::new(), Seen::new());
    for (index, external) in world.external_issuers.iter().enumerate() {
        let at = format!("external_issuers[{index}]");
        found.text(&format!("{at}.issuer"), &external.issuer);
        names.once(&external.issuer, &format!("{at}.issuer"), found);
        if external.served {
            served(world, external, &at, found);
            bases.once(external.base(), &format!("{at}.issuer"), found);
        }
        if external.is_fetched() && !external.issuer.starts_with("https://") {
            found.add(
                format!("{at}.issuer"),
                "must begin with https://, because the keys of this issuer are fetched",
            );
        }
        if let Some(roots) = &external.trusted_roots {
            certificates(roots, None, &format!("{at}.trusted_roots"), found);
        }
        for (index, key) in external.keys.iter().enumerate() {
            let at = format!("{at}.keys[{index}]");
            if key.get("kid").and_then(|kid| kid.as_str()).is_none() {
                found.add(&at, "has no `kid`, but assertions identify their key by the `kid`: add a `kid`");
            }
            if let Err(error) = PublicKey::from_jwk(key) {
                found.add(&at, format!("is not a public key: {error}"));
            }
        }
    }
}

/// Checks that a served issuer has no keys, and that its host does not belong to the token service or to a resource.
fn served(world: &World, external: &ExternalIssuer, at: &str, found: &mut Mistakes) {
    if !external.keys.is_empty() {
        found.add(at, "is served and has keys: remove the keys; the emulator makes the keys of an issuer that it serves");
    }
    let at = format!("{at}.issuer");
    let host = external.served_host().unwrap_or_default();
    if !is_host_name(host) || external.issuer.contains(['?', '#', '%']) {
        let text = "must be https:// and a host name in lower case, with or without a path, because the issuer is served";
        found.add(at, text);
    } else if matches!(Host::of(world, host), Some(Host::Login(_) | Host::MutualTls(_) | Host::Resource(..)))
    {
        found.add(
            at,
            format!("'{host}' is a host of the token service or of a resource: choose a different name"),
        );
    }
}
