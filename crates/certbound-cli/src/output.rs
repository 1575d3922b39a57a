//! Writes results to stdout and everything else to stderr.

use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal as _, Write as _};

use certbound::BindingCertificate;
use certbound::observe::JwtPopReport;
use certbound::region::RegionOutcome;
use certbound::{BearerToken, BoundToken, Region, Secret, UnixTime};
use certbound_core::shown::{self, lines};
use clap::ColorChoice;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::failure::{Failure, number, one};
use crate::flags::{CommonFlags, Format};
use crate::usage::Usage;

/// The streams of this process, and the format of its results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    asked: Option<Format>,
    stdout: bool,
    talkative: bool,
}

impl Terminal {
    pub(crate) fn of_process(flags: &CommonFlags) -> Self {
        let talkative = flags.verbose || std::io::stderr().is_terminal();
        Self { asked: flags.output, stdout: std::io::stdout().is_terminal(), talkative }
    }

    /// Returns the format of the result.
    pub(crate) fn format(self) -> Format {
        self.asked.unwrap_or(if self.stdout { Format::Table } else { Format::Json })
    }

    /// Returns the format of the result of a command that supports only these formats.
    pub(crate) fn format_of(self, supported: &[Format]) -> Result<Format, Usage> {
        let format = self.format();
        if supported.contains(&format) { Ok(format) } else { Err(Usage::Format { format: format.into() }) }
    }

    /// Returns the columns and rows of the terminal on stdout.
    pub(crate) fn size(self) -> Option<(usize, usize)> {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok().filter(|_| self.stdout)?;
        (size.ws_col > 0).then_some((size.ws_col.into(), size.ws_row.into()))
    }

    /// Returns whether the result is coloured. `auto` means a terminal that supports colours, unless `NO_COLOR` is set.
    pub(crate) fn is_coloured(self, choice: ColorChoice) -> bool {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => self.stdout && variable("NO_COLOR").is_empty() && variable("TERM") != "dumb",
        }
    }

    /// Returns whether the result is JSON because it is printed in a pipe, and not because the flags say so.
    pub(crate) fn is_json_by_default(self) -> bool {
        self.asked.is_none() && !self.stdout
    }

    /// Returns whether the result is printed on a terminal.
    pub(crate) fn is_seen(self) -> bool {
        self.stdout
    }

    /// Returns whether the stations of the flow are reported on stderr.
    pub(crate) fn tells_stations(self) -> bool {
        self.talkative
    }
}

/// Writes a result to stdout. A reader that closed the pipe is not an error.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::of_system("the result could not be written", &error))
        }
        _ => Ok(()),
    }
}

/// Writes a line to stderr. A failed write is ignored, because it cannot be reported.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", one(line));
}

/// Writes lines for people to stdout, without control characters and invisible characters.
pub(crate) fn print_text(text: &str) -> Result<(), Failure> {
    print(lines(text).as_bytes())
}

/// Formats a result as JSON. The buffer is wiped and has its full size from the start, because a growing buffer leaves
/// copies. Control characters are escaped.
pub(crate) fn json<T: Serialize>(value: &T, secret_bytes: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut text = Zeroizing::new(Vec::with_capacity(2 * secret_bytes + 16 * 1024));
    serde_json::to_writer_pretty(&mut *text, value)
        .map_err(|error| Failure::of_system("the result could not be written", &error.into()))?;
    text.push(b'\n');
    // JSON is always UTF-8.
    let escaped = match str::from_utf8(&text).map(shown::json) {
        Ok(Cow::Owned(escaped)) => Some(Zeroizing::new(escaped.into_bytes())),
        _ => None,
    };
    Ok(escaped.unwrap_or(text))
}

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

/// A token of either kind.
#[derive(Clone)]
pub(crate) enum Token {
    Bound(BoundToken),
    Bearer(BearerToken),
}

impl Token {
    pub(crate) fn secret(&self) -> &Secret {
        match self {
            Self::Bound(token) => token.secret(),
            Self::Bearer(token) => token.secret(),
        }
    }

    pub(crate) fn details(&self) -> certbound::token::Details {
        match self {
            Self::Bound(token) => token.details(),
            Self::Bearer(token) => token.details(),
        }
    }

    pub(crate) fn expires_at(&self) -> UnixTime {
        match self {
            Self::Bound(token) => token.expires_at(),
            Self::Bearer(token) => token.expires_at(),
        }
    }

