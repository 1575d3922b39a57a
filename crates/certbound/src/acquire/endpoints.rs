//! The token endpoints of a client, which are computed once and not for each request.

use std::sync::OnceLock;

use certbound_core::authority::Authority;
use certbound_core::endpoint::{Channel, EndpointError, Flow, TokenEndpoint};

/// The token endpoint of the first requested authority, for each flow and channel.
///
/// In most cases this authority is the client's own. An endpoint depends only on its authority. The endpoint of a
/// different authority is computed for each request.
#[derive(Default)]
pub(crate) struct Endpoints([OnceLock<(Authority, TokenEndpoint)>; 4]);

impl Endpoints {
    /// Returns the result of [`Authority::token_endpoint`].
    ///
    /// # Errors
    /// The errors of [`Authority::token_endpoint`]. They are not remembered.
    pub(crate) fn of(
        &self,
        authority: &Authority,
        flow: Flow,
        channel: Channel,
    ) -> Result<TokenEndpoint, EndpointError> {
        let [plain, mutual, user_plain, user_mutual] = &self.0;
        let place = match (flow, channel) {
            (Flow::ClientCredentials, Channel::Plain) => plain,
            (Flow::ClientCredentials, Channel::MutualTls) => mutual,
            (Flow::User, Channel::Plain) => user_plain,
            (Flow::User, Channel::MutualTls) => user_mutual,
        };
        if let Some((_, endpoint)) = place.get().filter(|(of, _)| of == authority) {
            return Ok(endpoint.clone());
        }
        let endpoint = authority.token_endpoint(flow, channel)?;
        // If a parallel call stored its endpoint first, that endpoint stays.
        let _ = place.set((authority.clone(), endpoint.clone()));
        Ok(endpoint)
    }
}

#[cfg(test)]
mod tests {
    use certbound_core::region::Region;
    use certbound_core::tenant::TenantId;

    use super::*;

    #[test]
    fn each_authority_flow_and_channel_has_its_own_whoever_came_first() {
        let tenant = |name: &str| TenantId::parse(name).unwrap();
        let own = Authority::public(tenant("contoso.example"));
        let regional = own.clone().with_region(Region::parse("westus3").unwrap());
        let other = own.for_tenant(tenant("fabrikam.example")).unwrap();
        let sovereign = Authority::parse("https://login.microsoftonline.us/contoso.example").unwrap();
        let endpoints = Endpoints::default();
        for _ in 0..2 {
            for authority in [&own, &regional, &other, &sovereign, &own] {
                for flow in [Flow::ClientCredentials, Flow::User] {
                    for channel in [Channel::Plain, Channel::MutualTls] {
                        let made = authority.token_endpoint(flow, channel);
                        assert_eq!(endpoints.of(authority, flow, channel), made, "{authority:?}");
                    }
                }
            }
        }
    }
}
