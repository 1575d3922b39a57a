//! The direct flow: one credential, from the flags or otherwise from the variables of the Azure SDKs.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use certbound::credential::{AssertionFile, ByCertificate};
use certbound::{AnyClient, Client, Secret, Transport};

use super::authority::{authority, builder};
use super::{Kind, Plan, Prover, Reach, assertion, certificate, machine};
use crate::failure::Failure;
use crate::flags::{ClientFlags, CredentialFlags};
use crate::usage::Usage;

/// The Azure SDKs' variables. They are read if no flag names a credential.
const SECRET: &str = "AZURE_CLIENT_SECRET";
const FEDERATED_TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";

/// Returns a client that runs Leg 1 alone. Leg 1 needs a certificate.
pub(crate) fn by_certificate<T: Transport + Clone>(
    flags: &ClientFlags,
    reach: &Reach<T>,
) -> Result<Plan<Client<ByCertificate>>, Failure> {
    let authority = authority(&flags.identity)?;
    let (certificate, source) = certificate::binding(&flags.certificate)?.ok_or(Usage::NoCertificate)?;
    let builder = builder(&flags.identity, authority, flags.identity.client_id()?, reach);
    Ok(Plan { client: builder.with_certificate(certificate).build()?, source })
}

/// Returns the client of the direct flow.
pub(crate) fn direct<T: Transport + Clone>(
    flags: &ClientFlags,
    credential: &CredentialFlags,
    kind: Kind,
    reach: &Reach<T>,
) -> Result<Plan<AnyClient>, Failure> {
    if let Some(identity) = &flags.machine.managed_identity {
        let (identity, source) = machine::direct(flags, identity, credential, kind, reach)?;
        return Ok(Plan { client: identity.into(), source });
    }
    let chosen = choose(flags, credential)?;
    // The flags and the variables determine whether the combination is allowed, so this check is made first.
    chosen.suits(kind, credential.secret.bearer_over_mtls)?;
    let authority = authority(&flags.identity)?;
    let app = flags.identity.client_id()?;
    let by =
        |prover: &Prover| builder(&flags.identity, authority, app, reach).with_cache(reach.cache(prover));
    let without_source = |client| Plan { client, source: String::new() };
    Ok(match chosen {
        Chosen::Certificate => {
            let found = certificate::binding(&flags.certificate)?.ok_or(Usage::NoCredential)?;
            let mut builder = by(&Prover::InCacheKey).with_certificate(found.0);
            if credential.secret.bearer_over_mtls {
                builder = builder.bearer_over_mtls();
            }
            if credential.secret.no_x5c {
                builder = builder.without_x5c();
            }
            Plan { client: builder.build()?.into(), source: found.1 }
        }
        Chosen::Secret(name) => {
            let secret = std::env::var(&name).map_err(|_| Usage::NoSecret(certificate::shown_name(&name)))?;
            let secret = Secret::new(secret);
            let builder = by(&Prover::secret(&secret));
            without_source(builder.with_secret(secret).build()?.into())
        }
        // A pipe can be read only once.
        Chosen::Assertion(path) if path.as_os_str() == "-" || is_pipe(&path) => {
            let assertion = Secret::new(assertion::read_text(&path)?.trim());
            let builder = by(&Prover::secret(&assertion));
            without_source(builder.with_unbound_assertions(assertion).build()?.into())
        }
        Chosen::Assertion(path) => {
            // The client reports an unreadable file when it needs the assertion.
            let prover = assertion::read_text(&path)
                .map_or(Prover::Passing, |text| Prover::secret(&Secret::new(text.trim())));
            let file = AssertionFile::new(path);
            without_source(by(&prover).with_unbound_assertions(file).build()?.into())
        }
    })
}

fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|it| it.file_type().is_fifo())
}

/// The credential of the direct flow.
enum Chosen {
    Certificate,
    /// A secret, in the variable with this name.
    Secret(String),
    Assertion(PathBuf),
}

/// Returns the credential. A flag overrides the SDKs' variables. Of these variables the certificate's variable has
/// priority, because only a certificate gives bound tokens.
fn choose(flags: &ClientFlags, credential: &CredentialFlags) -> Result<Chosen, Usage> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(name) = &credential.secret.client_secret_env {
        return Ok(Chosen::Secret(name.clone()));
    }
    if let Some(path) = &credential.assertion_file {
        return Ok(Chosen::Assertion(path.clone()));
    }
    if flags.certificate.certificate.is_some() {
        return Ok(Chosen::Certificate);
    }
    if set(SECRET).is_some() {
        return Ok(Chosen::Secret(SECRET.to_owned()));
    }
    match set(FEDERATED_TOKEN_FILE) {
        Some(path) => Ok(Chosen::Assertion(path.into())),
        None => Err(Usage::NoCredential),
    }
}

impl Chosen {
    fn suits(&self, kind: Kind, over_mtls: bool) -> Result<(), Usage> {
        let what = match self {
            Self::Certificate => return Ok(()),
            Self::Secret(_) => "a client secret",
            Self::Assertion(_) => "an assertion without a certificate",
        };
        match (kind, over_mtls) {
            (_, true) => Err(Usage::NotOverMtls { what }),
            (Kind::Bound, _) => Err(Usage::NotBound { what }),
            (Kind::Bearer, _) => Ok(()),
        }
    }
}
