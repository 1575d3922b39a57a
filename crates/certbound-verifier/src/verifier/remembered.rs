//! Remembered decisions. They apply to the same token on a connection with the same certificate.

use aws_lc_rs::digest::{SHA256, digest};
use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;

use crate::authorization::{Authorization, Scheme};
use crate::peer::PeerCertificate;
use crate::verified::Verified;

/// Accepted tokens by hash, scheme **and certificate**: a decision never applies to a connection with a different
/// certificate. The cache stores at most `capacity` acceptances and no refusals. The verifier verifies a token again if
/// the token has expired or is too old, or if the keys of its issuer have changed or may no longer be used.
#[derive(Debug)]
pub(crate) struct Remembered(moka::sync::Cache<Key, Entry, foldhash::quality::RandomState>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    token: [u8; 32],
    scheme: Scheme,
    certificate: Option<Thumbprint>,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) verified: Verified,
    /// The time from which the token must be verified again: its expiry, or the end of its accepted age if that is
    /// earlier.
    pub(crate) until: UnixTime,
    /// The generation of the issuer's keys with which the token was verified.
    pub(crate) generation: u64,
    pub(crate) issuer: usize,
}

impl Remembered {
    pub(crate) fn new(capacity: u64) -> Self {
        let builder = moka::sync::Cache::builder().max_capacity(capacity);
        Self(builder.build_with_hasher(foldhash::quality::RandomState::default()))
    }

    pub(crate) fn key(authorization: &Authorization<'_>, peer: &PeerCertificate) -> Key {
        let mut token = [0; 32];
        token.copy_from_slice(digest(&SHA256, authorization.token().as_bytes()).as_ref());
        Key { token, scheme: authorization.scheme(), certificate: peer.thumbprint() }
    }

    /// Returns the decision, if `now` is before [`Entry::until`]. The keys of its issuer may have changed since.
    pub(crate) fn get(&self, key: &Key, now: UnixTime) -> Option<Entry> {
        self.0.get(key).filter(|entry| now < entry.until)
    }

    pub(crate) fn put(&self, key: Key, entry: Entry) {
        self.0.insert(key, entry);
    }
}
