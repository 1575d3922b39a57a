//! The condition of a rule: the requests that the rule matches.

use certbound_core::credential::JWT_POP;
use certbound_core::environment::Cloud;
use certbound_core::request::{MTLS_POP, ReceivedForm};
use serde::{Deserialize, Serialize};

use super::platform::{PlatformEndpoint, PlatformKind};
use crate::scope;
use crate::world::hosts::{Host, TOKEN_PATH};

/// The requests that a rule matches. A field that is absent matches every request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The end of the host name, lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_suffix: Option<String>,
    /// A text that the path contains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_contains: Option<String>,
    /// The step of the flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leg: Option<LegKind>,
    /// The platform whose endpoint gets the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<PlatformKind>,
    /// The operation of the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<PlatformEndpoint>,
}

/// The facts of a request that a condition compares.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestFacts<'r> {
    pub(crate) host: &'r str,
    pub(crate) path: &'r str,
    pub(crate) leg: Option<LegKind>,
    pub(crate) platform: Option<PlatformKind>,
    pub(crate) endpoint: Option<PlatformEndpoint>,
    /// Whether the request has the header `Authorization`.
    pub(crate) has_token: bool,
    /// Whether the resource is a vault.
    pub(crate) is_vault: bool,
}

impl Condition {
    /// Returns the condition that matches every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Returns the condition that matches the requests of one step.
    pub fn leg(leg: LegKind) -> Self {
        Self { leg: Some(leg), ..Self::default() }
    }

    /// Returns the condition that matches every request to one platform's endpoints.
    pub fn platform(platform: PlatformKind) -> Self {
        Self { platform: Some(platform), ..Self::default() }
    }

    /// Returns the condition that matches one operation on every platform.
    pub fn endpoint(endpoint: PlatformEndpoint) -> Self {
        Self { endpoint: Some(endpoint), ..Self::default() }
    }

    pub(super) fn fits(&self, asked: &RequestFacts<'_>) -> bool {
        self.host_suffix.as_ref().is_none_or(|suffix| asked.host.ends_with(suffix.as_str()))
            && self.path_contains.as_ref().is_none_or(|part| asked.path.contains(part.as_str()))
            && self.leg.is_none_or(|wanted| asked.leg == Some(wanted))
            && self.platform.is_none_or(|wanted| asked.platform == Some(wanted))
            && self.endpoint.is_none_or(|wanted| asked.endpoint == Some(wanted))
    }
}

/// A step of the flow. The request alone determines the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LegKind {
    /// A request for a bound token for the token-exchange audience, by certificate.
    Leg1,
    /// A request for a token by a `jwt-pop` assertion.
    Leg2,
    /// A request for a bound token for a resource, by certificate.
    Direct,
    /// A call of a resource.
    Resource,
}

impl LegKind {
    pub(crate) fn of(host: &Host<'_>, path: &str, body: &[u8]) -> Option<Self> {
        if let Host::Resource(..) = host {
            return Some(Self::Resource);
        }
        let form = ReceivedForm::decode(body).ok().filter(|_| path.ends_with(TOKEN_PATH))?;
        if form.value("client_assertion_type") == Some(JWT_POP) {
            return Some(Self::Leg2);
        }
        if form.has("client_assertion") || form.value("token_type") != Some(MTLS_POP) {
            return None;
        }
        let resource = scope::of_resource(form.value("scope")?)?.strip_suffix("/.default")?;
        let exchange = Cloud::ALL.iter().any(|cloud| cloud.exchange_uri() == Some(resource));
        Some(if exchange { Self::Leg1 } else { Self::Direct })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_fits_only_what_it_names() {
        let condition = Condition {
            host_suffix: Some(".microsoft.com".to_owned()),
            path_contains: Some("/token".to_owned()),
            ..Condition::any()
        };
        let at = |host, path| RequestFacts { host, path, ..RequestFacts::default() };
        assert!(condition.fits(&at("mtlsauth.microsoft.com", "/t/oauth2/v2.0/token")));
        assert!(!condition.fits(&at("mtlsauth.microsoft.com", "/t")));
        assert!(!condition.fits(&at("example.com", "/t/oauth2/v2.0/token")));
        let leg2 = RequestFacts { leg: Some(LegKind::Leg2), ..at("a", "/") };
        assert!(!Condition::leg(LegKind::Leg1).fits(&leg2));
        assert!(Condition::any().fits(&at("a", "/")));

        let plain = RequestFacts::of_platform("a", "/metadata/identity/oauth2/token");
        assert!(Condition::platform(PlatformKind::Imds).fits(&plain));
        assert!(Condition::endpoint(PlatformEndpoint::Token).fits(&plain));
        assert!(!Condition::platform(PlatformKind::Arc).fits(&plain));
        assert!(!Condition::endpoint(PlatformEndpoint::IssueCredential).fits(&plain));
        assert!(!Condition::platform(PlatformKind::Imds).fits(&leg2));
        assert!(!Condition::endpoint(PlatformEndpoint::Token).fits(&leg2), "a request to the token service");
    }
}
