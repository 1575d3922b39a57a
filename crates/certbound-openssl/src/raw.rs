//! The calls of OpenSSL that no safe crate wraps. No other module of the workspace contains unsafe code.
#![expect(unsafe_code, reason = "the crate `openssl` has no function for these calls of the C library")]

use std::ffi::{c_int, c_long};
use std::ptr;

use foreign_types::ForeignTypeRef as _;
use openssl::error::ErrorStack;
use openssl::ssl::SslRef;
use openssl::x509::X509VerifyResult;
use openssl_sys::SSL;
use tokio_openssl::SslStream;

/// `SSL_CTRL_GET_CLIENT_CERT_TYPES` of `openssl/ssl.h`.
const GET_CLIENT_CERT_TYPES: c_int = 103;
/// `SSL_CTRL_GET_SIGNATURE_NID` of `openssl/ssl.h`.
const GET_SIGNATURE_NID: c_int = 132;

unsafe extern "C" {
    /// `int SSL_renegotiate(SSL *s)` of `openssl/ssl.h`.
    fn SSL_renegotiate(ssl: *mut SSL) -> c_int;
}

/// Requests a full renegotiation. The next handshake call of the server sends the HelloRequest.
///
/// # Errors
/// The errors of OpenSSL, for example for TLS 1.3, which has no renegotiation.
pub(crate) fn renegotiate<S>(stream: &mut SslStream<S>) -> Result<(), ErrorStack> {
    // SAFETY: the pointer belongs to `stream`, which is borrowed mutably, so it is valid and no other code uses the
    // object. `SSL_renegotiate` accepts every initialized `SSL`. It changes only this object, and does no input or
    // output.
    let result = unsafe { SSL_renegotiate(stream.ssl().as_ptr()) };
    if result == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// Returns whether the server requested a certificate in the last handshake of this client. OpenSSL drops earlier
/// requests when a handshake begins.
pub(crate) fn certificate_was_requested(ssl: &SslRef) -> bool {
    // SAFETY: the pointer belongs to `ssl`, so it is valid for the call. This command reads a field. It accepts a null
    // pointer for the list of types, and then returns only the number of types.
    let types = unsafe { openssl_sys::SSL_ctrl(ssl.as_ptr(), GET_CLIENT_CERT_TYPES, 0, ptr::null_mut()) };
    types > 0
}

/// Returns whether this client has chosen a signature algorithm for its certificate. If this function and
/// [`certificate_was_requested`] return true, the last handshake presented the certificate. OpenSSL chooses an
/// algorithm for each request, and sends no certificate if the server accepts no algorithm of its key.
pub(crate) fn certificate_was_signed(ssl: &SslRef) -> bool {
    let mut hash: c_int = 0;
    // SAFETY: the pointer belongs to `ssl`, so it is valid for the call. This command reads a field and writes one
    // `int`, for which `hash` has room.
    let chosen: c_long =
        unsafe { openssl_sys::SSL_ctrl(ssl.as_ptr(), GET_SIGNATURE_NID, 0, ptr::from_mut(&mut hash).cast()) };
    chosen == 1
}

/// Returns the result of the verification of a revoked certificate (`X509_V_ERR_CERT_REVOKED`), for which OpenSSL sends
/// the alert `certificate_revoked`.
pub(crate) fn revoked() -> X509VerifyResult {
    const REVOKED: c_int = 23;
    // SAFETY: the number is a result of `openssl/x509_vfy.h`.
    unsafe { X509VerifyResult::from_raw(REVOKED) }
}
