//! The facts of a refusal: host, region, tenant, correlation id, waiting time, certificate and clock.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certbound::credential::{NoCredential, unbound_fn};
use certbound::{
    Authority, BindingCertificate, Client, ClientBuilder, Cloud, Error, Region, ResourceScope, Secret,
    TenantId, UnixTime,
};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::{AnsweringTransport, ManualClock};

/// 2026-07-25T17:20:00Z.
const NOW: UnixTime = UnixTime::from_secs(1_785_000_000);

fn builder(transport: &AnsweringTransport) -> ClientBuilder<NoCredential> {
    let authority = Authority::public(TenantId::parse("contoso.com").unwrap());
    let authority = authority.with_region(Region::parse("westus3").unwrap());
    let builder = Client::builder(authority, builtin::APP).with_transport(transport.clone());
    builder.with_clock(ManualClock::at(NOW))
}

async fn refused(transport: &AnsweringTransport) -> Error {
    let client = builder(transport).with_secret(Secret::new("s")).build().unwrap();
    client.bearer_token(&ResourceScope::key_vault(Cloud::Public)).await.unwrap_err()
}

fn aadsts(number: u32) -> String {
    format!(r#"{{"error":"invalid_client","error_description":"AADSTS{number}: No."}}"#)
}

#[tokio::test]
async fn a_service_that_is_busy_says_where_when_and_by_which_id() {
    for (status, code) in [(429, "request_throttled"), (503, "service_not_available")] {
        let transport =
            AnsweringTransport::new(move |_| (status, String::new())).with_header("retry-after", "30");
        let error = refused(&transport).await;
        let sent = transport.only();
        assert_eq!((error.code(), error.is_transient()), (code, true));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(30)));
        assert_eq!(error.host(), Some("westus3.login.microsoft.com"));
        assert_eq!(error.region().map(Region::as_str), Some("westus3"));
        assert_eq!(error.tenant().map(TenantId::as_str), Some("contoso.com"));
        // The service returned no id, so the error has the id of the request.
        assert_eq!(error.correlation_id(), Some(sent.header("client-request-id")));
        let text = error.to_string();
        for fact in
            [&*sent.url, "region westus3", sent.header("client-request-id"), "asks the client to wait 30 s"]
        {
            assert!(text.contains(fact), "{fact}: {text}");
        }
        assert!(error.fix().contains("send the request again"), "{}", error.fix());
    }
    for (status, body, fix) in [
        (503, "", "in some seconds"),
        (404, "", "check the authority and the region"),
        (403, "<html>", "check the authority and the region"),
        (400, r#"{"error":"strange"}"#, "look up the code"),
    ] {
        let error = refused(&AnsweringTransport::new(move |_| (status, body.to_owned()))).await;
        assert!(error.fix().contains(fix), "{status}: {}", error.fix());
    }
    let error = refused(&AnsweringTransport::new(|_| (502, String::new()))).await;
    assert!(error.to_string().contains("a later request may succeed"), "{error}");
    let error = refused(&AnsweringTransport::new(|_| (400, String::new()))).await;
    assert!(!error.to_string().contains("may succeed") && error.retry_after().is_none(), "{error}");
}

#[tokio::test]
async fn a_wrong_clock_is_named_where_times_are_refused() {
    let behind = "Sat, 25 Jul 2026 17:40:30 GMT";
    for (number, date, told) in [
        (
            700_024,
            "Sat, 25 Jul 2026 16:59:00 GMT",
            Some("this machine's clock is 21 min ahead of the server's"),
        ),
        (700_024, behind, Some("this machine's clock is 20 min behind the server's")),
        (7_000_274, behind, Some("this machine's clock is 20 min behind the server's")),
        (
            392_204,
            "Thu, 23 Jul 2026 17:20:00 GMT",
            Some("this machine's clock is 48 h ahead of the server's"),
        ),
        (700_024, "Sat, 25 Jul 2026 17:20:59 GMT", None),
        (700_024, "yesterday", None),
        // The clock is no reason for this refusal.
        (700_016, behind, None),
    ] {
        let transport = AnsweringTransport::new(move |_| (401, aadsts(number))).with_header("date", date);
        let error = refused(&transport).await;
        let text = error.to_string();
        assert_eq!(text.contains("clock is"), told.is_some(), "{number} {date}: {text}");
        assert!(text.contains(told.unwrap_or_default()), "{number} {date}: {text}");
        assert_eq!(
            error.fix() == "correct this machine's clock, then send the request again",
            told.is_some(),
            "{number} {date}"
        );
    }
}

#[tokio::test]
async fn the_certificate_that_signed_is_named_where_it_is_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/certificates");
    let certificate = || BindingCertificate::from_pem_file(folder.join("rsa.bundle.pem")).unwrap();
    let scope = ResourceScope::key_vault(Cloud::Public);
    let about_it = [700_027, 7_000_214, 7_000_277, 1_000_502, 700_030, 392_204, 392_189, 7_000_274];
    for (number, is_told) in about_it.map(|number| (number, true)).into_iter().chain([(700_016, false)]) {
        let transport = AnsweringTransport::new(move |_| (401, aadsts(number)));
        let clock = ManualClock::at(certificate().chain().not_before());
        let client = builder(&transport).with_certificate(certificate()).with_clock(clock).build().unwrap();
        let errors =
            [client.bearer_token(&scope).await.unwrap_err(), client.bound_token(&scope).await.unwrap_err()];
        for error in errors {
            let (thumbprint, chain) = (certificate().thumbprint(), certificate().chain().clone());
            let told = format!(
                ": No; the certificate of the client is `{}` (x5t#S256 {thumbprint})",
                chain.subject()
            );
            assert_eq!(error.to_string().contains(&told), is_told, "{error}");
            assert_eq!(error.to_string().contains(&thumbprint.to_string()), is_told, "{error}");
            assert_eq!(error.target().unwrap().certificate, Some(certificate().thumbprint()));
        }
    }
}

#[tokio::test]
async fn the_source_of_an_assertion_is_told_the_authority() {
    let transport = AnsweringTransport::with_tokens();
    let told = Arc::new(Mutex::new(None));
    let sink = Arc::clone(&told);
    let source = unbound_fn(move |request| {
        *sink.lock().unwrap() = Some(request.authority.clone());
        async { Ok::<_, Error>(Secret::new("assertion")) }
    });
    let client = builder(&transport).with_unbound_assertions(source).build().unwrap();
    let tenant = TenantId::parse("other.example").unwrap();
    client.bearer_token(&ResourceScope::key_vault(Cloud::Public)).tenant(tenant).await.unwrap();
    let told = told.lock().unwrap().clone().unwrap();
    assert_eq!(told.url(), "https://login.microsoftonline.com/other.example/");
    assert_eq!(told.region().map(Region::as_str), Some("westus3"));
}
