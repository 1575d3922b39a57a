//! Explains errors of the system and of TLS in sentences. Most explanations have the original error as their source.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use certbound_core::cause::Cause;
use rustls::{AlertDescription, InvalidMessage, PeerIncompatible};

use crate::error::Error;
use crate::untrusted::untrusted;

/// An error of the HTTP library, whose own text is only `dns error` or `tcp connect error`. Its source is the error of
/// the system.
#[derive(Debug)]
struct NotConnected<E> {
    words: String,
    error: E,
}

impl<E: StdError> fmt::Display for NotConnected<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl<E: StdError> StdError for NotConnected<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

/// Returns the error of a connection to `port` that could not be opened, as a cause.
pub(crate) fn not_connected(error: impl StdError + Send + Sync + 'static, port: u16) -> Cause {
    let system = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let is_refused = system.is_some_and(|system| system.kind() == io::ErrorKind::ConnectionRefused);
    // The library has no type for a name that was not found.
    let words = match error.to_string().as_str() {
        "dns error" => "the name cannot be resolved".to_owned(),
        _ if is_refused => format!("no server listens at port {port}"),
        _ => return Cause::new(error),
    };
    Cause::new(NotConnected { words, error })
}

/// The error of a connection that the other side closed, with an explanation. The source is an I/O error.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
struct Closed {
    words: &'static str,
    #[source]
    error: io::Error,
}

/// Returns the error of a connection that the other side closed too early, as a cause.
pub(crate) fn closed(words: &'static str) -> Cause {
    Cause::new(Closed { words, error: io::ErrorKind::UnexpectedEof.into() })
}

/// An error of TLS with an explanation before its own text.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
struct TlsFailed {
    words: &'static str,
    #[source]
    error: rustls::Error,
}

/// Returns the error of a failed handshake.
pub(crate) fn tls(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof && !has_tls_error(&error) {
        return Error::Tls { cause: closed("the server closed the connection in the TLS handshake") };
    }
    let Some(known) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return Error::Tls { cause: error.into() };
    };
    if let Some(reason) = untrusted(known) {
        return Error::Tls { cause: Cause::new(reason.clone()) };
    }
    let words = match known {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server does not use TLS at this port"
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => "the server supports neither TLS 1.2 nor TLS 1.3",
        _ => return Error::Tls { cause: error.into() },
    };
    Error::Tls { cause: Cause::new(TlsFailed { words, error: known.clone() }) }
}

/// Returns the error of a handshake in which the server requested the client's certificate, and no certificate was
/// presented.
pub(crate) fn no_common_scheme() -> Error {
    let words = "the server requested the client's certificate, and accepts no signature scheme of its key";
    let error = PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon.into();
    Error::Tls { cause: Cause::new(TlsFailed { words, error }) }
}

/// Returns the error of an open connection. The TLS library's text for a missing closure alert contains a link to the
/// library's documentation, so this function replaces the text.
pub(crate) fn interrupted(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof if !has_tls_error(&error) => io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the connection ended before the answer was complete",
        ),
        _ => error,
    }
}

/// Returns whether the error is an error of TLS, such as an alert, and not an error of the system.
pub(crate) fn has_tls_error(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(error: rustls::Error) -> String {
        tls(io::Error::new(io::ErrorKind::InvalidData, error)).to_string()
    }

    #[test]
    fn failures_of_tls_are_sentences_and_keep_their_type() {
        for (error, words) in [
            (InvalidMessage::InvalidContentType.into(), "the server does not use TLS at this port"),
            (
                rustls::Error::AlertReceived(AlertDescription::ProtocolVersion),
                "the server supports neither TLS 1.2 nor TLS 1.3",
            ),
            (
                PeerIncompatible::ServerDoesNotSupportTls12Or13.into(),
                "the server supports neither TLS 1.2 nor TLS 1.3",
            ),
        ] {
            let Error::Tls { cause } = tls(io::Error::new(io::ErrorKind::InvalidData, error)) else {
                panic!("it is an error of TLS")
            };
            assert!(cause.to_string().starts_with(&format!("{words}: ")), "{cause}");
            assert!(cause.find::<rustls::Error>().is_some());
        }
        let other = text_of(rustls::Error::AlertReceived(AlertDescription::HandshakeFailure));
        assert_eq!(other, "the TLS handshake failed: received fatal alert: HandshakeFailure");
        let ended = io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
        let Error::Tls { cause } = tls(ended) else { panic!("it is an error of TLS") };
        assert!(cause.to_string().starts_with("the server closed the connection in the TLS handshake: "));
        assert!(cause.find::<io::Error>().is_some(), "a connection that ended is an error of the system")
    }

    #[test]
    fn a_connection_that_ended_has_no_link_in_its_text() {
        let ended = io::Error::new(io::ErrorKind::UnexpectedEof, "peer closed: https://docs.rs/rustls");
        let ended = interrupted(ended);
        assert_eq!(ended.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(ended.to_string(), "the connection ended before the answer was complete");
        let reset = interrupted(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    }
}
