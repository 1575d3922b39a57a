//! `call`: gets a token, then calls the resource with the token, and with the certificate of a bound token.

mod request;

use std::sync::Arc;

use bytes::Bytes;
use certbound::clock::{Clock as _, SystemClock};
use certbound::{AnyClient, Network, ResourceScope, TokenSource as _, Transport};
use certbound_core::own_secrets::OwnSecrets;
use certbound_core::retry_after;
use certbound_core::shown::lines;
use http::header::{DATE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use super::dry_run::{DryRun, is_plain};
use super::exchange::{dry_exchange, tell_kept, tell_leg_2};
use super::token::dry_direct;
use crate::failure::{Details, Failure, REFUSED, one};
use crate::flags::{CallFlags, CredentialFlags};
use crate::late::{self, CallTransport};
use crate::observers::{Observers, Stations, Trace};
use crate::output::{self, Terminal, Token, tell, tell_unseen};
use crate::plan::{self, Kind, Reach};
use crate::usage::Usage;

pub(super) async fn run(flags: CallFlags, terminal: Terminal) -> Result<(), Failure> {
    let from_stdin = flags.leg1.assertion_file.as_deref() == Some(std::path::Path::new("-"));
    if from_stdin && flags.data.as_deref() == Some("@-") {
        let (one, other) = ("--data @-", "--assertion-file -");
        return Err(Usage::StdinTwice { one, other }.into());
    }
    let request = request::of(&flags)?;
    let (identity, given) = (&flags.client.identity, flags.scope.as_deref());
    let scope = plan::scope_or_usual(identity, given, Some(request.uri()))?;
    let kind = Kind::from(flags.kind);
    if flags.client.run.dry_run {
        return dry_call(&flags, request, &scope, kind, terminal).await;
    }
    let network = plan::network(&flags.client.run)?;
    let transport = late::transport(&network)?;
    let reach = Reach::kept(transport.clone(), &flags.cache).await?;
    let reach = reach.told_to(Trace::of_platform(flags.client.run.trace));
    let reach = reach.seeing_bindings(flags.kind.require_observed_binding);
    let result =
        acquire_and_call(&flags, (&network, &transport), &reach, (request, scope, kind), terminal).await;
    reach.saved().await;
    result
}

async fn acquire_and_call(
    flags: &CallFlags,
    (network, transport): (&Network, &CallTransport),
    reach: &Reach<CallTransport>,
    (request, scope, kind): (Request<Bytes>, ResourceScope, Kind),
    terminal: Terminal,
) -> Result<(), Failure> {
    let (client, two_legs) = client(flags, kind, reach)?;
    let stations = Stations { runs_leg1: flags.leg1.assertion_file.is_none() };
    let observer = Observers::default()
        .and_if(flags.client.run.trace, Trace)
        .and_if(two_legs && terminal.tells_stations(), stations);
    let token = plan::acquire(&client, &scope, kind, Arc::new(observer)).await?;
    tell_unseen(&token);
    if two_legs && terminal.tells_stations() {
        tell_leg_2(&token);
    } else if flags.client.run.trace || terminal.tells_stations() {
        tell_kept(&token);
    }
    token.tell_region(terminal);
    let trace = flags.client.run.trace;
    if trace {
        tell(&format!(
            "> {} {} (resource), authorization: {} <redacted>",
            request.method(),
            request.uri(),
            token.scheme()
        ));
    }
    let of_caller = secrets_of_caller(&request);
    let host = request.uri().host().unwrap_or_default().to_owned();
    // A Bearer token needs no certificate.
    if let Token::Bound(token) = &token
        && terminal.tells_stations()
    {
        late::tell(transport, &host, token.binding()).iter().for_each(|line| tell(line));
    }
    let answer = match &token {
        // The client takes the token from its cache. It also handles a claims challenge.
        Token::Bound(_) => client.resource(&scope).call(request).await?,
        Token::Bearer(token) => plan::call_with_bearer(network, token, request).await?,
    };
    if trace || terminal.tells_stations() {
        tell(&format!("< resource: status {}", answer.status().as_u16()));
    }
    print(&answer, flags.include, &plan::with_tokens(OwnSecrets::new(), &answer, &token), terminal)?;
    if answer.status().is_success() {
        return Ok(());
    }
    let called = Called { host: &host, scope: &scope, is_bound: matches!(token, Token::Bound(_)) };
    Err(refused(&answer, &called, &plan::with_tokens(of_caller, &answer, &token)))
}

/// Returns the client, and whether it uses the two-leg flow.
fn client<T: Transport + Clone>(
    flags: &CallFlags,
    kind: Kind,
    reach: &Reach<T>,
) -> Result<(AnyClient, bool), Failure> {
    Ok(match direct(flags, kind)? {
        Some(credential) => (plan::direct(&flags.client, &credential, kind, reach)?.client, false),
        None => (plan::two_legs(&flags.client, &flags.leg1, kind, reach)?.client, true),
    })
}

/// Returns the credential of the direct flow, or `None` for the two-leg flow. An assertion belongs to the direct flow
/// only if a Bearer token is requested and no certificate is given.
fn direct(flags: &CallFlags, kind: Kind) -> Result<Option<CredentialFlags>, Usage> {
    let (leg1, secret) = (&flags.leg1, &flags.secret);
    let has_certificate = flags.client.certificate.certificate.is_some();
    if flags.client.machine.managed_identity.is_some() {
        if leg1.is_given() || leg1.assertion_file.is_some() {
            return Err(Usage::MachineIsNotLeg2);
        }
        return Ok(Some(CredentialFlags { secret: secret.clone(), assertion_file: None }));
    }
    let leg1_runs = match (&leg1.leg1_certificate, &leg1.leg1_managed_identity) {
        (Some(_), _) => Some("--leg1-certificate"),
        (None, Some(_)) => Some("--leg1-managed-identity"),
        (None, None) => leg1.detail(),
    };
    if let Some(one) = leg1_runs {
        return match secret.given() {
            Some(other) => Err(Usage::Conflict { one, other }),
            None => Ok(None),
        };
    }
    if secret.client_secret_env.is_some() && leg1.assertion_file.is_some() {
        return Err(Usage::Conflict { one: "--client-secret-env", other: "--assertion-file" });
    }
    let is_direct = match leg1.assertion_file {
        Some(_) => !has_certificate && kind == Kind::Bearer,
        None => true,
    };
    let assertion_file = leg1.assertion_file.clone();
    Ok(is_direct.then(|| CredentialFlags { secret: secret.clone(), assertion_file }))
}

async fn dry_call(
    flags: &CallFlags,
    request: Request<Bytes>,
    scope: &ResourceScope,
    kind: Kind,
    terminal: Terminal,
) -> Result<(), Failure> {
    let mut dry = DryRun::default();
    dry.then_call(request);
    match direct(flags, kind)? {
        Some(credential) => dry_direct(&mut dry, &flags.client, &credential, scope, kind).await?,
        None => dry_exchange(&mut dry, &flags.client, &flags.leg1, scope, kind).await?,
    }
    dry.print(terminal)
}

/// Returns the values of those headers of the caller that may contain keys or cookies.
fn secrets_of_caller(request: &Request<Bytes>) -> OwnSecrets {
    // A value of fewer than 8 bytes is not redacted, because ordinary text can contain it.
    let is_secret = |(name, value): &(&HeaderName, &HeaderValue)| !is_plain(name) && value.len() >= 8;
    let values = request.headers().iter().filter(is_secret).filter_map(|(_, value)| value.to_str().ok());
    values.fold(OwnSecrets::new(), OwnSecrets::and)
}

fn print(
    answer: &Response<Bytes>,
    include: bool,
    secrets: &OwnSecrets,
    terminal: Terminal,
) -> Result<(), Failure> {
    if include {
        output::print(head(answer, secrets).as_bytes())?;
    }
    output::print(&body(answer.body(), secrets, terminal.is_seen()))
}

/// Formats status and headers, one per line, without the token.
fn head(answer: &Response<Bytes>, secrets: &OwnSecrets) -> String {
    let mut head = format!("{:?} {}\r\n", answer.version(), answer.status());
    for (name, value) in answer.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        head.push_str(&format!("{name}: {}\r\n", one(&secrets.redacted(&value))));
    }
    head.push_str("\r\n");
    head
}

