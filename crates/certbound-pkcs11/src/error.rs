//! The failures of tokens, keys and URIs.

use std::time::Duration;

use certbound::error::{BindingCertificateError, KeyError};
use certbound_core::cause::Cause;
use cryptoki::error::{Error as CallError, RvError};
use strum::EnumProperty as _;

/// The reason why a token, a key or a certificate in a token cannot be used. No variant contains a PIN.
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum Pkcs11Error {
    /// The URI is not a PKCS#11 URI that this crate supports.
    #[error("the PKCS#11 URI is not valid: {reason}")]
    #[strum(props(code = "pkcs11_uri_invalid"))]
    #[strum(props(
        fix = "give a URI such as `pkcs11:token=NAME;object=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so`; percent-encode spaces and special characters"
    ))]
    Uri {
        /// The error in the URI. The text names attributes, and never contains the value of a PIN.
        reason: String,
    },
    /// The module could not be loaded or initialised.
    #[error("the PKCS#11 module {module} cannot be used: {reason}")]
    #[strum(props(code = "pkcs11_module_unusable"))]
    #[strum(props(
        fix = "check module-path: it is the absolute path of the shared library that the vendor of the token provides"
    ))]
    Module {
        /// The path of the module.
        module: String,
        /// The error of the system or of the module.
        #[source]
        reason: Cause,
    },
    /// The module did not answer in time.
    #[error("the PKCS#11 module {module} did not answer within {} s", .limit.as_secs_f32())]
    #[strum(props(code = "pkcs11_module_timeout"))]
    #[strum(props(
        fix = "check the token and its service; if each call of the module hangs, restart this program: a call that hangs cannot be ended"
    ))]
    TimedOut {
        /// The path of the module.
        module: String,
        /// The limit.
        limit: Duration,
    },
    /// No token has the properties of the URI.
    #[error("no token of {module} matches {wanted}")]
    #[strum(props(code = "pkcs11_token_not_found"))]
    #[strum(props(
        fix = "insert the token, or correct `token`, `serial` or `slot-id`; `certbound keys list` shows the tokens of a module"
    ))]
    TokenNotFound {
        /// The path of the module.
        module: String,
        /// The properties.
        wanted: String,
    },
    /// Several tokens have the properties of the URI.
    #[error("{count} tokens of {module} match {wanted}")]
    #[strum(props(code = "pkcs11_token_ambiguous", fix = "add `serial` or `slot-id` to the URI"))]
    SeveralTokens {
        /// The path of the module.
        module: String,
        /// The properties.
        wanted: String,
        /// The number of tokens.
        count: usize,
    },
    /// The token needs a PIN, and no PIN was given.
    #[error("the token {token} needs a PIN, and no PIN was given")]
    #[strum(props(code = "pkcs11_pin_missing"))]
    #[strum(props(
        fix = "add `pin-source=file:/path/of/the/pin` to the URI; the command line also reads CERTBOUND_PIN"
    ))]
    NoPin {
        /// The label of the token.
        token: String,
    },
    /// The file of the PIN cannot be used.
    #[error("the PIN cannot be read from {path}: {reason}")]
    #[strum(props(code = "pkcs11_pin_source_unusable"))]
    #[strum(props(fix = "write the PIN into a regular file, and run `chmod 600` on the file"))]
    PinSource {
        /// The file.
        path: String,
        /// The reason.
        #[source]
        reason: Cause,
    },
    /// The token refused the PIN. The PIN is not tried again.
    #[error("the token {token} refused the PIN; this process tried the PIN once and does not try it again")]
    #[strum(props(code = "pkcs11_pin_refused"))]
    #[strum(props(fix = "give the right PIN and restart this program; each wrong PIN can lock the token"))]
    WrongPin {
        /// The label of the token.
        token: String,
    },
    /// The token accepts no PIN in its present state. No PIN was tried.
    #[error("the PIN of the token {token} cannot be used: {reason}")]
    #[strum(props(code = "pkcs11_pin_locked"))]
    #[strum(props(
        fix = "use the tool of the token's vendor: set or unlock the PIN, or log in once with the right PIN, which resets the counter"
    ))]
    PinLocked {
        /// The label of the token.
        token: String,
        /// The state of the PIN.
        reason: &'static str,
    },
    /// No private key matches.
    #[error("the token {token} has no private key that matches {wanted}")]
    #[strum(props(code = "pkcs11_key_not_found"))]
    #[strum(props(fix = "correct `object` or `id`; `certbound keys list` shows the keys of a token"))]
    NoKey {
        /// The label of the token.
        token: String,
        /// The properties.
        wanted: String,
    },
    /// Several private keys match.
    #[error("the token {token} has {count} private keys that match {wanted}: {found}")]
    #[strum(props(code = "pkcs11_key_ambiguous", fix = "add `id` or `object` to the URI"))]
    SeveralKeys {
        /// The label of the token.
        token: String,
        /// The properties.
        wanted: String,
        /// The number of keys.
        count: usize,
        /// The first keys, at most eight.
        found: String,
    },
    /// The key cannot make the signatures that certbound needs.
    #[error("the key {key} cannot be used: {reason}")]
    #[strum(props(code = "pkcs11_key_unusable"))]
    #[strum(props(
        fix = "use an RSA key of at least 2048 bits or an EC key on P-256, P-384 or P-521 that may sign; `certbound keys generate` makes one"
    ))]
    KeyUnusable {
        /// The key.
        key: String,
        /// The reason.
        reason: String,
    },
    /// The key can leave the token. The settings forbid keys that can leave the token, or a managed identity needs the
    /// key.
    #[error("the key {key} can be copied out of the token: {reason}")]
    #[strum(props(code = "pkcs11_key_extractable"))]
    #[strum(props(
        fix = "generate a key in the token (`certbound keys generate`): it is sensitive and not extractable from the beginning"
    ))]
    Extractable {
        /// The key.
        key: String,
        /// The attribute by which the key can leave the token.
        reason: &'static str,
    },
    /// The token has no certificate for the key.
    #[error("the token {token} has no certificate for the key {key}")]
    #[strum(props(code = "pkcs11_certificate_not_found"))]
    #[strum(props(
        fix = "write the certificate into the token with the id of its key (`pkcs11-tool --write-object cert.der --type cert --id ID`), or give the certificate as a file and the URI as its key"
    ))]
    NoCertificate {
        /// The label of the token.
        token: String,
        /// The key.
        key: String,
    },
    /// Several certificates are for the key.
    #[error("the token {token} has {count} certificates for the key {key}: {found}")]
    #[strum(props(code = "pkcs11_certificate_ambiguous"))]
    #[strum(props(
        fix = "remove the old certificates from the token, or give the label of the right one as `object` and the key's `id`"
    ))]
    SeveralCertificates {
        /// The label of the token.
        token: String,
        /// The key.
        key: String,
        /// The number of certificates.
        count: usize,
        /// The labels of the first certificates, at most eight.
        found: String,
    },
    /// The certificate with the id of the key is for a different key.
    #[error("the certificate in the token {token} is not for the key {key}")]
    #[strum(props(code = "certificate_key_mismatch"))]
    #[strum(props(fix = "write the certificate that was issued for this key into the token"))]
    OtherKey {
        /// The label of the token.
        token: String,
        /// The key.
        key: String,
    },
    /// The handle belongs to an earlier opening of the token. The token was taken out, or its service was restarted.
    #[error("the token was taken out or restarted after this handle of the key was opened")]
    #[strum(props(code = "pkcs11_handle_closed"))]
    #[strum(props(
        fix = "send the request again; if the error remains, get the certificate from its source again instead of keeping a clone"
    ))]
    HandleClosed,
    /// The subject of a certificate request does not have the form of RFC 4514, or is empty.
    #[error("the subject of the certificate request is not valid")]
    #[strum(props(code = "pkcs11_subject_invalid"))]
    #[strum(props(fix = "write the subject as `CN=app.contoso.com,O=Contoso`"))]
    Subject,
    /// A call of the module failed.
    #[error("{call} failed: {reason}")]
    #[strum(props(code = "pkcs11_call_failed"))]
    #[strum(props(fix = "see the documentation of the token for this error"))]
    Call {
        /// The function of PKCS#11.
        call: String,
        /// The error of the module.
        reason: String,
        /// The result that a later call can have.
        outlook: Outlook,
    },
    /// The certificate, or its signer, cannot be used.
    #[error(transparent)]
    Certificate(#[from] BindingCertificateError),
}

