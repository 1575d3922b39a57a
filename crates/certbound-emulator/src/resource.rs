//! A resource that enforces the binding with the same verifier as a real resource. Each kind of resource has its own
//! form of answers.

mod custom;
mod graph;
mod vault;

use std::error::Error;

use bytes::Bytes;
use certbound_core::environment::Cloud;
use certbound_core::tenant::TenantId;
use certbound_core::time::UnixTime;
use certbound_verifier::{
    Answer, AnswerStyle, Authorization, BindingPolicy, Issuer, KeySet, PeerCertificate, Refusal, Scheme,
    Verified, Verifier, opted_in,
};
use http::{HeaderMap, Request, Response};

pub(crate) use self::vault::Vaults;
use crate::directory::Directory;
use crate::keys::SigningKeys;
use crate::keys::vault::VaultKeys;
use crate::tls_facts::TlsFacts;
use crate::world::{
    BoundTokens, Resource, ResourceStyle, TokenBindingMode, TokenBindingParameters, TokenVersion, World,
};

/// A resource, with the context of one request.
pub(crate) struct ResourceServer<'e> {
    pub(crate) world: &'e World,
    pub(crate) keys: &'e SigningKeys,
    pub(crate) directory: &'e Directory,
    pub(crate) resource: &'e Resource,
    /// The rules of a vault for bound tokens: those of the world, or those of a fault.
    pub(crate) token_binding: Option<TokenBindingParameters>,
    pub(crate) now: UnixTime,
    pub(crate) tls: &'e TlsFacts,
    pub(crate) host: &'e str,
    /// The time of the start or of the last reset.
    pub(crate) since: UnixTime,
    pub(crate) vaults: &'e Vaults,
    pub(crate) vault_keys: &'e VaultKeys,
}

/// The caller of an accepted request.
pub(crate) struct Caller {
    pub(crate) application: String,
    /// The `x5t#S256` of the connection's certificate, if the token is bound to this certificate.
    pub(crate) bound_to: Option<String>,
    pub(crate) token: Verified,
}

