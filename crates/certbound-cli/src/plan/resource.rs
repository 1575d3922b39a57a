//! Calls of a resource: the URL, and the call with a Bearer token.

use bytes::Bytes;
use certbound::transport::Via;
use certbound::{BearerToken, BoundToken, Error, Network, Transport as _};
use certbound_core::own_secrets::OwnSecrets;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, Uri};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::output::Token;
use crate::usage::Usage;

/// Parses the URL of a resource.
pub(crate) fn url(text: &str) -> Result<Uri, Usage> {
    // A text that is not a URL may be a mistyped secret, so only its beginning is repeated.
    let beginning = text.split(['?', '#']).next().unwrap_or_default();
    let refuse = || match beginning.contains('@') {
        true => Usage::Url("https://...@...".to_owned()),
        false => Usage::Url(beginning.escape_debug().take(80).collect()),
    };
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    if rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
        return Err(refuse());
    }
    let uri: Uri = text.parse().map_err(|_| refuse())?;
    let usable = uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty());
    if usable && !text.contains('#') { Ok(uri) } else { Err(refuse()) }
}

/// Calls a resource with a Bearer token, without a client certificate.
pub(crate) async fn call_with_bearer(
    network: &Network,
    token: &BearerToken,
    mut request: Request<Bytes>,
) -> Result<Response<Bytes>, Failure> {
    let text = Zeroizing::new(format!("Bearer {}", token.secret().expose()));
    let mut value = HeaderValue::from_str(&text).map_err(|_| Usage::Header)?;
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    let answer = network.transport().send(request, Via::Tls).await;
    let answer = answer.map_err(|cause| Error::Transport { leg: None, cause, target: None })?;
    Ok(answer.response)
}

/// Adds the acquired token, and the token that was sent with the answered request. After a claims challenge they
/// differ.
pub(crate) fn with_tokens(secrets: OwnSecrets, answer: &Response<Bytes>, token: &Token) -> OwnSecrets {
    let sent = answer.extensions().get::<BoundToken>();
    let sent = sent.map(|token| token.secret().expose()).unwrap_or_default();
    secrets.and(token.secret().expose()).and(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_absolute_https_url_is_called() {
        for text in ["https://a.example/x?y=1", "https://a.example", "https://a.example:8443/user@x"] {
            assert!(url(text).is_ok(), "{text}");
        }
        for text in [
            "http://a.example/",
            "a.example/x",
            "https://u:p@a.example/",
            "https://a.example/#f",
            "",
            "https:///x",
        ] {
            assert!(matches!(url(text), Err(Usage::Url(shown)) if !shown.contains("u:p")), "{text}");
        }
    }
}
