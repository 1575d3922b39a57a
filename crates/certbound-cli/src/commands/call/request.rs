//! Builds the request to the resource from the flags.

use std::path::Path;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderName, HeaderValue, Method, Request};

use crate::flags::CallFlags;
use crate::input;
use crate::plan;
use crate::usage::Usage;

/// The largest request body, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The headers that `--header` cannot set. They determine the host, the token, the connection or the length of the
/// body.
const OURS: [HeaderName; 7] =
    [AUTHORIZATION, HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, TE, UPGRADE];

pub(super) fn of(flags: &CallFlags) -> Result<Request<Bytes>, Usage> {
    let body = flags.data.as_deref().map(body).transpose()?;
    let default = if body.is_some() { Method::POST } else { Method::GET };
    let method = match &flags.method {
        None => default,
        Some(method) => {
            let method = method.to_ascii_uppercase();
            Method::from_bytes(method.as_bytes())
                .ok()
                .filter(|method| method != Method::CONNECT)
                .ok_or_else(|| Usage::Method(method.escape_debug().take(32).collect()))?
        }
    };
    let mut request = Request::new(body.unwrap_or_default());
    *request.method_mut() = method;
    *request.uri_mut() = plan::url(&flags.url)?;
    for line in &flags.header {
        let (name, value) = header(line)?;
        request.headers_mut().append(name, value);
    }
    if !request.body().is_empty() {
        request.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    }
    Ok(request)
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue), Usage> {
    let (name, value) = line.split_once(':').ok_or(Usage::Header)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| Usage::Header)?;
    if OURS.contains(&name) {
        return Err(Usage::HeaderOurs(name));
    }
    let value = HeaderValue::from_str(value.trim()).map_err(|_| Usage::Header)?;
    Ok((name, value))
}

fn body(text: &str) -> Result<Bytes, Usage> {
    let Some(path) = text.strip_prefix('@') else { return Ok(Bytes::from(text.to_owned())) };
    let mut bytes = input::file_or_stdin(Path::new(path), MAX_BYTES)?;
    Ok(Bytes::from(std::mem::take(&mut *bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_value_and_never_the_authorization() {
        assert!(header("X-A: b:c").is_ok_and(|(name, value)| name == "x-a" && value == "b:c"));
        for (line, name) in [
            ("authorization: Bearer x", AUTHORIZATION),
            ("Host: b.example", HOST),
            ("Content-Length : 5", CONTENT_LENGTH),
            ("transfer-encoding: chunked", TRANSFER_ENCODING),
        ] {
            assert_eq!(header(line), Err(Usage::HeaderOurs(name)), "{line}");
        }
        for line in ["", "x", "a b: c", "a: b\u{7}", "a: b\nc: d", "a: b\r\nc: d"] {
            assert_eq!(header(line), Err(Usage::Header), "{line:?}");
        }
    }
}
