//! certbound.

use certbound::{
    Authority, BindingCertificate, ByAssertion, BySecret, Client, ResourceScope, Secret, TenantId, TokenCache,
};

use crate::INSIDE;
use crate::work::{APP, Does, SCOPE, SECRET, SECRET_APP, TENANT};

pub(crate) struct Ours {
    scope: ResourceScope,
    secret: Client<BySecret>,
    legs: Option<(Client<ByAssertion>, TokenCache)>,
}

impl Ours {
    pub(crate) fn new() -> Self {
        let secret =
            Client::builder(authority(), SECRET_APP).with_secret(Secret::new(SECRET)).build().unwrap();
        Self { scope: ResourceScope::parse(SCOPE).unwrap(), secret, legs: None }
    }
}

fn authority() -> Authority {
    Authority::public(TenantId::parse(TENANT).unwrap())
}

fn legs() -> (Client<ByAssertion>, TokenCache) {
    let certificate = BindingCertificate::from_pem_file(std::env::var(INSIDE).unwrap()).unwrap();
    let cache = TokenCache::new();
    let leg1 = Client::builder(authority(), APP).with_certificate(certificate).build().unwrap();
    let leg2 = Client::builder(authority(), APP).with_cache(cache.clone()).with_assertions(leg1).build();
    (leg2.unwrap(), cache)
}

impl Does for Ours {
    async fn hit(&mut self) {
        self.secret.bearer_token(&self.scope).await.unwrap();
    }

    async fn cold(&mut self) {
        self.secret.bearer_token(&self.scope).force_refresh().await.unwrap();
    }

    async fn pair(&mut self) {
        let (leg2, cache) = self.legs.get_or_insert_with(legs);
        cache.clear();
        leg2.bound_token(&self.scope).await.unwrap();
    }
}
