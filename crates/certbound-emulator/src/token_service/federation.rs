//! Federated identity credentials: a token of a different issuer authenticates the client. Each kind of mismatch has
//! its own AADSTS number.

use std::sync::Arc;

use certbound_core::environment::{Cloud, known_environment};
use certbound_core::jws::{Algorithm, PublicKey};

use super::assertion::Assertion;
use super::{Caller, TokenService, issuers, only_by_mutual_tls, other_certificate, other_clouds_exchange};
use crate::answers::{Refusal, refusal};
use crate::directory::NamedCredential;
use crate::issue::Proof;
use crate::world::builtin::EXCHANGE_APP_ID;
use crate::world::expression::Expression;
use crate::world::{Application, FederatedCredential, is_exchange_elsewhere};

/// The assertion type under which the client sent the assertion.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presented {
    /// `jwt-pop`.
    AsBound,
    /// `jwt-bearer`.
    AsBearer,
}

/// Authenticates the client by an assertion that matches one of its federated credentials.
pub(crate) fn prove(
    service: &TokenService<'_>,
    caller: &Caller<'_>,
    assertion: &Assertion<'_>,
    presented: Presented,
) -> Result<Proof, Refusal> {
    assertion.check_header(&[Algorithm::Rs256])?;
    let issuer = Issuer::of(&assertion.issuer);
    let credentials = FederatedCredentials {
        effective: service.directory.effective_federated(&caller.application.id, service.now),
        pending: service.directory.pending_federated(&caller.application.id, service.now),
    };
    issuer_is_allowed(service, caller.application, &credentials, assertion, &issuer)?;
    matching(service, &credentials, assertion, &issuer)?;
    signature(service, assertion, &issuer)?;
    assertion.check_time(service.now)?;
    kind_of_token(assertion, &issuer)?;
    binding(caller, assertion, presented)?;
    Ok(Proof::Federated)
}

/// The federated credentials of an application at the time of a request.
struct FederatedCredentials {
    effective: Vec<Arc<NamedCredential>>,
    /// Credentials that exist, and that take effect later.
    pending: Vec<Arc<NamedCredential>>,
}

enum Issuer<'a> {
    /// `https://{login host}/{tenant}/v2.0`.
    Entra {
        cloud: Cloud,
        tenant: &'a str,
    },
    /// `https://sts.windows.net/{tenant}/`.
    EntraV1,
    External,
}

impl<'a> Issuer<'a> {
    fn of(issuer: &'a str) -> Self {
        let parts = issuer.strip_prefix("https://").and_then(|rest| rest.split_once('/'));
        match parts {
            Some(("sts.windows.net", _)) => Self::EntraV1,
            Some((host, path)) => match (known_environment(host), path.strip_suffix("/v2.0")) {
                (Some(environment), Some(tenant)) => Self::Entra { cloud: environment.cloud, tenant },
                _ => Self::External,
            },
            None => Self::External,
        }
    }
}

fn issuer_is_allowed(
    service: &TokenService<'_>,
    application: &Application,
    credentials: &FederatedCredentials,
    assertion: &Assertion<'_>,
    issuer: &Issuer<'_>,
) -> Result<(), Refusal> {
    match issuer {
        _ if credentials.effective.is_empty() && credentials.pending.is_empty() => Err(refusal(
            70_025,
            format!(
                "The client application '{}' has no configured federated identity credentials.",
                application.id
            ),
        )),
        Issuer::EntraV1 => Err(refusal(
            700_227,
            "Entra ID tokens of version 1.0 may not be used as a federated credential: the issuer must be that of \
             version 2.0.",
        )),
        Issuer::Entra { cloud, .. } if *cloud != service.cloud => {
            Err(refusal(900_382, "Confidential client is not supported in cross-cloud requests."))
        }
        Issuer::Entra { tenant, .. } if *tenant != application.home_tenant => Err(refusal(
            700_236,
            "Entra ID tokens issued by another tenant may not be used for federated identity credential flows: the \
             assertion must be issued by the application's home tenant.",
        )),
        // Every organization of Azure DevOps has its own issuer at this host. Only a single-tenant application may
        // trust an issuer at this host.
        Issuer::External if is_azure_devops(assertion) && application.principals.len() > 1 => Err(refusal(
            70_052,
            "The identity must be a managed identity, a single-tenant application or a service account: this issuer \
             is not allowed for multitenant applications.",
        )),
        _ => Ok(()),
    }
}

