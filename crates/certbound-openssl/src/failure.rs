//! The errors of OpenSSL, as the errors of a transport.

use std::io;

use certbound::error::{TlsAlert, TransportError, Untrusted};
use certbound_core::cause::Cause;
use openssl::ssl::{self, ErrorCode, SslAlert, SslRef};
use openssl::x509::X509VerifyResult;

/// The difference between the number of a received alert and its reason code in OpenSSL (`SSL_AD_REASON_OFFSET`).
const ALERTS: i32 = 1000;

/// Returns the error of a first handshake that failed.
pub(crate) fn handshake(host: &str, ssl: &SslRef, error: ssl::Error) -> TransportError {
    let host = host.to_owned();
    let verified = ssl.verify_result();
    if verified != X509VerifyResult::OK {
        let reason = match verified.as_raw() {
            // X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN
            18 | 19 => Untrusted::UnknownRoot { issuer: None, is_self_signed: true },
            // X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE
            20 | 21 => Untrusted::UnknownRoot { issuer: None, is_self_signed: false },
            _ => Untrusted::Other { reason: verified.error_string().to_owned() },
        };
        return TransportError::Tls { host, reason: Cause::new(reason) };
    }
    TransportError::Tls { host, reason: cause(error) }
}

/// Returns the alert by which the server ended TLS, or else the error itself.
fn cause(error: ssl::Error) -> Cause {
    if let Some(alert) = alert(&error) {
        return Cause::new(alert);
    }
    match error.into_io_error() {
        Ok(error) => error.into(),
        Err(error) if error.code() == ErrorCode::SYSCALL || is_unexpected_end(&error) => {
            Cause::new(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"))
        }
        Err(error) => Cause::new(error),
    }
}

/// Returns the alert in an error of OpenSSL.
fn alert(error: &ssl::Error) -> Option<TlsAlert> {
    let reasons = error.ssl_error()?.errors().iter().map(openssl::error::Error::reason_code);
    let number = reasons.filter_map(SslAlert::from_reason_code).map(|it| it.reason_code() - ALERTS).next()?;
    u8::try_from(number).ok().map(TlsAlert)
}

/// Returns whether the server closed the connection without the closing alert (`SSL_R_UNEXPECTED_EOF_WHILE_READING`).
fn is_unexpected_end(error: &ssl::Error) -> bool {
    const UNEXPECTED_END: i32 = 294;
    error.ssl_error().is_some_and(|stack| stack.errors().iter().any(|it| it.reason_code() == UNEXPECTED_END))
}

/// Returns the error of an open connection, with the alert instead of OpenSSL's text.
pub(crate) fn broken(error: io::Error) -> io::Error {
    let kind = error.kind();
    match error.downcast::<ssl::Error>() {
        Ok(error) => match alert(&error) {
            Some(alert) => io::Error::new(io::ErrorKind::ConnectionAborted, alert),
            None if is_unexpected_end(&error) => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection ended before the answer was complete",
            ),
            None => io::Error::new(kind, error),
        },
        Err(error) => error,
    }
}
