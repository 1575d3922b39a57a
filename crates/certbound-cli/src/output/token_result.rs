//! The result of `token` and `exchange`, in each format.

use certbound::BindingCertificate;
use certbound::observe::JwtPopReport;
use certbound::region::RegionOutcome;
use serde::Serialize;
use zeroize::Zeroizing;

use super::token::{Token, UNSEEN, tell_unseen};
use super::{Terminal, assignments, filled, fitted, json, mark, print, rfc3339, row, tell};
use crate::failure::{Failure, one};
use crate::flags::Format;

/// The result of `token` and `exchange`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenResult<'a> {
    access_token: &'a str,
    token_type: &'static str,
    scheme: &'static str,
    expires_on: String,
    #[serde(rename = "expires_on")]
    expires_on_seconds: u64,
    tenant: String,
    scopes: Vec<String>,
    endpoint: String,
    region: Option<String>,
    region_outcome: Option<&'static str>,
    region_source: Option<&'static str>,
    region_reason: Option<String>,
    from_cache: bool,
    correlation_id: String,
    binding_observed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding_certificate: Option<CertificateResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    legs: Option<Vec<LegResult>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<ReportResult>,
}

/// The certificate that a token or an assertion is bound to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CertificateResult {
    x5t_s256: String,
    not_after: String,
    source: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LegResult {
    leg: u8,
    endpoint: String,
    client_assertion_type: Option<&'static str>,
    token_type: String,
    milliseconds: u64,
    attempts: u32,
}

/// The report on a `jwt-pop` request, with the names of `JwtPopReport`.
#[derive(Serialize)]
struct ReportResult {
    token_endpoint: String,
    request_uri: String,
    has_client_assertion: bool,
    has_client_assertion_type: bool,
    client_assertion_type: Option<String>,
    checks: Vec<ReportLine>,
}

#[derive(Serialize)]
struct ReportLine {
    id: &'static str,
    ok: bool,
    text: String,
}

/// The facts that the result contains in addition to the token.
pub(crate) struct Extras<'a> {
    pub(crate) certificate_source: &'a str,
    pub(crate) with_legs: bool,
    pub(crate) report: Option<&'a JwtPopReport>,
    pub(crate) reveal: bool,
}

/// Prints a token in the requested format.
pub(crate) fn print_token(token: &Token, extras: &Extras<'_>, terminal: Terminal) -> Result<(), Failure> {
    let result = TokenResult::new(token, extras);
    let length = result.access_token.len();
    match terminal.format() {
        Format::Json => print(&json(&result, length)?),
        Format::Table => print(&result.table(extras.reveal)),
        Format::Header => {
            tell_report(&result);
            tell_unseen(token);
            print(&filled(length, &format!("Authorization: {} ", result.scheme), result.access_token, "\n"))
        }
        Format::Env | Format::Shell => {
            tell_report(&result);
            tell_unseen(token);
            let values = [
                ("CERTBOUND_TOKEN_TYPE", result.token_type),
                ("CERTBOUND_EXPIRES_ON", &result.expires_on_seconds.to_string()),
                ("CERTBOUND_ACCESS_TOKEN", result.access_token),
            ];
            print(&assignments(terminal.format(), &values))
        }
        Format::Raw => {
            tell_report(&result);
            tell_unseen(token);
            print(&filled(length, "", result.access_token, "\n"))
        }
    }
}

