//! A test of your own code against the emulator in the same process. It opens no port, does not sleep, and controls the
//! clock.
//!
//! In your own crate, `certbound-emulator` and `certbound-testkit` are dev-dependencies, and the test is in `tests/`.

use certbound::credential::Credential;
use certbound::{Client, Cloud, Error, ResourceScope};
use certbound_testkit::Pair;

/// The code under test. It returns the expiry of the token.
async fn expiry<C: Credential>(client: &Client<C>) -> Result<u64, Error> {
    let token = client.bearer_token(&ResourceScope::key_vault(Cloud::Public)).await?;
    Ok(token.expires_at().as_secs())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let pair = Pair::new();
    println!("the token expires at {}", expiry(&pair.leg2()).await?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_token_is_returned_from_the_cache_until_it_nears_its_end() {
        let pair = Pair::new();
        let client = pair.leg2();
        let first = expiry(&client).await.unwrap();
        assert_eq!(expiry(&client).await.unwrap(), first);
        assert_eq!(pair.emulator().journal().len(), 2, "one request for each leg");

        pair.clock().advance(Duration::from_secs(24 * 3600));
        assert!(expiry(&client).await.unwrap() > first);
    }
}
