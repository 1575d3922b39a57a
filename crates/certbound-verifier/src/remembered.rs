//! Decisions that are remembered: the same token on a connection with the same certificate.

use aws_lc_rs::digest::{SHA256, digest};
use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;

use crate::authorization::{Authorization, Scheme};
use crate::peer::PeerCertificate;
use crate::verified::Verified;

/// Accepted tokens by hash, scheme **and certificate**: a decision is never another connection's. Refusals are not
/// remembered. Bounded. A token that ended is judged anew, and so is one whose keys changed or are believed no more.
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
    /// When it has to be judged anew.
    pub(crate) until: UnixTime,
    /// Which state of the issuer's keys it was judged with.
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

    /// The decision, if the token still lives and its issuer's keys vouch for it: by issuer and generation.
    pub(crate) fn get(
        &self,
        key: &Key,
        now: UnixTime,
        vouch: impl FnOnce(usize, u64) -> bool,
    ) -> Option<Verified> {
        let entry = self.0.get(key)?;
        let live = now < entry.until && vouch(entry.issuer, entry.generation);
        live.then_some(entry.verified)
    }

    pub(crate) fn put(&self, key: Key, entry: Entry) {
        self.0.insert(key, entry);
    }
}
