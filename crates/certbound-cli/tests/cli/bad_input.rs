//! Unusable input: the command exits with 2, a code and a fix, and sends nothing.

use crate::support::{APP, Emulator, TENANT, VAULT, certbound, file, offline, refusal, stderr, text};

#[test]
fn each_bad_value_has_its_own_code() {
    let emulator = Emulator::start();
    let certificate = emulator.certificate();
    let good =
        [("--scope", VAULT), ("--tenant", TENANT), ("--client-id", APP), ("--leg1-certificate", certificate)];
    for (flag, value, code) in [
        ("--scope", "", "scopes_required_client_credentials"),
        ("--scope", "https://vault.azure.net", "invalid_scope"),
        ("--scope", "a/.default b/.default", "invalid_scope"),
        ("--scope", "api://AzureADTokenExchange/.default", "exchange_scope_not_a_resource"),
        ("--tenant", "common", "missing_tenanted_authority"),
        ("--tenant", "organizations", "missing_tenanted_authority"),
        ("--tenant", "not a tenant", "invalid_tenant"),
        ("--tenant", "../etc", "invalid_tenant"),
        ("--client-id", "my-app", "invalid_client_id"),
        ("--leg1-certificate", "/no/such/file.pem", "certificate_file_unreadable"),
        ("--leg1-certificate", "/", "certificate_file_unreadable"),
        ("--leg1-certificate", "/dev/null", "certificate_missing"),
    ] {
        let flags = good.iter().flat_map(|(name, usual)| [*name, if *name == flag { value } else { usual }]);
        let args: Vec<&str> = ["exchange", "-o", "json"].into_iter().chain(flags).collect();
        assert_eq!(refusal(&offline(&args)), (2, code.to_owned()), "{flag} {value}");
    }
}

#[test]
fn each_bad_certificate_file_has_its_own_code() {
    let emulator = Emulator::start();
    let pem = std::fs::read_to_string(emulator.certificate()).unwrap();
    let (chain, key) = pem.split_at(pem.find("-----BEGIN PRIVATE KEY").unwrap());
    let other = Emulator::start();
    let other_pem = std::fs::read_to_string(other.certificate()).unwrap();
    let other_key = &other_pem[other_pem.find("-----BEGIN PRIVATE KEY").unwrap()..];
    let directory = tempfile::tempdir().unwrap();
    let whole = file(&directory, "whole.pem", &pem);
    for (name, content, code) in [
        ("chain.pem", chain.to_owned(), "cert_without_private_key"),
        ("key.pem", key.to_owned(), "certificate_missing"),
        ("mixed.pem", format!("{chain}{other_key}"), "certificate_key_mismatch"),
        ("two.pem", format!("{pem}{other_key}"), "certificate_several_keys"),
        ("cut.pem", pem[..pem.len() / 3].to_owned(), "certificate_pem_invalid"),
        (
            "encrypted.pem",
            format!(
                "{chain}-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n"
            ),
            "certificate_key_encrypted",
        ),
        ("not.pfx", "0\u{3}nonsense".to_owned(), "certificate_pfx_invalid"),
        ("empty.pem", String::new(), "certificate_missing"),
    ] {
        let path = file(&directory, name, content);
        let output = offline(&token(text(&path)));
        assert_eq!(refusal(&output), (2, code.to_owned()), "{name}");
        assert!(stderr(&output).contains(text(&path)), "{}", stderr(&output));
        assert!(!stderr(&output).contains("PRIVATE KEY"), "{name}");
    }
    // Two separate files have the same result as one file.
    let (chain, key) = (file(&directory, "c.pem", chain), file(&directory, "k.pem", key));
    let two = [&token(text(&chain))[..], &["--certificate-key", text(&key), "--dry-run"]].concat();
    assert_eq!(offline(&two).status.code(), Some(0));
    assert_eq!(offline(&[&token(text(&whole))[..], &["--dry-run"]].concat()).status.code(), Some(0));
}

