//! A token of either kind, and the facts about it that are reported on stderr.

use certbound::region::RegionOutcome;
use certbound::{BearerToken, BindingCertificate, BoundToken, Region, Secret, UnixTime};

use super::{Terminal, tell};

/// A token of either kind.
#[derive(Clone)]
pub(crate) enum Token {
    Bound(BoundToken),
    Bearer(BearerToken),
}

impl Token {
    pub(crate) fn secret(&self) -> &Secret {
        match self {
            Self::Bound(token) => token.secret(),
            Self::Bearer(token) => token.secret(),
        }
    }

    pub(crate) fn details(&self) -> certbound::token::Details {
        match self {
            Self::Bound(token) => token.details(),
            Self::Bearer(token) => token.details(),
        }
    }

    pub(crate) fn expires_at(&self) -> UnixTime {
        match self {
            Self::Bound(token) => token.expires_at(),
            Self::Bearer(token) => token.expires_at(),
        }
    }

    /// Returns the scheme under which `call` sends the token. The issuer of a bound token determines the scheme.
    pub(crate) fn scheme(&self) -> &'static str {
        match self {
            Self::Bound(token) => token.scheme().as_str(),
            Self::Bearer(_) => BearerToken::SCHEME,
        }
    }

    /// Reports on the region of the token's request.
    pub(crate) fn tell_region(&self, terminal: Terminal) {
        let details = self.details();
        if let Some(outcome) = &details.region_outcome {
            tell_region(details.region.as_ref(), outcome, terminal);
        }
        // Leg 1 can use the global endpoint although Leg 2 used the region.
        let told = details.region_outcome.as_ref().and_then(RegionOutcome::reason);
        for leg in details.legs.iter().filter(|leg| leg.region_outcome.reason() != told) {
            tell_region(leg.region.as_ref(), &leg.region_outcome, terminal);
        }
    }

    pub(super) fn binding(&self) -> Option<&BindingCertificate> {
        match self {
            Self::Bound(token) => Some(token.binding()),
            Self::Bearer(_) => None,
        }
    }
}

/// The text for a bound token that is opaque or encrypted.
pub(super) const UNSEEN: &str =
    "not observed: the token cannot be read, but the type of the answer is that of a bound token";

/// Reports on stderr that the binding of a token was not observed. Some formats of the result cannot contain this fact.
pub(crate) fn tell_unseen(token: &Token) {
    if matches!(token, Token::Bound(_)) && !token.details().binding_observed {
        tell(&format!("warning: the binding was {UNSEEN}"));
    }
}

/// Reports on stderr the source of a detected region, if the stations of the flow are reported. The function always
/// warns if the region could not be detected or reached, so that the global endpoint was used.
pub(crate) fn tell_region(region: Option<&Region>, outcome: &RegionOutcome, terminal: Terminal) {
    if let Some(reason) = outcome.reason() {
        tell(&format!("warning: the global endpoint was used: {reason}"));
    }
    match region {
        Some(region) if outcome.source().is_some() && terminal.tells_stations() => {
            tell(&format!("Region {region}: {outcome}"));
        }
        _ => {}
    }
}
