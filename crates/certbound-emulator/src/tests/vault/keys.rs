use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use certbound_core::jws::{Algorithm, PublicKey};
use rustls_pki_types::PrivateKeyDer;

use super::*;
use crate::world::builtin::CLIENT_SUBJECT;

fn coded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns a JWT that the vault has signed.
fn signed(client: &Client<'_>, key: &str, header: Value, claims: Value) -> String {
    let algorithm = header["alg"].clone();
    let input = jws::signing_input(&map(header), &map(claims));
    let value = coded(digest(&SHA256, input.as_bytes()));
    let answer =
        client.ok("POST", &format!("/keys/{key}/sign"), &json!({ "alg": algorithm, "value": value }));
    assert_eq!(
        answer["kid"],
        format!("https://{VAULT_HOST}/keys/{}/{FIRST}", key.split('/').next().unwrap())
    );
    format!("{input}.{}", answer["value"].as_str().unwrap())
}

#[test]
fn each_signature_is_verified_by_the_public_key_of_the_vault() {
    let emulator = emulator();
    let client = Client::of(&emulator, APP);
    for (key, alg, algorithm) in [
        ("demo-rsa/", "RS256", Algorithm::Rs256),
        (&format!("demo-rsa/{FIRST}"), "PS256", Algorithm::Ps256),
        ("demo-p256/", "ES256", Algorithm::Es256),
        ("demo-client/", "RS256", Algorithm::Rs256),
    ] {
        let token = signed(&client, key, json!({ "alg": alg }), json!({ "sub": "x" }));
        let jwk = client.get(&format!("/keys/{key}"))["key"].clone();
        assert_eq!(jwk["key_ops"], json!(["sign", "verify"]));
        let mut jwk = map(jwk);
        jwk.remove("kid");
        jwk.remove("key_ops");
        let public = PublicKey::from_jwk(&jwk).unwrap();
        let verified = UnverifiedJws::parse(&token).unwrap().verify(&public, &[algorithm]);
        assert!(verified.is_ok(), "{key} {alg}: {:?}", verified.err());
    }
}

#[test]
fn the_vault_verifies_signatures() {
    let emulator = emulator();
    let client = Client::of(&emulator, APP);
    let hash = coded(digest(&SHA256, b"text"));
    let sign = json!({ "alg": "ES256", "value": hash });
    let signature = client.ok("POST", "/keys/demo-p256//sign", &sign)["value"].clone();
    let verify = |digest: &str, signature: &Value| {
        let body = json!({ "alg": "ES256", "digest": digest, "value": signature });
        client.ok("POST", "/keys/demo-p256//verify", &body)["value"].clone()
    };
    assert_eq!(verify(&hash, &signature), true);
    assert_eq!(verify(&coded(digest(&SHA256, b"other")), &signature), false);
    assert_eq!(verify(&hash, &json!("AAAA")), false);
}

#[test]
fn what_cannot_be_signed_is_refused() {
    let emulator = emulator();
    let client = Client::of(&emulator, APP);
    let hash = coded([0; 32]);
    for (path, body, status, expected) in [
        (
            "/keys/demo-rsa//sign",
            json!({ "alg": "ES256", "value": hash }),
            400,
            "Key and signing algorithm are incompatible. Key https://demo.vault.azure.net/keys/demo-rsa/00000000000000000000000000000001 is of type 'RSA'",
        ),
        (
            "/keys/demo-p256//sign",
            json!({ "alg": "RS256", "value": hash }),
            400,
            "Key and signing algorithm are incompatible",
        ),
        (
            "/keys/demo-p256//verify",
            json!({ "alg": "PS256", "digest": hash, "value": "AA" }),
            400,
            "Key and signing algorithm are incompatible",
        ),
        (
            "/keys/demo-rsa//sign",
            json!({ "alg": "RS512", "value": hash }),
            501,
            "This emulator signs and verifies with the algorithms RS256, PS256 and ES256 only",
        ),
        (
            "/keys/demo-rsa//sign",
            json!({ "alg": "RS256", "value": coded([0; 20]) }),
            400,
            "Invalid length of 'value': 20 bytes. RS256 requires 32 bytes",
        ),
        (
            "/keys/demo-rsa//verify",
            json!({ "alg": "RS256", "digest": "", "value": "AA" }),
            400,
            "Invalid length of 'digest': 0 bytes",
        ),
        (
            "/keys/demo-rsa//sign",
            json!({ "alg": "RS256", "value": "+/==" }),
            400,
            "Property value has invalid value",
        ),
        ("/keys/demo-rsa//sign", json!({ "alg": "RS256" }), 400, "Property value has invalid value"),
        ("/keys/demo-rsa//sign", json!({ "value": hash }), 400, "Property alg has invalid value"),
        (
            "/keys/none//sign",
            json!({ "alg": "RS256", "value": hash }),
            404,
            "A key with (name/id) none was not found in this key vault",
        ),
        (
            "/keys/demo-rsa/2/sign",
            json!({ "alg": "RS256", "value": hash }),
            404,
            "A key with (name/id) demo-rsa/2 was not found",
        ),
    ] {
        let (found, _, message) = client.refused("POST", path, &body);
        assert!(found == status && message.starts_with(expected), "{path} {body}: {found} {message}");
    }
    for path in ["/keys/none", "/keys/demo-rsa/2", "/keys/none/versions"] {
        assert_eq!(client.refused("GET", path, &json!({})).1, "KeyNotFound", "{path}");
    }
}