    /// Returns the scheme under which `call` sends the token. The issuer of a bound token determines it.
    pub(crate) fn scheme(&self) -> &'static str {
        match self {
            Self::Bound(token) => token.scheme().as_str(),
            Self::Bearer(_) => BearerToken::SCHEME,
        }
    }

    /// Reports on the region of the token's request.
    pub(crate) fn tell_region(&self, terminal: Terminal) {
        let details = self.details();
        if let Some(outcome) = &details.region_outcome {
            tell_region(details.region.as_ref(), outcome, terminal);
        }
        // Leg 1 can use the global endpoint although Leg 2 used the region.
        let told = details.region_outcome.as_ref().and_then(RegionOutcome::reason);
        for leg in details.legs.iter().filter(|leg| leg.region_outcome.reason() != told) {
            tell_region(leg.region.as_ref(), &leg.region_outcome, terminal);
        }
    }

    fn binding(&self) -> Option<&BindingCertificate> {
        match self {
            Self::Bound(token) => Some(token.binding()),
            Self::Bearer(_) => None,
        }
    }
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
            let source = self.region_source.map(|source| format!(" (detected by {source})"));
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
            return Zeroizing::new(text.into_bytes());
        }
        text.push_str("token        ");
        filled(self.access_token.len(), &text, self.access_token, "\n")
    }
}

/// Formats a line of a table.
pub(crate) fn row(name: &str, value: &str) -> String {
    format!("{:<13}{}\n", one(name), one(value))
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

/// The text for a bound token that is opaque or encrypted.
const UNSEEN: &str = "not observed: the token cannot be read, but the answer says that the token is bound";

/// Reports on stderr that the binding of a token was not observed, for formats of the result that cannot contain this
/// fact.
pub(crate) fn tell_unseen(token: &Token) {
    if matches!(token, Token::Bound(_)) && !token.details().binding_observed {
        tell(&format!("warning: binding {UNSEEN}"));
    }
}

/// Reports on stderr how the region was detected, if the stations of the flow are reported. It always warns if the
/// global endpoint was used although a region was chosen.
pub(crate) fn tell_region(region: Option<&Region>, outcome: &RegionOutcome, terminal: Terminal) {
    if let Some(reason) = outcome.reason() {
        tell(&format!("warning: the global endpoint was used: {reason}"));
    }
    match region {
        Some(region) if outcome.source().is_some() && terminal.tells_stations() => {
            tell(&format!("Region {region}: {outcome}"));
        }
        _ => {}
    }
}

pub(crate) fn mark(ok: bool) -> &'static str {
    if ok { "✓" } else { "✗" }
}

/// Returns a text around a secret, in one buffer that is wiped.
pub(crate) fn filled(length: usize, before: &str, secret: &str, after: &str) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(before.len() + length + after.len()));
    text.extend_from_slice(before.as_bytes());
    text.extend_from_slice(secret.as_bytes());
    text.extend_from_slice(after.as_bytes());
    text
}

/// Formats one line for each name and value. [`Format::Shell`] quotes and exports the values. The buffer is wiped.
pub(crate) fn assignments(format: Format, values: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    let (export, quote) = if format == Format::Shell { ("export ", "'") } else { ("", "") };
    // A quoted quote takes four bytes. The buffer has its full size from the start, because a growing one leaves copies.
    let length = |(name, value): &(&str, &str)| name.len() + 4 * value.len() + 16;
    let mut text = Zeroizing::new(Vec::with_capacity(values.iter().map(length).sum()));
    for (name, value) in values {
        for part in [export, name, "=", quote] {
            text.extend_from_slice(part.as_bytes());
        }
        for byte in value.bytes() {
            match (format, byte) {
                (Format::Shell, b'\'') => text.extend_from_slice(br"'\''"),
                _ => text.push(byte),
            }
        }
        text.extend_from_slice(quote.as_bytes());
        text.push(b'\n');
    }
    text
}

pub(crate) fn leg_name(leg: Option<certbound::error::Leg>) -> String {
    leg.map_or_else(|| "token request".to_owned(), |leg| format!("Leg {}", number(leg)))
}

pub(crate) fn rfc3339(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_every_value_as_it_is() {
        let values = [("A", "mtls_pop"), ("B", "it's $HOME `id`")];
        assert_eq!(*assignments(Format::Env, &values), b"A=mtls_pop\nB=it's $HOME `id`\n");
        let shell = assignments(Format::Shell, &values);
        assert_eq!(
            *shell,
            br"export A='mtls_pop'
export B='it'\''s $HOME `id`'
"
        );
        let script = [&**shell, br#"printf '%s|%s' "$A" "$B""#].concat();
        let output =
            std::process::Command::new("sh").arg("-c").arg(str::from_utf8(&script).unwrap()).output();
        assert_eq!(output.unwrap().stdout, b"mtls_pop|it's $HOME `id`");
    }
}
