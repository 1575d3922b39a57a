use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::answers::date;

/// Returns the path of the bare application.
fn bare(emulator: &Emulator) -> String {
    format!("applications/{}", object_id(emulator, BARE_APP))
}

fn entry(identity: &ClientIdentity) -> Value {
    let key = STANDARD.encode(identity.leaf_der());
    json!({ "type": "AsymmetricX509Cert", "usage": "Verify", "key": key, "displayName": "tests" })
}

/// Sends a PATCH with these certificates, `seconds` after [`NOW`].
fn patch_at(emulator: &Emulator, seconds: u64, keys: Value) -> (u16, Value) {
    let body = json!({ "keyCredentials": keys });
    let response = send_at(emulator, later(seconds), &Method::PATCH, &bare(emulator), Some(&body));
    let body = if response.body().is_empty() { Value::Null } else { json_of(&response) };
    (response.status().as_u16(), body)
}

fn patch(emulator: &Emulator, keys: Value) -> (u16, Value) {
    patch_at(emulator, 0, keys)
}

/// Returns the AADSTS number of a request with an assertion that the certificate's key signed, or 0 for a success.
fn signs_at(emulator: &Emulator, identity: &ClientIdentity, seconds: u64) -> u64 {
    let mut body = signed::body(LOGIN);
    for (name, value) in
        [("iss", json!(BARE_APP)), ("sub", json!(BARE_APP)), ("exp", json!(later(seconds + 600).as_secs()))]
    {
        body = signed::changed(body, name, value);
    }
    let assertion = signed_by(identity, signed::header(identity), body);
    Ask { client_id: BARE_APP, now: later(seconds), ..signed::classic(assertion) }.code(emulator)
}

#[test]
fn a_certificate_that_is_added_signs_and_one_that_is_removed_does_not() {
    let emulator = writable();
    let identity = unused_rsa();
    assert_eq!(signs_at(&emulator, &identity, 0), 700_027);
    assert_eq!(patch(&emulator, json!([entry(&identity)])), (204, Value::Null));
    assert_eq!(signs_at(&emulator, &identity, 0), 0);
    let found = get(&emulator, &bare(&emulator));
    let shown = &found["keyCredentials"][0];
    assert_eq!((&shown["key"], &shown["displayName"]), (&Value::Null, &json!("tests")));
    let with_key = get(&emulator, &format!("{}?$select=keyCredentials", bare(&emulator)));
    assert_eq!(with_key["keyCredentials"][0]["key"], entry(&identity)["key"]);
    // The id alone keeps a certificate, and so do the properties that Graph showed.
    for keep in [
        json!([{ "keyId": shown["keyId"] }]),
        found["keyCredentials"].clone(),
        with_key["keyCredentials"].clone(),
    ] {
        assert_eq!(patch(&emulator, keep.clone()).0, 204, "{keep}");
        assert_eq!(signs_at(&emulator, &identity, 0), 0);
    }
    assert_eq!(patch(&emulator, json!([])), (204, Value::Null));
    assert_eq!(signs_at(&emulator, &identity, 0), 700_027);
}

#[test]
fn an_entry_can_have_an_identifier_of_its_own_and_annotations() {
    let emulator = writable();
    let identifier = STANDARD.encode([7; 40]);
    let entry = signed::changed(entry(&unused_rsa()), "customKeyIdentifier", json!(identifier));
    let entry = signed::changed(entry, "@odata.type", json!("#microsoft.graph.keyCredential"));
    assert_eq!(patch(&emulator, json!([entry])).0, 204);
    let shown = get(&emulator, &bare(&emulator))["keyCredentials"].clone();
    assert_eq!(shown[0]["customKeyIdentifier"], json!(identifier));
    assert_eq!(patch(&emulator, shown).0, 204);
}

#[test]
fn a_certificate_that_the_world_registers_twice_is_shown_once_and_can_be_kept() {
    let pem = unused_rsa().certificate_pem;
    let emulator = emulator_with(|world| {
        roles(world, &["Application.ReadWrite.All"]);
        world.application_mut(BARE_APP).unwrap().registered_certificates = vec![pem.clone(), pem];
    });
    let shown = get(&emulator, &bare(&emulator))["keyCredentials"].clone();
    assert_eq!(shown.as_array().unwrap().len(), 1, "{shown}");
    assert_eq!(patch(&emulator, shown), (204, Value::Null));
}

