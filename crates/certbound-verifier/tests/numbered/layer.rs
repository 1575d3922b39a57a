//! Cases 1, 2, 19, 23, 48, 50, 52 and 53: the layer. The requests have the facts of their connections as extensions.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::Bytes;
use certbound_verifier::{AnswerStyle, ForwardAuth, PeerCertificate, TrustedProxy, Verified, VerifyLayer};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use tower_layer::Layer as _;
use tower_service::Service;

use crate::keys::{At, Documents, verifier};
use crate::support::{CLIENT, client, peer, token};

/// A resource. It panics if a request has no [`Verified`].
#[derive(Clone)]
struct Resource;

impl Service<Request<Bytes>> for Resource {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let verified = request.extensions().get::<Verified>().unwrap();
        let body = verified.client_id().unwrap().to_owned();
        std::future::ready(Ok(Response::new(Full::new(Bytes::from(body)))))
    }
}

fn layer() -> VerifyLayer {
    VerifyLayer::new(verifier(&Documents::entra(), &At::now()))
}

async fn call(layer: VerifyLayer, request: Request<Bytes>) -> (u16, String) {
    let mut service = layer.layer(Resource);
    std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    let answer = service.call(request).await.unwrap();
    let status = answer.status().as_u16();
    let grpc = answer.headers().get("grpc-status").map(|status| status.to_str().unwrap().to_owned());
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, grpc.unwrap_or_else(|| String::from_utf8(body.to_vec()).unwrap()))
}

fn request(peer: Option<PeerCertificate>) -> Request<Bytes> {
    let mut request = Request::get("https://orders.example/orders")
        .header("authorization", format!("mtls_pop {}", token().sign()))
        .body(Bytes::new())
        .unwrap();
    request.extensions_mut().extend(http::Extensions::new());
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    request
}

#[tokio::test]
async fn v01_v02_v19_only_accepted_requests_reach_the_resource() {
    assert_eq!(call(layer(), request(Some(client()))).await, (200, CLIENT.to_owned()));
    for (peer, part) in [
        (Some(peer("p256.pem")), "bound to a different certificate"),
        (Some(PeerCertificate::none()), "no client certificate"),
        // v19: the request has no fact about its connection.
        (None, "no client certificate"),
    ] {
        let (status, body) = call(layer(), request(peer)).await;
        assert_eq!(status, 401);
        assert!(body.contains(part), "{body}");
    }
}

#[tokio::test]
async fn a_verified_that_was_there_before_is_replaced() {
    let mut forged = request(Some(client()));
    let other = Request::get("/").header("authorization", "mtls_pop x").body(Bytes::new()).unwrap();
    assert_eq!(call(layer(), other).await.0, 401);
    let before = layer().verify(&forged.clone().into_parts().0).await.unwrap();
    forged.extensions_mut().insert(before);
    forged.headers_mut().remove("authorization");
    assert_eq!(call(layer(), forged).await.0, 401);
}

#[tokio::test]
async fn v50_certificate_headers_on_a_direct_connection_are_ignored() {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(crate::support::der("rsa.pem"));
    for (name, value) in [
        ("client-cert", format!(":{encoded}:")),
        ("x-arr-clientcert", encoded.clone()),
        ("x-forwarded-client-cert", format!("Cert=\"{encoded}\"")),
        ("ssl-client-cert", encoded.clone()),
    ] {
        for peer in [None, Some(peer("p256.pem"))] {
            let mut request = request(peer);
            request.headers_mut().insert(name, value.parse().unwrap());
            assert_eq!(call(layer(), request).await.0, 401, "{name}");
        }
    }
}

#[tokio::test]
async fn v23_behind_a_proxy_only_its_header_counts() {
    use base64::Engine as _;
    let encoded =
        format!(":{}:", base64::engine::general_purpose::STANDARD.encode(crate::support::der("rsa.pem")));
    let behind = || layer().behind(TrustedProxy::rfc9440(["10.0.0.0/8".parse().unwrap()]));
    let ask = |header: bool, from: Option<&str>, connection: bool| {
        let mut request = request(connection.then(client));
        if header {
            request.headers_mut().insert("client-cert", encoded.parse().unwrap());
        }
        if let Some(from) = from {
            request.extensions_mut().insert::<SocketAddr>(from.parse().unwrap());
        }
        call(behind(), request)
    };
    assert_eq!(ask(true, Some("10.1.2.3:5"), false).await.0, 200);
    assert_eq!(ask(true, Some("11.1.2.3:5"), false).await.0, 400, "not the proxy");
    assert_eq!(ask(true, None, false).await.0, 400, "the peer's address is unknown");
    assert_eq!(ask(false, Some("10.1.2.3:5"), true).await.0, 401, "no fall-back to the connection's own");
    // The address may be in a different extension.
    let elsewhere = behind().address_from(|extensions| extensions.get::<std::net::IpAddr>().copied());
    let mut other = request(None);
    other.headers_mut().insert("client-cert", encoded.parse().unwrap());
    other.extensions_mut().insert::<std::net::IpAddr>("10.9.9.9".parse().unwrap());
    assert_eq!(call(elsewhere, other).await.0, 200);
}

