//! The facts of a TLS connection. They are the only source of the client's certificate.

use certbound_core::certificate::Thumbprint;

/// The facts of one TLS connection.
///
/// These facts do not mean that the certificate is trusted. The handshake proved only that the client has the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// The server name that the client sent (RFC 6066, section 3).
    pub server_name: String,
    /// The certificates that the client sent, DER, leaf first. The field is `None` without a certificate.
    pub client_chain: Option<Vec<Vec<u8>>>,
    /// Whether the session was resumed.
    pub resumed: bool,
    /// The protocol version, such as `TLSv1_3`.
    pub protocol: Option<String>,
}

impl TlsFacts {
    /// Returns the facts of a full handshake with `server_name` without a client certificate.
    pub fn without_certificate(server_name: impl Into<String>) -> Self {
        Self { server_name: server_name.into(), ..Self::default() }
    }

    /// Returns the facts of a full handshake with `server_name`, in which the client proved its possession of the
    /// leaf's key.
    pub fn with_certificate(server_name: impl Into<String>, chain: Vec<Vec<u8>>) -> Self {
        Self { server_name: server_name.into(), client_chain: Some(chain), ..Self::default() }
    }

    /// Returns the client's leaf certificate, DER.
    pub fn client_leaf(&self) -> Option<&[u8]> {
        self.client_chain.as_ref()?.first().map(Vec::as_slice)
    }

    /// Returns the SHA-256 of the client's leaf certificate.
    pub fn client_thumbprint(&self) -> Option<Thumbprint> {
        self.client_leaf().map(Thumbprint::of_der)
    }
}
