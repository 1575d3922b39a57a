//! Converts an error to three lines or one JSON object, and to an exit code.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use certbound::Error;
use certbound::authority::{AuthorityUrlError, RegionError, TenantError};
use certbound::error::{
    AssertionError, BindingCertificateError, BuildError, Leg, Misuse, NetworkError, PlatformError,
    StateError, TransportError,
};
use certbound::managed_identity::{IdentityIdError, ManagedIdentityBuildError};
use certbound::region::RegionOutcome;
use certbound::resource::ScopeError;
use certbound_core::endpoint::EndpointError;
use certbound_core::refusal::without_tokens;
use certbound_core::retry_after::whole_seconds;
pub(crate) use certbound_core::shown::one_line as one;
use certbound_core::shown::{lines, one_line};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde::Serialize;
use serde_json::json;

use crate::usage::Usage;

/// Exit code: the service, the resource or a check refused.
pub(crate) const REFUSED: u8 = 1;
/// Exit code: the command, the configuration or the input is wrong.
pub(crate) const USAGE: u8 = 2;
/// Exit code: the network failed.
pub(crate) const NETWORK: u8 = 3;

/// The failure of a command. It never contains a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) fix: String,
    /// The details are boxed, because their size would increase the size of every `Result`.
    pub(crate) details: Box<Details>,
    pub(crate) exit: u8,
}

/// Facts for scripts. `None` means unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Details {
    pub(crate) leg: Option<u8>,
    pub(crate) aadsts: Option<u32>,
    pub(crate) correlation_id: Option<String>,
    /// Whether the same command may succeed later.
    pub(crate) transient: bool,
    /// The waiting time that the service requests, in seconds.
    pub(crate) retry_after: Option<u64>,
    pub(crate) host: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    /// How the region was determined.
    pub(crate) region_outcome: Option<&'static str>,
    /// The place from which a detected region was read.
    pub(crate) region_source: Option<&'static str>,
    /// Why the global endpoint was used although a region was chosen.
    pub(crate) region_reason: Option<String>,
    pub(crate) tenant: Option<String>,
}

