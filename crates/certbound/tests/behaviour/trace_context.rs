//! Tests of the headers of a W3C trace context: the requests that get them, and the limits of a hook.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use certbound::managed_identity::IdentityId;
use certbound::transport::{TraceHeaders, TracePropagation};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::{AnsweringTransport, Pair, Seen};

use crate::two_leg::vault;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const STATE: &str = "vendor=value";

fn hook() -> Option<TraceHeaders> {
    TraceHeaders::parse(PARENT, STATE).ok()
}

fn without() -> Option<TraceHeaders> {
    None
}

fn of(seen: &Seen) -> (&str, &str) {
    (seen.header("traceparent"), seen.header("tracestate"))
}

fn request() -> http::request::Builder {
    http::Request::get("https://demo.vault.azure.net/secrets/demo?api-version=7.4")
}

/// Sends one token request and one request to a resource. Returns both.
async fn sent(propagation: Option<TracePropagation>, request: http::request::Builder) -> [Seen; 2] {
    let (pair, transport) = (Pair::new(), AnsweringTransport::with_tokens());
    let mut client = pair.builder(builtin::APP).with_transport(transport.clone());
    if let Some(propagation) = propagation {
        client = client.with_trace_context(propagation);
    }
    let client = client.with_certificate(pair.certificate()).build().unwrap();
    client.resource(&vault()).call(request.body(Bytes::new()).unwrap()).await.unwrap();
    transport.seen().try_into().unwrap()
}

#[tokio::test]
async fn only_the_named_requests_get_the_headers() {
    let [token, resource] = sent(None, request()).await;
    assert_eq!((of(&token), of(&resource)), (("", ""), ("", "")));
    let [token, resource] = sent(Some(TracePropagation::to_resources(hook)), request()).await;
    assert_eq!((of(&token), of(&resource)), (("", ""), (PARENT, STATE)));
    assert!(resource.header("authorization").starts_with("mtls_pop "));
    let all = TracePropagation::to_resources(hook).and_token_services();
    let [token, resource] = sent(Some(all), request()).await;
    assert_eq!((of(&token), of(&resource)), ((PARENT, STATE), (PARENT, STATE)));
    let [token, resource] =
        sent(Some(TracePropagation::to_resources(without).and_token_services()), request()).await;
    assert_eq!((of(&token), of(&resource)), (("", ""), ("", "")));
}

/// The headers of the application are never mixed with those of the hook.
#[tokio::test]
async fn the_headers_of_the_application_have_priority() {
    for (name, value) in [("traceparent", "of the application"), ("tracestate", "app=1")] {
        let propagation = TracePropagation::to_resources(hook);
        let [_, resource] = sent(Some(propagation), request().header(name, value)).await;
        let expected = if name == "traceparent" { (value, "") } else { ("", value) };
        assert_eq!(of(&resource), expected);
    }
}

#[tokio::test]
async fn a_platform_gets_the_headers_only_if_it_is_named() {
    for (is_named, expected) in [(false, ""), (true, PARENT)] {
        let answer =
            |_: &Seen| (200, r#"{"token_type":"Bearer","access_token":"T","expires_in":"3600"}"#.to_owned());
        let (pair, transport) = (Pair::new(), AnsweringTransport::new(answer));
        let propagation = TracePropagation::to_resources(hook).and_token_services();
        let propagation = if is_named { propagation.and_platforms() } else { propagation };
        let machine = pair.managed_identity(IdentityId::System).with_transport(transport.clone());
        let machine = machine.with_trace_context(propagation).build().unwrap();
        machine.bearer_token(&vault()).await.unwrap();
        assert_eq!(transport.only().header("traceparent"), expected);
    }
}

/// A resource that was made from a token uses the connections of the client, and its hook too.
#[tokio::test]
async fn a_resource_of_a_token_and_each_attempt_call_the_hook() {
    let (pair, transport) = (Pair::new(), AnsweringTransport::with_tokens());
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let propagation = TracePropagation::to_resources(move || {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        TraceHeaders::parse(&format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b{number}-00"), "")
            .ok()
    });
    let client = pair.builder(builtin::APP).with_transport(transport.clone()).with_trace_context(propagation);
    let client = client.with_certificate(pair.certificate()).build().unwrap();
    let token = client.bound_token(&vault()).await.unwrap();
    for _ in 0..2 {
        token.resource().call(request().body(Bytes::new()).unwrap()).await.unwrap();
    }
    let parents: Vec<String> =
        transport.seen()[1..].iter().map(|seen| seen.header("traceparent").to_owned()).collect();
    assert_eq!(parents, [0, 1].map(|n| format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b{n}-00")));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}
