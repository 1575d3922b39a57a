//! One exchange, exported over OTLP to the test's own collector, shows both legs under one acquisition.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

mod collector;

use certbound::transport::TracePropagation;
use certbound::{Cloud, ResourceScope};
use certbound_otel::OtelTraceContext;
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::{LevelFilter, Pair};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use self::collector::{Collector, Plain};

const CLIENT: i32 = 3;
const INTERNAL: i32 = 1;

#[tokio::test]
async fn both_legs_with_their_requests_are_exported_under_one_acquisition() {
    let collector = Collector::begin();
    let exporter = opentelemetry_otlp::WithHttpConfig::with_http_client(
        opentelemetry_otlp::SpanExporter::builder().with_http(),
        Plain,
    );
    let exporter = opentelemetry_otlp::WithExportConfig::with_endpoint(exporter, collector.url());
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.build().unwrap()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(LevelFilter::INFO));
    let guard = tracing::subscriber::set_default(subscriber);

    let pair = Pair::new();
    let propagation = TracePropagation::to_resources(OtelTraceContext).and_token_services();
    let leg2 = pair.builder(builtin::APP).with_assertions(pair.leg1()).with_trace_context(propagation);
    let leg2 = leg2.build().unwrap();
    let vault = ResourceScope::key_vault(Cloud::Public);
    leg2.bound_token(&vault).await.unwrap();
    drop(guard);
    tokio::task::spawn_blocking(move || provider.shutdown().unwrap()).await.unwrap();

    let spans = collector.spans();
    let drawing = draw(&spans);
    println!("{}", drawing.join("\n"));
    assert_eq!(spans.len(), 5, "{drawing:#?}");
    let one = |name: &str, parent: Option<&Span>| {
        let below =
            |span: &&Span| span.name == name && parent.is_none_or(|it| it.span_id == span.parent_span_id);
        let found: Vec<&Span> = spans.iter().filter(below).collect();
        assert_eq!(found.len(), 1, "{name} in {drawing:#?}");
        found[0]
    };
    let acquisition = one("acquire token", None);
    assert!(acquisition.parent_span_id.is_empty());
    let (leg1, leg2) = (one("Leg 1", Some(acquisition)), one("Leg 2", Some(acquisition)));
    let (first, second) = (one("POST", Some(leg1)), one("POST", Some(leg2)));
    assert!(spans.iter().all(|span| span.trace_id == acquisition.trace_id));
    assert_eq!((acquisition.kind, leg1.kind, first.kind, second.kind), (INTERNAL, INTERNAL, CLIENT, CLIENT));
    assert_eq!(attribute(acquisition, "certbound.source"), "token_service");
    assert_eq!(
        (attribute(first, "certbound.leg"), attribute(second, "certbound.leg")),
        ("1".into(), "2".into())
    );
    for request in [first, second] {
        assert_eq!(attribute(request, "http.response.status_code"), "200");
        assert_eq!(attribute(request, "server.address"), "westus3.mtlsauth.microsoft.com");
    }
    for (inner, outer) in [(first, leg1), (leg1, acquisition), (second, leg2), (leg2, acquisition)] {
        assert!(outer.start_time_unix_nano <= inner.start_time_unix_nano);
        assert!(inner.end_time_unix_nano <= outer.end_time_unix_nano);
    }
    assert!(leg1.end_time_unix_nano <= second.start_time_unix_nano);

    // The document shows the same spans. Their durations differ in each run.
    let page = include_str!("../../../docs/observability.md");
    let (_, shown) = page.split_once("```text\n").unwrap();
    let (shown, _) = shown.split_once("\n```").unwrap();
    let names = |line: &str| line.split('|').next().unwrap_or_default().trim_end().to_owned();
    let shown: Vec<String> = shown.lines().map(names).collect();
    assert_eq!(shown, drawing.iter().map(|line| names(line)).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_headers_of_a_request_name_the_span_of_the_request() {
    use certbound_testkit::AnsweringTransport;
    use opentelemetry_sdk::trace::InMemorySpanExporter;

    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(LevelFilter::INFO));
    let guard = tracing::subscriber::set_default(subscriber);
    let (pair, transport) = (Pair::new(), AnsweringTransport::with_tokens());
    let propagation = TracePropagation::to_resources(OtelTraceContext).and_token_services();
    let client = pair.builder(builtin::APP).with_transport(transport.clone()).with_trace_context(propagation);
    let client = client.with_certificate(pair.certificate()).build().unwrap();
    client.bound_token(&ResourceScope::key_vault(Cloud::Public)).await.unwrap();
    drop(guard);
    let spans = exporter.get_finished_spans().unwrap();
    let request = spans.iter().find(|span| span.name == "POST").unwrap();
    let (trace, span) = (request.span_context.trace_id(), request.span_context.span_id());
    assert_eq!(transport.only().header("traceparent"), format!("00-{trace}-{span}-01"));

    // Without a span there is no trace, so there is no header.
    client.bound_token(&ResourceScope::graph(Cloud::Public)).await.unwrap();
    assert_eq!(transport.only().header("traceparent"), "");
}

fn attribute(span: &Span, name: &str) -> String {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;

    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.clone()) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{name} is {other:?}"),
    }
}

/// Draws the spans: one line for each, below its parent, with a bar and its duration.
fn draw(spans: &[Span]) -> Vec<String> {
    let begin = spans.iter().map(|span| span.start_time_unix_nano).min().unwrap_or_default();
    let end = spans.iter().map(|span| span.end_time_unix_nano).max().unwrap_or_default();
    let mut lines = Vec::new();
    below(spans, &[], 0, (begin, end), &mut lines);
    lines
}

fn below(spans: &[Span], parent: &[u8], depth: usize, all: (u64, u64), lines: &mut Vec<String>) {
    const WIDTH: usize = 40;
    let mut children: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id == parent).collect();
    children.sort_by_key(|span| span.start_time_unix_nano);
    for span in children {
        let at = |time: u64| ((time - all.0) * WIDTH as u64 / (all.1 - all.0).max(1)) as usize;
        let (from, to) = (at(span.start_time_unix_nano), at(span.end_time_unix_nano));
        let bar = format!("{}{}", " ".repeat(from), "█".repeat((to - from).max(1)));
        let took = (span.end_time_unix_nano - span.start_time_unix_nano) as f64 / 1e6;
        let name = format!("{}{}", "  ".repeat(depth), span.name);
        lines.push(format!("{name:<16} |{bar:<WIDTH$}| {took:>5.1} ms"));
        below(spans, &span.span_id, depth + 1, all, lines);
    }
}
