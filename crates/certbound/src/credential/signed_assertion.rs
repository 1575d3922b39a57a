//! The assertion that a client signs itself, for a Bearer token by certificate (RFC 7523, section 2.2).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use certbound_core::authority::AuthorityKind;
use certbound_core::json;
use certbound_core::jws;
use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::certificate::BindingCertificate;
use crate::credential::AssertionRequest;
use crate::error::{BindingCertificateError, Error, KeyError, Misuse, ProviderError};

/// The lifetime of a signed assertion.
const LIFETIME: Duration = Duration::from_secs(600);

/// The maximum length of the encoded header and claims together. The service refuses longer assertions.
const MAX_CHARACTERS: usize = 65_536;

/// An assertion without its signature.
///
/// Its algorithm is `PS256` with `x5t#S256` if the authority and the key support this algorithm, otherwise `RS256` with
/// `x5t`. The optional `x5c` contains the leaf. The audience is the token endpoint of this request. For
/// Microsoft's servers the times and the certificate are strings, as in Microsoft's own clients. For an OpenID issuer
/// they have the forms of RFC 7519 and RFC 7515.
pub(crate) struct Signing {
    certificate: BindingCertificate,
    sha2: bool,
    by_the_standard: bool,
    x5c: bool,
    claims: Map<String, Value>,
}

impl Signing {
    pub(crate) fn of(
        certificate: &BindingCertificate,
        request: &AssertionRequest,
        now: UnixTime,
        x5c: bool,
    ) -> Result<Self, Misuse> {
        let (from, until) = (now.as_secs(), now.plus(LIFETIME).as_secs());
        let mut claims = object([
            ("aud", request.token_endpoint.clone()),
            ("iss", request.client_id.to_string()),
            ("sub", request.client_id.to_string()),
            ("nbf", from.to_string()),
            ("exp", until.to_string()),
            ("jti", Uuid::new_v4().as_hyphenated().to_string()),
        ]);
        let by_the_standard = request.authority.kind() == AuthorityKind::Oidc;
        if by_the_standard {
            claims.insert("nbf".to_owned(), from.into());
            claims.insert("exp".to_owned(), until.into());
        }
        if let Some(extra) = &request.assertion_claims {
            claims.extend(extra_claims(extra)?);
        }
        let sha2 = request.authority.kind().takes_sha2_assertions();
        Ok(Self { certificate: certificate.clone(), sha2, by_the_standard, x5c, claims })
    }

    /// Signs with `PS256` if the authority accepts it and the key supports it, otherwise with `RS256`. If a signer lists
    /// PSS and cannot sign with it, `RS256` is used too.
    fn sign(&self) -> Result<Secret, Misuse> {
        let mut failure = BindingCertificateError::KeyUnusable;
        for pss in [true, false].into_iter().filter(|pss| self.sha2 || !pss) {
            let input = self.input(pss)?;
            match self.certificate.sign_rsa(pss, input.as_bytes()) {
                Ok(Some(signature)) => return Ok(jws::assemble(input, &signature)),
                Ok(None) => {}
                Err(error) if pss && is_of_scheme(&error) => failure = error,
                // The first error is more useful than the error of the second attempt.
                Err(error) if !is_of_scheme(&failure) => return Err(error.into()),
                Err(_) => {}
            }
        }
        Err(failure.into())
    }

    fn input(&self, pss: bool) -> Result<String, Misuse> {
        let chain = self.certificate.chain();
        let mut header = match pss {
            true => object([
                ("alg", "PS256".to_owned()),
                ("typ", "JWT".to_owned()),
                ("x5t#S256", chain.thumbprint().x5t_s256()),
            ]),
            false => object([
                ("alg", "RS256".to_owned()),
                ("typ", "JWT".to_owned()),
                ("x5t", URL_SAFE_NO_PAD.encode(chain.sha1())),
            ]),
        };
        if self.x5c {
            let leaf = Value::from(STANDARD.encode(chain.leaf_der()));
            let leaf = if self.by_the_standard { Value::Array(vec![leaf]) } else { leaf };
            header.insert("x5c".to_owned(), leaf);
        }
        let input = jws::signing_input(&header, &self.claims);
        if input.len() > MAX_CHARACTERS {
            return Err(Misuse::AssertionTooLong { length: input.len() });
        }
        Ok(input)
    }
}

/// Returns whether a signer failed that still has its key, and so may sign with a different scheme. A transient error
/// counts too: some devices refuse a scheme with an error that has no reason.
fn is_of_scheme(error: &BindingCertificateError) -> bool {
    let BindingCertificateError::SignerFailed { reason } = error else { return false };
    !reason.find::<KeyError>().is_some_and(KeyError::is_handle_gone)
}

