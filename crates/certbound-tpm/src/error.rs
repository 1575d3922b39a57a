//! The failures of a TPM and of its keys.

use std::time::Duration;

use certbound_core::cause::Cause;
use strum::EnumProperty as _;
use tss_esapi::constants::response_code::Tss2ResponseCodeKind as Kind;
use tss_esapi::{Error as TssError, WrapperErrorKind};

use crate::handle::{HandleError, KeyHandle};

/// The reason why a TPM or a key in it cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum TpmError {
    /// The text is not the address of a TPM.
    #[error("`{text}` is not the address of a TPM")]
    #[strum(props(code = "tpm_address_invalid"))]
    #[strum(props(
        fix = "give `device:/dev/tpmrm0`, `tabrmd`, or, for a software TPM, `swtpm:host=127.0.0.1,port=2321`"
    ))]
    Address {
        /// The text.
        text: String,
    },
    /// The text is not a persistent handle of the owner.
    #[error(transparent)]
    #[strum(props(code = "tpm_handle_invalid", fix = "give a handle from 0x81000000 to 0x817fffff"))]
    Handle(#[from] HandleError),
    /// No connection to the TPM could be opened.
    #[error("the TPM at {address} cannot be used: {reason}")]
    #[strum(props(code = "tpm_unavailable"))]
    #[strum(props(
        fix = "check that the machine has a TPM 2.0 (/dev/tpmrm0), and that this user may open it: on most systems the group `tss`"
    ))]
    Unavailable {
        /// The address.
        address: String,
        /// The error of the TPM Software Stack or of the system.
        #[source]
        reason: Cause,
    },
    /// The TPM did not answer in time.
    #[error("the TPM at {address} did not answer within {} s", .limit.as_secs_f32())]
    #[strum(props(code = "tpm_timeout"))]
    #[strum(props(
        fix = "check whether another program keeps the TPM busy; without a resource manager only one program can use it, so prefer /dev/tpmrm0 to /dev/tpm0"
    ))]
    TimedOut {
        /// The address.
        address: String,
        /// The limit.
        limit: Duration,
    },
    /// There is no object at the handle.
    #[error("the TPM has no key at {handle}")]
    #[strum(props(code = "tpm_key_not_found"))]
    #[strum(props(
        fix = "generate the key with `certbound keys generate tpm:HANDLE`, or correct the handle; `certbound keys list tpm` shows the keys"
    ))]
    NoKey {
        /// The handle.
        handle: KeyHandle,
    },
    /// The object at the handle is not a key that certbound can use.
    #[error("the key at {handle} cannot be used: {reason}")]
    #[strum(props(code = "tpm_key_unusable"))]
    #[strum(props(fix = "use another handle; `certbound keys generate tpm:HANDLE` makes a key that works"))]
    KeyUnusable {
        /// The handle.
        handle: KeyHandle,
        /// The fault.
        reason: String,
    },
    /// The key of this handle is gone: the TPM has no key, or another key, at the persistent handle.
    #[error("the key at {handle} is not the key that was opened: it was removed, or the TPM was cleared")]
    #[strum(props(code = "tpm_key_gone"))]
    #[strum(props(
        fix = "get the certificate from its source again; an application needs a certificate for the new key"
    ))]
    KeyGone {
        /// The handle.
        handle: KeyHandle,
    },
    /// The TPM demands an authorization of its owner.
    #[error("the TPM demands an authorization of its owner to {what}")]
    #[strum(props(code = "tpm_owner_authorization"))]
    #[strum(props(
        fix = "let the owner of the TPM make the key once with the tools of tpm2-tools: `tpm2_createprimary -C o -P OWNER-AUTH -G rsa2048 -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign' -c key.ctx`, then `tpm2_evictcontrol -C o -P OWNER-AUTH -c key.ctx HANDLE`"
    ))]
    OwnerAuthorization {
        /// The operation.
        what: &'static str,
    },
    /// A command failed.
    #[error("{command} failed: {reason}")]
    #[strum(props(code = "tpm_command_failed"))]
    #[strum(props(
        fix = "look up the code with `tpm2_rc_decode` of tpm2-tools; the log of the TPM Software Stack is on standard error (TSS2_LOG)"
    ))]
    Command {
        /// The command.
        command: &'static str,
        /// The error of the TPM or of the TPM Software Stack.
        reason: String,
        /// Whether the TPM or the TPM Software Stack refused a value of the command. A new connection does not help
        /// then.
        is_refusal: bool,
    },
    /// The subject of a certificate request does not have the form of RFC 4514, or is empty.
    #[error("the subject of the certificate request is not valid")]
    #[strum(props(code = "tpm_subject_invalid"))]
    #[strum(props(fix = "write the subject as `CN=app.contoso.com,O=Contoso`"))]
    Subject,
}

impl TpmError {
    /// The stable name of this error.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or_default()
    }

    /// The advice for this error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or_default()
    }

    /// Whether the same call may succeed later without a change of the configuration.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. } | Self::TimedOut { .. } | Self::Command { is_refusal: false, .. }
        )
    }

    /// Whether the connection to the TPM must be opened anew before the next command.
    pub(crate) fn ends_connection(&self) -> bool {
        matches!(self, Self::Command { is_refusal: false, .. })
    }

    /// Makes the error of a command.
    pub(crate) fn of(command: &'static str, error: TssError) -> Self {
        let is_refusal = match error {
            TssError::Tss2Error(code) => {
                matches!(code, tss_esapi::constants::response_code::Tss2ResponseCode::FormatOne(_))
            }
            // A wrong value of the caller or of the TPM causes these errors, so a new connection does not help.
            TssError::WrapperError(kind) => !matches!(kind, WrapperErrorKind::InvalidHandleState),
        };
        Self::Command { command, reason: error.to_string(), is_refusal }
    }

    /// Makes the error of a command that needs the authorization of the owner.
    pub(crate) fn of_owner(command: &'static str, what: &'static str, error: TssError) -> Self {
        match kind(error) {
            Some(Kind::BadAuth | Kind::AuthFail | Kind::AuthUnavailable | Kind::AuthMissing) => {
                Self::OwnerAuthorization { what }
            }
            _ => Self::of(command, error),
        }
    }
}

/// Returns the kind of the TPM's answer.
pub(crate) fn kind(error: TssError) -> Option<Kind> {
    match error {
        TssError::Tss2Error(code) => code.kind(),
        TssError::WrapperError(_) => None,
    }
}
