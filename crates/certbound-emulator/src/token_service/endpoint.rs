//! The token endpoint. The endpoint makes all checks in the order of the real service. The first check that fails
//! determines the answer.

mod form;

use bytes::Bytes;
use certbound_core::request::ReceivedForm;
use certbound_core::tenant::TenantId;
use http::Request;

use self::form::{Credential, TokenType};
use super::certificate::only_subject_name_or_federation;
use super::{Caller, TokenService, assertion, federation, other_clouds_exchange};
use crate::answers::{Refusal, refusal};
use crate::issue::{Grant, MachineClaims, Proof};
use crate::scope;
use crate::world::hosts::TOKEN_PATH;
use crate::world::{Application, BoundTokens, Resource, Tenant, is_exchange_elsewhere, is_only_elsewhere};

impl<'e> TokenService<'e> {
    /// Makes all checks of a request. The path ends in [`TOKEN_PATH`].
    pub(crate) fn decide(&self, request: &Request<Bytes>) -> Result<Grant<'e>, Refusal> {
        form::verb_and_content_type(request)?;
        let tenant = self.tenant(request.uri().path())?;
        let form = form::decode(request.body())?;
        form::required_parameters(&form)?;
        form::grant_type(&form)?;
        form::refuse_what_is_not_emulated(&form)?;
        let token_type = form::token_type(&form, self.mutual_tls)?;
        let bound = token_type == TokenType::Bound;
        let capabilities = form::capabilities(&form)?;
        let (application, principal) = self.application(&form, tenant)?;
        let credential = Credential::of(&form)?;
        let certificate = self.certificate(bound || matches!(credential, Credential::BoundAssertion(_)))?;
        let caller = Caller { tenant, application, bound, certificate: certificate.as_ref() };
        let proof = self.prove(&caller, &credential, token_type)?;
        mutual_tls_enabled(&caller, self.mutual_tls)?;
        let (resource, audience) = self.resource(&form, bound)?;
        // This check is the last check, so that an assertion can be sent again after a refusal for a different reason.
        if let Credential::BoundAssertion(text) | Credential::SignedAssertion(text) = credential {
            assertion::parse(text)?.check_first_use(self, text)?;
        }
        let machine = match proof {
            Proof::Machine => self.world.managed_identity(&application.id),
            _ => None,
        };
        let lifetime = self.world.lifetime(machine.is_some());
        Ok(Grant {
            tenant,
            application,
            principal,
            resource,
            audience,
            proof,
            machine: machine.map(|identity| MachineClaims::of(self.world, identity)),
            bound_to: certificate.filter(|_| bound).map(|certificate| certificate.thumbprint()),
            capabilities,
            cloud: self.cloud,
            lifetime,
            suggests_refresh: self.world.suggests_refresh(lifetime),
        })
    }

    fn tenant(&self, path: &str) -> Result<&'e Tenant, Refusal> {
        let segment =
            path.strip_suffix(TOKEN_PATH).and_then(|path| path.strip_prefix('/')).unwrap_or_default();
        if matches!(segment.to_ascii_lowercase().as_str(), "common" | "organizations" | "consumers") {
            let text = "The grant type is not supported over the /common, /organizations or /consumers endpoints. \
                        Use the tenant-specific endpoint.";
            return Err(refusal(9_001_023, text));
        }
        let Ok(name) = TenantId::parse(segment) else {
            let text = format!(
                "Specified tenant identifier '{segment}' is neither a valid DNS name, nor a valid external domain."
            );
            return Err(refusal(900_023, text));
        };
        self.world.tenant(name.as_str()).ok_or_else(|| {
            refusal(90_002, format!("Tenant '{name}' not found. Check that the tenant id is right."))
        })
    }

    fn application(
        &self,
        form: &ReceivedForm,
        tenant: &Tenant,
    ) -> Result<(&'e Application, &'e str), Refusal> {
        let client_id = form.value("client_id").unwrap_or_default();
        let found = self.world.application(client_id);
        let provisioned = found.and_then(|it| it.principals.get(&tenant.id).map(|principal| (it, principal)));
        let Some((application, principal)) = provisioned else {
            let text = format!(
                "Application with identifier '{client_id}' was not found in the directory '{}'. This can happen if \
                 the application has not been installed by the administrator of the tenant.",
                tenant.id
            );
            return Err(refusal(700_016, text));
        };
        if !application.enabled {
            let text = format!("Application '{client_id}' is disabled.");
            return Err(refusal(7_000_112, text));
        }
        Ok((application, principal))
    }

    fn prove(
        &self,
        caller: &Caller<'_>,
        credential: &Credential<'_>,
        token_type: TokenType,
    ) -> Result<Proof, Refusal> {
        match credential {
            // A certificate alone authenticates the request for a bound token. A Bearer token needs an assertion too,
            // except for a managed identity that names the type of its token.
            Credential::None => match (token_type, caller.certificate) {
                (TokenType::Bound, Some(certificate)) => self.by_certificate(caller.application, certificate),
                (TokenType::Bearer, Some(certificate)) if self.is_of_machine(certificate) => {
                    self.by_certificate(caller.application, certificate)
                }
                _ => Err(refusal(
                    7_000_218,
                    "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
                )),
            },
            Credential::Secret(_) if self.mutual_tls => Err(only_subject_name_or_federation()),
            Credential::Secret(secret) => by_secret(caller.application, secret),
            Credential::BoundAssertion(text) => {
                let assertion = assertion::parse(text)?;
                federation::prove(self, caller, &assertion, federation::Presented::AsBound)
            }
            Credential::SignedAssertion(text) => {
                let assertion = assertion::parse(text)?;
                if assertion.is_self_signed() {
                    assertion::prove(self, caller, &assertion)
                } else {
                    federation::prove(self, caller, &assertion, federation::Presented::AsBearer)
                }
            }
        }
    }

    fn resource(&self, form: &ReceivedForm, bound: bool) -> Result<(&'e Resource, String), Refusal> {
        let asked = form.value("scope").unwrap_or_default();
        let Some(one) = scope::of_resource(asked) else {
            let text = format!(
                "The provided request must include exactly one scope of a resource; '{asked}' is not valid."
            );
            return Err(refusal(70_011, text));
        };
        let Some(name) = one.strip_suffix("/.default") else {
            let text = format!(
                "The provided value for scope {one} is not valid. Client credential flows must have a scope value \
                 with /.default suffixed to the resource identifier (application ID URI)."
            );
            return Err(refusal(1_002_012, text));
        };
        if name.is_empty() {
            return Err(refusal(
                70_011,
                "The provided value for the input parameter 'scope' names no resource.",
            ));
        }
        if is_exchange_elsewhere(self.cloud, name) {
            return Err(other_clouds_exchange(name));
        }
        let elsewhere = is_only_elsewhere(self.cloud, name);
        let Some(resource) = self.world.resource(name).filter(|_| !elsewhere) else {
            return Err(refusal(
                500_011,
                format!("The resource principal named {name} was not found in the tenant."),
            ));
        };
        if bound && resource.bound_tokens == BoundTokens::Refused {
            return Err(refusal(
                392_196,
                format!("The resource application '{name}' does not support certificate-bound tokens."),
            ));
        }
        Ok((resource, name.to_owned()))
    }
}

fn by_secret(application: &Application, secret: &str) -> Result<Proof, Refusal> {
    let same = |known: &String| {
        aws_lc_rs::constant_time::verify_slices_are_equal(known.as_bytes(), secret.as_bytes()).is_ok()
    };
    if application.secrets.iter().any(same) {
        return Ok(Proof::Secret);
    }
    if application.expired_secrets.iter().any(same) {
        let text = format!("The provided client secret keys for app '{}' are expired.", application.id);
        return Err(refusal(7_000_222, text));
    }
    Err(refusal(
        7_000_215,
        format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, \
             not the client secret ID, for a secret added to app '{}'.",
            application.id
        ),
    ))
}

fn mutual_tls_enabled(caller: &Caller<'_>, mutual_tls: bool) -> Result<(), Refusal> {
    if mutual_tls && !caller.application.mutual_tls_enabled {
        return Err(refusal(51_000, "Required feature not enabled: MtlsClientAuth is/are disabled."));
    }
    Ok(())
}
