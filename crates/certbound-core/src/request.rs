//! The token request. The client encodes it, and a token service decodes it.

use zeroize::Zeroizing;

use crate::credential::ClientProof;
use crate::own_secrets::OwnSecrets;
use crate::secret::{Secret, SecretBytes};

/// The value of `token_type` in a request for a certificate-bound token, and in its response.
pub const MTLS_POP: &str = "mtls_pop";

/// The value of `token_type` in a managed identity's request for a Bearer token. Token services accept this value in
/// upper or lower case.
pub const BEARER: &str = "bearer";

/// The grant of a token request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Grant<'a> {
    /// The application requests a token for itself (RFC 6749, section 4.4).
    ClientCredentials,
    /// A managed identity requests a token for itself, with the certificate that the metadata service issued to its
    /// machine.
    ManagedIdentity,
    /// The application exchanges a user's access token for a token of the same user (RFC 7523, section 2.1, with
    /// Entra's own parameters).
    OnBehalfOf {
        /// The user's token, which must be for this application.
        assertion: &'a Secret,
    },
}

impl<'a> Grant<'a> {
    fn parameters(self) -> Vec<(&'a str, &'a str)> {
        match self {
            Self::ClientCredentials => vec![("grant_type", "client_credentials"), ("client_info", "2")],
            Self::ManagedIdentity => vec![("grant_type", "client_credentials")],
            Self::OnBehalfOf { assertion } => vec![
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", assertion.expose()),
                ("requested_token_use", "on_behalf_of"),
                ("client_info", "1"),
            ],
        }
    }
}

/// The body of a token request, which the client sends to the token endpoint by `POST`.
///
/// It does not contain the TLS certificate, the endpoint or headers. `req_cnf` belongs to a different scheme and is
/// never sent. A parameter whose value is empty or white space is omitted.
///
/// ```
/// use certbound_core::{credential::ClientProof, request::{Grant, TokenRequest}};
///
/// let leg_1 = TokenRequest {
///     client_id: "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e",
///     grant: Grant::ClientCredentials,
///     proof: ClientProof::CertificateOnly,
///     scope: "api://AzureADTokenExchange/.default",
///     bound: true,
///     claims: None,
///     fmi_path: None,
///     extra: &[],
/// };
/// assert_eq!(
///     String::from_utf8_lossy(&leg_1.encode()),
///     "client_id=163ffef9-a313-45b4-ab2f-c7e2f5e0e23e&scope=api%3A%2F%2FAzureADTokenExchange%2F.default\
///      &grant_type=client_credentials&client_info=2&token_type=mtls_pop"
/// );
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    /// The client id of the application.
    pub client_id: &'a str,
    /// The grant.
    pub grant: Grant<'a>,
    /// The client's proof.
    pub proof: ClientProof<'a>,
    /// The scope, as sent.
    pub scope: &'a str,
    /// Whether to request a token that is bound to the connection's certificate. If it is false, the request of a
    /// managed identity names the type [`BEARER`], and every other request names no type.
    pub bound: bool,
    /// The `claims` parameter, unchanged.
    pub claims: Option<&'a str>,
    /// The `fmi_path` parameter.
    pub fmi_path: Option<&'a str>,
    /// Parameters that follow all other parameters. Their names must not be among [`TokenRequest::OWN_PARAMETERS`].
    pub extra: &'a [(String, String)],
}

impl<'a> TokenRequest<'a> {
    /// The forbidden names in [`TokenRequest::extra`]: the names that this type writes, `code`, and `req_cnf` (a
    /// parameter of a different scheme).
    pub const OWN_PARAMETERS: [&'static str; 14] = [
        "client_id",
        "client_secret",
        "client_assertion_type",
        "client_assertion",
        "scope",
        "claims",
        "grant_type",
        "assertion",
        "requested_token_use",
        "client_info",
        "token_type",
        "fmi_path",
        "req_cnf",
        "code",
    ];

