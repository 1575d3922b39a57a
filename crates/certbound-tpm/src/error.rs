//! The failures of a TPM and of its keys.

use std::time::Duration;

use certbound::error::KeyError;
use certbound_core::cause::Cause;
use strum::EnumProperty as _;
use tss_esapi::Error as TssError;
use tss_esapi::constants::response_code::{Tss2ResponseCode, Tss2ResponseCodeKind as Kind};

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
    /// No connection to the TPM could be opened, or the thread of the connection failed.
    #[error("the TPM at {address} cannot be used: {reason}")]
    #[strum(props(code = "tpm_unavailable"))]
    #[strum(props(
        fix = "check that the machine has a TPM 2.0 (/dev/tpmrm0), and that this user may open it; on most systems the members of the group `tss` may open it"
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
    /// The key at the handle of the attestation key cannot attest another key.
    #[error("the attestation key at {handle} cannot be used: {reason}")]
    #[strum(props(code = "tpm_key_unusable"))]
    #[strum(props(
        fix = "put a restricted signing key without a policy at the handle, or leave TpmOptions::attestation_key out"
    ))]
    AttesterUnusable {
        /// The handle.
        handle: KeyHandle,
        /// The fault.
        reason: String,
    },
    /// The opened key is gone: the TPM has no key, or a different key, at the persistent handle.
    #[error(
        "the key that was opened is not at {handle} any more: it was removed or replaced, or the TPM was cleared"
    )]
    #[strum(props(code = "tpm_key_gone"))]
    #[strum(props(
        fix = "request a certificate for the new key; a managed identity requests it automatically"
    ))]
    KeyGone {
        /// The handle.
        handle: KeyHandle,
    },
    /// The TPM makes RSA-PSS signatures that TLS does not accept.
    #[error(
        "the RSA-PSS signature of the key at {handle} is not valid: TPMs with firmware before revision 1.38 of the specification can make salts that are not of 32 bytes"
    )]
    #[strum(props(code = "tpm_key_unusable"))]
    #[strum(props(
        fix = "update the firmware of the TPM, or use a software key; the certificate of an application can have a key on P-256"
    ))]
    PssSalt {
        /// The handle.
        handle: KeyHandle,
    },
    /// The key needs an authorization that certbound does not have. This process does not use the key again.
    #[error(
        "the key at {handle} has an authorization; this process tried the key once and does not try it again"
    )]
    #[strum(props(code = "tpm_key_authorization"))]
    #[strum(props(
        fix = "use a key without an authorization (`certbound keys generate tpm:HANDLE`), or keys with a PIN through tpm2-pkcs11; then restart this program; each wrong authorization can lock the TPM"
    ))]
    Authorization {
        /// The handle.
        handle: KeyHandle,
    },
    /// A different TPM is at the address.
    #[error("a different TPM is at {address}: the vendor string was `{before}` and is now `{vendor}`")]
    #[strum(props(code = "tpm_replaced"))]
    #[strum(props(
        fix = "restart this program to use the TPM that is there now, or put the earlier TPM back"
    ))]
    Replaced {
        /// The address.
        address: String,
        /// The vendor string now.
        vendor: String,
        /// The vendor string when the TPM was opened.
        before: String,
    },
    /// The TPM demands an authorization of its owner.
    #[error("the TPM demands an authorization of its owner to {what}")]
    #[strum(props(code = "tpm_owner_authorization"))]
    #[strum(props(
        fix = "let the owner of the TPM make the key once with tpm2-tools: `tpm2_createprimary -C o -P OWNER-AUTH -c primary.ctx`, then `tpm2_create -C primary.ctx -G rsa2048 -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign' -u key.pub -r key.priv -c key.ctx`, then `tpm2_evictcontrol -C o -P OWNER-AUTH -c key.ctx HANDLE`"
    ))]
    OwnerAuthorization {
        /// The operation.
        what: &'static str,
    },
    /// The TPM demands an authorization of its endorsement hierarchy.
    #[error("the TPM demands an authorization of its endorsement hierarchy to make an attestation key")]
    #[strum(props(code = "tpm_endorsement_authorization"))]
    #[strum(props(
        fix = "let the administrator of the TPM put a restricted signing key at a persistent handle, and name the handle by TpmOptions::attestation_key"
    ))]
    EndorsementAuthorization,
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
        /// The origin of the error.
        origin: Origin,
    },
    /// The nonce of an attestation is too long.
    #[error("the nonce has {length} bytes; at most 32 bytes are possible")]
    #[strum(props(code = "tpm_command_failed", fix = "give a nonce of at most 32 bytes"))]
    NonceTooLong {
        /// The length of the nonce in bytes.
        length: usize,
    },
    /// The TPM returned a signature of a form that was not requested.
    #[error("TPM2_Sign failed: the signature has a different form than was requested")]
    #[strum(props(code = "tpm_command_failed", fix = "report this error as a bug of certbound"))]
    OtherSignature,
    /// The subject of a certificate request does not have the form of RFC 4514, or is empty.
    #[error("the subject of the certificate request is not valid")]
    #[strum(props(code = "tpm_subject_invalid"))]
    #[strum(props(fix = "write the subject as `CN=app.contoso.com,O=Contoso`"))]
    Subject,
}