/// Both legs use the certificate of Leg 1, so the error blames the certificate and no leg.
#[test]
fn an_expired_certificate_of_leg_1_is_not_an_error_of_leg_2() {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    (parameters.not_before, parameters.not_after) =
        (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "old.pem", format!("{}{}", certificate.pem(), key.serialize_pem()));
    let flags = ["--scope", VAULT, "--tenant", TENANT, "--client-id", APP, "--leg1-certificate", text(&path)];
    let output = offline(&[&["exchange", "-o", "json"], &flags[..]].concat());
    assert_eq!(refusal(&output).0, 2, "{}", stderr(&output));
    let error: serde_json::Value = serde_json::from_str(stderr(&output).lines().last().unwrap()).unwrap();
    assert_eq!(error["error"]["leg"], serde_json::Value::Null, "{error}");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("the certificate cannot be used: ") && !message.contains("Leg 2"),
        "{message}"
    );
}

/// A program of `emulator run` gets the name of the emulator's certificate in a variable.
#[test]
fn an_unreadable_certificate_in_the_emulator_names_the_emulators() {
    let fix = |inside: bool| {
        let mut command = certbound();
        if inside {
            command.env("CERTBOUND_EMULATOR_CERTIFICATE", "/any/client.pem");
        }
        stderr(&command.args(token("app.pem")).output().unwrap())
    };
    assert!(fix(true).contains("CERTBOUND_EMULATOR_CERTIFICATE"), "{}", fix(true));
    assert!(!fix(false).contains("CERTBOUND_EMULATOR_CERTIFICATE"), "{}", fix(false));
}

fn token(certificate: &str) -> Vec<&str> {
    vec![
        "token",
        "-o",
        "json",
        "--scope",
        VAULT,
        "--tenant",
        TENANT,
        "--client-id",
        APP,
        "--certificate",
        certificate,
    ]
}

#[test]
fn a_missing_flag_is_named_with_its_variable() {
    let output = offline(&["exchange", "-o", "json", "--scope", VAULT]);
    assert_eq!(refusal(&output), (2, "usage".to_owned()));
    let said = stderr(&output);
    assert!(said.contains("--client-id is missing"), "{said}");
    assert!(said.contains("give --client-id or set AZURE_CLIENT_ID"), "{said}");
    let output = offline(&["exchange", "-o", "json", "--scop", VAULT]);
    assert!(stderr(&output).contains("did you mean `--scope`?"), "{}", stderr(&output));
}

#[test]
fn flags_that_do_not_fit_together_are_refused() {
    let emulator = Emulator::start();
    let certificate = emulator.certificate();
    let base = ["exchange", "-o", "json", "--scope", VAULT, "--client-id", APP];
    for (flags, code) in [
        (&["--tenant", TENANT][..], "leg1_required"),
        (&["--leg1-certificate", certificate], "tenant_required"),
        (&["--tenant", TENANT, "--assertion-file", "/dev/null"], "mtls_certificate_not_provided"),
        (
            &["--tenant", TENANT, "--assertion-file", "/dev/null", "--certificate", certificate],
            "invalid_client_assertion",
        ),
        (
            &["--tenant", TENANT, "--assertion-file", "/no/such", "--certificate", certificate],
            "file_unreadable",
        ),
        (
            &["--tenant", TENANT, "--assertion-file", certificate, "--certificate", certificate],
            "assertion_not_jwt",
        ),
        (
            &[
                "--tenant",
                TENANT,
                "--assertion-file",
                "/dev/null",
                "--certificate",
                certificate,
                "--leg1-tenant",
                TENANT,
            ],
            "leg1_flag_unused",
        ),
        (
            &["--tenant", TENANT, "--certificate", certificate, "--leg1-certificate-key", certificate],
            "leg1_flag_unused",
        ),
        (
            &[
                "--tenant",
                TENANT,
                "--authority",
                "https://login.microsoftonline.com/contoso.com",
                "--leg1-certificate",
                certificate,
            ],
            "tenant_conflict",
        ),
        (
            &[
                "--tenant",
                TENANT,
                "--leg1-certificate",
                certificate,
                "--certificate-password-env",
                "NO_SUCH_VARIABLE",
            ],
            "certificate_password_unset",
        ),
        (&["--tenant", TENANT, "--leg1-certificate", certificate, "--certificate", certificate], "usage"),
        (&["--tenant", TENANT, "--leg1-certificate", certificate, "--assertion-file", "-"], "usage"),
        (&["--tenant", TENANT, "--leg1-certificate", certificate, "--bound", "--bearer"], "usage"),
        (&["--tenant", TENANT, "--leg1-certificate", certificate, "--timeout", "0"], "usage"),
    ] {
        let args = [&base[..], flags].concat();
        assert_eq!(refusal(&offline(&args)), (2, code.to_owned()), "{flags:?}");
    }
}

