//! The methods by which tests and the admin interface read and change the emulator.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use certbound_core::managed_identity::ServerThumbprint;
use certbound_core::time::UnixTime;
use http::Request;

use super::Emulator;
use crate::error::EmulatorError;
use crate::fault::Fault;
use crate::journal::{Journal, JournalEntry};
use crate::keys::ca::{self, ClientIdentity, IssueOptions};
use crate::keys::{ServerCertificate, fabric};
use crate::paths::ATTESTATION_SERVICE;
use crate::world::hosts::{self, Host};
use crate::world::{ExternalIssuer, World};

impl Emulator {
    /// Returns the world. It does not contain the changes that were made through Microsoft Graph.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Returns the emulator's time: the base clock plus the offset.
    pub fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Moves the emulator's clock by `seconds`. A negative number moves it back. [`Emulator::handle`] uses its argument
    /// `now` instead of this clock.
    pub fn advance(&self, seconds: i64) {
        self.clock.advance(seconds);
    }

    /// Returns the offset of the clock, in seconds.
    pub fn clock_offset(&self) -> i64 {
        self.clock.offset_seconds()
    }

    /// Returns the last requests, oldest first: at most [`MAX_ENTRIES`](crate::journal::MAX_ENTRIES), in at most
    /// [`MAX_BYTES`](crate::journal::MAX_BYTES) of memory.
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.journal.list()
    }

    /// Returns the shared journal, for a reader that reads the entries in pieces.
    pub(crate) fn shared_journal(&self) -> Arc<Journal> {
        Arc::clone(&self.journal)
    }

    /// Returns the last requests, oldest first, and removes them from the journal. Use it in a long-running program: no
    /// request is missing between two calls, unless the journal was full.
    pub fn take_journal(&self) -> Vec<JournalEntry> {
        self.journal.take()
    }

    /// Removes all entries of the journal.
    pub fn clear_journal(&self) {
        self.journal.clear();
    }

    /// Adds a rule after the others. If there are already 1000 rules, returns false and adds nothing. A rule with the
    /// count 0 never applies: this method does not add it, and returns true.
    pub fn add_fault(&self, fault: Fault) -> bool {
        self.faults.add(fault)
    }

    /// Returns the rules that still apply, with their remaining counts.
    pub fn faults(&self) -> Vec<Fault> {
        self.faults.list()
    }

    /// Removes all rules.
    pub fn clear_faults(&self) {
        self.faults.clear();
    }

    /// Gives a new signing key to the token service and to each external issuer that the emulator serves. The previous
    /// key stays published. A token that was signed by an older key is refused.
    ///
    /// # Errors
    /// [`EmulatorError`] if a key cannot be made.
    pub fn rotate_keys(&self) -> Result<(), EmulatorError> {
        for keys in std::iter::once(&self.signing).chain(self.issuers.values()) {
            keys.rotate(self.keys.another(self.now())?);
        }
        Ok(())
    }

    /// Empties the journal, removes the faults and resets the clock. Removes the fetched keys, the used assertions, and
    /// the machine's cached tokens, certificates and call counts. Discards the changes of vaults and the changes
    /// through Microsoft Graph. The delay of federated credentials begins again. Keys and tokens stay valid.
    pub fn reset(&self) {
        self.journal.clear();
        self.faults.clear();
        self.clock.reset();
        self.fetched.clear();
        self.used.clear();
        self.machine.clear();
        self.vaults.clear();
        *self.since.write().unwrap_or_else(PoisonError::into_inner) = self.now();
        self.directory.reset(&self.world, self.now());
    }

    /// Returns the external issuer whose keys must be fetched for the decision on this request. The caller fetches the
    /// keys and passes them to [`Emulator::learn_issuer`]. Most requests need no fetch.
    /// [`Server`](crate::serve::Server) does both steps by itself.
    pub fn issuer_to_ask(&self, now: UnixTime, request: &Request<Bytes>) -> Option<&ExternalIssuer> {
        self.fetched.wanted(&self.world, &self.directory, now, request)
    }

    /// Returns the lock of the task that fetches the keys of this issuer.
    pub(crate) fn turn_to_ask(&self, issuer: &ExternalIssuer) -> Arc<tokio::sync::Mutex<()>> {
        self.fetched.turn(&issuer.issuer)
    }

    /// Records the result of a fetch from an issuer: the issuer's keys, or the reason why they could not be fetched.
    pub fn learn_issuer(
        &self,
        issuer: &str,
        keys: Result<Vec<serde_json::Map<String, serde_json::Value>>, String>,
        now: UnixTime,
    ) {
        self.fetched.learn(issuer, keys, now);
    }

    /// Returns an attestation token for a key (the DER of the public key), valid for one day, as an attestation service
    /// would issue it. `fault` makes one part of the token wrong: `expired`, `issuer`, `key`, `jku` or `signature`. Any
    /// other value changes nothing.
    pub fn attest_for_tests(&self, public_key: &[u8], now: UnixTime, fault: &str) -> String {
        use aws_lc_rs::digest::{SHA256, digest};
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        use serde_json::{Map, Value, json};

        let Some(key) = self.signing.current() else { return String::new() };
        let mut header =
            Map::from_iter([("alg".to_owned(), json!("RS256")), ("kid".to_owned(), json!(key.kid()))]);
        if fault == "jku" {
            header.insert("jku".to_owned(), json!("https://evil.example/keys"));
        }
        let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, public_key));
        let wrong = |word: &str, wrong: Value, right: Value| if fault == word { wrong } else { right };
        let (day, now) = (24 * 3600, now.as_secs());
        let claims = Map::from_iter([
            ("iss".to_owned(), wrong("issuer", json!("https://evil.example"), json!(ATTESTATION_SERVICE))),
            ("exp".to_owned(), wrong("expired", json!(now - 1), json!(now + day))),
            ("key".to_owned(), wrong("key", json!("another"), json!(hash))),
        ]);
        let token = key.sign(&header, &claims);
        let mut token = token.map(|token| token.expose().to_owned()).unwrap_or_default();
        if fault == "signature" {
            token.truncate(token.len() - 8);
            token.push_str("AAAAAAAA");
        }
        token
    }

    /// Returns whether the emulator answers for this host.
    pub fn is_emulated(&self, host: &str) -> bool {
        Host::of(&self.world, host).is_some()
    }

    /// Returns the emulated hosts that have a fixed name. Hosts with a variable first label, such as regional hosts and
    /// vaults, are not in the list.
    pub fn host_names(&self) -> Vec<String> {
        hosts::domains(&self.world).into_iter().filter(|name| self.is_emulated(name)).collect()
    }

    /// Returns whether the TLS handshake of this host requests a client certificate.
    pub fn asks_for_certificate(&self, host: &str) -> bool {
        Host::of(&self.world, host).is_some_and(|host| host.asks_for_certificate())
    }

    /// Returns whether this host requests the client certificate by a renegotiation after a request.
    pub fn asks_late(&self, host: &str) -> bool {
        Host::of(&self.world, host).is_some_and(|host| host.asks_late())
    }

    /// Returns the name of the world's first host with `late_certificate`, if the world has a host of this kind.
    pub fn late_host(&self) -> Option<&str> {
        let mut hosts = self.world.resources.iter().flat_map(|resource| &resource.hosts);
        hosts.find(|host| host.late_certificate).map(|host| host.name.as_str())
    }

    /// Returns whether the TLS handshake of this host offers HTTP/2.
    pub(crate) fn offers_http2(&self, host: &str) -> bool {
        Host::of(&self.world, host).is_some_and(|host| host.offers_http2())
    }

    /// Returns the certificate authority that clients have to trust, PEM. Its name constraints allow only the domains
    /// of the emulated hosts.
    pub fn ca_pem(&self) -> &str {
        self.keys.authority.pem()
    }

    /// Returns the certificate authority, DER.
    pub fn ca_der(&self) -> &[u8] {
        self.keys.authority.der()
    }

    /// Returns the client certificate of the built-in applications. Its key is RSA, and its subject is
    /// [`CLIENT_SUBJECT`](crate::world::builtin::CLIENT_SUBJECT).
    pub fn client_identity(&self) -> &ClientIdentity {
        &self.keys.client
    }

    /// Issues a client certificate of the emulator's authority, which SN/I trusts.
    ///
    /// # Errors
    /// [`EmulatorError`] if the key cannot be used in a certificate.
    pub fn issue_client_certificate(&self, options: &IssueOptions) -> Result<ClientIdentity, EmulatorError> {
        self.keys.authority.issue(options)
    }

    /// Issues a client certificate for a public key whose private key is elsewhere, for example in a PKCS#11 token.
    /// `key` is DER of a `SubjectPublicKeyInfo`. Returns the chain, DER, leaf first. The key in `options` is ignored.
    ///
    /// # Errors
    /// [`EmulatorError`] if the key is neither RSA with 2048 to 8192 bits nor EC on P-256, P-384 or P-521.
    pub fn issue_for_public_key(
        &self,
        options: &IssueOptions,
        key: &[u8],
    ) -> Result<Vec<Vec<u8>>, EmulatorError> {
        self.keys.authority.issue_for(options, key)
    }

    /// Makes a self-signed client certificate, which no authority issued.
    ///
    /// # Errors
    /// The errors of [`Emulator::issue_client_certificate`].
    pub fn self_signed_client_certificate(
        &self,
        options: &IssueOptions,
    ) -> Result<ClientIdentity, EmulatorError> {
        self.keys.authority.self_signed(options)
    }

    /// Returns the SHA-1 thumbprint of Service Fabric's server certificate, for `IDENTITY_SERVER_THUMBPRINT`.
    pub fn service_fabric_thumbprint(&self) -> ServerThumbprint {
        ServerThumbprint::of_der(self.keys.fabric.cert.der())
    }

    /// Returns Service Fabric's server certificate, PEM, for clients that trust certificates and cannot compare a
    /// thumbprint.
    pub fn service_fabric_pem(&self) -> String {
        self.keys.fabric.cert.pem()
    }

    /// Returns certificate and key of Service Fabric's server. If `foreign` is true, the certificate is new, and no
    /// client knows it.
    pub(crate) fn service_fabric_certificate(
        &self,
        foreign: bool,
    ) -> Result<ServerCertificate, EmulatorError> {
        let own = &self.keys.fabric;
        Ok(match foreign {
            true => fabric::certificate(self.now()).map(|new| ca::for_tls(&new.cert, &new.signing_key))?,
            false => ca::for_tls(&own.cert, &own.signing_key),
        })
    }

    /// Returns certificate and key for an emulated host.
    pub(crate) fn host_certificate(&self, host: &str) -> Result<ServerCertificate, EmulatorError> {
        self.keys.authority.host_certificate(host)
    }
}
