//! HTTP/2 at the hosts of resources: each request on a connection has its own decision and its own fault.

use certbound_emulator::world::builtin::{GRAPH_BOUND_HOST, GRAPH_HOST, VAULT_HOST};
use certbound_emulator::{IssueOptions, LegKind};
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use tokio_rustls::client::TlsStream;

use super::*;

/// Performs the TLS handshake with an emulated host, and offers these protocols.
async fn handshake(
    fixture: &Fixture,
    host: &str,
    alpn: &[&str],
    identity: Option<&ClientIdentity>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = ClientConfig::clone(&tls(&fixture.emulator, identity));
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let tunnel = connect(fixture.server.proxy_address(), &format!("{host}:443")).await.unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tunnel).await
}

/// One HTTP/2 connection to the custom resource.
#[derive(Clone)]
struct Orders(http2::SendRequest<Full<Bytes>>);

impl Orders {
    async fn connect(fixture: &Fixture, identity: Option<&ClientIdentity>) -> Self {
        let stream = handshake(fixture, ORDERS_HOST, &["h2"], identity).await.unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    async fn call(&self, url: &str, authorization: &str) -> Result<Response<Bytes>, hyper::Error> {
        let request = Request::get(url).header("authorization", authorization).body(Full::default());
        let (head, body) = self.0.clone().send_request(request.unwrap()).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    async fn list(&self, authorization: &str) -> Result<Response<Bytes>, hyper::Error> {
        self.call(&format!("https://{ORDERS_HOST}/orders"), authorization).await
    }

    async fn head(&self, url: &str, authorization: &str) -> Result<Response<Bytes>, hyper::Error> {
        let request = Request::head(url).header("authorization", authorization).body(Full::default());
        let (head, body) = self.0.clone().send_request(request.unwrap()).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Waits until the connection has ended. Each new request then fails.
    async fn has_ended(&mut self) {
        while self.0.ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}

async fn authorization(fixture: &Fixture) -> String {
    let direct = LEG_1.replace("api://AzureADTokenExchange", "api://orders");
    let config = tls(&fixture.emulator, fixture.identity());
    let answer = fixture.send(MTLS, config, post(MTLS, &direct)).await.unwrap();
    fixture.emulator.clear_journal();
    format!("mtls_pop {}", value(&answer)["access_token"].as_str().unwrap())
}

fn arm(fixture: &Fixture, result: FaultResult) {
    fixture.emulator.add_fault(Fault::once(Condition::leg(LegKind::Resource), result));
}

#[tokio::test]
async fn resources_offer_it_and_token_hosts_do_not() {
    let fixture = start().await;
    let chosen = async |host: &str, alpn: &[&str]| {
        let stream = handshake(&fixture, host, alpn, fixture.identity()).await.ok()?;
        stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap())
    };
    for host in [ORDERS_HOST, VAULT_HOST, GRAPH_HOST, GRAPH_BOUND_HOST] {
        for (alpn, expected) in [
            (&["h2", "http/1.1"][..], Some("h2")),
            (&["http/1.1", "h2"], Some("h2")),
            (&["h2"], Some("h2")),
            (&["http/1.1"], Some("http/1.1")),
            (&[], None),
        ] {
            assert_eq!(chosen(host, alpn).await.as_deref(), expected, "{host} {alpn:?}");
        }
    }
    for host in [MTLS, LOGIN] {
        assert_eq!(chosen(host, &["h2", "http/1.1"]).await.as_deref(), Some("http/1.1"), "{host}");
        assert!(handshake(&fixture, host, &["h2"], fixture.identity()).await.is_err(), "{host}");
    }
}

#[tokio::test]
async fn each_request_of_a_connection_is_decided_by_itself_with_the_connections_certificate() {
    let fixture = start().await;
    let bound = authorization(&fixture).await;
    let orders = Orders::connect(&fixture, fixture.identity()).await;
    let bearer = bound.replace("mtls_pop", "Bearer");
    let (good, under_bearer, without_token, again) = tokio::join!(
        orders.list(&bound),
        orders.list(&bearer),
        orders.list("mtls_pop x"),
        orders.list(&bound)
    );
    for good in [good.unwrap(), again.unwrap()] {
        assert_eq!((good.version(), good.status()), (http::Version::HTTP_2, StatusCode::OK));
        assert_eq!(value(&good)["caller"], APP);
    }
    for refused in [under_bearer.unwrap(), without_token.unwrap()] {
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    }
    // RFC 9113, section 9.1.1: a client may send requests for another host that the certificate fits.
    let elsewhere = orders.call(&format!("https://{MTLS}/orders"), &bound).await.unwrap();
    assert_eq!(elsewhere.status(), StatusCode::MISDIRECTED_REQUEST);

    let other = fixture.emulator.issue_client_certificate(&IssueOptions::new("other")).unwrap();
    for identity in [None, Some(&other)] {
        let stolen = Orders::connect(&fixture, identity).await.list(&bound).await.unwrap();
        assert_eq!(stolen.status(), StatusCode::UNAUTHORIZED);
    }
    let journal = fixture.emulator.journal();
    assert_eq!(journal.len(), 7);
    let thumbprint = |identity: &ClientIdentity| {
        certbound_core::certificate::Thumbprint::of_der(identity.leaf_der()).x5t_s256()
    };
    let ours = Some(thumbprint(fixture.emulator.client_identity()));
    assert!(journal[..5].iter().all(|entry| entry.client_certificate == ours), "{journal:#?}");
    assert_eq!(journal[5].client_certificate, None);
    assert_eq!(journal[6].client_certificate, Some(thumbprint(&other)));
}

#[tokio::test]
async fn an_answer_to_head_is_the_answer_of_http_1_1() {
    let fixture = start().await;
    let bound = authorization(&fixture).await;
    let orders = Orders::connect(&fixture, fixture.identity()).await;
    let url = format!("https://{ORDERS_HOST}/orders");
    for (authorization, status) in [(bound.as_str(), 405), ("mtls_pop x", 401)] {
        let by_http2 = orders.head(&url, authorization).await.unwrap();
        let request =
            Request::head("/orders").header("host", ORDERS_HOST).header("authorization", authorization);
        let config = tls(&fixture.emulator, fixture.identity());
        let request = request.body(Full::default()).unwrap();
        let by_http1 = fixture.send(ORDERS_HOST, config, request).await.unwrap();
        for answer in [&by_http2, &by_http1] {
            assert_eq!(answer.status(), status);
            assert!(answer.body().is_empty());
        }
        let length = |answer: &Response<Bytes>| answer.headers().get("content-length").cloned();
        assert_eq!(length(&by_http2), length(&by_http1), "{authorization}");
    }
    assert_eq!(orders.list(&bound).await.unwrap().status(), StatusCode::OK, "the connection is still open");
}

#[tokio::test]
async fn a_reset_ends_the_whole_connection() {
    let fixture = start().await;
    let bound = authorization(&fixture).await;
    let mut orders = Orders::connect(&fixture, fixture.identity()).await;
    // The first request is delayed, so it is open when the second one resets the connection.
    arm(&fixture, FaultResult::Delay { milliseconds: 600_000 });
    arm(&fixture, FaultResult::ConnectionReset);
    let (delayed, reset) = tokio::join!(orders.list(&bound), orders.list(&bound));
    for error in [delayed.unwrap_err(), reset.unwrap_err()] {
        let chain =
            std::iter::successors(Some(&error as &(dyn std::error::Error + 'static)), |error| error.source());
        let shown: Vec<_> = chain.map(ToString::to_string).collect();
        assert!(shown.iter().any(|text| text == "connection reset"), "{shown:?}");
    }
    orders.has_ended().await;
    let again = Orders::connect(&fixture, fixture.identity()).await.list(&bound).await.unwrap();
    assert_eq!(again.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_delay_holds_up_no_other_request() {
    let fixture = start().await;
    let bound = authorization(&fixture).await;
    let orders = Orders::connect(&fixture, fixture.identity()).await;
    arm(&fixture, FaultResult::Delay { milliseconds: 600_000 });
    let delayed = tokio::spawn({
        let (orders, bound) = (orders.clone(), bound.clone());
        async move { orders.list(&bound).await }
    });
    while fixture.emulator.journal().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(orders.list(&bound).await.unwrap().status(), StatusCode::OK);
    assert!(!delayed.is_finished());
    delayed.abort();
}

#[tokio::test]
async fn half_a_body_ends_its_request_only() {
    let fixture = start().await;
    let bound = authorization(&fixture).await;
    let orders = Orders::connect(&fixture, fixture.identity()).await;
    let whole = orders.list(&bound).await.unwrap().into_body();
    arm(&fixture, FaultResult::TruncatedBody);
    let request = Request::get(format!("https://{ORDERS_HOST}/orders")).header("authorization", &bound);
    let answer = orders.0.clone().send_request(request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(answer.headers()["content-length"], whole.len().to_string());
    let mut body = answer.into_body();
    let half = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(half, whole[..whole.len() / 2]);
    assert!(body.frame().await.unwrap().is_err());
    assert_eq!(orders.list(&bound).await.unwrap().status(), StatusCode::OK, "the connection is still open");
}

#[tokio::test]
async fn a_large_body_is_refused_and_the_connection_goes_on() {
    let fixture = start().await;
    let bound = authorization(&fixture).await;
    let orders = Orders::connect(&fixture, fixture.identity()).await;
    let large = Full::new(Bytes::from(vec![b'a'; 1024 * 1024 + 1]));
    let request = Request::post(format!("https://{ORDERS_HOST}/orders")).body(large).unwrap();
    // Either the answer comes before the whole body is sent, or the request is reset. It never succeeds.
    if let Ok(answer) = orders.0.clone().send_request(request).await {
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert_eq!(orders.list(&bound).await.unwrap().status(), StatusCode::OK);
    assert_eq!(fixture.emulator.journal().len(), 1);
}