impl<'a> TokenResult<'a> {
    fn new(token: &'a Token, extras: &Extras<'_>) -> Self {
        let details = token.details();
        let legs = details.legs.iter().map(|leg| LegResult {
            leg: if leg.client_assertion_type.is_some() { 2 } else { 1 },
            endpoint: leg.endpoint.clone(),
            client_assertion_type: leg.client_assertion_type,
            token_type: leg.token_type.clone(),
            milliseconds: u64::try_from(leg.took.as_millis()).unwrap_or(u64::MAX),
            attempts: leg.attempts,
        });
        Self {
            access_token: token.secret().expose(),
            token_type: token.scheme(),
            scheme: token.scheme(),
            expires_on: rfc3339(token.expires_at()),
            expires_on_seconds: token.expires_at().as_secs(),
            tenant: details.tenant.clone(),
            scopes: details.scopes.clone(),
            endpoint: details.endpoint.clone(),
            region: details.region.as_ref().map(|region| region.as_str().to_owned()),
            region_outcome: details.region_outcome.as_ref().map(RegionOutcome::name),
            region_source: details.region_outcome.as_ref().and_then(|it| it.source().map(Into::into)),
            region_reason: details.region_outcome.as_ref().and_then(RegionOutcome::reason),
            from_cache: matches!(
                details.source,
                certbound::cache::Source::Cache | certbound::cache::Source::Store
            ),
            correlation_id: details.correlation_id.to_string(),
            binding_observed: details.binding_observed,
            binding_certificate: token
                .binding()
                .map(|binding| CertificateResult::new(binding, extras.certificate_source)),
            legs: extras.with_legs.then(|| legs.collect()),
            report: extras.report.and_then(ReportResult::new),
        }
    }

    fn table(&self, reveal: bool) -> Zeroizing<Vec<u8>> {
        let mut text = String::new();
        let mut row = |name: &str, value: &str| text.push_str(&row(name, value));
        row("token type", self.token_type);
        row("scopes", &self.scopes.join(" "));
        row("expires", &self.expires_on);
        // A platform's answer with a Bearer token contains neither tenant nor region.
        let told = !self.tenant.is_empty();
        if told {
            row("tenant", &self.tenant);
        }
        row("endpoint", &self.endpoint);
        if told || self.region.is_some() {
            let source = self.region_source.map(|source| format!(" (read from {source})"));
            let region = self.region.as_deref().unwrap_or("none (global endpoint)");
            row("region", &format!("{region}{}", source.unwrap_or_default()));
        }
        if let Some(certificate) = &self.binding_certificate {
            row("bound to", &format!("{} ({})", certificate.x5t_s256, certificate.source));
            row("binding", if self.binding_observed { "observed in the token" } else { UNSEEN });
        }
        for leg in self.legs.iter().flatten() {
            let proof = leg.client_assertion_type.unwrap_or("the TLS certificate");
            let again = if leg.attempts > 1 { format!(", {} attempts", leg.attempts) } else { String::new() };
            row(
                &format!("Leg {}", leg.leg),
                &format!("{} in {} ms, by {proof}{again}", leg.token_type, leg.milliseconds),
            );
        }
        row("correlation", &self.correlation_id);
        for line in self.report.iter().flat_map(ReportResult::marks) {
            text.push_str(&line);
        }
        if !reveal {
            text.push_str(&format!("token        {} bytes, shown with --reveal\n", self.access_token.len()));
            return Zeroizing::new(fitted(&text).into_bytes());
        }
        // The token is not broken, so that it can be copied.
        let text = fitted(&text) + "token        ";
        filled(self.access_token.len(), &text, self.access_token, "\n")
    }
}

impl CertificateResult {
    pub(crate) fn new(binding: &BindingCertificate, source: &str) -> Self {
        Self {
            x5t_s256: binding.thumbprint().x5t_s256(),
            not_after: rfc3339(binding.chain().not_after()),
            source: source.to_owned(),
        }
    }
}

impl ReportResult {
    fn new(report: &JwtPopReport) -> Option<Self> {
        let facts = report.facts()?;
        let checks = facts.checks().into_iter();
        Some(Self {
            checks: checks.map(|check| ReportLine { id: check.id, ok: check.ok, text: check.text }).collect(),
            token_endpoint: facts.token_endpoint,
            request_uri: facts.request_uri,
            has_client_assertion: facts.has_client_assertion,
            has_client_assertion_type: facts.has_client_assertion_type,
            client_assertion_type: facts.client_assertion_type,
        })
    }

    fn marks(&self) -> Vec<String> {
        self.checks.iter().map(|check| format!("{} {}\n", mark(check.ok), one(&check.text))).collect()
    }
}

/// Prints the report on stderr, for formats of the result that cannot contain it.
fn tell_report(result: &TokenResult<'_>) {
    for line in result.report.iter().flat_map(ReportResult::marks) {
        tell(line.trim_end());
    }
}
