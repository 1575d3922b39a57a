//! The errors of OpenSSL, as the errors of a transport.

use std::io;

use certbound::error::{TlsAlert, TransportError, Untrusted};
use certbound_core::cause::Cause;
use openssl::ssl::{self, ErrorCode, SslAlert};

/// The difference between the number of a received alert and its reason code in OpenSSL (`SSL_AD_REASON_OFFSET`).
const ALERTS: i32 = 1000;

/// Returns the error of a first handshake that failed. `untrusted` is the reason if OpenSSL refused the server's
/// certificate.
pub(crate) fn handshake(host: &str, untrusted: Option<Untrusted>, error: ssl::Error) -> TransportError {
    let reason = untrusted.map_or_else(|| cause(error), Cause::new);
    TransportError::Tls { host: host.to_owned(), reason }
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
