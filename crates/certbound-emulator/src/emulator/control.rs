//! What tests and the admin surface ask and change.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use certbound_core::managed_identity::ServerThumbprint;
use certbound_core::time::UnixTime;
use http::Request;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::Emulator;
use crate::error::EmulatorError;
use crate::fault::Fault;
use crate::journal::{Journal, JournalEntry};
use crate::keys::ca::{ClientIdentity, IssueOptions};
use crate::keys::fabric::FabricCertificate;
use crate::world::hosts::{self, Host};
use crate::world::{ExternalIssuer, World};

impl Emulator {
    /// The world.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Its time: the base clock and what it was moved by.
    pub fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Moves its clock, backwards if negative. Requests given their own `now` do not notice.
    pub fn advance(&self, seconds: i64) {
        self.clock.advance(seconds);
    }

    /// How far the clock was moved, in seconds.
    pub fn clock_offset(&self) -> i64 {
        self.clock.offset_seconds()
    }

    /// The last requests, oldest first; at most [`MAX_ENTRIES`](crate::journal::MAX_ENTRIES), in at most
    /// [`MAX_BYTES`](crate::journal::MAX_BYTES) of memory.
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.journal.list()
    }

    /// The journal itself, for a reader that takes it piece by piece.
    pub(crate) fn shared_journal(&self) -> Arc<Journal> {
        Arc::clone(&self.journal)
    }

    /// Forgets the requests.
    pub fn clear_journal(&self) {
        self.journal.clear();
    }

    /// Adds a rule after the others; false, and nothing added, when there are a thousand already.
    pub fn add_fault(&self, fault: Fault) -> bool {
        self.faults.add(fault)
    }

    /// The rules in force, with the counts that are left.
    pub fn faults(&self) -> Vec<Fault> {
        self.faults.list()
    }

    /// Drops all rules.
    pub fn clear_faults(&self) {
        self.faults.clear();
    }

    /// The token service, and each issuer that is served here, signs with a new key from now on. The key before stays
    /// published; tokens of older ones are refused.
    ///
    /// # Errors
    /// [`EmulatorError`] when the key cannot be made.
    pub fn rotate_keys(&self) -> Result<(), EmulatorError> {
        for keys in std::iter::once(&self.signing).chain(self.issuers.values()) {
            keys.rotate(self.keys.another(self.now())?);
        }
        Ok(())
    }

    /// Empties the journal, drops the faults and sets the clock back; forgets fetched keys, used assertions, and
    /// what the machine's services keep and count, and begins the propagation of credentials anew. Keys and tokens stay
    /// good.
    pub fn reset(&self) {
        self.journal.clear();
        self.faults.clear();
        self.clock.reset();
        self.fetched.clear();
        self.used.clear();
        self.machine.clear();
        *self.since.write().unwrap_or_else(PoisonError::into_inner) = self.now();
    }

    /// The issuer outside whose keys must be fetched, and given to [`Emulator::learn_issuer`], before this request can
    /// be decided. None, as a rule; [`Server`](crate::serve::Server) does both by itself.
    pub fn issuer_to_ask(&self, now: UnixTime, request: &Request<Bytes>) -> Option<&ExternalIssuer> {
        self.fetched.wanted(&self.world, now, request)
    }

    /// Held while this issuer is asked.
    pub(crate) fn turn_to_ask(&self, issuer: &ExternalIssuer) -> Arc<tokio::sync::Mutex<()>> {
        self.fetched.turn(&issuer.issuer)
    }

    /// What came of asking an issuer: its keys, or why there are none.
    pub fn learn_issuer(
        &self,
        issuer: &str,
        keys: Result<Vec<serde_json::Map<String, serde_json::Value>>, String>,
        now: UnixTime,
    ) {
        self.fetched.learn(issuer, keys, now);
    }

    /// An attestation token for a key (DER of its public half), good for a day: what an attestation service would give.
    /// `fault` spoils it in one way: `expired`, `issuer`, `key`, `jku` or `signature`; any other word spoils nothing.
    pub fn attest_for_tests(&self, public_key: &[u8], now: UnixTime, fault: &str) -> String {
        use aws_lc_rs::digest::{SHA256, digest};
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        use serde_json::json;

        let Some(key) = self.signing.current() else { return String::new() };
        let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, public_key));
        let mut header = serde_json::Map::new();
        header.insert("alg".to_owned(), json!("RS256"));
        header.insert("kid".to_owned(), json!(key.kid()));
        if fault == "jku" {
            header.insert("jku".to_owned(), json!("https://evil.example/keys"));
        }
        let mut claims = serde_json::Map::new();
        let issuer =
            if fault == "issuer" { "https://evil.example" } else { "https://certbound.attest.azure.net" };
        let expiry = if fault == "expired" { now.as_secs() - 1 } else { now.as_secs() + 24 * 3600 };
        claims.insert("iss".to_owned(), json!(issuer));
        claims.insert("exp".to_owned(), json!(expiry));
        claims.insert("key".to_owned(), json!(if fault == "key" { "another" } else { &hash }));
        let token = key.sign(&header, &claims);
        let mut token = token.map(|token| token.expose().to_owned()).unwrap_or_default();
        if fault == "signature" {
            token.truncate(token.len() - 8);
            token.push_str("AAAAAAAA");
        }
        token
    }

    /// Whether requests to this host end here.
    pub fn is_emulated(&self, host: &str) -> bool {
        Host::of(&self.world, host).is_some()
    }

    /// The emulated hosts that have a fixed name. There are more: regions before some, any label before others.
    pub fn host_names(&self) -> Vec<String> {
        hosts::domains(&self.world).into_iter().filter(|name| self.is_emulated(name)).collect()
    }

    /// Whether the TLS handshake of this host asks for a client certificate.
    pub fn asks_for_certificate(&self, host: &str) -> bool {
        Host::of(&self.world, host).is_some_and(|host| host.asks_for_certificate())
    }

    /// The certificate authority to trust, PEM. It signs for the emulated hosts only.
    pub fn ca_pem(&self) -> &str {
        self.keys.authority().pem()
    }

    /// The certificate authority, DER.
    pub fn ca_der(&self) -> &[u8] {
        self.keys.authority().der()
    }

    /// The client certificate of the built-in applications, RSA, subject [`CLIENT_SUBJECT`](crate::world::builtin::CLIENT_SUBJECT).
    pub fn client_identity(&self) -> &ClientIdentity {
        self.keys.client()
    }

    /// A client certificate of the emulator's authority, which SN/I trusts.
    ///
    /// # Errors
    /// [`EmulatorError`] for a subject or key that cannot stand in a certificate.
    pub fn issue_client_certificate(&self, options: &IssueOptions) -> Result<ClientIdentity, EmulatorError> {
        self.keys.authority().issue(options)
    }

    /// A client certificate that nobody vouches for.
    ///
    /// # Errors
    /// As [`Emulator::issue_client_certificate`].
    pub fn self_signed_client_certificate(
        &self,
        options: &IssueOptions,
    ) -> Result<ClientIdentity, EmulatorError> {
        self.keys.authority().self_signed(options)
    }

    /// The SHA-1 thumbprint of Service Fabric's server on this machine, for `IDENTITY_SERVER_THUMBPRINT`.
    pub fn service_fabric_thumbprint(&self) -> ServerThumbprint {
        self.keys.fabric().thumbprint()
    }

    /// The certificate of that server, PEM, for clients that know servers by trust and not by a thumbprint.
    pub fn service_fabric_pem(&self) -> &str {
        self.keys.fabric().pem()
    }

    /// Certificate and key of that server, or, if it shall be foreign, of one that nobody knows.
    pub(crate) fn service_fabric_certificate(
        &self,
        foreign: bool,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), EmulatorError> {
        match foreign {
            true => Ok(FabricCertificate::new(self.now())?.for_tls()),
            false => Ok(self.keys.fabric().for_tls()),
        }
    }

    /// Certificate and key for an emulated host.
    pub(crate) fn host_certificate(
        &self,
        host: &str,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), EmulatorError> {
        self.keys.authority().host_certificate(host)
    }
}