impl TpmError {
    /// Returns the stable name of this error.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or_default()
    }

    /// Returns the advice for this error.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or_default()
    }

    /// Returns whether the same call may succeed later without a change of the configuration.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. }
                | Self::TimedOut { .. }
                | Self::Command { origin: Origin::Connection | Origin::Warning, .. }
        )
    }

    /// Returns whether the thread must open a new connection to the TPM before the next command.
    pub(crate) fn ends_connection(&self) -> bool {
        matches!(self, Self::Command { origin: Origin::Connection, .. })
    }

    /// Returns whether the TPM has answered and refused the command.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Command { origin: Origin::Refusal | Origin::Warning, .. })
    }

    /// Makes the error of a command.
    pub(crate) fn of(command: &'static str, error: TssError) -> Self {
        Self::Command { command, reason: reason_of(error), origin: Origin::of(error) }
    }

    /// Makes the error of a command that uses a key at a handle.
    pub(crate) fn of_key(command: &'static str, handle: KeyHandle, error: TssError) -> Self {
        match is_authorization(error) {
            true => Self::Authorization { handle },
            false => Self::of(command, error),
        }
    }

    /// Makes the error of a command that needs the authorization of the owner.
    pub(crate) fn of_owner(command: &'static str, what: &'static str, error: TssError) -> Self {
        match is_authorization(error) {
            true => Self::OwnerAuthorization { what },
            false => Self::of(command, error),
        }
    }

    /// Makes the error of a command that needs the authorization of the endorsement hierarchy.
    pub(crate) fn of_endorsement(command: &'static str, error: TssError) -> Self {
        match is_authorization(error) {
            true => Self::EndorsementAuthorization,
            false => Self::of(command, error),
        }
    }
}

impl From<TpmError> for KeyError {
    fn from(error: TpmError) -> Self {
        let (is_transient, fix) = (error.is_transient(), error.fix());
        let error = match error {
            TpmError::KeyGone { .. } => Self::handle_gone(error),
            _ => Self::new(error),
        };
        error.transient(is_transient).with_fix(fix)
    }
}

/// The origin of the error of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The TPM or its resource manager has refused the command. The same command would be refused again.
    Refusal,
    /// The TPM has refused the command temporarily: it is busy, locked, or has no free memory.
    Warning,
    /// The connection to the TPM failed. A new connection may help.
    Connection,
}

/// The layers of the codes that the TPM and its resource manager return (TSS 2.0 Overview, section 3.1).
const ANSWERS: [u32; 3] = [0x00, 0x0b, 0x0c];

/// The severity bit of a code of the TPM: a warning.
const WARNING: u32 = 0x800;

/// The bit that marks a code with the number of a parameter, a handle or a session.
const FORMAT_ONE: u32 = 0x80;

