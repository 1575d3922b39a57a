//! Tests of the parser.

use super::*;

fn parse(text: &str) -> Pkcs11Uri {
    Pkcs11Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The examples of RFC 7512, section 3, without the attributes that this crate refuses.
#[test]
fn the_examples_of_the_specification_are_read() {
    assert_eq!(parse("pkcs11:").to_string(), "pkcs11:");
    let uri = parse("pkcs11:object=my-pubkey;type=private");
    assert_eq!(uri.object(), Some("my-pubkey"));
    let uri = parse("pkcs11:object=my-key;type=private?pin-source=file:/etc/token");
    assert_eq!(uri.pin_file(), Some(Path::new("/etc/token")));
    let uri = parse(
        "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;\
         object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=\
         ?pin-source=file:/etc/token_pin"
            .replace(";serial=", "")
            .as_str(),
    );
    assert_eq!(uri.token(), Some("The Software PKCS#11 Softtoken"));
    assert_eq!(uri.token.manufacturer.as_deref(), Some("Snake Oil, Inc."));
    assert_eq!(uri.id(), Some(&b"\x69\x95\x3e\x5c\xf4\xbd\xec\x91"[..]));
    let uri = parse("pkcs11:object=my-sign-key;type=private?module-name=mypkcs11");
    assert_eq!(uri.module, Some(ModuleName::Name("mypkcs11".into())));
    let uri = parse("PKCS11:slot-id=327;token=a?module-path=/mnt/libmypkcs11.so.1&pin-value=1234");
    assert_eq!(uri.token.slot, Some(327));
    assert_eq!(uri.module, Some(ModuleName::Path("/mnt/libmypkcs11.so.1".into())));
    assert!(uri.has_pin_value());
    assert_eq!(parse("pkcs11:?pin-source=/run/pin").pin_file(), Some(Path::new("/run/pin")));
    assert_eq!(parse("pkcs11:?pin-source=file:///run/pin").pin_file(), Some(Path::new("/run/pin")));
}

#[test]
fn what_is_shown_is_read_again_and_has_no_pin() {
    let text = "pkcs11:token=a%20b%3b;serial=01;slot-id=5;object=k;id=%00%ff;type=cert?module-path=/a%20b.so&pin-value=123%34";
    let uri = parse(text);
    let Some(PinPlace::Value(pin)) = &uri.pin else { panic!("it has a PIN") };
    assert_eq!(pin.expose(), "1234");
    for shown in [uri.to_string(), format!("{uri:?}")] {
        assert!(
            !shown.contains("1234") && !shown.contains("123%34") && shown.contains("pin-value=<redacted>")
        );
    }
    let again = parse(&uri.to_string().replace("&pin-value=<redacted>", ""));
    assert_eq!(again.token, uri.token);
    assert_eq!((again.id(), again.object()), (uri.id(), uri.object()));
}

#[test]
fn every_fault_is_an_error_without_the_value() {
    for (text, words) in [
        ("file:/a", "does not begin with"),
        ("pkcs1", "does not begin with"),
        ("pkcs11:tokén=a", "not a word"),
        ("pkcs11:token", "has no `=`"),
        ("pkcs11:token=a;", "has no `=`"),
        ("pkcs11:;", "has no `=`"),
        ("pkcs11:token=a?", "has no `=`"),
        ("pkcs11:=4711", "not a word"),
        ("pkcs11:token=a;token=b", "given twice"),
        ("pkcs11:token=a b", "percent-encoded"),
        ("pkcs11:token=a/b", "percent-encoded"),
        ("pkcs11:token=4711\u{e9}", "percent-encoded"),
        ("pkcs11:token=%4", "two hexadecimal digits"),
        ("pkcs11:token=%4g", "two hexadecimal digits"),
        ("pkcs11:token=%", "two hexadecimal digits"),
        ("pkcs11:token=%ff", "not UTF-8"),
        ("pkcs11:token=%00", "NUL"),
        ("pkcs11:token=", "is empty"),
        ("pkcs11:id=", "is empty"),
        ("pkcs11:slot-id=+5", "decimal number"),
        ("pkcs11:slot-id=99999999999999999999", "decimal number"),
        ("pkcs11:type=secret-key", "neither"),
        ("pkcs11:objekt=a", "`objekt` is unknown"),
        ("pkcs11:slot-description=a", "not supported"),
        ("pkcs11:pin-value=4711", "belongs after"),
        ("pkcs11:?object=a", "belongs before"),
        ("pkcs11:token=a#4711", "fragment"),
        ("pkcs11:?module-path=lib.so", "not absolute"),
        ("pkcs11:?module-name=../lib", "is a path"),
        ("pkcs11:?module-name=a&module-path=/a", "not both"),
        ("pkcs11:?pin-source=|/bin/pin", "not supported"),
        ("pkcs11:?pin-source=pin", "not absolute"),
        ("pkcs11:?pin-value=4711&pin-source=/a", "not both"),
        ("pkcs11:?pin-value=4711%ff", "not UTF-8"),
        ("pkcs11:?pin-value=1&4711=1", "after `pin-value`"),
        ("pkcs11:?pin-value=1&4711=a b", "after `pin-value`"),
        ("pkcs11:?pin-value=1&4711=%zz", "after `pin-value`"),
        ("pkcs11:?pin-value=1&4711", "after `pin-value`"),
    ] {
        let error = Pkcs11Uri::parse(text).expect_err(text);
        assert!(error.to_string().contains(words), "{text}: {error}");
        assert!(!error.to_string().contains("4711"), "{text}: {error}");
        assert_eq!(error.code(), "pkcs11_uri_invalid");
    }
    assert!(Pkcs11Uri::parse(&format!("pkcs11:token={}", "a".repeat(5000))).is_err());
}