impl ResourceServer<'_> {
    pub(crate) fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let style = self.resource.style;
        let mut response = match self.check(request.headers()) {
            Ok(caller) => match style {
                ResourceStyle::Graph => graph::answer(self, request, &caller),
                ResourceStyle::Vault => vault::answer(self, request, &caller),
                ResourceStyle::Custom => custom::success(self, request, &caller),
            },
            Err(refusal) => self.refuse(&refusal),
        };
        if style == ResourceStyle::Vault {
            vault::sign(request, &mut response);
        }
        response
    }

    /// Returns the form of the verifier's answers.
    fn style(&self) -> AnswerStyle {
        match self.resource.style {
            ResourceStyle::Custom => AnswerStyle::MtlsPop,
            ResourceStyle::Graph => AnswerStyle::Graph,
            ResourceStyle::Vault => {
                // Clients refuse a challenge whose resource does not match the vault's host.
                let host = self.host.split_once('.').map_or(self.host, |(_, domain)| domain);
                let tenant = self.world.tenants.first().map(|tenant| tenant.id.clone()).unwrap_or_default();
                AnswerStyle::Vault { tenant, resource: format!("https://{host}") }
            }
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Response<Bytes> {
        let answer = Answer::new(refusal, &self.style());
        let mut response = answer.response();
        if self.resource.style == ResourceStyle::Graph {
            // The verifier determines the code and the text. The other members are the same in every error of Graph.
            let body = graph::error(self, answer.status(), answer.code(), answer.message());
            *response.body_mut() = body.into_body();
        }
        response
    }

    fn check(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let authorization = Authorization::from_headers(headers)?;
        let of_a_vault = self.resource.style == ResourceStyle::Vault;
        if of_a_vault && authorization.scheme() == Scheme::MtlsPop && !opted_in(headers) {
            return Err(Refusal::OptInMissing);
        }
        let peer = match self.tls.client_leaf() {
            None => PeerCertificate::none(),
            // A leaf that cannot be parsed cannot be the token's certificate.
            Some(leaf) => PeerCertificate::from_der(leaf).map_err(|_| Refusal::NoCertificate)?,
        };
        let (verifier, keys) = self.verifier()?;
        let verified = verifier.check(&keys, &authorization, &peer, self.now)?;
        if verified.roles().next().is_none() {
            return Err(Refusal::NoPermission);
        }
        Ok(Caller {
            application: verified.client_id().unwrap_or_default().to_owned(),
            bound_to: verified.thumbprint().map(|thumbprint| thumbprint.x5t_s256()),
            token: verified,
        })
    }

    /// Returns a verifier for tokens of this world's tenants in every cloud with this resource as the audience, and its
    /// keys.
    ///
    /// # Errors
    /// [`Refusal::KeysUnavailable`] if no verifier can be built from the world.
    fn verifier(&self) -> Result<(Verifier, KeySet), Refusal> {
        let tenants = self.world.tenants.iter().filter_map(|tenant| TenantId::parse(&tenant.id).ok());
        let tenants: Vec<TenantId> = tenants.collect();
        let (mut builder, mut keys) = (Verifier::builder(), KeySet::new());
        for cloud in Cloud::ALL {
            let issuer = Issuer::entra(*cloud, tenants.clone()).map_err(|error| misconfigured(&error))?;
            for key in self.keys.live() {
                keys = keys.with_key(&issuer, key.kid(), key.public().clone());
            }
            builder = builder.issuer_with_keys(issuer, KeySet::new());
        }
        builder = builder.audience(&self.resource.app_id);
        if self.resource.token_version == TokenVersion::V1 {
            for uri in &self.resource.uris {
                builder = builder.audience(uri).audience(format!("{uri}/"));
            }
        }
        // If there are rules for bound tokens, only these rules decide. Otherwise `bound_tokens` decides.
        let requires_bound = match self.token_binding {
            Some(rules) => rules.mode == TokenBindingMode::Enforced,
            None => self.resource.bound_tokens == BoundTokens::Required,
        };
        let policy = if requires_bound { BindingPolicy::Required } else { BindingPolicy::WhenBound };
        // The verifier accepts every caller. `ResourceServer::check` then requires a role.
        let verifier = builder.binding(policy).dangerous_any_caller().build();
        verifier.map(|verifier| (verifier, keys)).map_err(|error| misconfigured(&error))
    }
}

/// Returns the refusal of a resource whose verifier cannot be built from the world. The response does not contain the
/// reason, so this function writes it to the log.
fn misconfigured(error: &dyn Error) -> Refusal {
    tracing::warn!(%error, "no verifier can be built from the world of the emulator");
    let reason = format!("no verifier can be built from the world of the emulator: {error}");
    let retry_after = std::time::Duration::from_secs(30);
    Refusal::KeysUnavailable { reason, host: None, is_transient: false, retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::EmulatorKeys;

    #[test]
    fn the_refusal_of_a_resource_without_a_verifier_names_what_is_wrong() {
        let now = UnixTime::from_secs(1_800_000_000);
        let keys = EmulatorKeys::generate(&World::built_in(), now).unwrap();
        let reason = |change: fn(&mut World)| {
            let mut world = World::built_in();
            change(&mut world);
            let server = ResourceServer {
                world: &world,
                keys: &SigningKeys::new(keys.first.clone()),
                directory: &Directory::new(&world, now),
                resource: &world.resources[0],
                token_binding: None,
                now,
                tls: &TlsFacts::default(),
                host: "",
                since: now,
                vaults: &Vaults::default(),
                vault_keys: &keys.vault,
            };
            server.verifier().err().map(|refusal| refusal.to_string())
        };
        assert_eq!(reason(|_| {}), None);
        for (change, expected) in [
            ((|world| world.tenants.clear()) as fn(&mut World), "no tenant is set"),
            (|world| world.tenants[0].id = "contoso.example".to_owned(), "`contoso.example` is a name"),
            (|world| world.resources[0].app_id.clear(), "no audience is set"),
        ] {
            let reason = reason(change).unwrap();
            assert!(reason.contains(expected), "{reason}");
        }
    }
}
