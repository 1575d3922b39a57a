//! Cases 51 and 52: the certificate in a header.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certbound_verifier::{ForwardedError, HeaderNameError, IpNet, PeerCertificate, TrustedProxy};
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

/// Encodes a text as nginx does for `$ssl_client_escaped_cert`.
fn escaped(pem: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    pem.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn proxies() -> [(TrustedProxy, &'static str, String); 4] {
    let base64 = STANDARD.encode(der("rsa.pem"));
    let hash = client().thumbprint().unwrap().hex();
    let element = format!("By=spiffe://proxy;Hash={hash};Cert=\"{}\"", escaped(&pem("rsa.pem")));
    [
        (TrustedProxy::rfc9440(sources()), "client-cert", format!(":{base64}:")),
        (TrustedProxy::envoy(sources()), "x-forwarded-client-cert", element),
        (TrustedProxy::nginx(sources()), "x-ssl-client-cert", escaped(&pem("rsa.pem"))),
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
        // v52: some servers treat `_` and `-` as the same.
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
        for wrong in [
            "x",
            ":",
            ":::",
            ":=:",
            "-----BEGIN CERTIFICATE-----",
            "null",
            "(null)",
            &value[..value.len() - 9],
        ] {
            assert!(read(&proxy, PROXY, &[(name, wrong)]).is_err(), "{name} {wrong:.40}");
        }
    }
    let [(rfc9440, ..), (envoy, ..), (nginx, ..), (app_service, ..)] = proxies();
    // HAProxy sends `::` for no certificate. In the other forms `::` is an error.
    assert_eq!(read(&rfc9440, PROXY, &[("client-cert", "::")]), Ok(PeerCertificate::none()));
    assert!(read(&app_service, PROXY, &[("x-arr-clientcert", "::")]).is_err());
    assert!(read(&nginx, PROXY, &[("x-ssl-client-cert", "::")]).is_err());
    let empty = escaped("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n");
    assert!(read(&nginx, PROXY, &[("x-ssl-client-cert", &empty)]).is_err());
    // This is the longest value that is read. The error is not about its length, but about its content.
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

/// The headers follow the documentation and the source code of other programs: `testdata/proxies/README.md`.
#[test]
fn v51_headers_of_envoy_yarp_and_app_service() {
    let golden = |name: &str| {
        let path = format!("{}/../../testdata/proxies/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap().trim_end().to_owned()
    };
    let envoy = |name: &str| {
        let header = ("X-Forwarded-Client-Cert", golden(name));
        read(&TrustedProxy::envoy(sources()), PROXY, &[(header.0, &header.1)])
    };
    assert_eq!(envoy("envoy.txt"), Ok(client()));
    assert_eq!(envoy("envoy-appended.txt"), Err(ForwardedError::SeveralElements));
    assert_eq!(envoy("envoy-names.txt"), Err(ForwardedError::UnexpectedKey));
    assert_eq!(envoy("envoy-forged.txt"), Err(ForwardedError::SeveralElements));

    let app_service = TrustedProxy::app_service(sources());
    let header = ("X-ARR-ClientCert", golden("app-service.txt"));
    assert_eq!(read(&app_service, PROXY, &[(header.0, &header.1)]), Ok(client()));
    let yarp = app_service.with_header_name(HeaderName::from_static("x-client-cert")).unwrap();
    assert_eq!(read(&yarp, PROXY, &[("X-Client-Cert", &golden("yarp.txt"))]), Ok(client()));
    assert_eq!(read(&yarp, PROXY, &[]), Ok(PeerCertificate::none()), "YARP removes the header");
}

#[test]
fn v51_the_header_may_have_another_name() {
    let name = |text: &str| HeaderName::from_bytes(text.as_bytes()).unwrap();
    for (proxy, own, value) in proxies() {
        let renamed = proxy.clone().with_header_name(name("x-client-cert"));
        if own == "x-forwarded-client-cert" {
            // Envoy would not remove a header with a different name from the requests of clients.
            assert_eq!(renamed, Err(HeaderNameError::Fixed));
            assert_eq!(proxy.clone().with_header_name(name(own)), Ok(proxy), "its own name");
            continue;
        }
        let renamed = renamed.unwrap();
        assert_eq!(read(&renamed, PROXY, &[("X-Client-Cert", &value)]), Ok(client()), "{own}");
        assert_eq!(read(&renamed, PROXY, &[("x_client_cert", &value)]), Err(ForwardedError::Ambiguous));
        assert_eq!(read(&renamed, PROXY, &[(own, &value)]), Ok(PeerCertificate::none()), "{own}");
        for taken in [
            "authorization",
            "host",
            "cookie",
            "content-length",
            "transfer-encoding",
            "x-certbound-client-id",
            "x-original-uri",
            "x-forwarded-uri",
            "client-cert-chain",
        ] {
            let error = proxy.clone().with_header_name(name(taken)).unwrap_err();
            assert_eq!(error, HeaderNameError::Taken { name: name(taken) });
            assert!(error.to_string().contains(taken) && error.fix().contains("x-client-cert"));
        }
    }
}

/// The reader must refuse, and not ignore, text that is not part of the certificate.
#[test]
fn v51_between_the_markers_stands_base64_alone() {
    let [_, _, (nginx, name, _), _] = proxies();
    let get = |pem: &str| read(&nginx, PROXY, &[(name, &escaped(pem))]);
    let rsa = pem("rsa.pem");
    // Apache's mod_headers writes spaces instead of line ends, and does not encode the value.
    assert_eq!(read(&nginx, PROXY, &[(name, rsa.replace('\n', " ").trim())]), Ok(client()));
    assert_eq!(get(&rsa.replace('\n', "\r\n")), Ok(client()));
    let end = "-----END CERTIFICATE-----\n";
    for wrong in [
        format!("{rsa}{end}"),
        format!("{rsa}text\n{end}"),
        rsa.replacen('\n', "\nProc-Type: 4,ENCRYPTED\n\n", 1),
        rsa.replacen('\n', "\n,", 1),
        rsa.replacen('\n', "%zz\n", 1),
        "-----BEGIN CERTIFICATE-----".to_owned(),
    ] {
        assert_eq!(get(&wrong), Err(ForwardedError::Malformed), "{wrong:.60}");
    }
    let empty_before = format!("-----BEGIN CERTIFICATE-----\n{end}{rsa}");
    assert_eq!(get(&empty_before), Err(ForwardedError::SeveralCertificates));
}

/// A thief of a token makes a certificate with names that Envoy repeats without escaping them.
#[test]
fn v51_a_certificates_names_write_nothing_into_envoys_header() {
    let [_, (envoy, name, _), ..] = proxies();
    let victim = escaped(&pem("rsa.pem"));
    let (own, hash) = (escaped(&pem("p256.pem")), peer("p256.pem").thumbprint().unwrap().hex());
    let of_envoy = format!("By=http://proxy;Hash={hash};Cert=\"{own}\"");
    let victims_hash = client().thumbprint().unwrap().hex();
    for (forged, error) in [
        (format!("DNS=x,Cert={victim}"), ForwardedError::SeveralElements),
        (format!("DNS=x,Cert=\"{victim}\""), ForwardedError::SeveralElements),
        (format!("URI=http://x/,Hash={victims_hash};Cert={victim}"), ForwardedError::SeveralElements),
        (format!("Subject=\"CN=x\",Cert=\"{victim}\""), ForwardedError::SeveralElements),
        (format!("DNS=x;Cert={victim}"), ForwardedError::UnexpectedKey),
        (format!("URI=http://x/;Hash={victims_hash};Cert={victim}"), ForwardedError::UnexpectedKey),
        ("DNS=x\"".to_owned(), ForwardedError::Malformed),
        ("Subject=\"CN=a\\\"".to_owned(), ForwardedError::Malformed),
        ("Subject=\"CN=harmless\"".to_owned(), ForwardedError::UnexpectedKey),
        (format!("Chain=\"{victim}\""), ForwardedError::UnexpectedKey),
    ] {
        let value = format!("{of_envoy};{forged}");
        assert_eq!(read(&envoy, PROXY, &[(name, &value)]), Err(error), "{forged:.40}");
    }
    assert_eq!(read(&envoy, PROXY, &[(name, &of_envoy)]), Ok(peer("p256.pem")));
}

#[test]
fn v51_envoys_header_is_one_element_with_each_key_once() {
    let [_, (envoy, name, ours), ..] = proxies();
    let theirs = format!("Cert=\"{}\"", escaped(&pem("p256.pem")));
    let get = |value: &str| read(&envoy, PROXY, &[(name, value)]);
    assert_eq!(get(&theirs), Ok(peer("p256.pem")));
    assert_eq!(get(&format!("{theirs},{ours}")), Err(ForwardedError::SeveralElements));
    assert_eq!(get(&format!("{ours},{theirs}")), Err(ForwardedError::SeveralElements));
    assert_eq!(get(&format!("{theirs},")), Err(ForwardedError::SeveralElements));
    assert_eq!(get("By=x;Hash=00"), Err(ForwardedError::NoCertificate));
    for twice in [format!("{theirs};{theirs}"), format!("{theirs};cert=x"), format!("By=a;By=b;{theirs}")] {
        assert_eq!(get(&twice), Err(ForwardedError::Repeated), "{twice:.30}");
    }
    let hash = peer("p256.pem").thumbprint().unwrap().hex();
    assert_eq!(get(&format!("Hash={hash};Hash={hash};{theirs}")), Err(ForwardedError::Repeated));
    assert_eq!(get(&format!("Hash={};{theirs}", hash.to_ascii_uppercase())), Ok(peer("p256.pem")));
    for wrong in ["", "x", &client().thumbprint().unwrap().hex()] {
        assert_eq!(get(&format!("Hash={wrong};{theirs}")), Err(ForwardedError::HashMismatch), "{wrong}");
    }
    assert_eq!(get(&format!("{theirs};Unknown=1")), Err(ForwardedError::UnexpectedKey));
    for wrong in [
        "Cert=\"a\"b\"\"".to_owned(),
        format!("By=\"a,{theirs}"),
        format!("By=a\"b\";{theirs}"),
        format!("By=\"a\"b;{theirs}"),
        format!("{theirs};x"),
        format!("{theirs}x"),
        theirs.replacen('"', "", 1),
        "Cert=\"a\\\"".to_owned(),
        theirs.replacen("CERTIFICATE", "C\\ERTIFICATE", 1),
    ] {
        assert_eq!(get(&wrong), Err(ForwardedError::Malformed), "{wrong:.30}");
    }
}

#[test]
fn every_refusal_of_a_header_says_what_to_do() {
    for error in [
        ForwardedError::UnknownSource,
        ForwardedError::Repeated,
        ForwardedError::Ambiguous,
        ForwardedError::TooLarge { length: 1 },
        ForwardedError::Malformed,
        ForwardedError::SeveralCertificates,
        ForwardedError::SeveralElements,
        ForwardedError::UnexpectedKey,
        ForwardedError::NoCertificate,
        ForwardedError::HashMismatch,
    ] {
        assert!(error.fix().contains("proxy") || error.fix().contains("Envoy"), "{error}");
    }
}

#[test]
fn a_proxy_can_be_named_by_ipv4_mapped_addresses() {
    let (_, name, value) = &proxies()[0];
    for (source, is_trusted) in
        [("::ffff:192.0.2.1/128", true), ("::ffff:192.0.2.0/120", true), ("::ffff:198.51.100.0/120", false)]
    {
        let proxy = TrustedProxy::rfc9440([source.parse().unwrap()]);
        assert_eq!(read(&proxy, "192.0.2.1", &[(name, value)]).is_ok(), is_trusted, "{source}");
    }
}
