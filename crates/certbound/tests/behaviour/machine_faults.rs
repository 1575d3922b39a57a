//! A machine's platform that misbehaves, by the emulator's faults: a typed error, nothing kept, and the next attempt works.

use certbound::{IdentityId, ResourceScope};
use certbound_testkit::Pair;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, PlatformEndpoint, PlatformKind};

use crate::two_leg::vault;

/// What `endpoint` of the metadata service does once, and the code and the word of the error that tells so.
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
        (IssueCredential, F::ExpiredCertificate, unfit, "over"),
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
        assert!(!text.contains("eyJ") && !text.contains("PRIVATE"), "{text}");
        let again = match plain {
            true => identity.bearer_token(&scope).await.map(drop),
            false => identity.bound_token(&scope).await.map(drop),
        };
        again.unwrap_or_else(|error| panic!("{endpoint:?} {name}: it left something behind: {error}"));
    }
}