#[test]
fn the_certificate_its_key_and_its_secret_belong_together() {
    let emulator = emulator();
    let client = Client::of(&emulator, APP);
    let certificate = client.get("/certificates/demo-client");
    let id = |list: &str| json!(format!("https://{VAULT_HOST}/{list}/demo-client/{FIRST}"));
    assert_eq!(
        (&certificate["id"], &certificate["kid"], &certificate["sid"]),
        (&id("certificates"), &id("keys"), &id("secrets"))
    );
    let der = STANDARD.decode(certificate["cer"].as_str().unwrap()).unwrap();
    assert_eq!(certificate["x5t"], coded(digest(&SHA1_FOR_LEGACY_USE_ONLY, &der)));
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert_eq!(parsed.subject().to_string(), CLIENT_SUBJECT);
    assert_eq!(certificate["attributes"]["exp"], parsed.validity().not_after.timestamp());
    assert_eq!(certificate["attributes"]["nbf"], parsed.validity().not_before.timestamp());
    assert_eq!(certificate["policy"]["x509_props"]["subject"], CLIENT_SUBJECT);
    assert_eq!(client.get("/certificates/demo-client/policy"), certificate["policy"]);
    assert_eq!(client.get(&format!("/certificates/DEMO-CLIENT/{FIRST}")), certificate);

    let secret = client.get("/secrets/demo-client");
    assert_eq!(
        (&secret["contentType"], &secret["managed"], &secret["kid"]),
        (&json!("application/x-pem-file"), &json!(true), &id("keys"))
    );
    let pem = secret["value"].as_str().unwrap();
    let private = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let pair = KeyPair::from_pkcs8(private.secret_der()).unwrap();
    let public = PublicKey::from_certificate(&der).unwrap();
    let (n, _) = public.rsa_components().unwrap();
    assert_eq!(client.get("/keys/demo-client")["key"]["n"], coded(n));
    assert_eq!(pair.public_modulus_len(), n.len());

    for path in ["/certificates/none", "/certificates/demo-client/2", "/certificates/none/policy"] {
        let (status, code, message) = client.refused("GET", path, &json!({}));
        assert_eq!((status, code.as_str()), (404, "CertificateNotFound"), "{path}");
        assert!(message.starts_with("A certificate with (name/id) "), "{message}");
    }
}

#[test]
fn an_application_proves_itself_by_the_key_of_the_vault() {
    let emulator = emulator();
    let client = Client::of(&emulator, APP);
    let certificate = client.get("/certificates/demo-client");
    let header =
        json!({ "alg": "RS256", "typ": "JWT", "x5t": certificate["x5t"], "x5c": [certificate["cer"]] });
    let assertion = signed(&client, "demo-client/", header, super::super::signed::body(LOGIN));
    let ask = Ask { scope: VAULT_SCOPE, ..super::super::signed::classic(assertion) };
    assert_eq!(ask.code(&emulator), 0);
    assert_eq!(
        Ask { client_id: MULTI_TENANT_APP, ..ask }.code(&emulator),
        700_021,
        "the assertion names a different client"
    );
}

#[test]
fn each_resource_and_world_has_its_own_keys() {
    let emulator = emulator_with(|world| {
        world.resources[1].keys.clear();
        world.resources[1].certificates.clear();
    });
    let client = Client::of(&emulator, APP);
    assert_eq!(client.get("/keys")["value"], json!([]));
    assert_eq!(client.get("/certificates")["value"], json!([]));
    assert_eq!(client.status("GET", "/secrets/demo-client", ""), 404);
}
