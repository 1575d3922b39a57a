//! What the head of a request says beside the token.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use url::form_urlencoded;

/// RFC 9112, section 6.1: a request with both is what smuggles a second one past a server that believes the other.
pub(crate) fn has_two_lengths(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING)
}

/// RFC 6750, section 2.3: a token in the URL ends in logs.
///
/// Decided on bytes, since a URL in a header need not be a text. `;` separates parameters for some servers, and names
/// have no case for others.
pub(crate) fn has_token(query: &[u8]) -> bool {
    let pieces = query.split(|byte| *byte == b';');
    let mut names = pieces.flat_map(form_urlencoded::parse).map(|(name, _)| name);
    names.any(|name| name.eq_ignore_ascii_case("access_token"))
}

/// Exactly once and exactly `true`.
pub fn opted_in(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all("x-ms-tokenboundauth").iter();
    matches!((values.next(), values.next()), (Some(value), None) if value.as_bytes() == b"true")
}