#[tokio::test]
async fn the_certificate_may_stand_elsewhere_among_the_extensions() {
    struct Mine(PeerCertificate);
    impl Clone for Mine {
        fn clone(&self) -> Self {
            Self(self.0.clone())
        }
    }
    let layer = layer().certificate_from(|extensions| {
        extensions.get::<Mine>().map_or(PeerCertificate::none(), |mine| mine.0.clone())
    });
    let mut with = request(None);
    with.extensions_mut().insert(Mine(client()));
    assert_eq!(call(layer.clone(), with).await.0, 200);
    assert_eq!(call(layer, request(Some(client()))).await.0, 401);
}

#[tokio::test]
async fn v53_a_vaults_callers_opt_in() {
    let style = AnswerStyle::Vault {
        tenant: crate::support::TENANT.to_owned(),
        resource: "https://vault.azure.net".to_owned(),
    };
    let vault = || layer().style(style.clone()).require_opt_in();
    let with = |values: &[&str]| {
        let mut request = request(Some(client()));
        for value in values {
            request.headers_mut().append("x-ms-tokenboundauth", value.parse().unwrap());
        }
        call(vault(), request)
    };
    assert_eq!(with(&["true"]).await.0, 200);
    for values in [&[][..], &["false"], &["True"], &["1"], &["true", "true"], &["true,true"], &[""]] {
        let (status, body) = with(values).await;
        assert_eq!(status, 401, "{values:?}");
        assert!(body.contains("x-ms-tokenboundauth: true"), "{body}");
    }
}

#[tokio::test]
async fn grpc_has_its_own_statuses() {
    let grpc = || layer().style(AnswerStyle::Grpc);
    assert_eq!(call(grpc(), request(None)).await, (200, "16".to_owned()));
    let mut forbidden = request(Some(client()));
    let token = token().claim("roles", json!([])).sign();
    forbidden.headers_mut().insert("authorization", format!("mtls_pop {token}").parse().unwrap());
    assert_eq!(call(grpc(), forbidden).await, (200, "7".to_owned()));
}

/// A proxy would read the status 200 of a refusal as an acceptance.
#[tokio::test]
async fn a_proxy_gets_no_refusal_in_the_style_of_grpc() {
    let grpc = || layer().style(AnswerStyle::Grpc);
    let auth = ForwardAuth::new(grpc());
    let refused = async || auth.answer(&request(None).into_parts().0).await;
    let first = refused().await;
    assert_eq!(first.status(), 401);
    assert!(first.headers().contains_key("www-authenticate"));
    auth.replace(grpc());
    assert_eq!(refused().await.status(), 401);
}

#[tokio::test]
async fn a_proxy_that_asks_is_told_who_calls() {
    let ask = async |request: Request<Bytes>| {
        let answer = ForwardAuth::new(layer()).answer(&request.into_parts().0).await;
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (
            answer.status().as_u16(),
            header("x-certbound-client-id"),
            header("x-certbound-roles"),
            header("x-certbound-certificate"),
            header("www-authenticate"),
        )
    };
    let thumbprint = client().thumbprint().unwrap().x5t_s256();
    assert_eq!(
        ask(request(Some(client()))).await,
        (200, Some(CLIENT.to_owned()), Some("Orders.Read".to_owned()), Some(thumbprint), None)
    );
    let answer = ForwardAuth::new(layer()).answer(&request(Some(client())).into_parts().0).await;
    assert_eq!(answer.headers()["x-certbound-scopes"], "", "the token has no scopes");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let (status, client_id, .., challenge) = ask(request(None)).await;
    assert_eq!((status, client_id), (401, None));
    assert!(challenge.unwrap().contains("invalid_token"));
    // nginx treats every status other than 2xx, 401 and 403 as its own failure.
    let mut twice = request(Some(client()));
    twice.headers_mut().append("authorization", "mtls_pop x".parse().unwrap());
    assert_eq!(ask(twice).await.0, 401);
    let mut original = request(Some(client()));
    original.headers_mut().insert("x-original-uri", "/orders?access_token=x".parse().unwrap());
    assert_eq!(ask(original).await.0, 401);
}