/// The result that a later call can have after a failed call of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outlook {
    /// The same call may succeed later: the token or the module has a temporary fault.
    Temporary,
    /// The session or the handle of the key is no longer valid. The token must be opened again.
    Gone,
    /// As `Gone`, and the module has closed the sessions of the token: the token was taken out or restarted.
    SessionsEnded,
    /// The same call fails again: the key, the token or the module does not support it.
    Permanent,
}

impl Pkcs11Error {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Certificate(error) => error.code(),
            _ => self.get_str("code").unwrap_or_default(),
        }
    }

    /// Returns advice on how to fix the error.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Certificate(error) => error.fix(),
            _ => self.get_str("fix").unwrap_or_default(),
        }
    }

    /// Returns whether the same call may succeed later without a change of the configuration, for example after the
    /// token was put back.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::TokenNotFound { .. } | Self::HandleClosed => true,
            Self::Call { outlook, .. } => *outlook != Outlook::Permanent,
            // The signature that proves the possession of the certificate's key failed.
            Self::Certificate(BindingCertificateError::SignerFailed { reason }) => {
                reason.find::<KeyError>().is_some_and(KeyError::is_transient)
            }
            _ => false,
        }
    }

    /// Returns whether the module has closed the sessions of the token.
    pub(crate) fn ends_sessions(&self) -> bool {
        matches!(self, Self::TokenNotFound { .. } | Self::Call { outlook: Outlook::SessionsEnded, .. })
    }

    /// Returns whether every call of the module succeeded, but the objects in the token do not suit.
    pub(crate) fn is_of_objects(&self) -> bool {
        matches!(
            self,
            Self::NoKey { .. }
                | Self::SeveralKeys { .. }
                | Self::Extractable { .. }
                | Self::NoCertificate { .. }
                | Self::SeveralCertificates { .. }
                | Self::OtherKey { .. }
        )
    }

    /// Returns whether the token was lost, or the session or the handle is no longer valid. A new session may then
    /// help.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::HandleClosed | Self::TokenNotFound { .. } => true,
            Self::Call { outlook, .. } => matches!(outlook, Outlook::Gone | Outlook::SessionsEnded),
            _ => false,
        }
    }
}

