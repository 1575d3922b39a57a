//! Checks whether the resource requests the certificate at the first handshake, and whether it accepts the token.

use bytes::Bytes;
use certbound::TokenSource as _;
use certbound::error::TransportError;
use certbound::resource::ResourceProfile;
use certbound_core::own_secrets::OwnSecrets;
use http::header::WWW_AUTHENTICATE;
use http::{Request, Response, StatusCode, Uri};

use super::exchange::Exchange;
use super::probe::Probe;
use super::{BEFORE_LEG1, Context, Line, leg1};
use crate::failure::{Failure, REFUSED};
use crate::late;
use crate::output::Token;
use crate::plan::{self, Kind};

const CERTIFICATE: (&str, &str) = ("resource.certificate", "certificate");
const SCHEME: (&str, &str) = ("resource.scheme", "token and scheme");

/// Returns whether the host was reached and the only failure concerns the client certificate.
pub(super) fn is_about_certificate(probe: &Probe) -> bool {
    matches!(
        probe.answer,
        Err(TransportError::CertificateNotRequested { .. }
            | TransportError::CertificateNotRequestedLate { .. }
            | TransportError::KeyNotExportable { .. }
            | TransportError::CertificateRefused { .. })
    )
}

/// Returns the name of the host of a URL.
pub(super) fn host_name(url: &Uri) -> &str {
    url.host().unwrap_or_default()
}

pub(super) async fn check(context: &mut Context, exchange: Option<&Exchange>) {
    let certificate = certificate(context);
    context.report.add(certificate);
    let scheme = scheme(context, exchange).await;
    context.report.add(scheme);
}

/// Checks that the resource requests the certificate at the first handshake. A vault may also request the certificate
/// later, if this build supports a late request. `certbound` calls no other host with a bound token.
fn certificate(context: &Context) -> Line {
    let (id, title) = CERTIFICATE;
    let Some(url) = &context.asked.resource else {
        return Line::skipped(id, title, "give --resource-url URL to check a resource");
    };
    if context.kind == Kind::Bearer {
        return Line::skipped(id, title, "a Bearer token needs no certificate");
    }
    let needed =
        ["configuration", "certificate.source", "certificate.key", "network.settings", "network.resource"];
    if let Some(reason) = context.obstacle(&needed) {
        return Line::skipped(id, title, reason);
    }
    let (Some(probe), Some(certificate)) = (&context.resource, &context.certificate) else {
        return Line::skipped(id, title, "no certificate is used");
    };
    let host = host_name(url);
    let library =
        context.transport.as_ref().and_then(|transport| late::library_with(transport, host, certificate));
    let Some(failure) = probe.failure() else {
        let summary = match library {
            None => "requested at the first handshake".to_owned(),
            Some(library) => {
                format!("requested; {library} accepts the request also after the first handshake")
            }
        };
        return Line::ok(id, title, summary);
    };
    // The handshake does not show a later request for the certificate, but the profile of the host is known.
    let is_late = ResourceProfile::for_host(host) == ResourceProfile::key_vault();
    let summary = match &probe.answer {
        Err(TransportError::CertificateNotRequested { .. }) if is_late => {
            "not requested at the first handshake: Key Vault requests it late, after it has read the request"
        }
        Err(TransportError::CertificateNotRequested { .. }) => "not requested at the first handshake",
        Err(TransportError::CertificateNotRequestedLate { .. }) => {
            "not requested, neither at the first handshake nor later"
        }
        Err(TransportError::KeyNotExportable { .. }) => {
            "not requested at the first handshake, and OpenSSL cannot use this key for a later request"
        }
        _ => "the resource refuses the certificate in TLS",
    };
    Line { summary: summary.to_owned(), ..Line::failed(id, title, &failure) }
}

