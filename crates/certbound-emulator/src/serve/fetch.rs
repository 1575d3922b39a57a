//! The fetch of an external issuer's keys by discovery over HTTPS, with limits of time, size and address.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certbound_core::json;
use certbound_https::{Client, Error, Explaining, Identity, Limits, Options};
use http::{Request, StatusCode, Uri};
use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use serde_json::{Map, Value};

use super::address::is_public;
use crate::emulator::Emulator;
use crate::world::ExternalIssuer;

/// The time limit for both documents together.
const LIMIT: Duration = Duration::from_secs(10);
const MAX_BYTES: usize = 256 * 1024;
const MAX_KEYS: usize = 64;

/// The reason why an issuer's keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("'{0}' is not an https URL with a host name")]
    Url(String),
    #[error(
        "{0} is at {1}, which is not an address of the public internet: set private_address_allowed if this is intended"
    )]
    Address(String, std::net::IpAddr),
    #[error("{0} cannot be reached: {1}")]
    Unreachable(String, io::Error),
    #[error("the request to {0} failed: {1}")]
    Request(String, #[source] Error),
    #[error("{0} returned the status {1} instead of 200; redirects are not followed")]
    Status(String, StatusCode),
    #[error("{0} is not {1}")]
    Document(String, &'static str),
    #[error("fetching the keys took longer than {} s", LIMIT.as_secs())]
    Slow,
    #[error("the trusted roots cannot be used: {0}")]
    Roots(rustls::Error),
}

/// Fetches the keys that are needed to decide this request. Requests at the same time share one fetch. The fetch
/// continues after a cancellation of the request that began it.
pub(super) async fn learn(emulator: &Arc<Emulator>, request: &Request<Bytes>) {
    let Some(issuer) = emulator.issuer_to_ask(emulator.now(), request) else { return };
    let turn = emulator.turn_to_ask(issuer).lock_owned().await;
    // A different request may have fetched the keys while this request waited.
    let Some(issuer) = emulator.issuer_to_ask(emulator.now(), request).cloned() else { return };
    let emulator = Arc::clone(emulator);
    let asking = tokio::spawn(async move {
        let keys = keys(&issuer).await.map_err(|why| why.to_string());
        emulator.learn_issuer(&issuer.issuer, keys, emulator.now());
        drop(turn);
    });
    // The task neither panics nor is aborted. If the runtime shuts down, this request ends too.
    let _ = asking.await;
}

/// Fetches the keys that the issuer publishes now.
async fn keys(issuer: &ExternalIssuer) -> Result<Vec<Map<String, Value>>, FetchError> {
    let identity = identity(issuer).map_err(FetchError::Roots)?;
    let fetch = Fetch { identity, private: issuer.private_address_allowed };
    let both = async {
        let url = format!("{}/.well-known/openid-configuration", issuer.issuer.trim_end_matches('/'));
        let discovery = fetch.document(&url).await?;
        let named = discovery.get("issuer").and_then(Value::as_str);
        if named != Some(issuer.issuer.as_str()) {
            return Err(FetchError::Document(
                url,
                "a document of this issuer, because its `issuer` is different",
            ));
        }
        let jwks = discovery.get("jwks_uri").and_then(Value::as_str).unwrap_or_default();
        let set = fetch.document(jwks).await?;
        let keys = set.get("keys").and_then(Value::as_array).filter(|keys| keys.len() <= MAX_KEYS);
        let keys = keys.map(|keys| keys.iter().filter_map(|key| key.as_object().cloned()).collect());
        keys.ok_or_else(|| FetchError::Document(jwks.to_owned(), "a set of at most 64 keys"))
    };
    tokio::time::timeout(LIMIT, both).await.unwrap_or(Err(FetchError::Slow))
}

struct Fetch {
    identity: Identity,
    private: bool,
}

impl Fetch {
    async fn document(&self, url: &str) -> Result<Map<String, Value>, FetchError> {
        let shown = || url.chars().filter(|c| !c.is_control()).take(256).collect::<String>();
        let uri: Uri = url.parse().map_err(|_| FetchError::Url(shown()))?;
        let host = uri.host().unwrap_or_default().to_owned();
        let plain = uri.scheme_str() == Some("https")
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if !plain || !matches!(ServerName::try_from(host.as_str()), Ok(ServerName::DnsName(_))) {
            return Err(FetchError::Url(shown()));
        }
        let address = self.address(&host, uri.port_u16().unwrap_or(443)).await?;
        let limits = Limits { connect: LIMIT, exchange: LIMIT, body: MAX_BYTES, ..Limits::default() };
        let options = Options {
            limits,
            address: Some(address),
            without_pool: true,
            bodies_of_ok_only: true,
            ..Options::default()
        };
        let client = Client::new(self.identity.clone(), options);
        let request = Request::get(uri).body(Bytes::new()).map_err(|_| FetchError::Url(shown()))?;
        let answer = client.send(request).await.map_err(|error| match error {
            Error::TimedOut { .. } => FetchError::Slow,
            error => FetchError::Request(host.clone(), error),
        });
        let answer = answer?.response;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(host, answer.status()));
        }
        json::parse_object(answer.body()).map_err(|_| FetchError::Document(shown(), "a JSON object"))
    }

    /// Looks up the host once and returns the address to connect to. The connection therefore uses the address that was
    /// checked.
    async fn address(&self, host: &str, port: u16) -> Result<SocketAddr, FetchError> {
        let unreachable = |error: io::Error| FetchError::Unreachable(host.to_owned(), error);
        let found: Vec<SocketAddr> =
            tokio::net::lookup_host((host, port)).await.map_err(unreachable)?.collect();
        // A host that has both public and private addresses is refused too.
        if let Some(private) = found.iter().find(|found| !self.private && !is_public(found.ip())) {
            return Err(FetchError::Address(host.to_owned(), private.ip()));
        }
        found.first().copied().ok_or_else(|| unreachable(io::Error::from(io::ErrorKind::AddrNotAvailable)))
    }
}

fn identity(issuer: &ExternalIssuer) -> Result<Identity, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match &issuer.trusted_roots {
        None => Arc::new(Verifier::new(Arc::clone(&provider))?),
        Some(pem) => {
            let mut roots = rustls::RootCertStore::empty();
            // The check of the world has already parsed these certificates.
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem.as_bytes()).flatten());
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?
        }
    };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let verifier = Arc::new(Explaining(verifier));
    Identity::anonymous(builder.dangerous().with_custom_certificate_verifier(verifier))
}

#[cfg(test)]
mod tests;