impl From<Pkcs11Error> for KeyError {
    fn from(error: Pkcs11Error) -> Self {
        let (is_transient, fix) = (error.is_transient(), error.fix());
        let error = match error.is_gone() {
            true => Self::handle_gone(error),
            false => Self::new(error),
        };
        error.transient(is_transient).with_fix(fix)
    }
}

/// The text of a module's error is a paragraph of the specification, so this function writes the error's short name
/// instead.
impl From<CallError> for Pkcs11Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Pkcs11(code, function) => Self::Call {
                call: format!("C_{function:?}"),
                reason: format!("{code:?}"),
                outlook: outlook(code),
            },
            other => Self::Call {
                call: "a call of the module".to_owned(),
                reason: other.to_string(),
                outlook: Outlook::Permanent,
            },
        }
    }
}

/// Returns the outlook after an error code of PKCS#11 3.1, section 5.1. Vendors report the loss of a network by codes of
/// their own, so a code that is not listed here counts as temporary.
fn outlook(code: RvError) -> Outlook {
    match code {
        // No session of the token is open after these errors.
        RvError::DeviceRemoved
        | RvError::TokenNotPresent
        | RvError::SessionHandleInvalid
        | RvError::SessionClosed
        | RvError::CryptokiNotInitialized => Outlook::SessionsEnded,
        // certbound closes the session after these errors.
        RvError::DeviceError
        | RvError::TokenNotRecognized
        | RvError::SlotIdInvalid
        | RvError::UserNotLoggedIn
        | RvError::KeyHandleInvalid
        | RvError::ObjectHandleInvalid => Outlook::Gone,
        RvError::ArgumentsBad
        | RvError::ActionProhibited
        | RvError::AttributeReadOnly
        | RvError::AttributeSensitive
        | RvError::AttributeTypeInvalid
        | RvError::AttributeValueInvalid
        | RvError::BufferTooSmall
        | RvError::CurveNotSupported
        | RvError::DataInvalid
        | RvError::DataLenRange
        | RvError::DomainParamsInvalid
        | RvError::FunctionNotSupported
        | RvError::KeyFunctionNotPermitted
        | RvError::KeySizeRange
        | RvError::KeyTypeInconsistent
        | RvError::MechanismInvalid
        | RvError::MechanismParamInvalid
        | RvError::SessionReadOnly
        | RvError::TemplateIncomplete
        | RvError::TemplateInconsistent
        | RvError::TokenWriteProtected => Outlook::Permanent,
        _ => Outlook::Temporary,
    }
}
