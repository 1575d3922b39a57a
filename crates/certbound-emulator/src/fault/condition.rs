//! Which requests a rule is about.

use certbound_core::credential::JWT_POP;
use certbound_core::environment::Cloud;
use certbound_core::request::{MTLS_POP, ReceivedForm};
use serde::{Deserialize, Serialize};

use crate::hosts::Host;

/// Which requests a rule is about; what is left out fits every request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The end of the host name, lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_suffix: Option<String>,
    /// A part of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_contains: Option<String>,
    /// The station of the flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leg: Option<LegKind>,
}

impl Condition {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// The requests of one station.
    pub fn leg(leg: LegKind) -> Self {
        Self { leg: Some(leg), ..Self::default() }
    }

    pub(super) fn fits(&self, host: &str, path: &str, leg: Option<LegKind>) -> bool {
        self.host_suffix.as_ref().is_none_or(|suffix| host.ends_with(suffix.as_str()))
            && self.path_contains.as_ref().is_none_or(|part| path.contains(part.as_str()))
            && self.leg.is_none_or(|wanted| leg == Some(wanted))
    }
}

/// A station of the flow, as told from the request alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LegKind {
    /// A bound token for the exchange audience, by certificate.
    Leg1,
    /// Any token, by a `jwt-pop` assertion.
    Leg2,
    /// A bound token for a resource, by certificate.
    Direct,
    /// A call of a resource.
    Resource,
}

impl LegKind {
    pub(crate) fn of(host: &Host<'_>, path: &str, body: &[u8]) -> Option<Self> {
        if let Host::Resource(..) = host {
            return Some(Self::Resource);
        }
        let form = ReceivedForm::decode(body).ok().filter(|_| path.ends_with("/oauth2/v2.0/token"))?;
        if form.value("client_assertion_type") == Some(JWT_POP) {
            return Some(Self::Leg2);
        }
        if form.has("client_assertion") || form.value("token_type") != Some(MTLS_POP) {
            return None;
        }
        let resource = form.value("scope")?.strip_suffix("/.default")?;
        let exchange = Cloud::ALL.iter().any(|cloud| cloud.exchange_uri() == resource);
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
            leg: None,
        };
        assert!(condition.fits("mtlsauth.microsoft.com", "/t/oauth2/v2.0/token", None));
        assert!(!condition.fits("mtlsauth.microsoft.com", "/t", None));
        assert!(!condition.fits("example.com", "/t/oauth2/v2.0/token", None));
        assert!(!Condition::leg(LegKind::Leg1).fits("a", "/", Some(LegKind::Leg2)));
        assert!(Condition::any().fits("a", "/", None));
    }
}