#[test]
fn a_certificate_takes_effect_after_the_propagation_time() {
    let emulator = emulator_with(|world| {
        roles(world, &["Application.ReadWrite.All"]);
        world.propagation_seconds = 120;
    });
    let identity = unused_rsa();
    assert_eq!(patch_at(&emulator, 200, json!([entry(&identity)])).0, 204);
    assert_eq!([319, 320].map(|at| signs_at(&emulator, &identity, at)), [700_027, 0]);
    assert_eq!(patch_at(&emulator, 400, json!([])).0, 204);
    assert_eq!([519, 520].map(|at| signs_at(&emulator, &identity, at)), [0, 700_027]);
}

#[test]
fn the_dates_of_an_entry_limit_the_certificate() {
    let emulator = writable();
    let identity = unused_rsa();
    let dated = |start: u64, end: u64| {
        let entry = signed::changed(entry(&identity), "startDateTime", json!(date(later(start))));
        json!([signed::changed(entry, "endDateTime", json!(date(later(end))))])
    };
    assert_eq!(patch(&emulator, dated(60, 120)).0, 204);
    assert_eq!([59, 60, 120, 121].map(|at| signs_at(&emulator, &identity, at)), [1_000_502, 0, 0, 1_000_502]);
    let year = 366 * 24 * 3_600;
    assert_eq!(refused(&patch(&emulator, dated(60, year))), (400, "KeyCredentialsInvalidEndDate"));
    assert_eq!(refused(&patch(&emulator, dated(60, 59))), (400, "KeyCredentialsInvalidEndDate"));
    let early = json!([signed::changed(entry(&identity), "startDateTime", json!("2001-01-01T00:00:00Z"))]);
    assert_eq!(refused(&patch(&emulator, early)), (400, "KeyCredentialsInvalidStartDate"));
    // The entry has no end, so the end is that of the certificate.
    let late = json!([signed::changed(entry(&identity), "startDateTime", json!(date(later(year))))]);
    assert_eq!(refused(&patch(&emulator, late)), (400, "KeyCredentialsInvalidStartDate"));
}

#[test]
fn an_invalid_certificate_is_refused_and_nothing_changes() {
    let emulator = writable();
    let identity = unused_rsa();
    assert_eq!(patch(&emulator, json!([entry(&identity)])).0, 204);
    let id = get(&emulator, &bare(&emulator))["keyCredentials"][0]["keyId"].clone();
    let other = p256(&emulator, "other");
    let with = |name: &str, value: Value| json!([signed::changed(entry(&other), name, value)]);
    let bad = (400, "Request_BadRequest");
    let invalid = (400, "KeyCredentialsInvalidValue");
    for (name, keys, expected) in [
        ("no key", with("key", Value::Null), invalid),
        ("no base64", with("key", json!("*")), invalid),
        ("no certificate", with("key", json!("AAAA")), invalid),
        ("a secret key", with("type", json!("Symmetric")), (501, "NotImplemented")),
        ("no type", with("type", Value::Null), (501, "NotImplemented")),
        ("a key for encryption", with("usage", json!("Encrypt")), (501, "NotImplemented")),
        ("an id that is no GUID", with("keyId", json!("x")), bad),
        ("another key under a known id", with("keyId", id.clone()), bad),
        ("a known id with other dates", json!([{ "keyId": id, "endDateTime": date(later(1)) }]), bad),
        ("another name", json!([{ "keyId": id, "displayName": "other" }]), bad),
        ("another type", json!([{ "keyId": id, "type": "Symmetric" }]), bad),
        ("another usage", json!([{ "keyId": id, "usage": "Sign" }]), bad),
        ("another identifier", json!([{ "keyId": id, "customKeyIdentifier": "AAAA" }]), bad),
        ("a misspelt property", with("startDatetime", json!(date(later(1)))), bad),
        ("an identifier that is no base64", with("customKeyIdentifier", json!("*")), bad),
        ("a long identifier", with("customKeyIdentifier", json!("AAAA".repeat(14))), bad),
        ("an id twice", json!([{ "keyId": id }, { "keyId": id }]), bad),
        ("no date", with("endDateTime", json!("soon")), (400, "KeyCredentialsInvalidEndDate")),
        ("no object", json!(["x"]), bad),
        ("no list", json!({}), bad),
    ] {
        assert_eq!(refused(&patch(&emulator, keys)), expected, "{name}");
    }
    let many = vec![entry(&other); 101];
    assert_eq!(refused(&patch(&emulator, json!(many))), (403, "Directory_QuotaExceeded"));
    let name = Some(json!({ "displayName": "x" }));
    let answer = send(&emulator, Method::PATCH, &bare(&emulator), name);
    assert_eq!(refused(&answer), (501, "NotImplemented"));
    assert_eq!(signs_at(&emulator, &identity, 0), 0);
}
