//! One certificate as PEM on one line: URL-encoded, or with spaces instead of line ends.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode;

use crate::refusal::ForwardedError;

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// Returns the DER of the only certificate. Only base64 and white space are allowed between its two markers. A lenient
/// reader would ignore other text there, and so would accept several forms of one header.
pub(super) fn url_encoded(value: &[u8]) -> Result<Vec<u8>, ForwardedError> {
    let pem: Vec<u8> = percent_decode(value).collect();
    let pem = pem.trim_ascii();
    let body = pem.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    let body = body.ok_or(ForwardedError::Malformed)?;
    if body.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Err(ForwardedError::SeveralCertificates);
    }
    let base64: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(base64).map_err(|_| ForwardedError::Malformed)
}