/// Returns whether the issuer belongs to Azure DevOps: `https://vstoken.dev.azure.com/{organization}`.
fn is_azure_devops(assertion: &Assertion<'_>) -> bool {
    assertion.issuer.starts_with("https://vstoken.dev.azure.com/")
}

/// Checks that one effective credential matches. If only a pending credential matches, or if no credential is effective
/// yet, the refusal mentions the delay of new credentials.
fn matching(
    service: &TokenService<'_>,
    credentials: &FederatedCredentials,
    assertion: &Assertion<'_>,
    issuer: &Issuer<'_>,
) -> Result<(), Refusal> {
    let FederatedCredentials { effective, pending } = credentials;
    let pending_refusal = || {
        refusal(
            70_021,
            format!(
                "No matching federated identity record found for presented assertion. Assertion Issuer: '{}'. \
                 Assertion Subject: '{}'. Assertion Audience: '{}'. New credentials take effect after a delay.",
                assertion.issuer,
                assertion.subject,
                assertion.claims.audiences().join(", ")
            ),
        )
    };
    if effective.is_empty() {
        return Err(pending_refusal());
    }
    let decision = matches_one(service, effective, assertion, issuer);
    if decision.is_err() && matches_one(service, pending, assertion, issuer).is_ok() {
        return Err(pending_refusal());
    }
    decision
}

/// Checks that one of the credentials has the assertion's issuer, subject and audience, byte for byte. The credential
/// may have an expression instead of the subject.
fn matches_one(
    service: &TokenService<'_>,
    credentials: &[Arc<NamedCredential>],
    assertion: &Assertion<'_>,
    issuer: &Issuer<'_>,
) -> Result<(), Refusal> {
    let audiences = assertion.claims.audiences();
    // A credential names the URI of the token-exchange audience, but Entra's own tokens contain the GUID of this
    // audience.
    let audience = match (audiences.as_slice(), issuer) {
        ([one], Issuer::Entra { .. }) if *one == EXCHANGE_APP_ID => {
            service.cloud.exchange_uri().unwrap_or_default()
        }
        ([one], _) => one,
        _ => "",
    };
    let no_match = |code: u32, what: &str| {
        refusal(
            code,
            format!(
                "No matching federated identity record found for presented assertion {what}. Assertion issuer: '{}'. \
                 Assertion subject: '{}'. Assertion audience: '{}'.",
                assertion.issuer,
                assertion.subject,
                audiences.join(", ")
            ),
        )
    };
    let of_issuer = |it: &&FederatedCredential| it.issuer == assertion.issuer;
    let of_both = |it: &&FederatedCredential| of_issuer(it) && of_subject(it, assertion);
    let credentials = || credentials.iter().map(|it| &it.credential);
    if !credentials().any(|it| of_issuer(&it)) {
        return Err(no_match(700_211, "issuer"));
    }
    let is_flexible = |it: &FederatedCredential| it.claims_matching_expression.is_some();
    if !credentials().any(|it| of_both(&it)) {
        if credentials().filter(of_issuer).any(is_flexible) {
            return Err(no_match(7_002_131, "subject with the claims matching expression"));
        }
        let same_but_case = |it: &FederatedCredential| it.subject.eq_ignore_ascii_case(&assertion.subject);
        if credentials().filter(of_issuer).any(same_but_case) {
            return Err(no_match(
                7_002_138,
                "subject, which differs from a credential's subject only in upper and lower case",
            ));
        }
        return Err(no_match(700_213, "subject"));
    }
    let mut candidates = credentials().filter(of_both).peekable();
    if candidates.peek().is_some_and(|it| it.audience == EXCHANGE_APP_ID) {
        return Err(refusal(
            700_214,
            "The audience of the federated identity credential must be in URI form.",
        ));
    }
    if is_exchange_elsewhere(service.cloud, audience) {
        return Err(other_clouds_exchange(audience));
    }
    if !candidates.any(|it| !audience.is_empty() && it.audience == audience) {
        return Err(no_match(700_212, "audience"));
    }
    Ok(())
}

