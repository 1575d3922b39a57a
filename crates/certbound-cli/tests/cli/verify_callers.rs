//! `verify` for an issuer other than Entra: the flags decide which clients are accepted.

use std::path::PathBuf;
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certbound_verifier::{Clock as _, SystemClock};
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};

use crate::support::{TENANT, file, json, offline, refusal, stderr, text};

const ISSUER: &str = "https://idp.example";

/// An issuer whose keys are in a file.
pub(crate) struct Idp {
    key: KeyPair,
    folder: tempfile::TempDir,
}

impl Idp {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let x = URL_SAFE_NO_PAD.encode(key.der_bytes());
        let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x }] });
        let folder = tempfile::tempdir().unwrap();
        file(&folder, "keys.json", keys.to_string());
        Self { key, folder }
    }

    /// Returns a token of an application, with these changes.
    pub(crate) fn token(&self, changes: Value) -> String {
        let now = SystemClock.now().as_secs();
        let mut claims = json!({
            "iss": ISSUER,
            "aud": "orders",
            "iat": now,
            "exp": now + 300,
            "client_id": "Orders-Job",
            "sub": "Orders-Job",
            "scope": "orders.read",
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input =
            format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": "k1", "typ": "at+jwt" })), part(&claims));
        let signature = self.key.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The file with the issuer's keys.
    pub(crate) fn keys_file(&self) -> PathBuf {
        self.folder.path().join("keys.json")
    }

    /// Returns the flags of `verify` that name the issuer.
    pub(crate) fn flags(&self) -> Vec<String> {
        let keys = self.keys_file();
        let flags =
            ["--issuer", ISSUER, "--algorithm", "EdDSA", "--keys", text(&keys), "--audience", "orders"];
        flags.map(str::to_owned).into()
    }

    fn verify(&self, token: &str, more: &[&str]) -> Output {
        let of_the_issuer = self.flags();
        let of_the_issuer: Vec<&str> = of_the_issuer.iter().map(String::as_str).collect();
        let plain = ["--binding", "rfc8705-when-bound", "--scheme", "bearer"];
        offline(&[&["verify", token, "-o", "json"], &of_the_issuer[..], &plain, more].concat())
    }

    /// Returns the code of the refusal, or `accepted`.
    fn decide(&self, changes: Value, more: &[&str]) -> String {
        let output = self.verify(&self.token(changes), more);
        match json(&output)["refusal"]["code"].as_str() {
            Some(code) => {
                assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
                code.to_owned()
            }
            None => {
                assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
                "accepted".to_owned()
            }
        }
    }
}

#[test]
fn users_are_accepted_only_where_callers_says_so() {
    let idp = Idp::new();
    let scope = ["--require-scope", "orders.read"];
    let with =
        |changes: &Value, callers: &[&str]| idp.decide(changes.clone(), &[&scope[..], callers].concat());
    let (application, user) = (json!({}), json!({ "sub": "88421113", "sid": "s" }));
    for (callers, of_an_application, of_a_user) in [
        (&[][..], "accepted", "caller_kind_not_accepted"),
        (&["--callers", "applications"], "accepted", "caller_kind_not_accepted"),
        (&["--callers", "users"], "caller_kind_not_accepted", "accepted"),
        (&["--callers", "any"], "accepted", "accepted"),
    ] {
        assert_eq!(with(&application, callers), of_an_application, "{callers:?}");
        assert_eq!(with(&user, callers), of_a_user, "{callers:?}");
    }
    // In Entra only tokens of users have scopes, so --require-scope needs --callers.
    let entra = |more: &[&str]| {
        let start =
            ["verify", "x", "-o", "json", "--tenant", TENANT, "--audience", "a", "--require-scope", "s"];
        offline(&[&start[..], more].concat())
    };
    assert_eq!(refusal(&entra(&[])), (2, "callers_required".to_owned()));
    assert_eq!(entra(&["--callers", "users"]).status.code(), Some(1), "the token is not a JWT");
}

#[test]
fn a_client_is_the_one_with_exactly_this_id_in_the_claim_that_is_named() {
    let idp = Idp::new();
    assert_eq!(idp.decide(json!({}), &["--allow-client", "Orders-Job"]), "accepted");
    assert_eq!(idp.decide(json!({}), &["--allow-client", "orders-job"]), "client_not_allowed");
    let spoofed = || json!({ "appid": "evil" });
    assert_eq!(idp.decide(spoofed(), &["--allow-client", "evil"]), "client_not_allowed");
    assert_eq!(idp.decide(json!({ "azp": "evil" }), &["--allow-client", "evil"]), "client_claims_conflict");
    let by_appid = ["--client-claim", "appid", "--callers", "any"];
    assert_eq!(idp.decide(spoofed(), &[&["--allow-client", "evil"], &by_appid[..]].concat()), "accepted");
    assert_eq!(
        idp.decide(spoofed(), &[&["--allow-client", "Orders-Job"], &by_appid[..]].concat()),
        "client_not_allowed"
    );
    // An empty value allows no client.
    let empty = idp.verify(&idp.token(json!({})), &["--allow-client", ""]);
    assert_eq!(refusal(&empty), (2, "client_id_required".to_owned()));
    let empty = idp.verify(&idp.token(json!({})), &["--allow-client", "x", "--client-claim", ""]);
    assert_eq!(refusal(&empty), (2, "usage".to_owned()));
    // In a token of a user, `sub` is the user. The user would then count as a client of that name.
    let subject =
        idp.verify(&idp.token(json!({})), &["--allow-client", "Orders-Job", "--client-claim", "sub"]);
    assert_eq!(refusal(&subject), (2, "invalid_client_claim".to_owned()));
}

#[test]
fn several_audiences_are_all_named_or_expressly_accepted() {
    let idp = Idp::new();
    let decide = |more: &[&str]| {
        let allow = ["--allow-client", "Orders-Job"];
        idp.decide(json!({ "aud": ["orders", "https://idp.example/userinfo"] }), &[&allow[..], more].concat())
    };
    assert_eq!(decide(&[]), "audience_mismatch");
    assert_eq!(decide(&["--audience", "https://idp.example/userinfo"]), "accepted");
    assert_eq!(decide(&["--accept-several-audiences"]), "accepted");
}