impl Failure {
    /// Creates a failure without details, with this exit code. A failure of the network is transient.
    pub(crate) fn new(exit: u8, code: &str, what: &str, why: impl Display, fix: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            what: what.to_owned(),
            why: why.to_string(),
            fix: fix.into(),
            details: Box::new(Details { transient: exit == NETWORK, ..Details::default() }),
            exit,
        }
    }

    /// Creates a failure of the operating system.
    pub(crate) fn of_system(what: &str, error: &std::io::Error) -> Self {
        Self::new(USAGE, "system_error", what, error, "check the machine's memory, disk, files and limits")
    }

    /// Converts clap's error into a failure, for `-o json`.
    pub(crate) fn of_command_line(error: &clap::Error, command: &clap::Command) -> Self {
        let text = typed(error);
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let more: Vec<&str> =
            lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("tip:")).collect();
        let why = if more.is_empty() { first } else { format!("{first} {}", more.join(" ")) };
        let missing = missing(error);
        let (why, fix) = match missing.as_slice() {
            [] => (
                why,
                suggestion(error).map_or_else(|| "see --help".to_owned(), |it| format!("{it} See --help")),
            ),
            [one] => (format!("{one} is missing"), give(one, command)),
            all => {
                let fixes: Vec<_> = all.iter().map(|one| give(one, command)).collect();
                (format!("{} are missing", all.join(", ")), fixes.join("; "))
            }
        };
        Self::new(USAGE, "usage", "the command line is wrong", why, fix)
    }

    /// Converts an error of the client library.
    pub(crate) fn of_client(error: &Error) -> Self {
        let what = match (error.leg(), error) {
            // Both legs use this certificate. The leg that finds the fault need not be the leg with the flag.
            (_, Error::Misuse { what: Misuse::CertificateNotValidNow(_), .. }) => {
                "the certificate cannot be used"
            }
            (Some(Leg::One), Error::Misuse { .. } | Error::Provider { .. }) => "Leg 1 failed",
            (Some(Leg::Two), Error::Misuse { .. } | Error::Provider { .. }) => "Leg 2 failed",
            (None, Error::Misuse { .. } | Error::Provider { .. }) => "the request failed",
            (Some(Leg::One), _) => "Leg 1 returned no assertion",
            (Some(Leg::Two), _) => "Leg 2 returned no token",
            (None, Error::Transport { .. }) => "the request to the host failed",
            (None, _) => "no token was issued",
        };
        let exit = match error {
            Error::Misuse { .. } | Error::Provider { .. } => USAGE,
            Error::Transport {
                cause:
                    TransportError::CertificateNotRequested { .. } | TransportError::CertificateRefused { .. },
                ..
            } => REFUSED,
            Error::Platform {
                what: PlatformError::Unreachable { cause: TransportError::ServerNotPinned { .. }, .. },
                ..
            } => REFUSED,
            Error::Transport { cause: TransportError::NotHttps, .. } => USAGE,
            Error::Transport { .. } => NETWORK,
            Error::Platform { what: PlatformError::Unreachable { .. }, .. } => NETWORK,
            Error::Platform { what: PlatformError::NoSource(found), .. } if found.is_unreachable() => NETWORK,
            Error::Platform {
                what:
                    PlatformError::SourceCannotBind { .. }
                    | PlatformError::Identity(_)
                    | PlatformError::Url { .. }
                    | PlatformError::State(_)
                    | PlatformError::Strength { .. },
                ..
            } => USAGE,
            _ => REFUSED,
        };
        // The certificate is at fault and not a leg, so a script must not read the number of the leg that found it.
        let mut details = Details::of_client(error);
        if let Error::Misuse { what: Misuse::CertificateNotValidNow(_), .. } = error {
            details.leg = None;
        }
        // The first line already names the leg.
        let text = error.to_string();
        let why = text.strip_prefix("Leg 1: ").or(text.strip_prefix("Leg 2: ")).unwrap_or(&text);
        Self { details: Box::new(details), ..Self::new(exit, error.code(), what, why, error.fix()) }
    }

    /// Returns the same failure without control characters, because parts of it may come from a server.
    fn shown(&self) -> Self {
        let one = |text: &str| one_line(text).into_owned();
        Self {
            code: one(&self.code),
            what: one(&self.what),
            why: one(&self.why),
            fix: one(&self.fix),
            details: Box::new(Details {
                correlation_id: self.details.correlation_id.as_deref().map(one),
                host: self.details.host.as_deref().map(one),
                region_reason: self.details.region_reason.as_deref().map(one),
                ..Details::clone(&self.details)
            }),
            exit: self.exit,
        }
    }

    fn lines(&self) -> String {
        let Self { code, what, why, fix, details, .. } = self.shown();
        let mut text = format!("error: {what} [{code}]\n  why: {why}\n  fix: {fix}\n");
        if let Some(id) = details.correlation_id.filter(|id| !why.contains(id)) {
            // The reason can already name the id that the request sent.
            let label = match why.contains("correlation id") {
                true => "the service's correlation id",
                false => "correlation id",
            };
            text.push_str(&format!("  {label}: {id}\n"));
        }
        text
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Shown {
            code: String,
            message: String,
            fix: String,
            #[serde(flatten)]
            details: Box<Details>,
        }

        let Self { code, what, why, fix, details, .. } = self.shown();
        let error = Shown { code, message: format!("{what}: {why}"), fix, details };
        format!("{}\n", json!({ "error": error }))
    }
}

impl Details {
    fn of_client(error: &Error) -> Self {
        Self {
            leg: error.leg().map(number),
            aadsts: error.aadsts(),
            correlation_id: error.correlation_id().map(str::to_owned),
            transient: error.is_transient(),
            retry_after: error.retry_after().map(whole_seconds),
            host: error.host().map(str::to_owned),
            endpoint: error.endpoint().map(str::to_owned),
            region: error.region().map(|region| region.as_str().to_owned()),
            region_outcome: error.region_outcome().map(RegionOutcome::name),
            region_source: error.region_outcome().and_then(|it| it.source().map(Into::into)),
            region_reason: error.region_outcome().and_then(RegionOutcome::reason),
            tenant: error.tenant().map(ToString::to_string),
        }
    }
}