impl Origin {
    fn of(error: TssError) -> Self {
        match (error, code_of(error)) {
            // The caller passed a wrong value, or the wrapper does not know a value.
            (TssError::WrapperError(_), _) => Self::Refusal,
            (TssError::Tss2Error(_), Some(code)) => Self::of_code(code),
            // Only an answer of the TPM has this format. An answered command must not be repeated.
            (TssError::Tss2Error(Tss2ResponseCode::FormatOne(_)), None) => Self::Refusal,
            (TssError::Tss2Error(_), None) => Self::Connection,
        }
    }

    fn of_code(code: u32) -> Self {
        match ANSWERS.contains(&(code >> 16)) {
            false => Self::Connection,
            true if code & FORMAT_ONE == 0 && code & WARNING != 0 => Self::Warning,
            true => Self::Refusal,
        }
    }
}

/// Returns the code of an error. The wrapper shows the code only in a text, which ends with the hexadecimal number.
fn code_of(error: TssError) -> Option<u32> {
    let text = match error {
        TssError::Tss2Error(Tss2ResponseCode::FormatZero(code)) => code.to_string(),
        TssError::Tss2Error(Tss2ResponseCode::FormatOne(code)) => code.to_string(),
        TssError::Tss2Error(Tss2ResponseCode::Success) | TssError::WrapperError(_) => return None,
    };
    u32::from_str_radix(text.rsplit_once("0x")?.1, 16).ok()
}

/// Returns the text of an error with its code. The wrapper gives wrong texts to codes that are not from the TPM.
pub(crate) fn reason_of(error: TssError) -> String {
    match (Origin::of(error), code_of(error)) {
        (Origin::Connection, Some(code)) => format!("the connection to the TPM failed, code {code:#x}"),
        (_, Some(code)) => format!("{error}, code {code:#x}"),
        (_, None) => error.to_string(),
    }
}

/// Returns whether the TPM has refused an authorization.
fn is_authorization(error: TssError) -> bool {
    let TssError::Tss2Error(code) = error else { return false };
    let refused = [Kind::BadAuth, Kind::AuthFail, Kind::AuthUnavailable, Kind::AuthMissing];
    Origin::of(error) != Origin::Connection && code.kind().is_some_and(|kind| refused.contains(&kind))
}

/// Returns the number of the session whose authorization the TPM has refused, counted from 0 (TPM 2.0 Library, Part 2,
/// section 6.6.2). The TPM does not always name the session.
pub(crate) fn refused_session(error: TssError) -> Option<usize> {
    let code = code_of(error).filter(|code| is_authorization(error) && code & FORMAT_ONE != 0)?;
    usize::try_from(code >> 8 & 0xf).ok()?.checked_sub(9)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use tss_esapi::{Context, TctiNameConf};

    use super::*;

    #[test]
    fn a_code_of_the_tpm_is_told_from_a_failed_connection() {
        for (code, origin) in [
            (0xa000a, Origin::Connection),
            (0x70007, Origin::Connection),
            (0x921, Origin::Warning),
            (0x14b, Origin::Refusal),
            (0x98e, Origin::Refusal),
            (0xc0921, Origin::Warning),
        ] {
            assert_eq!(Origin::of_code(code), origin, "{code:#x}");
        }
    }

    /// The tests with swtpm read the codes of a TPM's answers.
    #[test]
    fn the_code_of_a_failed_connection_is_read_from_the_text_of_the_wrapper() {
        let nowhere = TctiNameConf::from_str("device:/nonexistent/tpm").unwrap();
        let error = Context::new(nowhere).map(drop).unwrap_err();
        let code = code_of(error).unwrap();
        // The layer of the transport, and TSS2_BASE_RC_IO_ERROR.
        assert_eq!((code >> 16, code & 0xffff), (0x0a, 0x0a), "{code:#x}");
        assert_eq!(Origin::of(error), Origin::Connection);
        assert_eq!(reason_of(error), "the connection to the TPM failed, code 0xa000a");
    }
}
