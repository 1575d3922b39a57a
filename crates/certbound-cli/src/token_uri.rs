//! Names of keys in flags: a value that begins with `pkcs11:` names a key in a token, and a value that begins with
//! `tpm:` names a key in the TPM.

use std::path::Path;

use certbound_pkcs11::Pkcs11Uri;

use crate::usage::Usage;

/// The name of the attribute whose value is a PIN.
const PIN: &str = "pin-value=";

/// The beginning of the name of a key in the TPM. A handle follows.
const TPM: &str = "tpm:";

/// Returns the text of a value that names a key in a token or in the TPM, and `None` for the path of a file.
pub(crate) fn text(value: &Path) -> Option<&str> {
    value.to_str().filter(|text| Pkcs11Uri::is_uri(text) || text.starts_with(TPM))
}

/// Returns whether a value names the TPM or a key in it. The caller knows that the value is not the path of a file.
pub(crate) fn is_tpm(text: &str) -> bool {
    text == "tpm" || text.starts_with(TPM)
}

/// Parses a URI. A PIN in the URI itself is refused, because other users can see arguments.
pub(crate) fn parse(text: &str) -> Result<Pkcs11Uri, Usage> {
    let uri = Pkcs11Uri::parse(text).map_err(|error| Usage::TokenUri { reason: error.to_string() })?;
    match uri.has_pin_value() {
        true => Err(Usage::PinInUri),
        false => Ok(uri),
    }
}

/// Returns a text without the PIN of a URI, for the output of unparsed texts.
pub(crate) fn without_pin(text: &str) -> String {
    let Some(at) = text.to_ascii_lowercase().find(PIN) else { return text.to_owned() };
    let (before, pin) = text.split_at(at + PIN.len());
    // A PIN can contain an unencoded character that looks like its end, so the text after the PIN is left out too.
    format!("{before}<redacted, {} bytes>", pin.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_neither_accepted_nor_shown() {
        let uri = "pkcs11:token=a?module-path=/m.so&pin-value=47 11&x=1";
        assert_eq!(
            without_pin(&format!("--certificate={uri}")),
            "--certificate=pkcs11:token=a?module-path=/m.so&pin-value=<redacted, 9 bytes>"
        );
        assert_eq!(without_pin("app.pem"), "app.pem");
        let error = parse("pkcs11:token=a?pin-value=4711").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("4711"), "{error:?}");
        assert_eq!(text(Path::new("app.pem")), None);
        assert_eq!(text(Path::new("PKCS11:token=a")), Some("PKCS11:token=a"));
        assert_eq!(text(Path::new("tpm:0x81300001")), Some("tpm:0x81300001"));
        assert_eq!(text(Path::new("tpm")), None, "a file of this name");
    }
}
