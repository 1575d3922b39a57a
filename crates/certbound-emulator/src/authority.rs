//! The token endpoint: every check in the order of the real service, the first failure being the answer.

mod form;

use bytes::Bytes;
use certbound_core::certificate::{CertificateChain, Thumbprint};
use certbound_core::environment::Cloud;
use certbound_core::request::ReceivedForm;
use certbound_core::tenant::TenantId;
use certbound_core::time::UnixTime;
use http::Request;

use self::form::Credential;
use crate::answers::{Refusal, refusal};
use crate::issue::{Grant, MachineClaims, Proof};
use crate::issuers::FetchedKeys;
use crate::keys::SigningKeys;
use crate::keys::machine_ca::{Issued, MachineAuthority};
use crate::local_issuer::IssuerKeys;
use crate::replay::UsedAssertions;
use crate::tls_facts::TlsFacts;
use crate::trust::TrustedAuthorities;
use crate::world::hosts::TOKEN_PATH;
use crate::world::{Application, BoundTokens, Resource, Tenant, World, is_only_elsewhere};
use crate::{assertion, federation, scope};

/// The token service as one request sees it.
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
    /// Since when the world is as it is.
    pub(crate) since: UnixTime,
    /// The keys of issuers that are served here.
    pub(crate) issuers: &'e IssuerKeys,
    pub(crate) fetched: &'e FetchedKeys,
    pub(crate) used: &'e UsedAssertions,
}

impl<'e> TokenService<'e> {
    /// The whole walk; the path is known to end in [`TOKEN_PATH`].
    pub(crate) fn decide(&self, request: &Request<Bytes>) -> Result<Grant<'e>, Refusal> {
        form::verb_and_content_type(request)?;
        let tenant = self.tenant(request.uri().path())?;
        let form = form::decode(request.body())?;
        form::required_parameters(&form)?;
        form::grant_type(&form)?;
        form::refuse_what_is_not_emulated(&form)?;
        let bound = form::asks_for_a_bound_token(&form)?;
        let capabilities = form::capabilities(&form)?;
        let (application, principal) = self.application(&form, tenant)?;
        let credential = Credential::of(&form)?;
        let certificate = self.certificate(bound || matches!(credential, Credential::BoundAssertion(_)))?;
        let caller = Caller { tenant, application, bound, certificate: certificate.as_ref() };
        let proof = self.prove(&caller, &credential)?;
        mutual_tls_enabled(&caller, self.mutual_tls)?;
        let (resource, audience) = self.resource(&form, bound)?;
        // Last of all: what is refused for another reason may be tried again.
        if let Credential::BoundAssertion(text) | Credential::SignedAssertion(text) = credential {
            assertion::parse(text)?.check_first_use(self, text)?;
        }
        let machine = match proof {
            Proof::Machine => self.world.managed_identity(&application.id),
            _ => None,
        };
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

    /// The certificate of this connection, its dates checked; none on an ordinary host, unless `needed`.
    fn certificate(&self, needed: bool) -> Result<Option<CertificateChain>, Refusal> {
        if !self.mutual_tls && !needed {
            return Ok(None);
        }
        let Some(chain) = self.tls.client_chain.as_ref().filter(|_| self.mutual_tls) else {
            let text = "The client certificate is missing from the request. Send it in the TLS handshake with a \
                        mutual-TLS host.";
            return Err(refusal(392_200, text));
        };
        let chain = CertificateChain::from_der(chain.clone())
            .map_err(|error| refusal(700_027, format!("The client certificate cannot be read: {error}.")))?;
        if self.now < chain.not_before() || self.now > chain.not_after() {
            let text = format!(
                "The client certificate is outside its validity: it is {}, and the certificate is valid from {} to {}.",
                self.now,
                chain.not_before(),
                chain.not_after()
            );
            return Err(refusal(392_204, text));
        }
        Ok(Some(chain))
    }

    fn prove(&self, caller: &Caller<'_>, credential: &Credential<'_>) -> Result<Proof, Refusal> {
        match credential {
            // The certificate alone proves the client of a bound token only: a plain one needs an assertion too.
            Credential::None => match caller.certificate.filter(|_| caller.bound) {
                Some(certificate) => self.by_certificate(caller.application, certificate),
                None => Err(refusal(
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

    /// The TLS certificate, by subject name and issuer.
    pub(crate) fn by_certificate(
        &self,
        application: &Application,
        chain: &CertificateChain,
    ) -> Result<Proof, Refusal> {
        // A machine's certificate is its own cloud's.
        let at_home = self.cloud == self.world.machine.cloud;
        if let Some(issued) = self.machines.known(chain.thumbprint()).filter(|_| at_home) {
            return by_machine(application, &issued);
        }
        if application.trusted_subjects.is_empty() {
            return Err(only_subject_name_or_federation());
        }
        if !application.trusted_subjects.iter().any(|subject| subject == chain.subject()) {
            let text = format!(
                "Invalid certificate. The certificate's subject name is not authorized for application '{}'.",
                application.id
            );
            return Err(refusal(700_030, text));
        }
        if !self.trust.vouch_for(chain.ders(), self.now) {
            return Err(refusal(
                700_027,
                "The certificate's subject name is registered, but no trusted authority issued it to a client.",
            ));
        }
        Ok(Proof::Certificate)
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

/// Who asks, as far as it is established before the proof.
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

/// A certificate that the machine's metadata service issued.
fn by_machine(application: &Application, issued: &Issued) -> Result<Proof, Refusal> {
    if issued.client_id != application.id {
        let text = format!(
            "Invalid certificate. The certificate's subject name is not authorized for application '{}'.",
            application.id
        );
        return Err(refusal(700_030, text));
    }
    match issued.attestation_fault {
        None => Ok(Proof::Machine),
        Some(code) => {
            Err(refusal(code, "The attestation that the certificate was issued with is not accepted."))
        }
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

pub(crate) fn only_subject_name_or_federation() -> Refusal {
    refusal(
        392_189,
        "The mutual-TLS endpoint supports only certificates trusted by subject name and issuer, or federated \
         identity credentials.",
    )
}

fn mutual_tls_enabled(caller: &Caller<'_>, mutual_tls: bool) -> Result<(), Refusal> {
    if mutual_tls && !caller.application.mutual_tls_enabled {
        return Err(refusal(51_000, "Required feature not enabled: MtlsClientAuth is/are disabled."));
    }
    Ok(())
}
