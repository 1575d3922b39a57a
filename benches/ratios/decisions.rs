//! The verifier. The benchmark compares a whole decision with the check of the signature alone. It compares a
//! remembered decision with a hash of the token and a map look-up.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use certbound_verifier::{
    Authorization, Clock as _, Cloud, Issuer, KeySet, PeerCertificate, PublicKey, Scheme, SystemClock,
    TenantId, Verifier,
};
use foldhash::quality::RandomState;
use http::Request;
use serde_json::Value;

use crate::bare::{Connection, LOGIN};
use crate::harness::{RUNTIME, each};
use crate::ours::{self, ORDERS, TENANT};
use crate::sheet::Gate::AtMost;
use crate::sheet::Sheet;

/// The audience of the token: the resource's application id.
const AUDIENCE: &str = "d95b1e37-8c04-4f6a-b2e9-60a7c3f81d45";
const OURS: &str = "certbound-verifier";
const TURNS: usize = 20_000;

pub(crate) fn measure(sheet: &mut Sheet) {
    let client = ours::direct(&ours::network(), ours::certificate("rsa"));
    let token = RUNTIME.block_on(async { client.bound_token(&ours::scope(ORDERS)).await }).unwrap();
    let token = token.secret().expose();
    let issuer = Issuer::entra(Cloud::Public, [TenantId::parse(TENANT).unwrap()]).unwrap();
    let request = Request::get(format!("/{TENANT}/discovery/v2.0/keys"));
    let document = RUNTIME
        .block_on(async { Connection::to(LOGIN, None).await.send(request, Bytes::new()).await.into_body() });
    let keys = KeySet::of_jwks(&issuer, &document).unwrap();
    let peer = PeerCertificate::from_pem(&ours::bundle("rsa")).unwrap();
    let authorization = Authorization::new(Scheme::MtlsPop, token);
    let builder = Verifier::builder().issuer_with_keys(issuer, keys.clone()).audience(AUDIENCE);
    let verifier = builder.any_role(["Orders.Read.All"]).remember(1024).build().unwrap();
    let now = SystemClock.now();
    RUNTIME.block_on(verifier.verify(&authorization, &peer)).unwrap();

    const SIGNATURE: &str = "RS256 signature, bare, with a parsed key";
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let key = public_key(token, &document);
    let sides = vec![
        each(SIGNATURE, TURNS, async || {
            key.verify_sig(black_box(input.as_bytes()), black_box(&signature)).unwrap();
        }),
        each(OURS, TURNS, async || {
            verifier.check(&keys, black_box(&authorization), &peer, now).unwrap();
        }),
    ];
    sheet.compare("the verification of a bound token", sides, &[(OURS, AtMost(1.2), SIGNATURE)]);

    const LOOK_UP: &str = "SHA-256 of the token, map look-up";
    let hash = || <[u8; 32]>::try_from(digest(&SHA256, black_box(token).as_bytes()).as_ref()).unwrap();
    let decision: Arc<str> = Arc::from("a decision");
    let map = HashMap::<[u8; 32], Arc<str>, RandomState>::from_iter([(hash(), decision)]);
    let sides = vec![
        each(LOOK_UP, 10 * TURNS, async || drop(black_box(map.get(&hash()).map(Arc::clone)))),
        each(OURS, 10 * TURNS, async || {
            drop(verifier.verify(black_box(&authorization), &peer).await.unwrap());
        }),
    ];
    sheet.compare("a remembered decision", sides, &[(OURS, AtMost(1.3), LOOK_UP)]);
}

/// Returns the key that signed the token.
fn public_key(token: &str, document: &[u8]) -> ParsedPublicKey {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let [header, document] =
        [header.as_slice(), document].map(|text| serde_json::from_slice::<Value>(text).unwrap());
    let mut keys = document["keys"].as_array().unwrap().iter();
    let jwk = keys.find(|key| key["kid"] == header["kid"]).unwrap();
    let public = PublicKey::from_jwk(jwk.as_object().unwrap()).unwrap();
    let (n, e) = public.rsa_components().unwrap();
    RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).unwrap()
}
