//! Tokens and answers that are wrong on purpose.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certbound_core::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::opaque;
use crate::keys::TokenKey;

/// The change that makes a token or its answer wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alteration {
    /// The token is not bound, and `token_type` is `Bearer`.
    Bearer,
    /// The token is bound to a certificate that does not exist.
    ForeignCnf,
    /// The token has no `cnf`, although `token_type` is `mtls_pop`.
    NoCnf,
    /// The token has a different form.
    Form(TokenForm),
    /// `scope` names a different resource.
    WrongScope,
    /// `access_token` is empty.
    EmptyToken,
}

/// An unusual form of a token: a text that is not a JWT, or a JWT that some parsers reject or read differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenForm {
    /// A text that is not a JWT.
    Opaque,
    /// A text in the form of an encrypted JWT. No key can decrypt it.
    Encrypted,
    /// A signed JWT whose payload has `cnf` twice: first with the right certificate, then with a different certificate.
    CnfTwice,
    /// A signed JWT whose payload ends with base64 padding.
    PaddedPayload,
    /// A signed JWT with a fourth part after its signature.
    FourthPart,
}

/// Returns the token in the form that a fault requires. If the form is signed, its signature is valid.
pub(super) fn in_form(
    form: TokenForm,
    header: &Map<String, Value>,
    claims: &Map<String, Value>,
    key: &TokenKey,
) -> Option<Secret> {
    let coded = |members: &Map<String, Value>| serde_json::to_string(members).ok().map(|text| base64(&text));
    match form {
        TokenForm::Opaque => Some(Secret::new(format!("{}{}", opaque(), opaque()))),
        TokenForm::Encrypted => {
            let header = base64(r#"{"alg":"RSA-OAEP","enc":"A256GCM","typ":"JWT"}"#);
            Some(Secret::new(format!("{header}.{}.{}.{}.{}", opaque(), opaque(), opaque(), opaque())))
        }
        TokenForm::CnfTwice => {
            let text = serde_json::to_string(claims).ok()?;
            let text = format!(r#"{},"cnf":{{"x5t#S256":"{}"}}}}"#, text.strip_suffix('}')?, foreign());
            key.sign_input(format!("{}.{}", coded(header)?, base64(&text)))
        }
        TokenForm::PaddedPayload => key.sign_input(format!("{}.{}=", coded(header)?, coded(claims)?)),
        TokenForm::FourthPart => {
            let token = key.sign(header, claims)?;
            Some(Secret::new(format!("{}.{}", token.expose(), opaque())))
        }
    }
}

fn base64(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// Returns the thumbprint of a certificate that does not exist.
pub(super) fn foreign() -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, b"a certificate that nobody has"))
}