/// Returns the names of the arguments that are required and were not given, such as `--client-id`.
fn missing(error: &clap::Error) -> Vec<String> {
    let arguments = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(arguments))) => arguments.as_slice(),
        _ => &[],
    };
    arguments.iter().map(|text| text.split(' ').next().unwrap_or(text).to_owned()).collect()
}

/// Returns the advice for a missing argument, with its environment variable if it has one.
fn give(argument: &str, command: &clap::Command) -> String {
    match variable_of(argument, command) {
        Some(variable) => format!("give {argument} or set {variable}"),
        None => format!("give {argument}"),
    }
}

/// Returns the environment variable of a flag, if the flag has the same variable in the command and in all subcommands.
fn variable_of(argument: &str, command: &clap::Command) -> Option<String> {
    let mut variables = Vec::new();
    add_variables(argument.strip_prefix("--")?, command, &mut variables);
    variables.dedup();
    if variables.len() == 1 { variables.pop() } else { None }
}

fn add_variables(flag: &str, command: &clap::Command, variables: &mut Vec<String>) {
    let own = command.get_arguments().filter(|known| known.get_long() == Some(flag));
    variables.extend(own.filter_map(|known| Some(known.get_env()?.to_string_lossy().into_owned())));
    command.get_subcommands().for_each(|command| add_variables(flag, command, variables));
}

/// Returns the question whether clap's guess is the intended name or value.
fn suggestion(error: &clap::Error) -> Option<String> {
    guess(error).map(|guess| format!("did you mean `{guess}`?"))
}

/// Returns clap's guess at the intended name or value.
pub(crate) fn guess(error: &clap::Error) -> Option<String> {
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    })
}

/// Formats the error that clap reports. The error may repeat a token that was typed in the wrong place.
fn typed(error: &clap::Error) -> String {
    without_tokens(&lines(&error.render().to_string()))
}

/// Writes clap's error to stderr. If a token or a control character must be removed from it, it has no colours.
pub(crate) fn report_command_line(error: &clap::Error) -> ExitCode {
    let text = typed(error);
    // A failed write to stderr cannot be reported anywhere.
    let _ = match text == error.render().to_string() {
        true => error.print(),
        false => std::io::stderr().write_all(text.as_bytes()),
    };
    ExitCode::from(USAGE)
}

/// Writes a failure to stderr and returns the exit code.
pub(crate) fn report(failure: &Failure, json: bool) -> ExitCode {
    let text = if json { failure.json() } else { failure.lines() };
    // If stderr is closed, nobody can read the failure.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(failure.exit)
}

pub(crate) fn number(leg: Leg) -> u8 {
    match leg {
        Leg::One => 1,
        Leg::Two => 2,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::of_client(&error)
    }
}

/// Input that a parser of the library refused: the macro takes code, text and fix from the parser's error.
macro_rules! input {
    ($($error:ty => $what:literal),+ $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let fix: String = error.fix().into();
                Self::new(USAGE, error.code(), $what, &error, fix)
            }
        })+
    };
}

input! {
    Usage => "the input cannot be used",
    IdentityIdError => "the managed identity cannot be used",
    ManagedIdentityBuildError => "the managed identity cannot be used",
    StateError => "the folder cannot be used",
    TenantError => "the tenant cannot be used",
    RegionError => "the region cannot be used",
    AuthorityUrlError => "the authority cannot be used",
    EndpointError => "the authority cannot be used",
    ScopeError => "the scope cannot be used",
    BindingCertificateError => "the certificate cannot be used",
    AssertionError => "the assertion cannot be used",
    NetworkError => "the network configuration cannot be used",
    BuildError => "the client cannot be set up",
    certbound_verifier::BuildError => "the verifier cannot be set up",
    certbound_verifier::IssuerError => "the issuer cannot be used",
}

