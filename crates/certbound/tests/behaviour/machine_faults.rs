//! Tests of faults of a machine's platform. Each fault causes a typed error, nothing is cached, and the next attempt
//! succeeds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use certbound::error::TransportError;
use certbound::managed_identity::{IdentityId, MachineCertificates, SoftwareKeys};
use certbound::state::StateDirectory;
use certbound::transport::{Answer, Via};
use certbound::{ResourceScope, Transport};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, PlatformEndpoint, PlatformKind};
use certbound_testkit::{MemoryTransport, Pair};

use crate::two_leg::vault;

/// Returns for each fault of an endpoint the error code and a word of the error text.
fn rows() -> Vec<(PlatformEndpoint, FaultResult, &'static str, &'static str)> {
    use FaultResult as F;
    use PlatformEndpoint::{IssueCredential, PlatformMetadata, Token};

    let unreadable = "managed_identity_response_parse_failure";
    let unfit = "invalid_certificate";
    vec![
        (PlatformMetadata, F::MalformedJson, unreadable, "JSON"),
        (PlatformMetadata, F::WrongServer, "managed_identity_request_failed", "IMDS"),
        (IssueCredential, F::MalformedJson, unreadable, "JSON"),
        (IssueCredential, F::ForeignKeyCertificate, unfit, "key"),
        (IssueCredential, F::ForeignIdentityCertificate, unfit, "identity"),
        (IssueCredential, F::ForeignTenantCertificate, unfit, "tenant"),
        (IssueCredential, F::ExpiredCertificate, unfit, "expired"),
        (IssueCredential, F::NotYetValidCertificate, unfit, "not valid yet"),
        (Token, F::MalformedJson, unreadable, "JSON"),
        (Token, F::EmptyToken, "managed_identity_request_failed", "access_token"),
    ]
}

#[tokio::test]
async fn what_a_platform_answers_wrongly_is_an_error_and_leaves_nothing() {
    for (endpoint, result, code, word) in rows() {
        let pair = Pair::new();
        let name = result.name();
        let condition = Condition { endpoint: Some(endpoint), ..Condition::platform(PlatformKind::Imds) };
        pair.emulator().add_fault(Fault::once(condition, result));
        let identity = pair.managed_identity(IdentityId::System).build().unwrap();
        let scope: ResourceScope = vault();
        let plain = endpoint == PlatformEndpoint::Token;
        let first = match plain {
            true => identity.bearer_token(&scope).await.map(drop),
            false => identity.bound_token(&scope).await.map(drop),
        };
        let error = first.expect_err(name);
        let text = format!("{error} {:?} {}", error, error.fix());
        assert_eq!(error.code(), code, "{endpoint:?} {name}: {error}");
        assert!(text.contains(word), "{endpoint:?} {name}: {text}");
        // A thumbprint has 43 characters, of which any three can be `eyJ`.
        let mut words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')));
        let token = words.any(|word| word.starts_with("eyJ") && word.len() != 43);
        assert!(!token && !text.contains("PRIVATE"), "{text}");
        let again = match plain {
            true => identity.bearer_token(&scope).await.map(drop),
            false => identity.bound_token(&scope).await.map(drop),
        };
        again.unwrap_or_else(|error| panic!("{endpoint:?} {name}: the fault still has an effect: {error}"));
    }
}

/// The emulated machine, with one changed answer of one operation.
#[derive(Clone)]
struct Altered {
    beneath: MemoryTransport,
    operation: &'static str,
    change: (&'static str, &'static str),
    done: Arc<AtomicBool>,
}

impl Transport for Altered {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let concerned = request.uri().path().ends_with(self.operation);
        let answer = self.beneath.send(request, via).await?;
        if !concerned || self.done.swap(true, Ordering::SeqCst) {
            return Ok(answer);
        }
        let (from, to) = self.change;
        let body = String::from_utf8(answer.response.body().to_vec()).unwrap();
        assert!(body.contains(from), "{from}: {body}");
        let response = answer.response.map(|_| Bytes::from(body.replace(from, to)));
        Ok(Answer { response, tls: answer.tls })
    }
}

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

#[tokio::test]
async fn a_wrong_certificate_is_kept_neither_in_memory_nor_in_the_folder() {
    for (operation, change, code) in [
        ("issuecredential", (builtin::SYSTEM_IDENTITY, NOBODY), "invalid_certificate"),
        ("issuecredential", (builtin::TENANT, NOBODY), "invalid_certificate"),
        ("issuecredential", ("\"certificate\":\"", "\"certificate\":\"AAAA"), "invalid_certificate"),
        ("issuecredential", ("\"certificate\":\"", "\"certificate\":\"?"), "invalid_certificate"),
        ("issuecredential", ("mtls_authentication_endpoint", "x"), "managed_identity_request_failed"),
        ("issuecredential", ("identity_type", "x"), "managed_identity_request_failed"),
        ("issuecredential", ("{", "["), "managed_identity_response_parse_failure"),
        ("getplatformmetadata", ("attestationEndpoint", "x"), "managed_identity_request_failed"),
        ("getplatformmetadata", ("cuId", "x"), "managed_identity_request_failed"),
        ("getplatformmetadata", ("vmId", "x"), "managed_identity_request_failed"),
        ("getplatformmetadata", ("{", "["), "managed_identity_response_parse_failure"),
        ("getplatformmetadata", (builtin::SYSTEM_IDENTITY, "me"), "managed_identity_request_failed"),
    ] {
        let pair = Pair::new();
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("state");
        let state = StateDirectory::open(&folder).unwrap();
        let certificates = MachineCertificates::kept_in(&state);
        let transport = Altered { beneath: pair.transport(), operation, change, done: Arc::default() };
        let identity = pair.managed_identity(IdentityId::System).with_transport(transport);
        let identity = identity.with_keys(SoftwareKeys::kept_in(&state));
        let identity = identity.with_certificates(certificates.clone()).build().unwrap();
        let error = identity.bound_token(&vault()).await.unwrap_err();
        assert_eq!(error.code(), code, "{operation} {change:?}: {error}");
        assert!(certificates.is_empty(), "{operation} {change:?}");
        assert_eq!(kept(&folder), 0, "{operation} {change:?}");
        // The next certificate is correct and is stored.
        identity.bound_token(&vault()).await.unwrap();
        assert_eq!((certificates.len(), kept(&folder)), (1, 1), "{operation} {change:?}");
    }
}

/// Returns the number of certificates in the folder.
fn kept(folder: &std::path::Path) -> usize {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "json")).count()
}
