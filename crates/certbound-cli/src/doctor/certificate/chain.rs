//! Checks the issuers of the certificate and its key usage.

use certbound::{BindingCertificate, UnixTime};
use certbound_core::certificate::CertificateChain;

use super::super::Line;

/// Checks that each certificate of the file is issued by the next certificate. Signatures are not verified: the token
/// service does this.
pub(super) fn chain(certificate: &BindingCertificate, is_issued: bool, now: UnixTime) -> Line {
    const ID: &str = "certificate.chain";
    const TITLE: &str = "chain";
    let ders = certificate.chain().ders();
    // Each certificate of a chain was parsed when the chain was loaded.
    let of = |der: &Vec<u8>| CertificateChain::from_der(vec![der.clone()]).ok();
    let all: Vec<CertificateChain> = ders.iter().filter_map(of).collect();
    for (at, pair) in all.windows(2).enumerate() {
        let [one, issuer] = pair else { continue };
        if one.issuer() != issuer.subject() {
            let summary =
                format!("certificate {} of the file is not issued by certificate {}", at + 1, at + 2);
            return Line::warning(
                ID,
                TITLE,
                summary,
                "put the leaf first; after each certificate put the certificate of its issuer",
            )
            .with(format!("issuer of certificate {}: {}", at + 1, one.issuer()))
            .with(format!("subject of certificate {}: {}", at + 2, issuer.subject()));
        }
    }
    if let Some(expired) = all.iter().skip(1).find(|issuer| issuer.not_after() <= now) {
        let summary = format!("the issuer {} expired at {}", expired.subject(), expired.not_after());
        return Line::warning(ID, TITLE, summary, "put the issuer's current certificate into the file");
    }
    match all.as_slice() {
        [leaf] if leaf.issuer() == leaf.subject() => Line::warning(
            ID,
            TITLE,
            "the certificate is self-signed",
            "if the application trusts certificates by subject and issuer (SN/I), use a certificate of a trusted CA",
        ),
        [_] if is_issued => Line::ok(ID, TITLE, "the platform's own CA issued the certificate"),
        [_] => Line::warning(
            ID,
            TITLE,
            "the file does not contain the certificate of the issuer",
            "add the certificates of the issuers after the leaf, so that every server can build the chain",
        ),
        all => Line::ok(ID, TITLE, format!("{} certificates, each issued by the next", all.len())),
    }
}

pub(super) fn usage(certificate: &BindingCertificate) -> Line {
    const ID: &str = "certificate.usage";
    const TITLE: &str = "usage";
    let usage = certificate.chain().usage();
    let problem = match () {
        () if usage.is_ca => "it is the certificate of a CA",
        () if usage.client_authentication == Some(false) => {
            "its extended key usage does not include client authentication"
        }
        () if usage.digital_signature == Some(false) => "its key usage does not include digital signatures",
        () => {
            let says = match usage.client_authentication {
                Some(_) => "client authentication",
                None => "not restricted by an extended key usage",
            };
            return Line::ok(ID, TITLE, says);
        }
    };
    let fix = "issue the certificate with the key usage digitalSignature and the extended key usage clientAuth; servers may refuse it otherwise";
    Line::warning(ID, TITLE, problem, fix)
}
