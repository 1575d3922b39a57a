//! The token service: its published documents, and the tokens that it issues.

mod assertion;
mod certificate;
mod discovery;
mod endpoint;
mod federation;
mod issuers;
mod replay;
mod trust;

use std::time::Duration;

use bytes::Bytes;
use certbound_core::certificate::{CertificateChain, Thumbprint};
use certbound_core::environment::Cloud;
use certbound_core::time::UnixTime;
use http::{Request, Response};

pub(crate) use self::issuers::FetchedKeys;
pub(crate) use self::replay::UsedAssertions;
pub(crate) use self::trust::TrustedAuthorities;
use crate::answers::{AnswerContext, Refusal, refusal};
use crate::directory::Directory;
use crate::issue::{self, Alteration};
use crate::keys::machine_ca::MachineAuthority;
use crate::keys::{IssuerKeys, SigningKeys};
use crate::tls_facts::TlsFacts;
use crate::world::hosts::TOKEN_PATH;
use crate::world::{Application, Tenant, World};

/// The allowed difference between clocks. The real service allows about five minutes.
const LEEWAY: Duration = Duration::from_secs(300);

/// The token service, with the context of one request.
pub(crate) struct TokenService<'e> {
    pub(crate) world: &'e World,
    pub(crate) keys: &'e SigningKeys,
    pub(crate) trust: &'e TrustedAuthorities,
    pub(crate) machines: &'e MachineAuthority,
    pub(crate) now: UnixTime,
    pub(crate) tls: &'e TlsFacts,
    /// The host of the request, in lower case.
    pub(crate) host: &'e str,
    pub(crate) cloud: Cloud,
    /// Whether the request was sent to a mutual-TLS host.
    pub(crate) mutual_tls: bool,
    pub(crate) directory: &'e Directory,
    /// The keys of external issuers that the emulator serves.
    pub(crate) issuers: &'e IssuerKeys,
    pub(crate) fetched: &'e FetchedKeys,
    pub(crate) used: &'e UsedAssertions,
    /// The change that a fault makes to the token of this request or to its answer.
    pub(crate) alteration: Option<Alteration>,
}

impl TokenService<'_> {
    /// Returns the answer, or `None` if the path is unknown.
    pub(crate) fn answer(
        &self,
        context: &AnswerContext<'_>,
        request: &Request<Bytes>,
    ) -> Option<Response<Bytes>> {
        if !request.uri().path().ends_with(TOKEN_PATH) {
            return self.discovery(context, request);
        }
        let body = self.decide(request).and_then(|grant| {
            let body =
                self.keys.current().and_then(|key| issue::answer(&grant, &key, self.now, self.alteration));
            body.ok_or_else(|| refusal(90_033, "A transient error has occurred: signing failed."))
        });
        Some(context.respond(body))
    }
}

/// Returns the refusal of a request whose certificate differs from the assertion's certificate.
fn other_certificate() -> Refusal {
    refusal(500_181, "The TLS certificate provided does not match the certificate in the assertion.")
}

fn only_by_mutual_tls() -> Refusal {
    refusal(50_171, "The given audience can only be used in Mutual-TLS token calls.")
}

/// Returns the refusal of a token exchange whose audience belongs to another cloud.
fn other_clouds_exchange(audience: &str) -> Refusal {
    refusal(
        7_002_206,
        format!(
            "The audience '{audience}' belongs to the token exchange of another cloud and cannot be used in this cloud."
        ),
    )
}

/// The facts about the caller before the check of its credential.
pub(crate) struct Caller<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) application: &'a Application,
    pub(crate) bound: bool,
    pub(crate) certificate: Option<&'a CertificateChain>,
}

impl Caller<'_> {
    pub(crate) fn thumbprint(&self) -> Option<Thumbprint> {
        self.certificate.map(CertificateChain::thumbprint)
    }
}
