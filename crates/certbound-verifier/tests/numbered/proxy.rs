//! 50 to 52: the certificate in a header.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certbound_verifier::{ForwardedError, IpNet, PeerCertificate, TrustedProxy};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::support::{client, der, peer};

const PROXY: &str = "10.0.0.7";

fn sources() -> [IpNet; 2] {
    ["10.0.0.0/24".parse().unwrap(), "::1/128".parse().unwrap()]
}

fn pem(name: &str) -> String {
    let path = format!("{}/../../testdata/certificates/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// As nginx writes `$ssl_client_escaped_cert`.
fn escaped(pem: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    pem.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn proxies() -> [(TrustedProxy, &'static str, String); 4] {
    let base64 = STANDARD.encode(der("rsa.pem"));
    let hash = client().thumbprint().unwrap().hex();
    let element = format!(
        "By=spiffe://proxy;Hash={hash};Cert=\"{}\";Subject=\"CN=rsa,O=x\";URI=a",
        escaped(&pem("rsa.pem"))
    );
    [
        (TrustedProxy::rfc9440(sources()), "client-cert", format!(":{base64}:")),
        (TrustedProxy::envoy(sources()), "x-forwarded-client-cert", element),
        (
            TrustedProxy::nginx(HeaderName::from_static("x-ssl-client-cert"), sources()),
            "x-ssl-client-cert",
            escaped(&pem("rsa.pem")),
        ),
        (TrustedProxy::app_service(sources()), "x-arr-clientcert", base64),
    ]
}

fn read(
    proxy: &TrustedProxy,
    from: &str,
    headers: &[(&str, &str)],
) -> Result<PeerCertificate, ForwardedError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    proxy.certificate(from.parse::<IpAddr>().unwrap(), &map)
}

#[test]
fn v51_every_form_is_read_from_the_proxy_and_from_nobody_else() {
    for (proxy, name, value) in proxies() {
        for from in [PROXY, "::1", "::ffff:10.0.0.9"] {
            assert_eq!(read(&proxy, from, &[(name, &value)]), Ok(client()), "{name} {from}");
        }
        for from in ["10.0.1.7", "::2", "127.0.0.1", "0.0.0.0"] {
            let error = read(&proxy, from, &[(name, &value)]).unwrap_err();
            assert!(matches!(error, ForwardedError::UntrustedSource { .. }), "{name} {from}");
        }
        assert_eq!(read(&proxy, PROXY, &[]), Ok(PeerCertificate::none()));
        assert_eq!(read(&proxy, PROXY, &[(name, "")]), Ok(PeerCertificate::none()));
        assert_eq!(read(&proxy, "192.0.2.1", &[]), Ok(PeerCertificate::none()), "nothing is claimed");
    }
}

#[test]
fn v51_v52_a_header_twice_or_of_another_spelling() {
    for (proxy, name, value) in proxies() {
        assert_eq!(read(&proxy, PROXY, &[(name, &value), (name, &value)]), Err(ForwardedError::Repeated));
        // v52: some servers take `_` for `-`.
        let underscored = name.replacen('-', "_", 1);
        assert_eq!(
            read(&proxy, PROXY, &[(name, &value), (&underscored, "x")]),
            Err(ForwardedError::Ambiguous)
        );
        assert_eq!(read(&proxy, PROXY, &[(&underscored, &value)]), Err(ForwardedError::Ambiguous));
        let other_case = name.to_ascii_uppercase();
        assert_eq!(read(&proxy, PROXY, &[(&other_case, &value)]), Ok(client()), "names have no case");
    }
}

#[test]
fn v51_values_that_are_not_one_certificate() {
    let trailing = [der("rsa.pem").as_slice(), b"\0"].concat();
    let two = [pem("rsa.pem"), pem("p256.pem")].concat();
    for (proxy, name, value) in proxies() {
        let long = "A".repeat(16 * 1024 + 1);
        assert_eq!(
            read(&proxy, PROXY, &[(name, &long)]),
            Err(ForwardedError::TooLarge { length: 16_385 }),
            "{name}"
        );
        let huge = "A".repeat(1 << 20);
        assert!(read(&proxy, PROXY, &[(name, &huge)]).is_err());
        for wrong in
            ["x", "::", ":=:", "-----BEGIN CERTIFICATE-----", "null", "(null)", &value[..value.len() - 9]]
        {
            assert!(read(&proxy, PROXY, &[(name, wrong)]).is_err(), "{name} {wrong:.40}");
        }
    }
    let [(rfc9440, ..), (envoy, ..), (nginx, ..), (app_service, ..)] = proxies();
    // The last length that is read, of a value that is then found to be none.
    let longest = "A".repeat(16 * 1024);
    assert!(!matches!(
        read(&app_service, PROXY, &[("x-arr-clientcert", &longest)]),
        Err(ForwardedError::TooLarge { .. })
    ));
    let sfv = |bytes: &[u8]| format!(":{}:", STANDARD.encode(bytes));
    assert!(matches!(
        read(&rfc9440, PROXY, &[("client-cert", &sfv(&trailing))]),
        Err(ForwardedError::Certificate(_))
    ));
    let good = sfv(&der("rsa.pem"));
    for wrong in [
        format!("{good};a=1"),
        format!("{good}, {good}"),
        good.trim_matches(':').to_owned(),
        format!("\"{good}\""),
    ] {
        assert_eq!(
            read(&rfc9440, PROXY, &[("client-cert", &wrong)]),
            Err(ForwardedError::Malformed),
            "{wrong:.20}"
        );
    }
    assert!(matches!(
        read(&app_service, PROXY, &[("x-arr-clientcert", &STANDARD.encode(&trailing))]),
        Err(ForwardedError::Certificate(_))
    ));
    assert_eq!(
        read(&nginx, PROXY, &[("x-ssl-client-cert", &escaped(&two))]),
        Err(ForwardedError::SeveralCertificates)
    );
    for wrong in [
        format!("x{}", pem("rsa.pem")),
        format!("{}x", pem("rsa.pem")),
        pem("rsa.pkcs8.pem"),
        format!("{}\0", pem("rsa.pem")),
    ] {
        assert_eq!(
            read(&nginx, PROXY, &[("x-ssl-client-cert", &escaped(&wrong))]),
            Err(ForwardedError::Malformed)
        );
    }
    let cert = escaped(&two);
    assert_eq!(
        read(&envoy, PROXY, &[("x-forwarded-client-cert", &format!("Cert=\"{cert}\""))]),
        Err(ForwardedError::SeveralCertificates)
    );
}

#[test]
fn v51_only_the_last_element_of_envoys_header_counts() {
    let [_, (envoy, name, ours), ..] = proxies();
    let theirs = format!("Cert=\"{}\"", escaped(&pem("p256.pem")));
    let get = |value: &str| read(&envoy, PROXY, &[(name, value)]);
    assert_eq!(get(&format!("{theirs},{ours}")), Ok(client()));
    assert_eq!(get(&format!("{ours},{theirs}")), Ok(peer("p256.pem")), "the nearest proxy wrote it");
    assert_eq!(get(&format!("{ours},By=x;Subject=\"a,b;c\"")), Err(ForwardedError::NoCertificate));
    assert_eq!(get(&format!("Subject=\"a\\\",Cert=x\";{theirs}")), Ok(peer("p256.pem")));
    assert_eq!(get(&format!("{theirs};Cert=x")), Err(ForwardedError::Repeated));
    assert_eq!(
        get(&format!("Hash={};{theirs}", client().thumbprint().unwrap().hex())),
        Err(ForwardedError::HashMismatch)
    );
    let upper = peer("p256.pem").thumbprint().unwrap().hex().to_ascii_uppercase();
    assert_eq!(get(&format!("Hash={upper};{theirs}")), Ok(peer("p256.pem")));
    // An escaped quote is part of the value, where it stands in the certificate itself; a bare one is no value at all.
    let escaped_value = theirs.replacen("CERTIFICATE", "C\\ERTI\\FICATE", 1);
    assert_eq!(get(&escaped_value), Ok(peer("p256.pem")), "a backslash takes the next character as it is");
    let quote_inside = theirs.replacen("CERTIFICATE", "\\\"CERTIFICATE", 1);
    assert!(matches!(get(&quote_inside), Err(ForwardedError::Malformed | ForwardedError::Certificate(_))));

    for wrong in [
        format!("{theirs},"),
        "Cert=\"a\"b\"\"".to_owned(),
        format!("Subject=\"a,{theirs}"),
        format!("{theirs};x"),
        format!("{theirs};Unknown=1"),
        format!("{theirs}x"),
        theirs.replacen('"', "", 1),
        "Cert=\"a\\\"".to_owned(),
    ] {
        assert_eq!(get(&wrong), Err(ForwardedError::Malformed), "{wrong:.30}");
    }
}
