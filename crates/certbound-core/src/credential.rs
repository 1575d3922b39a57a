//! The parameters by which a client authenticates at the token service.

use crate::secret::Secret;

/// `client_assertion_type` of an assertion bound to the TLS certificate. Microsoft defined it; it is not in the IANA
/// registry.
pub const JWT_POP: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";

/// `client_assertion_type` of a plain JWT assertion (RFC 7523, section 2.2).
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The client's proof in the body of a token request. The mTLS host also requires the TLS certificate.
///
/// The caller cannot choose the assertion type: a bound assertion always has `jwt-pop`, even if the client requests a
/// Bearer token.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ClientProof<'a> {
    /// The body has no proof: the TLS handshake is the proof (RFC 8705, section 2).
    CertificateOnly,
    /// A token from Leg 1, bound to the certificate of this connection.
    BoundAssertion(&'a Secret),
    /// A JWT that the client signed itself, or an unbound assertion.
    SignedAssertion(&'a Secret),
    /// A client secret (RFC 6749, section 2.3.1).
    Secret(&'a Secret),
}

impl<'a> ClientProof<'a> {
    /// The parameters of the proof, in wire order.
    pub fn parameters(self) -> Vec<(&'static str, &'a str)> {
        let (kind, assertion) = match self {
            Self::CertificateOnly => return Vec::new(),
            Self::BoundAssertion(assertion) => (JWT_POP, assertion),
            Self::SignedAssertion(assertion) => (JWT_BEARER, assertion),
            Self::Secret(secret) => return vec![("client_secret", secret.expose())],
        };
        vec![("client_assertion_type", kind), ("client_assertion", assertion.expose())]
    }
}
