//! Cases 46 to 49, 52 and 54: the form in which a token is sent, and the response.

use std::time::Duration;

use certbound_verifier::{Answer, AnswerStyle, Authorization, BindingPolicy, Refusal, Scheme, VerifyLayer};
use http::{HeaderMap, HeaderValue, Request};

use crate::support::{builder, code, token, verifier};

fn unavailable() -> Refusal {
    Refusal::KeysUnavailable {
        reason: String::new(),
        host: None,
        is_transient: true,
        retry_after: Duration::from_secs(20),
    }
}

fn parse(values: &[&[u8]]) -> Result<Scheme, &'static str> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append("authorization", HeaderValue::from_bytes(value).unwrap());
    }
    Authorization::from_headers(&headers).map(|found| found.scheme()).map_err(|refusal| refusal.code())
}

#[test]
fn v46_several_credentials() {
    assert_eq!(parse(&[b"mtls_pop a.b.c", b"mtls_pop a.b.c"]), Err("malformed_authorization"));
    assert_eq!(parse(&[b"Bearer a", b"mtls_pop a"]), Err("malformed_authorization"));
    assert_eq!(parse(&[b"mtls_pop a.b.c, mtls_pop a.b.c"]), Err("malformed_authorization"));
    assert_eq!(parse(&[b"mtls_pop a.b.c,Bearer"]), Err("malformed_authorization"));
    assert_eq!(parse(&[]), Err("no_credentials"));
}

#[test]
fn v47_scheme_one_space_token() {
    for good in ["mtls_pop a.b.c", "MTLS_POP a.b.c", "Mtls_Pop a-._~+/=1"] {
        assert_eq!(parse(&[good.as_bytes()]), Ok(Scheme::MtlsPop), "{good}");
    }
    assert_eq!(parse(&[b"bEARER x"]), Ok(Scheme::Bearer));
    let malformed: [&[u8]; 12] = [
        b"",
        b" mtls_pop a",
        b"mtls_pop  a",
        b"mtls_pop a ",
        b"mtls_pop\ta",
        b"mtls_pop a\tb",
        b"mtls_pop a b",
        b"mtls_pop",
        b"mtls_pop ",
        b"mtls_pop \xc3\xa9",
        b"mtls_pop \xff",
        b"mtls_pop \"a\"",
    ];
    for value in malformed {
        assert_eq!(parse(&[value]), Err("malformed_authorization"), "{value:?}");
    }
    // A `HeaderValue` cannot contain CR, LF or NUL. `Authorization::parse` refuses these characters in other values.
    for value in ["mtls_pop a\r\nx", "mtls_pop a\n", "mtls_pop \0"] {
        assert!(HeaderValue::from_str(value).is_err());
        assert_eq!(Authorization::parse(value.as_bytes()).unwrap_err(), Refusal::MalformedAuthorization);
    }
}

async fn layer(request: Request<()>) -> &'static str {
    code(VerifyLayer::new(verifier()).verify(&request.into_parts().0).await)
}

#[tokio::test]
async fn v48_a_token_in_the_url_or_a_form() {
    let token = token().sign();
    for query in [
        "access_token=x",
        "a=b&access_token=x",
        "access%5Ftoken=x",
        "access_token",
        "a=b;access_token=x",
        "%41ccess_Token=x",
        "a=%ff&access_token=x",
        "a=\u{e9}&access_token=x",
    ] {
        let url = format!("https://orders.example/?{query}");
        let alone = Request::get(&url).body(()).unwrap();
        assert_eq!(layer(alone).await, "token_in_url", "{query}");
        let both = Request::get(&url).header("authorization", format!("mtls_pop {token}")).body(()).unwrap();
        assert_eq!(layer(both).await, "token_in_url", "{query}");
    }
    let ordinary = Request::get("https://orders.example/?$top=1&token=x").body(()).unwrap();
    assert_eq!(layer(ordinary).await, "no_credentials", "the query has no access_token");
    assert_eq!(Refusal::TokenInUrl.status(), 400);
    // The layer never reads the body, so it ignores a token in a form.
    let form = Request::post("https://orders.example/")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(())
        .unwrap();
    assert_eq!(layer(form).await, "no_credentials");
}