    /// Whether a name is one of [`TokenRequest::OWN_PARAMETERS`]. The comparison ignores case, because a token service
    /// may ignore case.
    pub fn is_own(name: &str) -> bool {
        Self::OWN_PARAMETERS.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Does the same as [`TokenRequest::is_own`] for a percent-encoded name, as in a query.
    pub fn is_own_encoded(name: &str) -> bool {
        form_urlencoded::parse(name.as_bytes()).any(|(name, _)| Self::is_own(&name))
    }

    /// Whether a parameter's value must not be shown. This is true for assertions, secrets, and every parameter in
    /// [`TokenRequest::extra`].
    pub fn is_secret(name: &str) -> bool {
        matches!(name, "client_assertion" | "client_secret" | "assertion")
            || !Self::OWN_PARAMETERS.contains(&name)
    }

    /// Returns the values that must not appear in a shown response. Values in [`TokenRequest::extra`] are included if
    /// they have eight bytes or more.
    pub fn secrets(&self) -> OwnSecrets {
        let own = |name: &str| Self::OWN_PARAMETERS.contains(&name);
        let parameters = self.parameters().into_iter();
        let secret =
            parameters.filter(|(name, value)| Self::is_secret(name) && (own(name) || value.len() >= 8));
        secret.fold(OwnSecrets::new(), |secrets, (_, value)| secrets.and(value))
    }

    /// The parameters of the body in wire order. The parameters include secrets: redact the parameters before they are
    /// shown.
    pub fn parameters(&self) -> Vec<(&'a str, &'a str)> {
        // There are at most 12 parameters, plus the parameters in `extra`.
        let mut parameters = Vec::with_capacity(12 + self.extra.len());
        parameters.push(("client_id", self.client_id));
        parameters.extend(self.proof.parameters());
        parameters.push(("scope", self.scope));
        parameters.extend(self.claims.map(|claims| ("claims", claims)));
        parameters.extend(self.grant.parameters());
        parameters.extend(self.token_type().map(|kind| ("token_type", kind)));
        parameters.extend(self.fmi_path.map(|path| ("fmi_path", path)));
        parameters.extend(self.extra.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        parameters.retain(|(_, value)| !value.trim().is_empty());
        parameters
    }

    /// The value of `token_type`. Only a managed identity names the type of a Bearer token. Its certificate alone
    /// proves its identity, so only this parameter distinguishes its request for a Bearer token from its request for a
    /// bound token.
    fn token_type(&self) -> Option<&'static str> {
        match (self.bound, self.grant) {
            (true, _) => Some(MTLS_POP),
            (false, Grant::ManagedIdentity) => Some(BEARER),
            (false, _) => None,
        }
    }

    /// Encodes the body as `application/x-www-form-urlencoded`. The buffer is wiped when it is dropped.
    pub fn encode(&self) -> SecretBytes {
        let encoded = |text: &'a str| form_urlencoded::byte_serialize(text.as_bytes());
        let parameters = self.parameters();
        let pieces = || parameters.iter().flat_map(|(name, value)| [encoded(name), encoded(value)]).flatten();
        // The capacity is at least the final length, so that the buffer is never moved and leaves no copy in memory.
        let capacity = pieces().map(str::len).sum::<usize>() + 2 * parameters.len();
        let mut body = SecretBytes::with_capacity(capacity);
        for (name, value) in &parameters {
            if !body.is_empty() {
                body.push(b'&');
            }
            encoded(name).for_each(|piece| body.extend_from_slice(piece.as_bytes()));
            body.push(b'=');
            encoded(value).for_each(|piece| body.extend_from_slice(piece.as_bytes()));
        }
        body
    }
}

/// A form as a token service receives it: each name occurs once, and each value is well encoded.
///
/// Decoding does not check which parameters a grant needs.
#[derive(Debug)]
pub struct ReceivedForm {
    fields: Vec<(String, Zeroizing<String>)>,
}

impl ReceivedForm {
    /// The largest number of parameters in a form.
    pub const MAX_PARAMETERS: usize = 256;

    /// Decodes a body.
    ///
    /// # Errors
    /// [`FormError`] if a name occurs twice (RFC 6749, section 3.2), if a percent sign is not followed by two
    /// hexadecimal digits, if bytes are not UTF-8, or if the form has more than [`Self::MAX_PARAMETERS`] parameters.
    pub fn decode(body: &[u8]) -> Result<Self, FormError> {
        let mut fields: Vec<(String, Zeroizing<String>)> = Vec::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if fields.len() == Self::MAX_PARAMETERS {
                return Err(FormError::TooMany);
            }
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &pair[pair.len()..]),
            };
            let name = decode(name)?;
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(FormError::Duplicate { name: name.chars().take(64).collect() });
            }
            fields.push((name, Zeroizing::new(decode(value)?)));
        }
        Ok(Self { fields })
    }

    /// The value of `name`. The result is `None` if the parameter is absent or empty: OAuth treats both cases alike
    /// (RFC 6749, section 3.2).
    pub fn value(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Whether the form has a parameter `name`, even with an empty value.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, _)| known == name)
    }

    /// All parameters in the order received.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn decode(text: &[u8]) -> Result<String, FormError> {
    for (at, _) in text.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        let digits = text.get(at + 1..at + 3).ok_or(FormError::BadPercent)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(FormError::BadPercent);
        }
    }
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded: Vec<u8> = percent_encoding::percent_decode(&spaced).collect();
    String::from_utf8(decoded).map_err(|_| FormError::NotUtf8)
}

