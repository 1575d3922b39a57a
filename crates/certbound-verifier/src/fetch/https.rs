//! Documents over HTTPS. Each document has its own connection, because the verifier usually fetches only two documents
//! of an issuer in an hour.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use certbound_https::{Client, Error, Explaining, Identity, InvalidProxy, Limits, Options, Proxy, fips};
use rustls::ClientConfig;

use super::{Fetch, FetchError, is_transient};
use crate::issuer::KeySet;

/// The time limit for the fetch of one document, including the connection.
const LIMIT: Duration = Duration::from_secs(10);

/// Fetches over HTTPS with the system's trust store and with the proxy of `HTTPS_PROXY` or `ALL_PROXY`, except for the
/// hosts of `NO_PROXY`. On Linux, `SSL_CERT_FILE` can name the trust store.
///
/// It follows no redirects and uses HTTP/1.1. A fetch may take at most 10 s, and a document may have at most 512 KiB.
#[derive(Clone, Debug)]
pub struct HttpsFetch {
    /// The error is returned by each fetch. A fetch never bypasses an unusable proxy.
    proxy: Result<Proxy, FetchError>,
    client: Arc<OnceLock<Result<Client, FetchError>>>,
}

impl HttpsFetch {
    /// Reads the proxy from the environment. The first fetch reads the trust store.
    pub fn new() -> Self {
        let refuse =
            |error: InvalidProxy| FetchError::Proxy { reason: error.to_string(), is_transient: false };
        Self { proxy: Proxy::from_env().map_err(refuse), client: Arc::default() }
    }

    /// Checks the proxy and reads the trust store now, so that an error is found before the first fetch. Later documents use this trust
    /// store.
    ///
    /// # Errors
    /// [`FetchError::Proxy`] if the URL of the proxy cannot be used. [`FetchError::Tls`] if the trust store cannot be read or contains no certificate. [`FetchError::NotFips`] if
    /// this build requires FIPS, and its TLS is not in FIPS mode.
    pub fn load(&self) -> Result<(), FetchError> {
        self.client().map(drop)
    }

    fn client(&self) -> Result<Client, FetchError> {
        let made = self.client.get_or_init(|| {
            let limits =
                Limits { connect: LIMIT, exchange: LIMIT, body: KeySet::MAX_BYTES, ..Limits::default() };
            let options = Options {
                limits,
                proxy: self.proxy.clone()?,
                without_pool: true,
                bodies_of_ok_only: true,
                ..Options::default()
            };
            Ok(Client::new(identity().map_err(unusable)?, options))
        });
        made.clone()
    }
}

impl Default for HttpsFetch {
    fn default() -> Self {
        Self::new()
    }
}

impl Fetch for HttpsFetch {
    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let request = http::Request::get(url)
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::CONNECTION, "close")
            .body(Bytes::new())
            .map_err(|_| FetchError::NotHttps)?;
        let answer = self.client()?.send(request).await.map_err(explain)?.response;
        match answer.status() {
            http::StatusCode::OK => Ok(answer.into_body().to_vec()),
            status => Err(FetchError::Status { status: status.as_u16() }),
        }
    }
}

fn explain(error: Error) -> FetchError {
    match error {
        Error::NotHttps => FetchError::NotHttps,
        Error::TimedOut { limit, .. } => FetchError::Timeout { seconds: limit.as_secs() },
        Error::Connect { reason } => FetchError::Connect { reason: reason.to_string() },
        Error::Proxy { .. } => FetchError::Connect { reason: error.to_string() },
        Error::ProxyRefused { status, .. } => {
            FetchError::Proxy { reason: error.to_string(), is_transient: is_transient(status.as_u16()) }
        }
        Error::ProxyKind => FetchError::Proxy { reason: error.to_string(), is_transient: false },
        Error::Tls { cause } => FetchError::Tls { reason: cause.to_string() },
        Error::TooLarge { limit } => FetchError::TooLarge { limit },
        Error::Interrupted { reason } | Error::EndedAfterCertificate { reason } => {
            FetchError::Protocol { reason: reason.to_string() }
        }
        // This client presents no certificate, so this error does not occur.
        Error::CertificateNotRequested => FetchError::Tls { reason: error.to_string() },
    }
}

fn identity() -> Result<Identity, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(&provider))?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let explaining = Arc::new(Explaining(Arc::new(verifier)));
    Identity::anonymous(builder.dangerous().with_custom_certificate_verifier(explaining))
}

fn unusable(error: rustls::Error) -> FetchError {
    match fips::refusal(&error) {
        Some(refusal) => FetchError::NotFips(refusal.clone()),
        None => FetchError::Tls { reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[cfg(feature = "fips")]
    #[test]
    fn tls_without_fips_has_an_error_of_its_own() {
        let refused = certbound_core::fips::require("TLS", false).unwrap_err();
        let error = rustls::Error::Other(rustls::OtherError(Arc::new(refused.clone())));
        assert_eq!(unusable(error), FetchError::NotFips(refused));
    }

    #[test]
    fn a_refusal_of_a_proxy_is_transient_only_if_its_status_is() {
        for (status, transient) in [(403, false), (407, false), (429, true), (502, true)] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = explain(Error::ProxyRefused { proxy: "proxy.example:3128".to_owned(), status });
            assert_eq!(error.is_transient(), transient, "{error}");
            assert!(error.to_string().contains("proxy.example:3128"), "{error}");
        }
        assert!(!explain(Error::ProxyKind).is_transient());
    }
}