/// The refusal does not depend on the token, because two servers on the way could read two different requests.
#[tokio::test]
async fn v52_a_request_of_two_lengths() {
    let request = |headers: &[(&str, &str)]| {
        let builder = Request::post("https://orders.example/?access_token=x");
        headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(()).unwrap()
    };
    let both = [("content-length", "5"), ("transfer-encoding", "chunked")];
    assert_eq!(layer(request(&both)).await, "ambiguous_length");
    assert_eq!(layer(request(&[both[1], both[0]])).await, "ambiguous_length");
    for one in both {
        assert_eq!(layer(request(&[one])).await, "token_in_url");
    }
    let vault = AnswerStyle::Vault { tenant: "t".to_owned(), resource: "r".to_owned() };
    for style in [AnswerStyle::MtlsPop, AnswerStyle::Bearer, AnswerStyle::Graph, vault] {
        let answer = Answer::new(&Refusal::AmbiguousLength, &style).response();
        assert_eq!(answer.status(), 400, "{style:?}");
        assert_eq!(answer.headers()["connection"], "close");
        let other = Answer::new(&Refusal::TokenInUrl, &style).response();
        assert!(!other.headers().contains_key("connection"));
    }
}

#[test]
fn v49_other_schemes() {
    for scheme in ["PoP", "DPoP", "mtls-pop", "mtls_pop,", "mtls_popx", "Basic", "Negotiate", "mtls"] {
        let refusal = Authorization::parse(format!("{scheme} a.b.c").as_bytes()).unwrap_err();
        assert_eq!((refusal.code(), refusal.status()), ("unknown_scheme", 401), "{scheme}");
    }
}

/// Returns every kind of refusal, with hostile text in every place that can have text.
fn hostile() -> Vec<Refusal> {
    let text = || "\"\r\nSet-Cookie: a=b\u{1b}[2J".to_owned();
    let time = crate::support::NOW;
    vec![
        Refusal::AmbiguousLength,
        Refusal::NoCredentials,
        Refusal::UnknownScheme,
        Refusal::MalformedAuthorization,
        Refusal::TokenInUrl,
        Refusal::OptInMissing,
        Refusal::Encrypted,
        Refusal::BoundUnderBearer,
        Refusal::UnboundUnderPop,
        Refusal::BindingRequired,
        Refusal::NotAJwt,
        Refusal::IssuerNotTrusted { found: text() },
        Refusal::TenantNotAllowed { found: text() },
        Refusal::VersionMismatch,
        Refusal::Audience { found: text() },
        Refusal::MalformedTime { claim: "exp" },
        Refusal::Expired { expired: time, now: time },
        Refusal::NotYetValid { from: time, now: time },
        Refusal::Lifetime { from: time, to: time },
        Refusal::TooOld { issued: time, now: time },
        Refusal::UnknownKey,
        Refusal::KeyOfAnotherIssuer,
        Refusal::BadSignature,
        Refusal::NoCertificate,
        Refusal::CertificateMismatch {
            bound_to: text(),
            found: crate::support::client().thumbprint().unwrap(),
        },
        Refusal::CertificateDates { from: time, to: time, now: time },
        Refusal::ClaimsDemanded { claims: text() },
        Refusal::ClientClaims,
        Refusal::CallerKind,
        Refusal::ClientNotAllowed { found: text() },
        Refusal::NoPermission,
        Refusal::KeysUnavailable {
            reason: text(),
            host: Some(text()),
            is_transient: false,
            retry_after: Duration::from_secs(10),
        },
    ]
}

#[test]
fn v54_nothing_of_the_request_is_repeated() {
    let vault = AnswerStyle::Vault {
        tenant: crate::support::TENANT.to_owned(),
        resource: "https://vault.azure.net".to_owned(),
    };
    for style in [
        AnswerStyle::MtlsPop,
        AnswerStyle::Bearer,
        AnswerStyle::MtlsPopAndBearer,
        AnswerStyle::Graph,
        vault,
        AnswerStyle::Grpc,
    ] {
        for refusal in hostile() {
            let answer = Answer::new(&refusal, &style).response();
            let said = format!("{:?} {}", answer.headers(), String::from_utf8_lossy(answer.body()));
            for part in ["Set-Cookie", "\u{1b}", "a=b"] {
                assert!(!said.contains(part), "{style:?} {said}");
            }
            assert!(!answer.headers().contains_key("set-cookie"));
            assert!(!refusal.fix().is_empty() && !refusal.to_string().is_empty());
        }
    }
}

