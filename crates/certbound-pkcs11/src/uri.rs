//! PKCS#11 URIs (RFC 7512): the parser, and the form that is shown.

mod parse;

use std::fmt;
use std::path::{Path, PathBuf};

use certbound::Secret;

use crate::error::Pkcs11Error;

/// The first characters of every PKCS#11 URI.
pub(crate) const SCHEME: &str = "pkcs11:";

/// A PKCS#11 URI (RFC 7512): it names a module, a token and an object.
///
/// The parser is strict: an unknown, repeated or wrongly encoded attribute is an error, so that no mistyped attribute
/// is ignored. The attributes are `token`, `manufacturer`, `model`, `serial`, `slot-id`, `object`, `id` and `type`, and
/// in the query `module-path`, `module-name`, `pin-source` and `pin-value`. `Display` and `Debug` omit the value of
/// `pin-value`.
///
/// ```
/// use certbound_pkcs11::Pkcs11Uri;
///
/// let uri = Pkcs11Uri::parse("pkcs11:token=app;object=binding%20key?module-path=/usr/lib/softhsm/libsofthsm2.so")?;
/// assert_eq!((uri.token(), uri.object()), (Some("app"), Some("binding key")));
/// assert!(Pkcs11Uri::parse("pkcs11:token=app;objekt=key").is_err());
/// # Ok::<(), certbound_pkcs11::Pkcs11Error>(())
/// ```
#[derive(Default)]
pub struct Pkcs11Uri {
    pub(crate) token: TokenProperties,
    pub(crate) object: Option<String>,
    pub(crate) id: Option<Vec<u8>>,
    kind: Option<ObjectKind>,
    pub(crate) module: Option<ModuleName>,
    pub(crate) pin: Option<PinPlace>,
}

/// The properties by which a token is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenProperties {
    pub(crate) label: Option<String>,
    pub(crate) manufacturer: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) serial: Option<String>,
    pub(crate) slot: Option<u64>,
}

/// The kind of the object that the URI names. Both kinds lead to the same key and certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ObjectKind {
    Private,
    Certificate,
}

/// The module of a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModuleName {
    Path(PathBuf),
    Name(String),
}

/// The place of the PIN.
pub(crate) enum PinPlace {
    File(PathBuf),
    Value(Secret),
}

impl Pkcs11Uri {
    /// Returns whether a text begins with the scheme of a PKCS#11 URI, in upper or lower case.
    pub fn is_uri(text: &str) -> bool {
        text.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
    }

    /// Parses a URI.
    ///
    /// # Errors
    /// [`Pkcs11Error::Uri`]. Its text can name an attribute, but never contains a value.
    pub fn parse(text: &str) -> Result<Self, Pkcs11Error> {
        parse::parse(text).map_err(|reason| Pkcs11Error::Uri { reason })
    }

    /// Returns the label of the token, if the URI names it.
    pub fn token(&self) -> Option<&str> {
        self.token.label.as_deref()
    }

    /// Returns whether the URI has a property of a token.
    pub fn names_a_token(&self) -> bool {
        self.token != TokenProperties::default()
    }

    /// Returns the label of the object, if the URI names it.
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// Returns the id of the object, if the URI names it.
    pub fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// Returns the file of `pin-source`, if the URI names it.
    pub fn pin_file(&self) -> Option<&Path> {
        match &self.pin {
            Some(PinPlace::File(path)) => Some(path),
            _ => None,
        }
    }

    /// Returns whether the URI contains the PIN itself.
    pub fn has_pin_value(&self) -> bool {
        matches!(self.pin, Some(PinPlace::Value(_)))
    }
}

impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.map(|kind| match kind {
            ObjectKind::Private => "private",
            ObjectKind::Certificate => "cert",
        });
        let path = [
            self.token.to_string(),
            object_text(self.object.as_deref(), self.id.as_deref()),
            kind.map_or_else(String::new, |kind| format!("type={kind}")),
        ];
        let path: Vec<_> = path.into_iter().filter(|part| !part.is_empty()).collect();
        let module = self.module.as_ref().map(|module| match module {
            ModuleName::Path(path) => format!("module-path={}", parse::encoded(&path.to_string_lossy())),
            ModuleName::Name(name) => format!("module-name={}", parse::encoded(name)),
        });
        let pin = self.pin.as_ref().map(|pin| match pin {
            PinPlace::File(path) => format!("pin-source=file:{}", parse::encoded(&path.to_string_lossy())),
            PinPlace::Value(_) => "pin-value=<redacted>".to_owned(),
        });
        let query: Vec<_> = module.into_iter().chain(pin).collect();
        write!(f, "{SCHEME}{}", path.join(";"))?;
        if query.is_empty() { Ok(()) } else { write!(f, "?{}", query.join("&")) }
    }
}

impl fmt::Debug for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pkcs11Uri({self})")
    }
}

impl fmt::Display for TokenProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = self.slot.map(|slot| slot.to_string());
        let all = [
            ("token", self.label.as_deref()),
            ("manufacturer", self.manufacturer.as_deref()),
            ("model", self.model.as_deref()),
            ("serial", self.serial.as_deref()),
            ("slot-id", slot.as_deref()),
        ];
        let given = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let given: Vec<_> = given.map(|(name, value)| format!("{name}={}", parse::encoded(value))).collect();
        f.write_str(&given.join(";"))
    }
}

/// Returns the attributes `object` and `id`, as they are in a URI.
pub(crate) fn object_text(label: Option<&str>, id: Option<&[u8]>) -> String {
    let label = label.map(|label| format!("object={}", parse::encoded(label)));
    let id = id.map(|id| format!("id={}", id.iter().map(|byte| format!("%{byte:02x}")).collect::<String>()));
    label.into_iter().chain(id).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests;
