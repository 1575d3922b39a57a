//! Changes of the client's requests. With them, tests prove that the checklist detects each change.

use std::sync::Arc;

use bytes::Bytes;
use certbound::error::TransportError;
use certbound::transport::{Answer, HyperTransport, Via};
use certbound::{BindingCertificate, Transport};
use http::Request;

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
    /// Leg 2 presents a different certificate than Leg 1.
    OtherCertificate,
    /// The commands of the demo use the managed identity as Leg 1 instead of Leg 2.
    MachineInLeg1,
}

/// The real transport, with a change of the requests.
#[derive(Clone)]
pub(super) struct Tampered {
    pub(super) inner: Arc<HyperTransport>,
    pub(super) with: Tamper,
    /// The certificate for [`Tamper::OtherCertificate`] and for the thief. The service trusts it too.
    pub(super) other: BindingCertificate,
}

impl Transport for Tampered {
    async fn send(&self, request: Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let is_token_request = request.uri().path().ends_with("/oauth2/v2.0/token");
        let is_leg_2 = String::from_utf8_lossy(request.body()).contains("&client_assertion=");
        let (request, via) = match self.with {
            _ if !is_token_request => (request, via),
            Tamper::NoCertificate => (request, Via::Tls),
            Tamper::JwtBearer => (replaced(request, "%3Ajwt-pop", "%3Ajwt-bearer"), via),
            Tamper::NotBoundInLeg2 if is_leg_2 => (replaced(request, "&token_type=mtls_pop", ""), via),
            Tamper::OtherCertificate if is_leg_2 => (request, Via::Bound(&self.other)),
            Tamper::GlobalHost => (at_global_host(request), via),
            _ => (request, via),
        };
        self.inner.send(request, via).await
    }
}

fn replaced(request: Request<Bytes>, from: &str, to: &str) -> Request<Bytes> {
    request.map(|body| Bytes::from(String::from_utf8_lossy(&body).replace(from, to)))
}

fn at_global_host(mut request: Request<Bytes>) -> Request<Bytes> {
    if let Ok(url) = request.uri().to_string().replacen("://westus3.", "://", 1).parse() {
        *request.uri_mut() = url;
    }
    request
}