#[test]
fn answers_are_those_of_rfc_6750() {
    let answer = |refusal: &Refusal| {
        let answer = Answer::new(refusal, &AnswerStyle::MtlsPop).response();
        let challenge =
            answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), challenge, String::from_utf8(answer.body().to_vec()).unwrap())
    };
    let (status, challenge, _) = answer(&Refusal::NoCredentials);
    assert_eq!(
        (status, challenge.as_deref()),
        (401, Some("mtls_pop")),
        "no error code if the request has no credentials"
    );
    let (status, challenge, body) = answer(&Refusal::NoCertificate);
    assert_eq!(status, 401);
    assert_eq!(
        challenge.unwrap(),
        "mtls_pop error=\"invalid_token\", error_description=\"the connection has no client certificate\""
    );
    assert_eq!(
        body,
        "{\"error\":\"invalid_token\",\"error_description\":\"the connection has no client certificate\"}"
    );
    let (status, challenge, _) = answer(&Refusal::NoPermission);
    assert_eq!(status, 403);
    assert!(challenge.unwrap().starts_with("mtls_pop error=\"insufficient_scope\""));
    let (status, challenge, _) = answer(&Refusal::MalformedAuthorization);
    assert_eq!(status, 400);
    assert!(challenge.unwrap().starts_with("mtls_pop error=\"invalid_request\""));
    let (status, challenge, _) = answer(&unavailable());
    assert_eq!((status, challenge), (503, None), "the caller did not cause this refusal");
    let bearer = Answer::new(&Refusal::BadSignature, &AnswerStyle::Bearer);
    assert!(bearer.challenge().unwrap().starts_with("Bearer error=\"invalid_token\""));
}

