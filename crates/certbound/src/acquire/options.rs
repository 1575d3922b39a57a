//! The options of one acquisition, and their effect on its request.

use std::sync::Arc;

use certbound_core::authority::Authority;
use certbound_core::endpoint::{Flow, TokenEndpoint};
use certbound_core::refusal::recovery::Failure;
use certbound_core::request::{Grant, TokenRequest};
use certbound_core::secret::Secret;

use super::claims;
use crate::acquire::client_core::ClientCore;
use crate::cache::Kind;
use crate::cache::key::Extras;
use crate::correlation::CorrelationId;
use crate::credential::{AssertionRequest, signed_assertion};
use crate::error::Misuse;
use crate::observe::Observer;
use crate::rejected::TokenHash;

/// The options of one acquisition.
#[derive(Clone, Default)]
pub(crate) struct Options {
    pub(crate) extras: Extras,
    /// The authority of the request. Its form for the cache is one of the extras.
    pub(crate) authority: Option<Authority>,
    /// The user's token for On-Behalf-Of. Its hash is one of the extras.
    pub(crate) user: Option<Arc<Secret>>,
    pub(crate) claims: Option<String>,
    pub(crate) force_refresh: bool,
    pub(crate) rejected: Option<TokenHash>,
    pub(crate) correlation_id: Option<CorrelationId>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) unfit_attribute_token: bool,
    /// The capabilities of the client of Leg 2, if this is a request of Leg 1 for an exchange.
    pub(crate) capabilities_of_leg2: Vec<String>,
    /// Values for the telemetry header only, in the order of [`CALLER`].
    pub(crate) caller: [String; 3],
}

/// Query parameters that are sent only in the telemetry header, with the largest number of characters of each value.
const CALLER: [(&str, usize); 3] = [("caller-sdk-id", 10), ("caller-sdk-ver", 20), ("ManagedCert", 1)];

/// The reason to refuse a parameter whose name is reserved.
const OWN: &str = "the name is reserved for a parameter of the library";

/// Body parameters for which the library has an option.
const BY_OPTION: [&str; 2] = ["attributes", "attribute_tokens"];

impl Options {
    pub(super) fn add_query(&mut self, name: String, value: String) {
        let told = CALLER.iter().position(|(known, _)| known.eq_ignore_ascii_case(&name));
        match told.and_then(|at| Some((self.caller.get_mut(at)?, CALLER.get(at)?))) {
            Some((slot, (_, length))) => {
                let safe = |c: &char| c.is_ascii_graphic() && !matches!(c, ',' | '|');
                *slot = value.chars().filter(safe).take(*length).collect();
            }
            None => self.extras.query.push((name, value)),
        }
    }

    /// Refuses options that contradict each other, that cannot be sent, or that a token of this kind cannot have.
    pub(crate) fn check(&self, kind: Kind) -> Result<(), Misuse> {
        if self.force_refresh && self.rejected.is_some() {
            return Err(Misuse::ForceAndRejected);
        }
        if self.unfit_attribute_token {
            return Err(Misuse::AttributeToken);
        }
        let printable =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        for (name, value) in &self.extras.query {
            let refuse = |reason| Err(Misuse::QueryParameter { name: shown(name), reason });
            if !printable(name) || !printable(value) || name.contains(['&', '=']) || value.contains('&') {
                return refuse(Misuse::NOT_OF_A_URL);
            }
            if TokenRequest::is_own_encoded(name) {
                return refuse(OWN);
            }
        }
        self.check_body()?;
        match &self.extras.assertion_claims {
            Some(_) if kind == Kind::Bound => Err(Misuse::AssertionClaimsOfBound),
            Some(claims) => signed_assertion::extra_claims(claims).map(drop),
            None => Ok(()),
        }
    }

    fn check_body(&self) -> Result<(), Misuse> {
        for (at, (name, value)) in self.extras.body.iter().enumerate() {
            let refuse = |reason| Err(Misuse::BodyParameter { name: shown(name), reason });
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                return refuse("its name is empty or has a character that is not printable");
            }
            if TokenRequest::is_own(name) {
                return refuse(OWN);
            }
            if value.trim().is_empty() {
                return refuse("it has no value");
            }
            if self.extras.body.iter().take(at).any(|(earlier, _)| earlier == name) {
                let by_option = BY_OPTION.contains(&name.as_str());
                return refuse(if by_option {
                    "the library has an option for this parameter"
                } else {
                    "it is given twice"
                });
            }
        }
        Ok(())
    }

    /// Returns whether the options allow a cache hit without further checks.
    pub(crate) fn plain(&self) -> bool {
        let nothing_to_check = self.authority.is_none()
            && self.extras.query.is_empty()
            && self.extras.body.is_empty()
            && self.extras.assertion_claims.is_none()
            && !self.unfit_attribute_token;
        !self.force_refresh && self.claims.is_none() && self.rejected.is_none() && nothing_to_check
    }

    /// Returns the options for a refresh in the background: without observer, correlation id, claims, rejected token
    /// and forced refresh.
    pub(crate) fn for_background(self) -> Self {
        Self {
            observer: None,
            correlation_id: None,
            claims: None,
            rejected: None,
            force_refresh: false,
            ..self
        }
    }

    /// Returns the row of the table of recoveries for a caller that forces a refresh or answers a claims challenge.
    pub(super) fn wish(&self) -> Option<Failure> {
        match (self.force_refresh, &self.claims) {
            (true, _) => Some(Failure::ForcedRefresh),
            (false, Some(_)) => Some(Failure::ClaimsChallenge),
            (false, None) => None,
        }
    }

    pub(crate) fn extras(&self) -> Option<&Extras> {
        (self.extras != Extras::default()).then_some(&self.extras)
    }

    pub(super) fn flow(&self) -> Flow {
        if self.user.is_some() { Flow::User } else { Flow::ClientCredentials }
    }

    pub(super) fn grant(&self) -> Grant<'_> {
        match &self.user {
            Some(assertion) => Grant::OnBehalfOf { assertion },
            None => Grant::ClientCredentials,
        }
    }

    pub(super) fn assertion_request(
        &self,
        client: &ClientCore,
        authority: &Authority,
        endpoint: &TokenEndpoint,
        correlation_id: CorrelationId,
    ) -> AssertionRequest {
        AssertionRequest {
            client_id: Arc::clone(&client.client_id),
            authority: authority.clone(),
            tenant: authority.tenant().cloned(),
            token_endpoint: endpoint.url().to_owned(),
            claims: self.claims.clone(),
            capabilities: client.capabilities.clone(),
            fmi_path: self.extras.assertion_fmi_path.clone(),
            correlation_id,
            observer: self.observer.clone(),
            assertion_claims: self.extras.assertion_claims.clone(),
        }
    }

    /// Returns the value of the `claims` parameter. `own` has the capabilities of the client or of the managed identity.
    pub(crate) fn merged_claims(&self, own: &[String]) -> Result<Option<String>, Misuse> {
        let more = self.capabilities_of_leg2.iter().filter(|capability| !own.contains(capability));
        let capabilities: Vec<String> = own.iter().chain(more).cloned().collect();
        claims::merged(&capabilities, self.claims.as_deref(), self.extras.client_claims.as_deref())
    }
}

fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}