/// If a header were missing, a proxy that copies headers would leave the client's own header of this name.
#[tokio::test]
async fn a_proxy_that_asks_is_told_by_all_seven_headers() {
    const NAMES: [&str; 7] =
        ["client-id", "tenant-id", "object-id", "subject", "roles", "scopes", "certificate"];
    let told = async |token: crate::support::Token| {
        let mut request = request(Some(client()));
        let header = format!("mtls_pop {}", token.sign()).parse().unwrap();
        request.headers_mut().insert("authorization", header);
        let answer = ForwardAuth::new(layer()).answer(&request.into_parts().0).await;
        assert_eq!(answer.status(), 200);
        NAMES.map(|name| {
            let values: Vec<_> = answer.headers().get_all(format!("x-certbound-{name}")).iter().collect();
            assert_eq!(values.len(), 1, "{name}");
            values[0].to_str().unwrap().to_owned()
        })
    };
    let all = told(token()).await;
    let empty: Vec<&str> =
        NAMES.into_iter().zip(&all).filter(|(_, value)| value.is_empty()).map(|(name, _)| name).collect();
    assert_eq!(empty, ["scopes"]);
    assert_eq!(told(token().without("oid").without("sub")).await[2..4], ["", ""]);
    for subject in
        ["Zo\u{eb}", "a\r\nX-Certbound-Roles: Admin", "a\tb", " admin", "admin ", "\u{7f}", "a\0", ""]
    {
        assert_eq!(told(token().claim("sub", json!(subject))).await[3], "", "{subject:?}");
    }
    assert_eq!(told(token().claim("sub", json!("CN=a b, O=\"c\""))).await[3], "CN=a b, O=\"c\"");
    // A role with a space would look like two roles.
    let roles = async |roles: serde_json::Value| told(token().claim("roles", roles)).await[4].clone();
    assert_eq!(roles(json!(["Orders.Read", "Orders.Write"])).await, "Orders.Read Orders.Write");
    for second in ["Reader Admin", "", " ", "Zo\u{eb}", "a\tb", "a\nb"] {
        assert_eq!(roles(json!(["Orders.Read", second])).await, "", "{second:?}");
    }
    // A refusal names no caller.
    let refused = ForwardAuth::new(layer()).answer(&request(None).into_parts().0).await;
    assert!(refused.headers().keys().all(|name| !name.as_str().starts_with("x-certbound-")));
}

#[tokio::test]
async fn v48_a_token_in_the_url_that_a_proxy_names() {
    let ask = async |name: &str, urls: &[&[u8]]| {
        let mut request = request(Some(client()));
        for url in urls {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, http::HeaderValue::from_bytes(url).unwrap());
        }
        ForwardAuth::new(layer()).answer(&request.into_parts().0).await
    };
    for name in [
        "x-original-uri",
        "x-original-url",
        "x-forwarded-uri",
        "x-auth-request-redirect",
        "x-envoy-original-path",
        "x-rewrite-url",
    ] {
        let hostile: [&[&[u8]]; 10] = [
            &[b"/orders?access_token=x"],
            &[b"https://orders.example/orders?a=b&access_token=x"],
            // The next two values are not UTF-8. A check that needs text would skip the whole header.
            &[b"/\xe9?access_token=x"],
            &[b"/?a=\xff&access_token=x"],
            &["/\u{e9}?access_token=x".as_bytes()],
            &[b"/?access%5Ftoken=x"],
            &[b"/?a=b;access_token=x"],
            &[b"/?Access_Token=x"],
            &[b"/orders", b"/?access_token=x"],
            &[b"/??&access_token"],
        ];
        for urls in hostile {
            let answer = ask(name, urls).await;
            assert_eq!(answer.status(), 401, "{name} {urls:?}");
            assert!(String::from_utf8_lossy(answer.body()).contains("must not be in the URL"));
        }
        for url in [&b"/\xe9?q=\xff"[..], b"/access_token=x", b"", b"?", b"/?token=x&q=access_token"] {
            assert_eq!(ask(name, &[url]).await.status(), 200, "{name} {url:?}");
        }
    }
}

#[tokio::test]
async fn v52_a_request_of_two_lengths_reaches_no_resource() {
    let both = |mut request: Request<Bytes>| {
        request.headers_mut().insert("content-length", "5".parse().unwrap());
        request.headers_mut().insert("transfer-encoding", "chunked".parse().unwrap());
        request
    };
    let (status, body) = call(layer(), both(request(Some(client())))).await;
    assert_eq!(status, 400);
    assert!(body.contains("ambiguous"), "{body}");
    // The proxy sent the ambiguous length, and 401 would blame the client.
    let answer = ForwardAuth::new(layer()).answer(&both(request(Some(client()))).into_parts().0).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.headers()["connection"], "close");
}