/// The reason why a body is not a form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// A parameter occurs twice.
    #[error("the parameter `{name}` occurs twice")]
    Duplicate {
        /// The start of the parameter's name.
        name: String,
    },
    /// A `%` is not followed by two hexadecimal digits.
    #[error("a percent sign is not followed by two hexadecimal digits")]
    BadPercent,
    /// A decoded name or value is not UTF-8.
    #[error("a parameter's name or value is not UTF-8")]
    NotUtf8,
    /// The form has more than [`ReceivedForm::MAX_PARAMETERS`] parameters.
    #[error("the form has more than {} parameters", ReceivedForm::MAX_PARAMETERS)]
    TooMany,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::credential::{JWT_BEARER, JWT_POP};

    fn request<'a>(proof: ClientProof<'a>, bound: bool) -> TokenRequest<'a> {
        TokenRequest {
            client_id: "B",
            grant: Grant::ClientCredentials,
            proof,
            scope: "https://vault.azure.net/.default",
            bound,
            claims: None,
            fmi_path: None,
            extra: &[],
        }
    }

    #[test]
    fn the_assertion_type_follows_from_the_proof() {
        let jwt = Secret::new("a.b.c");
        for (proof, kind) in
            [(ClientProof::BoundAssertion(&jwt), JWT_POP), (ClientProof::SignedAssertion(&jwt), JWT_BEARER)]
        {
            for bound in [true, false] {
                let parameters = request(proof, bound).parameters();
                assert!(parameters.contains(&("client_assertion_type", kind)));
                assert_eq!(parameters.contains(&("token_type", MTLS_POP)), bound);
            }
        }
        let names: Vec<_> =
            request(ClientProof::CertificateOnly, true).parameters().into_iter().map(|(n, _)| n).collect();
        assert_eq!(names, ["client_id", "scope", "grant_type", "client_info", "token_type"]);
    }

    #[test]
    fn a_form_that_is_ambiguous_or_badly_encoded_is_refused() {
        let cases: [(&[u8], FormError); 5] = [
            (b"scope=a&scope=b", FormError::Duplicate { name: "scope".into() }),
            (b"client_id=a&client%5Fid=b", FormError::Duplicate { name: "client_id".into() }),
            (b"scope=%zz", FormError::BadPercent),
            (b"scope=%2", FormError::BadPercent),
            (b"scope=%ff", FormError::NotUtf8),
        ];
        for (body, error) in cases {
            assert_eq!(ReceivedForm::decode(body).unwrap_err(), error);
        }
        let many =
            (0..=ReceivedForm::MAX_PARAMETERS).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join("&");
        assert_eq!(ReceivedForm::decode(many.as_bytes()).unwrap_err(), FormError::TooMany);
    }

    /// A buffer that is moved to grow would leave a copy of its secret in memory.
    #[test]
    fn the_body_stays_where_it_was_begun() {
        let secret = Secret::new("a b&c=%/+~\u{e9}".repeat(50));
        let body = request(ClientProof::Secret(&secret), true).encode();
        assert!(body.len() <= body.capacity() && body.capacity() < body.len() + 20, "{}", body.capacity());
    }

    proptest! {
        #[test]
        fn decoding_never_panics(body: Vec<u8>) {
            let _ = ReceivedForm::decode(&body);
        }

        #[test]
        fn what_is_encoded_is_read_back(scope in "\\PC{1,40}", claims in "\\PC{1,40}") {
            let body = TokenRequest { scope: &scope, claims: Some(&claims), ..request(ClientProof::CertificateOnly, true) }.encode();
            let form = ReceivedForm::decode(&body).unwrap();
            let kept = |text: &str| (!text.trim().is_empty()).then(|| text.to_owned());
            prop_assert_eq!(form.value("scope").map(str::to_owned), kept(&scope));
            prop_assert_eq!(form.value("claims").map(str::to_owned), kept(&claims));
        }
    }
}