/// Returns whether the credential has the assertion's subject, or an expression that accepts the assertion's claims.
fn of_subject(credential: &FederatedCredential, assertion: &Assertion<'_>) -> bool {
    match &credential.claims_matching_expression {
        None => credential.subject == assertion.subject,
        // `World::check` refuses an expression that cannot be parsed, so a world from a file contains only valid
        // expressions.
        Some(text) => Expression::parse(text).is_ok_and(|expression| expression.holds(&assertion.claims)),
    }
}

fn signature(
    service: &TokenService<'_>,
    assertion: &Assertion<'_>,
    issuer: &Issuer<'_>,
) -> Result<(), Refusal> {
    let failed =
        || refusal(700_027, "The assertion's signature is not valid with any current key of its issuer.");
    let kid = assertion.jws.header().kid();
    let own = match issuer {
        Issuer::Entra { .. } | Issuer::EntraV1 => Some(service.keys),
        Issuer::External => service.issuers.get(&assertion.issuer).map(|keys| &**keys),
    };
    let keys: Vec<PublicKey> = if let Some(own) = own {
        kid.and_then(|kid| own.by_kid(kid)).map(|key| key.public().clone()).into_iter().collect()
    } else {
        let known = service.world.external_issuers.iter().find(|it| it.issuer == assertion.issuer);
        let keys = match known {
            Some(issuer) if issuer.is_fetched() => service.fetched.of(&issuer.issuer).map_err(|why| {
                refusal(90_061, format!("Request to External OIDC endpoint failed: {why}."))
            })?,
            Some(issuer) => issuer.keys.clone(),
            None => Vec::new(),
        };
        let of_that_name = keys.iter().filter(|jwk| issuers::kid(jwk) == kid);
        of_that_name.filter_map(|jwk| PublicKey::from_jwk(jwk).ok()).collect()
    };
    assertion.jws.check_signature(&keys, &[Algorithm::Rs256]).map_err(|_| failed())
}

/// Checks a token of Entra: it must be an application's token, and must not have been issued for a federated
/// credential.
fn kind_of_token(assertion: &Assertion<'_>, issuer: &Issuer<'_>) -> Result<(), Refusal> {
    if matches!(issuer, Issuer::External) {
        return Ok(());
    }
    if assertion.claims.string("idtyp") != Some("app") {
        return Err(refusal(
            700_229,
            "Only app-only tokens can be used as federated identity credentials for Entra ID issuers.",
        ));
    }
    if assertion.claims.contains("xms_ficinfo") {
        return Err(refusal(
            700_231,
            "Tokens obtained by a federated identity credential may not be used as a federated identity credential: \
             exchanges cannot be chained.",
        ));
    }
    Ok(())
}

/// Compares the assertion's binding with the certificate of this connection.
fn binding(caller: &Caller<'_>, assertion: &Assertion<'_>, presented: Presented) -> Result<(), Refusal> {
    let unbound = || {
        refusal(
            392_199,
            "'mtls_pop' is not supported for a bearer assertion in federated flows: the assertion must be bound to a \
             certificate ('cnf' with 'x5t#S256') and sent as 'jwt-pop'.",
        )
    };
    let confirmation = assertion.claims.confirmation().map_err(|_| unbound())?;
    if presented == Presented::AsBearer && caller.bound {
        return Err(unbound());
    }
    match (confirmation, caller.thumbprint()) {
        (None, _) if presented == Presented::AsBearer => Ok(()),
        (None, _) => Err(unbound()),
        (Some(claim), Some(thumbprint)) if thumbprint.matches_claim(claim) => Ok(()),
        (Some(_), Some(_)) => Err(other_certificate()),
        // A bound assertion without its certificate may be stolen, so it is refused.
        (Some(_), None) => Err(only_by_mutual_tls()),
    }
}
