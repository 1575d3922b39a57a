//! Checks of a request's head, apart from the token.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use url::form_urlencoded;

/// Whether a request has both lengths (RFC 9112, section 6.1). Such a request can smuggle a second request past a
/// server that uses the other length.
pub(crate) fn has_two_lengths(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING)
}

/// Whether a query has a token (RFC 6750, section 2.3). A token in the URL would be written to logs.
///
/// The query is bytes, because a URL in a header may not be UTF-8. Some servers separate parameters by `;`, and some
/// ignore the case of names.
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