/// Calls the resource with the token.
async fn scheme(context: &Context, exchange: Option<&Exchange>) -> Line {
    let (id, title) = SCHEME;
    let Some(url) = &context.asked.resource else {
        return Line::skipped(id, title, "give --resource-url URL to check a resource");
    };
    let of_leg1 = leg1::LINES.map(|(id, _)| id);
    let of_token = ["leg2.answer", "token.type", "token.scope", "token.binding", "token.lifetime"];
    let of_host = ["network.resource", "resource.certificate"];
    if let Some(reason) = context.obstacle(&[BEFORE_LEG1, &of_leg1, &of_token, &of_host].concat()) {
        return Line::skipped(id, title, reason);
    }
    let Some(Exchange { client: Some(client), result: Ok(token), .. }) = exchange else {
        return Line::needs(id, title, "Token");
    };
    let (Some(scope), Ok(network)) = (&context.scope, &context.network) else {
        return Line::needs(id, title, "Configuration");
    };
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = url.clone();
    let answer = match token {
        Token::Bound(_) => client.resource(scope).call(request).await.map_err(Failure::from),
        Token::Bearer(token) => plan::call_with_bearer(network, token, request).await,
    };
    let scheme = match token {
        Token::Bound(token) if token.scheme() == certbound::token::Scheme::MtlsPop => {
            ResourceProfile::for_host(host_name(url)).scheme().as_str()
        }
        _ => token.scheme(),
    };
    match answer {
        Ok(answer) => judged(&answer, scheme, token, url, context),
        Err(failure) => Line::failed(id, title, &failure),
    }
}

fn judged(answer: &Response<Bytes>, scheme: &str, token: &Token, url: &Uri, context: &Context) -> Line {
    let (id, title) = SCHEME;
    let (status, host) = (answer.status(), host_name(url));
    let accepted = format!("accepted under the scheme {scheme}; status {}", status.as_u16());
    match status.as_u16() {
        200..=299 => Line::ok(id, title, accepted),
        403 => Line::warning(
            id,
            title,
            format!("{accepted}: the application has no permission for this request"),
            "give the application the permission that the resource requires",
        ),
        401 => Line::failed(id, title, &refused(answer, scheme, token, host, context)),
        404 | 405 | 406 | 409 | 410 | 412 | 415 | 422 => Line::warning(
            id,
            title,
            accepted,
            "check the path of --resource-url, which doctor calls with GET",
        ),
        // For example, 400 can refuse the header (RFC 6750 3.1), a proxy sends 407, and a server can send 429 before it
        // checks the token.
        400..=499 => Line::warning(
            id,
            title,
            format!("the resource answered {status}, which does not show whether it accepts the token"),
            "give a URL of the resource that answers GET with another status",
        ),
        300..=399 => {
            let summary = format!("the resource answered with a redirect, status {}", status.as_u16());
            Line::warning(
                id,
                title,
                summary,
                "give the URL of the resource itself; certbound follows no redirects",
            )
        }
        _ => {
            let why = format!("{host} answered {status}");
            let what = "the resource could not answer the request";
            Line::failed(
                id,
                title,
                &Failure::new(REFUSED, "resource_refused", what, why, "call again in some seconds"),
            )
        }
    }
}

/// Returns the refusal of the token. The function redacts the token, because the challenge of the resource can repeat
/// it.
fn refused(answer: &Response<Bytes>, scheme: &str, token: &Token, host: &str, context: &Context) -> Failure {
    let secrets = plan::with_tokens(OwnSecrets::new(), answer, token);
    let challenge = answer.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
    let challenge = challenge.map(|text| format!("; {}", secrets.redacted(text))).unwrap_or_default();
    let challenge: String = challenge.chars().take(500).collect();
    let scope = context.scope.as_ref().map(|scope| scope.as_str().to_owned()).unwrap_or_default();
    let why = format!(
        "{host} answered {} to a token for {scope} under the scheme {scheme}{challenge}",
        StatusCode::UNAUTHORIZED
    );
    let usual = plan::scope_for_host(host).filter(|usual| usual.as_str() != scope);
    let fix = match (usual, context.kind) {
        (Some(usual), _) => format!("give --scope {}, which is the scope of this host", usual.as_str()),
        (None, Kind::Bound) => {
            "check the scope, and check that this host accepts bound tokens (or try --bearer)".to_owned()
        }
        (None, Kind::Bearer) => {
            "check the scope; if this host accepts only bound tokens, leave --bearer out".to_owned()
        }
    };
    Failure::new(REFUSED, "resource_refused", "the resource refused the token", why, fix)
}