/// Returns the bytes to print for the body. In a pipe the body is unchanged, because it is the result. On a terminal
/// the bytes are text without the token. The only control characters of this text are tabs and line breaks. It ends
/// with a line break, so that a later prompt or error starts on a new line.
fn body(body: &Bytes, secrets: &OwnSecrets, is_seen: bool) -> Bytes {
    if !is_seen || body.is_empty() {
        return body.clone();
    }
    let mut text = lines(&secrets.redacted(&String::from_utf8_lossy(body))).into_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Bytes::from(text)
}

/// The call that was answered.
struct Called<'a> {
    host: &'a str,
    scope: &'a ResourceScope,
    is_bound: bool,
}

/// Returns the failure for an answer outside 2xx, whose body was printed. The text of the failure contains the
/// resource's challenge, if the answer has a challenge.
fn refused(answer: &Response<Bytes>, called: &Called<'_>, secrets: &OwnSecrets) -> Failure {
    let Called { host, scope, is_bound } = called;
    let status = answer.status();
    let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let retry_after = text(RETRY_AFTER)
        .and_then(|value| retry_after::parse_with_date(value, text(DATE), SystemClock::new().now()));
    let retry_after = retry_after.map(retry_after::whole_seconds);
    let mut answered = format!("{host} answered {status}");
    if let Some(seconds) = retry_after {
        answered.push_str(&format!(" and asks to wait {seconds} s"));
    }
    if status == StatusCode::UNAUTHORIZED {
        answered = format!("the token is for {}; {answered}", scope.as_str());
    }
    let challenge = answer.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
    let challenge = challenge.map(|challenge| secrets.redacted(challenge));
    let why = match challenge {
        Some(challenge) => format!("{answered}; {challenge}"),
        None if answer.body().is_empty() => answered,
        None => format!("{answered}; the body of the answer has the details"),
    };
    let fix = match status.as_u16() {
        300..=399 => {
            "call the URL in the answer's header Location; certbound does not follow redirects, so that no other host gets the token"
        }
        401 if *is_bound => {
            "check the scope, and check that this host accepts bound tokens (or try --bearer)"
        }
        401 => "check the scope; if this host accepts only bound tokens, leave --bearer out",
        403 => "give the application the permission that the resource requires",
        404 => "check the URL",
        501 => "check the URL and the method: this host does not implement the request",
        429 | 500..=599 if retry_after.is_some() => "wait as long as the host asks, then call again",
        429 | 500..=599 => "call again in some seconds",
        _ => "correct the request as the answer of the resource says",
    };
    let why: String = why.chars().take(1000).collect();
    let is_busy = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
    let transient = status == StatusCode::TOO_MANY_REQUESTS || is_busy;
    let details = Details { transient, retry_after, host: Some((*host).to_owned()), ..Details::default() };
    let failure = Failure::new(REFUSED, "resource_refused", "the resource refused the request", why, fix);
    Failure { details: Box::new(details), ..failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_the_result_in_a_pipe_and_text_on_a_terminal() {
        let secrets = OwnSecrets::new().and("the-token-sent-here");
        let bytes = Bytes::from_static(b"a\tb\x1b[2J\xc2\x9b\xff\r\nthe-token-sent-here c");
        assert_eq!(body(&bytes, &secrets, false), bytes);
        assert_eq!(body(&bytes, &secrets, true), "a\tb [2J \u{fffd} \n<redacted> c\n");
        assert_eq!(body(&Bytes::new(), &secrets, true), Bytes::new());
    }

    #[test]
    fn a_refusal_names_the_host_the_scope_and_the_wait() {
        let scope = ResourceScope::parse("https://vault.azure.net/.default").unwrap();
        let failure = |status, wait: Option<&'static str>, is_bound| {
            let mut answer = Response::new(Bytes::new());
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            answer.headers_mut().extend(wait.map(|wait| (RETRY_AFTER, HeaderValue::from_static(wait))));
            refused(&answer, &Called { host: "v.example", scope: &scope, is_bound }, &OwnSecrets::new())
        };
        for (failure, why, fix) in [
            (
                failure(503, Some("9"), true),
                "v.example answered 503 Service Unavailable and asks to wait 9 s",
                "wait as long",
            ),
            (failure(503, None, true), "v.example answered 503 Service Unavailable", "in some seconds"),
            (failure(501, None, true), "v.example answered 501 Not Implemented", "does not implement"),
            (
                failure(401, None, true),
                "the token is for https://vault.azure.net/.default; v.example answered 401 Unauthorized",
                "try --bearer",
            ),
            (
                failure(401, None, false),
                "the token is for https://vault.azure.net/.default; v.example answered 401 Unauthorized",
                "leave --bearer out",
            ),
        ] {
            assert_eq!(failure.why, why);
            assert!(failure.fix.contains(fix), "{}", failure.fix);
            assert_eq!(failure.details.transient, why.contains("503"));
        }
    }

    #[test]
    fn the_head_is_lines_without_the_token_and_without_what_acts() {
        let mut answer = Response::new(Bytes::new());
        // A header may contain every byte from 0x80 on. Some terminals execute these bytes as commands.
        let value = HeaderValue::from_bytes(b"a\xc2\x9b2J\xe2\x80\xae the-token-sent-here\xff").unwrap();
        answer.headers_mut().append("x-any", value);
        let secrets = OwnSecrets::new().and("the-token-sent-here");
        assert_eq!(head(&answer, &secrets), "HTTP/1.1 200 OK\r\nx-any: a 2J  <redacted>\u{fffd}\r\n\r\n");
    }
}
