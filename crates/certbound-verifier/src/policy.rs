//! The rules of a resource, apart from the trusted issuers.

mod audiences;
mod binding;
mod callers;
mod kinds;
mod times;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use certbound_core::jwt::Claims;

pub use self::binding::BindingPolicy;
pub use self::callers::Callers;
pub(crate) use self::callers::Clients;
use crate::refusal::Refusal;

/// A function that checks the claims of a verified token and may demand other claims.
pub(crate) type Demand = Arc<dyn Fn(&Claims) -> Option<String> + Send + Sync>;

/// The settings of [`VerifierBuilder`](crate::VerifierBuilder) that a decision uses.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) audiences: HashSet<String>,
    pub(crate) several_audiences: bool,
    pub(crate) binding: BindingPolicy,
    pub(crate) callers: Callers,
    pub(crate) clients: Option<Clients>,
    pub(crate) roles: HashSet<String>,
    pub(crate) scopes: HashSet<String>,
    pub(crate) leeway: Duration,
    pub(crate) max_age: Option<Duration>,
    pub(crate) longest_lifetime: Duration,
    pub(crate) certificate_dates: bool,
    pub(crate) demand: Option<Demand>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            audiences: HashSet::new(),
            several_audiences: false,
            binding: BindingPolicy::default(),
            callers: Callers::default(),
            clients: None,
            roles: HashSet::new(),
            scopes: HashSet::new(),
            leeway: Duration::from_secs(60),
            max_age: None,
            // Entra's longest tokens are valid for 28 hours (continuous access evaluation).
            longest_lifetime: Duration::from_secs(29 * 3600),
            certificate_dates: true,
            demand: None,
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("audiences", &self.audiences)
            .field("binding", &self.binding)
            .field("callers", &self.callers)
            .field("clients", &self.clients)
            .field("roles", &self.roles)
            .field("scopes", &self.scopes)
            .field("leeway", &self.leeway)
            .finish_non_exhaustive()
    }
}

impl Policy {
    pub(crate) fn check_demand(&self, claims: &Claims) -> Result<(), Refusal> {
        match self.demand.as_ref().and_then(|demand| demand(claims)) {
            Some(claims) => Err(Refusal::ClaimsDemanded { claims }),
            None => Ok(()),
        }
    }
}
