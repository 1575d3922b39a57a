//! Checks of a request's head, apart from the token.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use url::form_urlencoded;

/// Whether a request has both `Content-Length` and `Transfer-Encoding` (RFC 9112, section 6.1). If a proxy uses one of
/// them and the server uses the other, an attacker can smuggle a second request past the proxy.
pub(crate) fn has_two_lengths(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING)
}

/// Whether a query has a token (RFC 6750, section 2.3). Servers would write a token in the URL to their logs.
///
/// The query is a byte slice, because a URL in a header is possibly not UTF-8. Some servers separate parameters by `;`,
/// and some servers ignore the case of names.
pub(crate) fn has_token(query: &[u8]) -> bool {
    let pieces = query.split(|byte| *byte == b';');
    let mut names = pieces.flat_map(form_urlencoded::parse).map(|(name, _)| name);
    names.any(|name| name.eq_ignore_ascii_case("access_token"))
}

/// Whether the request has `x-ms-tokenboundauth` exactly once, with exactly the value `true`.
pub fn opted_in(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all("x-ms-tokenboundauth").iter();
    matches!((values.next(), values.next()), (Some(value), None) if value.as_bytes() == b"true")
}