/// A challenge does not name `mtls_pop` if the policy accepts `Bearer` only, unless the layer is configured with a
/// different style.
#[test]
fn a_challenge_names_the_schemes_that_the_binding_policy_accepts() {
    for (policy, expected) in [
        (BindingPolicy::Required, &["mtls_pop"][..]),
        (BindingPolicy::WhenBound, &["mtls_pop", "Bearer"]),
        (BindingPolicy::Rfc8705, &["Bearer"]),
        (BindingPolicy::Rfc8705WhenBound, &["Bearer"]),
    ] {
        let layer = || VerifyLayer::new(builder().binding(policy).build().unwrap());
        let challenges = |layer: &VerifyLayer, refusal: &Refusal| -> Vec<String> {
            let answer = layer.answer(refusal);
            let all = answer.headers().get_all("www-authenticate").iter();
            all.map(|value| value.to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(challenges(&layer(), &Refusal::NoCredentials), expected, "{policy:?}");
        let with_an_error: Vec<String> = challenges(&layer(), &Refusal::BadSignature);
        assert_eq!(with_an_error.len(), expected.len());
        for (challenge, scheme) in with_an_error.iter().zip(expected) {
            assert!(challenge.starts_with(&format!("{scheme} error=\"invalid_token\"")), "{challenge}");
        }
        let by_choice = layer().style(AnswerStyle::MtlsPop);
        assert_eq!(challenges(&by_choice, &Refusal::NoCredentials), ["mtls_pop"], "{policy:?}");
    }
}

#[test]
fn the_known_resources_words() {
    let graph = |refusal: &Refusal| {
        let answer = Answer::new(refusal, &AnswerStyle::Graph);
        (answer.status(), answer.code().to_owned(), answer.message().to_owned())
    };
    let marker = |refusal: &Refusal, part: &str| {
        let (status, code, message) = graph(refusal);
        assert_eq!((status, code.as_str()), (401, "InvalidAuthenticationToken"));
        assert!(message.contains(part), "{message}");
    };
    marker(&Refusal::NoCertificate, "MtlsMissingClientCertificate");
    marker(&Refusal::BoundUnderBearer, "Cnf claim not supported over Bearer protocol.");
    let found = crate::support::client().thumbprint().unwrap();
    marker(
        &Refusal::CertificateMismatch { bound_to: String::new(), found },
        "MtlsCnfClaimRequestDataValidationFailed",
    );
    assert_eq!(graph(&Refusal::NoPermission).0, 403);
    let vault = AnswerStyle::Vault { tenant: "t".to_owned(), resource: "https://vault.azure.net".to_owned() };
    let vault = |refusal: &Refusal| Answer::new(refusal, &vault);
    assert!(vault(&Refusal::NoCredentials).message().starts_with("AKV10000"));
    assert_eq!(
        vault(&Refusal::NoCredentials).challenge().unwrap(),
        "Bearer authorization=\"https://login.windows.net/t\", resource=\"https://vault.azure.net\""
    );
    assert!(vault(&Refusal::NoCertificate).message().contains("MissingClientCertificate"));
    assert_eq!(vault(&Refusal::BoundUnderBearer).code(), "AggregatedAuthenticationFailure");
    assert!(vault(&Refusal::BoundUnderBearer).message().contains("S2S17001"));
    assert_eq!(vault(&Refusal::BindingRequired).code(), "BearerAuthenticationDisabledForKeyVault");
    assert_eq!(
        (vault(&Refusal::NoPermission).status(), vault(&Refusal::NoPermission).code().to_owned()),
        (403, "Forbidden".to_owned())
    );
}

#[test]
fn a_claims_challenge_is_what_clients_parse() {
    use base64::Engine as _;
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1800000000"}}}"#;
    let refusal = Refusal::ClaimsDemanded { claims: claims.to_owned() };
    assert_eq!(refusal.error(), Some("insufficient_claims"));
    for style in [AnswerStyle::MtlsPop, AnswerStyle::Graph] {
        let answer = Answer::new(&refusal, &style);
        assert_eq!(answer.status(), 401);
        let challenge = answer.challenge().unwrap().to_owned();
        assert!(challenge.starts_with("Bearer realm=\"\", authorization_uri=\"https://"), "{challenge}");
        assert!(challenge.contains("error=\"insufficient_claims\""));
        let encoded = challenge.split("claims=\"").nth(1).unwrap().trim_end_matches('"');
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
        assert_eq!(decoded, claims.as_bytes());
    }
}

#[test]
fn a_challenge_comes_with_401_and_grpc_has_its_own_statuses() {
    let vault = AnswerStyle::Vault { tenant: "t".to_owned(), resource: "https://vault.azure.net".to_owned() };
    let refusals = [Refusal::BadSignature, Refusal::NoPermission, unavailable()];
    for (style, expected) in [
        (AnswerStyle::MtlsPop, [true, true, false]),
        (AnswerStyle::Bearer, [true, true, false]),
        (AnswerStyle::MtlsPopAndBearer, [true, true, false]),
        (AnswerStyle::Graph, [true, false, false]),
        (vault, [true, false, false]),
    ] {
        let challenged: Vec<bool> =
            refusals.iter().map(|refusal| Answer::new(refusal, &style).challenge().is_some()).collect();
        assert_eq!(challenged, expected, "{style:?}");
    }
    let grpc: Vec<_> = refusals
        .iter()
        .map(|refusal| {
            let answer = Answer::new(refusal, &AnswerStyle::Grpc).response();
            assert_eq!((answer.status().as_u16(), answer.body().len()), (200, 0));
            assert_eq!(answer.headers()["cache-control"], "no-store");
            let header = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            (header("grpc-status").unwrap(), header("grpc-retry-pushback-ms"))
        })
        .collect();
    let expected = [("16", None), ("7", None), ("14", Some("20000"))];
    assert_eq!(grpc, expected.map(|(status, wait)| (status.to_owned(), wait.map(str::to_owned))));
    let retry = |refusal: &Refusal| {
        Answer::new(refusal, &AnswerStyle::MtlsPop).response().headers().contains_key("retry-after")
    };
    assert_eq!(refusals.each_ref().map(retry), [false, false, true]);
    // Graph and Key Vault do not use 400.
    assert_eq!(Answer::new(&Refusal::TokenInUrl, &AnswerStyle::Graph).status(), 401);
    assert_eq!(Answer::new(&Refusal::TokenInUrl, &AnswerStyle::MtlsPop).status(), 400);
}