#[test]
fn a_call_that_no_token_may_go_with_is_refused() {
    let emulator = Emulator::start();
    let base = [
        "call",
        "-o",
        "json",
        "--tenant",
        TENANT,
        "--client-id",
        APP,
        "--leg1-certificate",
        emulator.certificate(),
    ];
    let graph = "https://mtlstb.graph.microsoft.com/";
    for (flags, code) in [
        (&["http://mtlstb.graph.microsoft.com/"][..], "url_not_https"),
        (&["https://user:secret@mtlstb.graph.microsoft.com/"], "url_not_https"),
        (&["nonsense"], "url_not_https"),
        (&[graph, "-H", "Authorization: Bearer mine"], "invalid_resource_request"),
        (&[graph, "-H", "Host: elsewhere.example"], "invalid_resource_request"),
        (&[graph, "-H", "Content-Length: 5"], "invalid_resource_request"),
        (&[graph, "-H", "no colon"], "invalid_header"),
        (&[graph, "-H", "X: a\nY: b"], "invalid_header"),
        (&[graph, "-X", "G ET"], "invalid_method"),
        (&[graph, "-X", "CONNECT"], "invalid_method"),
        (&[graph, "-d", "@/no/such/file"], "file_unreadable"),
        (&["https://a.example/"], "scopes_required_client_credentials"),
    ] {
        let output = offline(&[&base[..], flags].concat());
        assert_eq!(refusal(&output), (2, code.to_owned()), "{flags:?}");
        assert!(!stderr(&output).contains("secret") && !stderr(&output).contains("mine"), "{flags:?}");
    }
}

/// An invalid proxy variable is an error, is not bypassed, and its password is not printed.
#[test]
fn a_proxy_that_cannot_be_used_is_named() {
    let emulator = Emulator::start();
    for proxy in
        ["garbage://user:secret@proxy", "socks5://user:secret@proxy:1080", "https://user:secret@proxy"]
    {
        let mut command = certbound();
        command.env("HTTPS_PROXY", proxy).args(token(emulator.certificate()));
        let output = command.output().unwrap();
        assert_eq!(refusal(&output), (2, "invalid_proxy".to_owned()), "{proxy}");
        let said = stderr(&output);
        assert!(said.contains("HTTPS_PROXY") && !said.contains("secret"), "{said}");
    }
}

/// A mistyped switch must not turn off the binding.
#[test]
fn a_switch_in_the_environment_is_yes_or_no() {
    let emulator = Emulator::start();
    let run = |value: &str| {
        let mut command = certbound();
        command
            .env("CERTBOUND_BEARER", value)
            .args(token(emulator.certificate()))
            .arg("--dry-run")
            .output()
            .unwrap()
    };
    for (value, bearer) in
        [("true", true), ("1", true), ("YES", true), ("", false), ("0", false), ("off", false)]
    {
        let output = run(value);
        assert_eq!(output.status.code(), Some(0), "{value} {}", stderr(&output));
        assert_eq!(!crate::support::stdout(&output).contains("mtls_pop"), bearer, "{value}");
    }
    for value in ["maybe", "treu", "2"] {
        assert_eq!(refusal(&run(value)), (2, "usage".to_owned()), "{value}");
    }
}

#[test]
fn one_stdin_is_read_once() {
    let emulator = Emulator::start();
    let call =
        ["call", "-o", "json", "https://mtlstb.graph.microsoft.com/", "--tenant", TENANT, "--client-id", APP];
    let twice = ["--certificate", emulator.certificate(), "--assertion-file", "-", "-d", "@-"];
    assert_eq!(refusal(&offline(&[&call[..], &twice].concat())), (2, "stdin_twice".to_owned()));
}

#[test]
fn a_trust_file_that_is_none_is_named() {
    let emulator = Emulator::start();
    let directory = tempfile::tempdir().unwrap();
    let without = file(&directory, "roots.pem", "no certificate");
    for path in ["/no/such/file", "/dev/zero", "/tmp", text(&without)] {
        let output =
            certbound().env("SSL_CERT_FILE", path).args(token(emulator.certificate())).output().unwrap();
        assert_eq!(refusal(&output), (2, "trust_store_unusable".to_owned()), "{path}");
        assert!(stderr(&output).contains(path), "{}", stderr(&output));
    }
}