/// Signs on a thread for blocking work: an RSA signature takes a millisecond, and longer with a key in hardware.
pub(crate) async fn sign(signing: Signing) -> Result<Secret, Error> {
    match tokio::task::spawn_blocking(move || signing.sign()).await {
        Ok(Ok(assertion)) => Ok(assertion),
        // A signer outside of this process can be unavailable for a moment.
        Ok(Err(Misuse::Certificate(BindingCertificateError::SignerFailed { reason: cause }))) => {
            Err(Error::provider(None, ProviderError::Signer { cause }))
        }
        Ok(Err(misuse)) => Err(Error::misuse(None, misuse)),
        Err(error) if error.is_panic() => Err(Error::provider(None, ProviderError::Panicked)),
        Err(_) => Err(Error::provider(None, ProviderError::RuntimeEnded)),
    }
}

/// Parses the caller's own claims. The text must be a JSON object without any claim that the library writes.
pub(crate) fn extra_claims(text: &str) -> Result<Map<String, Value>, Misuse> {
    const OURS: [&str; 6] = ["aud", "iss", "sub", "nbf", "exp", "jti"];
    let refused = |reason: String| Misuse::AssertionClaims { reason };
    let claims = json::parse_object(text.as_bytes()).map_err(|error| refused(error.to_string()))?;
    match OURS.iter().find(|name| claims.contains_key(**name)) {
        Some(name) => Err(refused(format!("the library writes the claim `{name}` itself"))),
        None => Ok(claims),
    }
}

fn object<const N: usize>(members: [(&str, String); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use certbound_core::authority::Authority;
    use certbound_core::jws::{Algorithm, PublicKey, UnverifiedJws};
    use rustls::sign::{Signer, SigningKey};
    use rustls::{SignatureAlgorithm, SignatureScheme};

    use super::*;
    use crate::correlation::CorrelationId;

    /// A key that does not support RSA-PSS.
    #[derive(Debug)]
    struct WithoutPss(Arc<dyn SigningKey>);

    impl SigningKey for WithoutPss {
        fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
            self.0
                .choose_scheme(offered)
                .filter(|signer| signer.scheme() == SignatureScheme::RSA_PKCS1_SHA256)
        }

        fn algorithm(&self) -> SignatureAlgorithm {
            self.0.algorithm()
        }
    }

    fn certificate(name: &str) -> BindingCertificate {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/certificates");
        BindingCertificate::from_pem_file(folder.join(name)).unwrap()
    }

    fn request() -> AssertionRequest {
        AssertionRequest {
            client_id: "app".into(),
            authority: Authority::parse("https://login.example/t.example").unwrap(),
            tenant: None,
            token_endpoint: "https://login.example/t/oauth2/v2.0/token".to_owned(),
            claims: None,
            capabilities: Vec::new(),
            fmi_path: None,
            correlation_id: CorrelationId::random(),
            observer: None,
            assertion_claims: None,
        }
    }

    #[test]
    fn without_pss_it_is_signed_by_rs256_with_the_same_claims() {
        let whole = certificate("rsa.bundle.pem");
        let certificate = whole.with_key(Arc::new(WithoutPss(Arc::clone(&whole.certified_key().key))));
        let signing =
            Signing::of(&certificate, &request(), UnixTime::from_secs(1_785_000_000), true).unwrap();
        let jwt = signing.sign().unwrap();
        let jws = UnverifiedJws::parse(jwt.expose()).unwrap();
        assert_eq!(jws.unverified_claims().unwrap().map()["jti"], signing.claims["jti"]);
        let header = jws::unverified_header(jwt.expose()).unwrap();
        assert_eq!(header["alg"], "RS256");
        assert_eq!(header["x5t"], URL_SAFE_NO_PAD.encode(whole.chain().sha1()));
        assert!(!header.contains_key("x5t#S256"));
        let key = PublicKey::from_certificate(whole.chain().leaf_der()).unwrap();
        jws.verify(&key, &[Algorithm::Rs256]).unwrap();
    }

    #[test]
    fn a_key_that_is_not_rsa_signs_nothing() {
        let certificate = certificate("p256.bundle.pem");
        let signing = Signing::of(&certificate, &request(), UnixTime::from_secs(1), true).unwrap();
        assert_eq!(signing.sign().unwrap_err().code(), "certificate_not_rsa");
    }
}
