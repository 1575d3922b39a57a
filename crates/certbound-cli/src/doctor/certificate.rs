//! The certificate of both legs: its file, key, dates, chain, usage and permissions.

mod chain;
mod file;

use std::time::Duration;

use certbound::clock::Clock as _;
use certbound::credential::Leg1 as _;
use certbound::{BindingCertificate, ManagedIdentity};
use certbound_core::certificate::KeyAlgorithm;
use certbound_core::time::in_words;

use super::blame::Origin;
use super::{Context, Line};
use crate::failure::{Failure, REFUSED};
use crate::plan::{self, Leg1Source};

/// The checks that need the certificate, with their titles.
const OF_CERTIFICATE: [(&str, &str); 5] = [
    ("certificate.key", "private key"),
    ("certificate.dates", "dates"),
    ("certificate.chain", "chain"),
    ("certificate.usage", "usage"),
    ("certificate.permissions", "file permissions"),
];

/// Codes of errors about the private key. The line `certificate.source` reports every other error about the file.
const ABOUT_KEY: [&str; 8] = [
    "cert_without_private_key",
    "certificate_several_keys",
    "certificate_key_encrypted",
    "certificate_key_encryption_unknown",
    "certificate_key_mismatch",
    "certificate_password_wrong",
    "certificate_password_unset",
    "cryptographic_error",
];

/// A certificate should be renewed if its remaining time is less than this, and less than a third of its lifetime.
const SOON: Duration = Duration::from_secs(30 * 24 * 3600);

pub(super) async fn check(context: &mut Context) {
    let source = source(context).await;
    let reason = source.summary.clone();
    context.report.add(source);
    let Some(certificate) = context.certificate.clone() else {
        let reason = match context.report.first_failed(&["certificate.source"]) {
            Some(line) => format!("needs: {line}"),
            // The source was skipped, and the other lines have the same reason.
            None => reason,
        };
        let failed_key = context.report.has_failed(&["certificate.key"]);
        for (id, title) in OF_CERTIFICATE.into_iter().skip(usize::from(failed_key)) {
            let reason = if failed_key { "needs: Certificate, private key" } else { &reason };
            context.report.add(Line::skipped(id, title, reason));
        }
        return;
    };
    let is_issued = context.asked.flow.leg1.leg1_managed_identity.is_some();
    context.report.add(key(&certificate));
    context.report.add(dates(&certificate, context));
    context.report.add(chain::chain(&certificate, is_issued, context.clock.now()));
    context.report.add(chain::usage(&certificate));
    context.report.add(file::permissions(&context.asked.flow, is_issued));
}

/// Reads the certificate, or lets the platform issue it.
async fn source(context: &mut Context) -> Line {
    const ID: &str = "certificate.source";
    const TITLE: &str = "source";
    if let Some(line) = context.report.first_failed(&["configuration"]) {
        return Line::needs(ID, TITLE, &line);
    }
    let (client, leg1) = (&context.asked.flow.client, &context.asked.flow.leg1);
    let found = match plan::certificate_of_both_legs(client, leg1) {
        Ok(found) => found,
        Err(failure) if ABOUT_KEY.contains(&failure.code.as_str()) => {
            context.report.add(Line::ok(ID, TITLE, "the certificate can be read"));
            return Line::failed("certificate.key", "private key", &failure);
        }
        Err(failure) => return Line::failed(ID, TITLE, &failure),
    };
    if let Some((certificate, source)) = found {
        let line = Line::ok(ID, TITLE, format!("{source}: {}", certificate.chain().subject()))
            .with(format!("issued by {}", certificate.chain().issuer()))
            .with(format!("x5t#S256 {}", certificate.thumbprint()));
        context.certificate = Some(certificate);
        return line;
    }
    let Some(reach) = &context.reach else { return Line::needs(ID, TITLE, "Network, proxy and trust") };
    let identity = match plan::leg1_source(client, leg1, None, reach) {
        Ok(Leg1Source::Machine(identity, source)) => {
            context.source = Some(Leg1Source::Machine(identity.clone(), source));
            identity
        }
        Ok(_) => return Line::skipped(ID, TITLE, "Leg 1 needs no certificate"),
        Err(failure) => return Line::failed(ID, TITLE, &failure),
    };
    issued(context, &identity).await
}

/// Lets the platform issue the certificate of a managed identity.
async fn issued(context: &mut Context, identity: &ManagedIdentity) -> Line {
    const ID: &str = "certificate.source";
    const TITLE: &str = "source";
    context.is_unbound = plan::is_unbound(context.kind, identity);
    if context.is_unbound {
        context.report.origin = Origin::Absent;
        return Line::skipped(
            ID,
            TITLE,
            format!("the platform ({}) issues no certificates", identity.origin()),
        );
    }
    if context.is_dry() {
        return Line::skipped(ID, TITLE, "--dry-run sends no request");
    }
    match identity.binding().await {
        Ok(certificate) => {
            let line = Line::ok(ID, TITLE, format!("issued by the platform ({})", identity.origin()))
                .with(certificate.chain().subject().to_owned())
                .with(format!("x5t#S256 {}", certificate.thumbprint()));
            context.certificate = Some(certificate);
            line
        }
        Err(error) => Line::failed(ID, TITLE, &error.into()),
    }
}

/// Describes the key. The loading code has already checked the key's kind and size, and its match with the certificate.
fn key(certificate: &BindingCertificate) -> Line {
    let kind = match certificate.chain().key_algorithm() {
        KeyAlgorithm::Rsa { bits } => format!("RSA with {bits} bits"),
        KeyAlgorithm::Ec { curve: Some(curve) } => format!("elliptic curve {curve}"),
        KeyAlgorithm::Ec { curve: None } => "elliptic curve without a known name".to_owned(),
        _ => "a key of an unknown kind".to_owned(),
    };
    Line::ok("certificate.key", "private key", format!("{kind}; it belongs to the certificate"))
}

fn dates(certificate: &BindingCertificate, context: &Context) -> Line {
    const ID: &str = "certificate.dates";
    const TITLE: &str = "dates";
    let now = context.clock.now();
    if let Err(error) = certificate.valid_at(now) {
        let failure =
            Failure::new(REFUSED, error.code(), "the certificate cannot be used", &error, error.fix());
        return Line::failed(ID, TITLE, &failure);
    }
    let (begin, end) = (certificate.chain().not_before(), certificate.chain().not_after());
    let left = end.since(now);
    let summary = format!("expires at {end}, in {}", in_words(left));
    match left < SOON && left.as_secs() < end.since(begin).as_secs() / 3 {
        true => Line::warning(ID, TITLE, summary, "renew the certificate soon"),
        false => Line::ok(ID, TITLE, summary),
    }
}