#[cfg(test)]
mod tests {
    use certbound_core::shown::is_active;

    use super::*;

    #[test]
    fn an_error_is_three_lines_whatever_a_stranger_wrote_into_it() {
        let code = "x\u{1b}]0;\u{9b}";
        let failure = Failure::new(
            REFUSED,
            code,
            "it\u{1b}[2J\u{202e}failed",
            "line one\r\nline two",
            "do\u{2028}that",
        );
        let details = Details { correlation_id: Some("\u{1b}c\n".to_owned()), ..Details::default() };
        let failure = Failure { details: Box::new(details), ..failure };
        assert_eq!(
            failure.lines(),
            "error: it [2J failed [x ]0; ]\n  why: line one  line two\n  fix: do that\n  correlation id:  c \n"
        );
        let json = failure.json();
        assert!(json.ends_with('\n') && !json.trim_end().contains(is_active), "{json:?}");
    }

    #[test]
    fn a_mistyped_command_line_has_its_own_advice() {
        let command = || {
            let id = clap::Arg::new("id").long("client-id").env("AZURE_CLIENT_ID").required(true);
            let file = clap::Arg::new("file").long("certificate");
            let token = clap::Command::new("token").arg(id).arg(file);
            clap::Command::new("certbound").subcommand(token).subcommand_required(true)
        };
        let failure = |args: &[&str]| {
            let args = ["certbound"].iter().chain(args);
            let error = command().try_get_matches_from(args).unwrap_err();
            Failure::of_command_line(&error, &command())
        };
        let missing = failure(&["token"]);
        assert_eq!(missing.why, "--client-id is missing");
        assert_eq!(missing.fix, "give --client-id or set AZURE_CLIENT_ID");
        let mistyped = failure(&["token", "--client-id", "x", "--certificat", "y"]);
        assert_eq!(mistyped.fix, "did you mean `--certificate`? See --help");
        assert_eq!(failure(&["tokn"]).fix, "did you mean `token`? See --help");
        assert_eq!(failure(&["token", "--client-id", "x", "--zzz"]).fix, "see --help");
    }

    #[test]
    fn the_id_of_the_service_is_not_taken_for_the_id_of_the_request() {
        let failure = |why: &str| {
            let details = Details { correlation_id: Some("of-service".to_owned()), ..Details::default() };
            let failure = Failure::new(REFUSED, "c", "no token was issued", why, "wait");
            Failure { details: Box::new(details), ..failure }.lines()
        };
        assert!(
            failure("No (correlation id of-request)")
                .ends_with("  the service's correlation id: of-service\n")
        );
        assert!(failure("No").ends_with("\n  correlation id: of-service\n"));
        assert!(!failure("No (correlation id of-service)").contains("service's"));
    }

    #[test]
    fn blame_decides_the_exit_code() {
        let transport =
            |cause| Failure::of_client(&Error::Transport { leg: Some(Leg::Two), cause, target: None }).exit;
        let host = || "h".to_owned();
        assert_eq!(transport(TransportError::CertificateNotRequested { host: host() }), REFUSED);
        let refused = TransportError::CertificateRefused {
            host: host(),
            alert: certbound::error::TlsAlert(44),
            reason: "revoked".into(),
        };
        assert_eq!(transport(refused), REFUSED);
        assert_eq!(transport(TransportError::NotHttps), USAGE);
        assert_eq!(transport(TransportError::Connect { host: host(), reason: "no route".into() }), NETWORK);
        let misuse = Error::Misuse { leg: None, what: certbound::error::Misuse::AssertionSpent };
        assert_eq!(Failure::of_client(&misuse).exit, USAGE);
        let peer = Error::PeerMisbehaved {
            leg: Some(Leg::One),
            what: certbound::error::PeerMisbehaved::AssertionNotBound,
            target: None,
        };
        assert_eq!(
            (Failure::of_client(&peer).exit, Failure::of_client(&peer).details.leg),
            (REFUSED, Some(1))
        );
    }
}
