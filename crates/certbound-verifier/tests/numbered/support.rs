//! Tokens signed with a key of the test data, and the other inputs of a decision.

use std::path::PathBuf;
use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use certbound_core::jws;
use certbound_verifier::{
    Authorization, Cloud, Issuer, KeySet, PeerCertificate, PublicKey, Refusal, Scheme, TenantId, UnixTime,
    Verified, Verifier, VerifierBuilder,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::{Map, Value, json};

/// A time in January 2027, at which the certificates of good tokens are valid.
pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
pub(crate) const TENANT: &str = "bea21ebe-8b64-4d06-9f6d-6a889b120a7c";
pub(crate) const OTHER_TENANT: &str = "5f1c2a7e-3d94-4b58-9c06-8e2b7a14d3f0";
pub(crate) const AUDIENCE: &str = "api://orders";
pub(crate) const CLIENT: &str = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e";
pub(crate) const KID: &str = "k1";

pub(crate) fn der(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/certificates").join(name);
    CertificateDer::from_pem_file(path).unwrap().to_vec()
}

pub(crate) fn peer(name: &str) -> PeerCertificate {
    PeerCertificate::from_der(&der(name)).unwrap()
}

/// Returns the certificate to which good tokens are bound.
pub(crate) fn client() -> PeerCertificate {
    peer("rsa.pem")
}

static SIGNER: LazyLock<KeyPair> = LazyLock::new(|| {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/certificates/other.pkcs8.pem");
    KeyPair::from_pkcs8(PrivatePkcs8KeyDer::from_pem_file(path).unwrap().secret_pkcs8_der()).unwrap()
});

/// A token that is not signed yet. [`token`] returns a good token, and tests change it.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) header: Map<String, Value>,
    pub(crate) claims: Map<String, Value>,
}

pub(crate) fn token() -> Token {
    let now = NOW.as_secs();
    let object = |value: Value| value.as_object().unwrap().clone();
    Token {
        header: object(json!({ "typ": "JWT", "alg": "RS256", "kid": KID })),
        claims: object(json!({
            "aud": AUDIENCE,
            "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
            "iat": now - 300,
            "nbf": now - 300,
            "exp": now + 3600,
            "azp": CLIENT,
            "azpacr": "2",
            "idtyp": "app",
            "oid": "0b4d7f52-6e18-4c3a-8f95-21c7d0a9e6b3",
            "roles": ["Orders.Read"],
            "sub": "0b4d7f52-6e18-4c3a-8f95-21c7d0a9e6b3",
            "tid": TENANT,
            "ver": "2.0",
            "cnf": { "x5t#S256": client().thumbprint().unwrap().x5t_s256() },
        })),
    }
}

impl Token {
    pub(crate) fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: Value) -> Self {
        self.header.insert(name.to_owned(), value);
        self
    }

    /// Returns the token with a forged signature, which needs no key.
    pub(crate) fn forge(&self) -> String {
        format!("{}.Zm9yZ2Vk", jws::signing_input(&self.header, &self.claims))
    }

    pub(crate) fn sign(&self) -> String {
        sign_text(&jws::signing_input(&self.header, &self.claims))
    }
}

/// Signs any text. Header and payload need not be valid.
pub(crate) fn sign_text(input: &str) -> String {
    let mut signature = vec![0; SIGNER.public_modulus_len()];
    SIGNER.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
    jws::assemble(input.to_owned(), &signature).expose().to_owned()
}

/// Signs raw JSON that a map cannot represent, for example with duplicate members.
pub(crate) fn sign_json(header: &str, payload: &str) -> String {
    sign_text(&[header, payload].map(|part| base64(part.as_bytes())).join("."))
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn issuer() -> Issuer {
    Issuer::entra(Cloud::Public, [TenantId::parse(TENANT).unwrap()]).unwrap()
}

pub(crate) fn public_key() -> PublicKey {
    PublicKey::from_certificate(&der("other.pem")).unwrap()
}

pub(crate) fn keys() -> KeySet {
    KeySet::new().with_key(&issuer(), KID, public_key())
}

pub(crate) fn builder() -> VerifierBuilder {
    Verifier::builder().issuer(issuer()).audience(AUDIENCE).any_role(["Orders.Read"])
}

pub(crate) fn verifier() -> Verifier {
    builder().build().unwrap()
}

/// Decides about a token under `mtls_pop`, on a connection with the right certificate.
pub(crate) fn decide(token: &str) -> Result<Verified, Refusal> {
    decide_as(&verifier(), Scheme::MtlsPop, token, &client())
}

pub(crate) fn decide_as(
    verifier: &Verifier,
    scheme: Scheme,
    token: &str,
    peer: &PeerCertificate,
) -> Result<Verified, Refusal> {
    verifier.check(&keys(), &Authorization::new(scheme, token), peer, NOW)
}

/// Returns the code of a refusal, or `accepted`.
pub(crate) fn code(decision: Result<Verified, Refusal>) -> &'static str {
    decision.map_or_else(|refusal| refusal.code(), |_| "accepted")
}
