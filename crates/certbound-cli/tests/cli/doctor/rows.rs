//! The table of faults: for each fault of the emulator, the line of `doctor` that names it.

use super::Flow;

/// A fault at some requests, and the line that names it.
pub(super) struct Row {
    pub(super) flow: Flow,
    /// The requests, in words.
    pub(super) at: &'static str,
    pub(super) condition: &'static str,
    pub(super) result: &'static str,
    /// The lines with a problem, each with its code. The first one names the fault. Without a line the flow works.
    pub(super) lines: &'static [(&'static str, &'static str)],
    pub(super) more: &'static [&'static str],
}

const fn row(
    flow: Flow,
    (at, condition): (&'static str, &'static str),
    result: &'static str,
    lines: &'static [(&'static str, &'static str)],
) -> Row {
    Row { flow, at, condition, result, lines, more: &[] }
}

type At = (&'static str, &'static str);

const LEG1: At = ("Leg 1", r#"{"leg":"leg1"}"#);
const LEG2: At = ("Leg 2", r#"{"leg":"leg2"}"#);
const CALL: At = ("call of the resource", r#"{"leg":"resource","path_contains":"/v1.0"}"#);
const VAULT_CALL: At = ("call of the vault", r#"{"leg":"resource","path_contains":"/secrets"}"#);
const HOST: At = ("token service's host", r#"{"host_suffix":"westus3.mtlsauth.microsoft.com"}"#);
const RESOURCE: At = ("resource's host", r#"{"host_suffix":"graph.microsoft.com"}"#);
const METADATA: At = ("IMDS, metadata", r#"{"platform":"imds","endpoint":"platform_metadata"}"#);
const ISSUE: At = ("IMDS, certificate", r#"{"platform":"imds","endpoint":"issue_credential"}"#);
const LOCATION: At = ("IMDS, region", r#"{"endpoint":"instance_metadata"}"#);
const APP_SERVICE: At = ("App Service", r#"{"platform":"app_service"}"#);
const SERVICE_FABRIC: At = ("Service Fabric", r#"{"platform":"service_fabric"}"#);

const UNAVAILABLE: &str = r#"{"status":{"status":503,"retry_after":2}}"#;
const REFUSAL: &str = r#"{"refusal":{"aadsts":700016}}"#;
const REDIRECT: &str = r#"{"redirect307":{"location":"https://elsewhere.example/"}}"#;
const WITHOUT_TOKEN: &str = r#"{"without_member":{"name":"access_token"}}"#;
const WITHOUT_TYPE: &str = r#"{"without_member":{"name":"token_type"}}"#;
const NOT_ENFORCED: &str = r#"{"token_binding_parameters":{"mode":"NotEnforced"}}"#;
const ENFORCED: &str = r#"{"token_binding_parameters":{"mode":"Enforced"}}"#;
const ATTESTED: &str =
    r#"{"token_binding_parameters":{"mode":"Enforced","minimum_strength":"AttestedConfidential"}}"#;
const SLOW: &str = r#"{"delay":{"milliseconds":3000}}"#;
const OPAQUE: &str = r#"{"token_form":"opaque"}"#;
const ENCRYPTED: &str = r#"{"token_form":"encrypted"}"#;
const CNF_TWICE: &str = r#"{"token_form":"cnf_twice"}"#;
const PADDED: &str = r#"{"token_form":"padded_payload"}"#;
const FOURTH: &str = r#"{"token_form":"fourth_part"}"#;

use Flow::{AppService, Certificate, Detected, Machine, ServiceFabric, Vault};

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row(Certificate, LEG1, UNAVAILABLE, &[("leg1.answer", "service_not_available")]),
    row(Certificate, LEG1, REFUSAL, &[("leg1.answer", "unauthorized_client")]),
    row(Certificate, LEG1, r#"{"refusal":{"aadsts":700027}}"#, &[("leg1.answer", "invalid_client")]),
    row(Certificate, LEG1, r#"{"refusal":{"aadsts":7000214}}"#, &[("leg1.answer", "invalid_client")]),
    row(Certificate, LEG1, REDIRECT, &[("leg1.answer", "redirect_refused")]),
    row(Certificate, LEG1, r#""connection_reset""#, &[("leg1.answer", "connection_interrupted")]),
    row(Certificate, LEG1, r#""truncated_body""#, &[("leg1.answer", "connection_interrupted")]),
    row(Certificate, LEG1, r#""malformed_json""#, &[("leg1.answer", "json_parse_failed")]),
    row(Certificate, LEG1, WITHOUT_TOKEN, &[("leg1.answer", "answer_missing_field")]),
    row(Certificate, LEG1, WITHOUT_TYPE, &[("leg1.answer", "token_type_missing")]),
    row(Certificate, LEG1, r#""empty_token""#, &[("leg1.answer", "answer_empty_token")]),
    Row { more: &["--timeout", "1"], ..row(Certificate, LEG1, SLOW, &[("leg1.answer", "request_timeout")]) },
    row(Certificate, LEG1, r#""bearer_for_mtls_pop""#, &[("leg1.token_type", "token_type_mismatch")]),
    row(Certificate, LEG1, r#""wrong_scope""#, &[("leg1.scope", "scope_mismatch")]),
    row(Certificate, LEG1, r#""foreign_cnf""#, &[("leg1.binding", "bound_to_another")]),
    row(Certificate, LEG1, r#""no_cnf""#, &[("leg1.binding", "assertion_not_bound")]),
    row(Certificate, LEG1, OPAQUE, &[("leg1.binding", "assertion_not_jwt")]),
    row(Certificate, LEG1, ENCRYPTED, &[("leg1.binding", "assertion_not_jwt")]),
    row(Certificate, LEG1, CNF_TWICE, &[("leg1.binding", "token_unreadable")]),
    row(Certificate, LEG1, PADDED, &[("leg1.binding", "token_unreadable")]),
    row(Certificate, LEG1, FOURTH, &[("leg1.binding", "token_unreadable")]),

    row(Certificate, LEG2, UNAVAILABLE, &[("leg2.answer", "service_not_available")]),
    row(Certificate, LEG2, REFUSAL, &[("leg2.answer", "unauthorized_client")]),
    row(Certificate, LEG2, REDIRECT, &[("leg2.answer", "redirect_refused")]),
    row(Certificate, LEG2, r#""connection_reset""#, &[("leg2.answer", "connection_interrupted")]),
    row(Certificate, LEG2, r#""truncated_body""#, &[("leg2.answer", "connection_interrupted")]),
    row(Certificate, LEG2, r#""malformed_json""#, &[("leg2.answer", "json_parse_failed")]),
    row(Certificate, LEG2, WITHOUT_TOKEN, &[("leg2.answer", "answer_missing_field")]),
    row(Certificate, LEG2, WITHOUT_TYPE, &[("leg2.answer", "token_type_missing")]),
    row(Certificate, LEG2, r#""empty_token""#, &[("leg2.answer", "answer_empty_token")]),
    Row { more: &["--timeout", "1"], ..row(Certificate, LEG2, SLOW, &[("leg2.answer", "request_timeout")]) },
    row(Certificate, LEG2, r#""bearer_for_mtls_pop""#, &[("token.type", "token_type_mismatch")]),
    row(Certificate, LEG2, r#""wrong_scope""#, &[("token.scope", "scope_mismatch")]),
    row(Certificate, LEG2, r#""foreign_cnf""#, &[("token.binding", "bound_to_another")]),
    row(Certificate, LEG2, r#""no_cnf""#, &[("token.binding", "confirmation_missing")]),
    row(Certificate, LEG2, OPAQUE, &[("token.binding", ""), ("resource.scheme", "resource_refused")]),
    row(Certificate, LEG2, ENCRYPTED, &[("token.binding", ""), ("resource.scheme", "resource_refused")]),
    row(Certificate, LEG2, CNF_TWICE, &[("token.binding", "token_unreadable")]),
    row(Certificate, LEG2, PADDED, &[("token.binding", "token_unreadable")]),
    row(Certificate, LEG2, FOURTH, &[("token.binding", "token_unreadable")]),

    row(Certificate, CALL, UNAVAILABLE, &[("resource.scheme", "resource_refused")]),
    row(Certificate, CALL, r#"{"status":{"status":401}}"#, &[("resource.scheme", "resource_refused")]),
    row(Certificate, CALL, r#"{"status":{"status":403}}"#, &[("resource.scheme", "")]),
    row(Certificate, CALL, r#"{"status":{"status":404}}"#, &[("resource.scheme", "")]),
    row(Certificate, CALL, r#"{"claims_challenge":{}}"#, &[("resource.scheme", "resource_refused")]),
    row(Certificate, CALL, REDIRECT, &[("resource.scheme", "")]),
    row(Certificate, CALL, r#""connection_reset""#, &[("resource.scheme", "connection_interrupted")]),
    row(Certificate, CALL, r#""truncated_body""#, &[("resource.scheme", "connection_interrupted")]),
    row(Certificate, CALL, r#"{"delay":{"milliseconds":50}}"#, &[]),

    row(Vault, VAULT_CALL, NOT_ENFORCED, &[("resource.scheme", "resource_refused")]),
    row(Vault, VAULT_CALL, ATTESTED, &[("resource.scheme", "resource_refused")]),
    row(Vault, VAULT_CALL, ENFORCED, &[]),
    Row { more: &["--bearer"], ..row(Vault, VAULT_CALL, ENFORCED, &[("resource.scheme", "resource_refused")]) },

    row(Certificate, HOST, r#""unreachable""#, &[("network.token_service", "proxy_failed")]),
    Row {
        more: &["--global-if-region-unreachable"],
        ..row(Certificate, HOST, r#""unreachable""#, &[("network.token_service", "")])
    },
    row(Certificate, HOST, r#""client_certificate_refused""#, &[("network.token_service", "certificate_refused")]),
    row(Certificate, HOST, r#""connection_reset""#, &[("network.token_service", "connection_interrupted")]),
    row(Certificate, RESOURCE, r#""unreachable""#, &[("network.resource", "proxy_failed")]),
    row(Certificate, RESOURCE, r#""connection_reset""#, &[("network.resource", "connection_interrupted")]),
    row(Certificate, RESOURCE, r#""client_certificate_refused""#, &[("resource.certificate", "certificate_refused")]),

    row(Machine, METADATA, UNAVAILABLE, &[("certificate.source", "managed_identity_request_failed")]),
    row(Machine, METADATA, r#"{"status":{"status":404}}"#, &[("certificate.source", "mtls_pop_token_not_supported_in_imds_v1")]),
    row(Machine, METADATA, r#""connection_reset""#, &[("certificate.source", "managed_identity_unreachable_network")]),
    row(Machine, METADATA, r#""truncated_body""#, &[("certificate.source", "managed_identity_unreachable_network")]),
    row(Machine, METADATA, r#""malformed_json""#, &[("certificate.source", "managed_identity_response_parse_failure")]),
    row(Machine, METADATA, r#"{"without_member":{"name":"clientId"}}"#, &[("certificate.source", "managed_identity_request_failed")]),
    row(Machine, METADATA, r#""wrong_server""#, &[("certificate.source", "managed_identity_request_failed")]),
    row(Machine, ISSUE, UNAVAILABLE, &[("certificate.source", "managed_identity_request_failed")]),
    row(Machine, ISSUE, r#""foreign_key_certificate""#, &[("certificate.source", "invalid_certificate")]),
    row(Machine, ISSUE, r#""foreign_identity_certificate""#, &[("certificate.source", "invalid_certificate")]),
    row(Machine, ISSUE, r#""foreign_tenant_certificate""#, &[("certificate.source", "invalid_certificate")]),
    row(Machine, ISSUE, r#""expired_certificate""#, &[("certificate.source", "invalid_certificate")]),
    row(Machine, ISSUE, r#""not_yet_valid_certificate""#, &[("certificate.source", "invalid_certificate")]),
    row(Machine, ISSUE, r#"{"certificate_lifetime":{"seconds":60}}"#, &[("certificate.dates", ""), ("leg1.lifetime", "")]),

    row(Detected, LOCATION, r#"{"status":{"status":404}}"#, &[("network.region", "")]),
    row(Detected, LOCATION, r#"{"status":{"status":200,"body":"West US 3"}}"#, &[("network.region", "")]),
    row(Detected, LOCATION, r#""connection_reset""#, &[("network.region", "")]),

    row(AppService, APP_SERVICE, UNAVAILABLE, &[("leg1.answer", "managed_identity_request_failed")]),
    row(AppService, APP_SERVICE, r#""connection_reset""#, &[("leg1.answer", "managed_identity_unreachable_network")]),
    row(AppService, APP_SERVICE, r#""malformed_json""#, &[("leg1.answer", "managed_identity_response_parse_failure")]),
    row(AppService, APP_SERVICE, WITHOUT_TOKEN, &[("leg1.answer", "managed_identity_request_failed")]),
    row(ServiceFabric, SERVICE_FABRIC, r#""foreign_server_certificate""#, &[("leg1.answer", "managed_identity_unreachable_network")]),
];
