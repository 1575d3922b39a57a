//! The headers of token requests, as the transport and an observer receive them.

use std::sync::{Arc, Mutex};

use certbound::credential::ByCertificate;
use certbound::error::TransportError;
use certbound::observe::ObservedRequest;
use certbound::token::TokenHash;
use certbound::transport::{Answer, Via};
use certbound::{Authority, Client, TenantId, Transport};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::{MemoryTransport, Pair};

use crate::two_leg::vault;

const CORRELATION_ID: &str = "2c7f0f0e-2b73-4f0c-9b1e-0b7d7a2f7c11";

type Headers = Vec<(String, String)>;

/// Records the headers of every request and forwards it.
#[derive(Clone)]
struct Recorder {
    inner: MemoryTransport,
    seen: Arc<Mutex<Vec<Headers>>>,
}

impl Transport for Recorder {
    async fn send(
        &self,
        request: http::Request<bytes::Bytes>,
        via: Via<'_>,
    ) -> Result<Answer, TransportError> {
        let headers = request.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        self.seen.lock().unwrap().push(headers);
        self.inner.send(request, via).await
    }
}

impl Recorder {
    fn of(pair: &Pair) -> Self {
        Self { inner: pair.transport(), seen: Arc::default() }
    }

    fn client(&self, pair: &Pair, authority: Authority) -> Client<ByCertificate> {
        Client::builder(authority, builtin::APP)
            .with_transport(self.clone())
            .with_clock(pair.clock().clone())
            .with_certificate(pair.certificate())
            .build()
            .unwrap()
    }

    fn last(&self, name: &str) -> String {
        let seen = self.seen.lock().unwrap();
        let values: Vec<_> = seen.last().unwrap().iter().filter(|(known, _)| known == name).collect();
        assert_eq!(values.len(), 1, "{name}");
        values[0].1.clone()
    }
}

fn golden() -> Headers {
    let text = include_str!("../../../../testdata/wire/headers.txt");
    let line = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_ascii_lowercase(), value.to_owned())
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn both_legs_carry_the_golden_headers_and_the_three_of_the_product() {
    let pair = Pair::new();
    let recorder = Recorder::of(&pair);
    let leg1 = recorder.client(&pair, pair.authority());
    let leg2 =
        pair.builder(builtin::APP).with_transport(recorder.clone()).with_assertions(leg1).build().unwrap();
    let observed: Arc<Mutex<Vec<Headers>>> = Arc::default();
    let told = Arc::clone(&observed);
    leg2.bound_token(&vault())
        .correlation_id(CORRELATION_ID.parse().unwrap())
        .observe(Arc::new(move |request: &ObservedRequest| {
            told.lock().unwrap().push(request.headers.clone());
        }))
        .await
        .unwrap();
    let seen = recorder.seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(*seen, *observed.lock().unwrap(), "an observer sees the headers that are sent");
    for headers in seen.iter() {
        let (product, rest): (Headers, Headers) = headers
            .iter()
            .cloned()
            .partition(|(name, _)| ["x-client-sku", "x-client-ver", "x-client-os"].contains(&name.as_str()));
        let sorted = |mut headers: Headers| {
            headers.sort();
            headers
        };
        assert_eq!(sorted(rest), sorted(golden()));
        let [(_, sku), (_, version), (_, os)] = product.as_slice() else { panic!("{product:?}") };
        assert_eq!((sku.as_str(), version.as_str()), ("certbound", env!("CARGO_PKG_VERSION")));
        assert!(!os.is_empty());
    }
}

#[tokio::test]
async fn telemetry_says_region_kind_and_why_the_cache_was_not_enough() {
    let pair = Pair::new();
    let recorder = Recorder::of(&pair);
    let telemetry = || recorder.last("x-client-current-telemetry");
    let client = recorder.client(&pair, pair.authority());
    let token = client.bound_token(&vault()).await.unwrap();
    assert_eq!(telemetry(), "5|1004,2,westus3,,6|0,1,6,,,");
    client.bearer_token(&vault()).await.unwrap();
    assert_eq!(telemetry(), "5|1004,2,westus3,,6|0,1,1,,,");
    client.bound_token(&vault()).rejected(TokenHash::of(token.secret())).await.unwrap();
    assert_eq!(telemetry(), "5|1004,1,westus3,,6|0,1,6,,,");

    let global = recorder.client(&pair, Authority::public(TenantId::parse(builtin::TENANT).unwrap()));
    global.bound_token(&vault()).await.unwrap();
    assert_eq!(telemetry(), "5|1004,2,,,|0,1,6,,,");
    global.bound_token(&vault()).force_refresh().await.unwrap();
    assert_eq!(telemetry(), "5|1004,1,,,|0,1,6,,,");
    global.bearer_token(&vault()).claims("{}").await.unwrap();
    assert_eq!(telemetry(), "5|1004,1,,,|0,1,1,,,");
}
