//! Refresh ahead: a new token is fetched while the old one still serves.

use std::sync::Arc;

use super::Acquisition;
use crate::background::Background;
use crate::cache::flight::Load;
use crate::certificate::is_blamed;
use crate::error::Error;

impl Acquisition {
    /// Fetches anew in the background. Nobody waits for it: a failure shows when the old token is over.
    #[cold]
    pub(super) fn refresh_ahead(mut self) {
        self.options = self.options.of_nobody();
        self.ahead = true;
        let owner = self.client.background.clone();
        Background::spawn(&owner, async move {
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "a token could not be refreshed ahead of its end yet");
            }
        });
    }

    /// A flight like any other: who needs the token meanwhile joins it.
    async fn refresh(self) -> Result<(), Error> {
        let certificate = self.credential.certificate().await?;
        let flight = self.flight(&self.key(certificate.as_ref()));
        let (cache, clock) = (self.client.cache.clone(), Arc::clone(&self.client.clock));
        let earlier = self.credential.earlier();
        let load = || -> Load { Box::pin(self.load(certificate)) };
        cache.refresh(flight, &earlier, is_blamed, load, &*clock).await
    }
}
