//! Changes of the client's requests on their way, which prove that the checklist detects each change.

use std::sync::Arc;

use bytes::Bytes;
use certbound::Transport;
use certbound::error::TransportError;
use certbound::transport::{Answer, HyperTransport, Via};
use http::Uri;

/// The change of the client's token requests, or of the arguments of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tamper {
    /// No change: the demo itself.
    #[default]
    Nothing,
    /// The assertion type becomes `jwt-bearer`.
    JwtBearer,
    /// No certificate is presented.
    NoCertificate,
    /// The regional host becomes the global host.
    GlobalHost,
    /// Leg 2 does not request a bound token: `token_type` is left out.
    NotBoundInLeg2,
    /// Commands that make a managed identity Leg 2 make it Leg 1 instead.
    MachineInLeg1,
}

/// The real transport, with a change of the requests.
#[derive(Clone)]
pub(super) struct Tampered {
    pub(super) inner: Arc<HyperTransport>,
    pub(super) with: Tamper,
}

impl Transport for Tampered {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        if !request.uri().path().ends_with("/oauth2/v2.0/token") {
            return self.inner.send(request, via).await;
        }
        match self.with {
            Tamper::Nothing | Tamper::MachineInLeg1 => self.inner.send(request, via).await,
            Tamper::NoCertificate => self.inner.send(request, Via::Tls).await,
            Tamper::JwtBearer => self.inner.send(replaced(request, "%3Ajwt-pop", "%3Ajwt-bearer"), via).await,
            Tamper::NotBoundInLeg2 if has_assertion(&request) => {
                self.inner.send(replaced(request, "&token_type=mtls_pop", ""), via).await
            }
            Tamper::NotBoundInLeg2 => self.inner.send(request, via).await,
            Tamper::GlobalHost => self.inner.send(at_global_host(request), via).await,
        }
    }
}

fn has_assertion(request: &http::Request<Bytes>) -> bool {
    String::from_utf8_lossy(request.body()).contains("&client_assertion=")
}

fn replaced(request: http::Request<Bytes>, from: &str, to: &str) -> http::Request<Bytes> {
    request.map(|body| Bytes::from(String::from_utf8_lossy(&body).replace(from, to)))
}

fn at_global_host(mut request: http::Request<Bytes>) -> http::Request<Bytes> {
    let url = request.uri().to_string().replacen("://westus3.", "://", 1);
    if let Ok(url) = url.parse::<Uri>() {
        *request.uri_mut() = url;
    }
    request
}
