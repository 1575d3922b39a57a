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

use certbound_core::certificate::{CertificateChain, Thumbprint};
use certbound_core::environment::Cloud;
use certbound_core::time::UnixTime;

pub(crate) use self::discovery::Discovery;
pub(crate) use self::issuers::FetchedKeys;
pub(crate) use self::replay::UsedAssertions;
pub(crate) use self::trust::TrustedAuthorities;
use crate::keys::machine_ca::MachineAuthority;
use crate::keys::{IssuerKeys, SigningKeys};
use crate::tls_facts::TlsFacts;
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
    pub(crate) cloud: Cloud,
    /// Whether the request came to a mutual-TLS host.
    pub(crate) mutual_tls: bool,
    /// The time of the start or of the last reset.
    pub(crate) since: UnixTime,
    /// The keys of external issuers that the emulator serves.
    pub(crate) issuers: &'e IssuerKeys,
    pub(crate) fetched: &'e FetchedKeys,
    pub(crate) used: &'e UsedAssertions,
}

/// The facts of the caller that are known before its credential is checked.
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
