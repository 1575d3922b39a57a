//! Keys in tokens of SoftHSM, as scripts use them: `keys`, certificates by URI, and keys of a machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;

use crate::hsm::{Hsm, MODULE, PIN};
use crate::support::{Emulator, TENANT, VAULT, certbound, json, refusal, stderr, stdout};

const GRAPH: &str = "https://mtlstb.graph.microsoft.com/v1.0/applications?$top=1";

#[test]
fn keys_are_generated_listed_and_certified() {
    let hsm = Hsm::new();
    let tokens = json(&hsm.run(&["keys", "list", &format!("pkcs11:?{MODULE}")]));
    assert_eq!(tokens["tokens"][0]["token"], "app");
    assert_eq!(tokens["tokens"][0]["hardware"], false);
    let key = hsm.uri("token=app;object=binding");
    let made = json(&hsm.run(&["keys", "generate", &key]));
    assert_eq!((&made["type"], &made["extractable"]), (&"RSA".into(), &false.into()));
    assert_eq!(
        refusal(&hsm.run(&["keys", "generate", &key, "-o", "json"])),
        (2, "pkcs11_key_unusable".into())
    );
    json(&hsm.run(&["keys", "generate", &hsm.uri("token=app;object=ec;id=%05"), "--type", "p384"]));
    let listed = stdout(&hsm.run(&["keys", "list", &hsm.uri("token=app"), "-o", "table"]));
    assert_eq!(listed.matches("never leaves the token").count(), 2, "{listed}");
    assert!(listed.contains("id 05  EC P-384"), "{listed}");
    assert_eq!(hsm.pkcs11_tool(&["-O", "--type", "privkey"]).matches("never extractable").count(), 2);

    // OpenSSL verifies the request and issues a certificate for it.
    for (uri, words) in
        [(&key, "sha256WithRSAEncryption"), (&hsm.uri("token=app;id=%05"), "ecdsa-with-SHA384")]
    {
        let request =
            hsm.run(&["keys", "csr", uri, "--subject", "CN=app.contoso.com,O=Contoso", "-o", "raw"]);
        fs::write(hsm.path("csr.pem"), &request.stdout).unwrap();
        let openssl = Command::new("openssl")
            .args(["req", "-verify", "-noout", "-text", "-in"])
            .arg(hsm.path("csr.pem"))
            .output()
            .unwrap();
        let said = format!("{}{}", stdout(&openssl), stderr(&openssl));
        assert!(said.contains("verify OK") && said.contains(words), "{said}");
        assert!(said.contains("CN = app.contoso.com") && said.contains("O = Contoso"), "{said}");
    }
    let request = hsm.run(&["keys", "csr", &key, "--subject", "nothing", "-o", "json"]);
    assert_eq!(refusal(&request), (2, "pkcs11_subject_invalid".into()));
}

#[test]
fn a_certificate_in_a_token_is_used_wherever_a_certificate_is() {
    let (hsm, emulator) = (Hsm::new(), Emulator::start());
    hsm.import(&emulator);
    let uri = hsm.uri("token=app;object=client");
    let run =
        |args: &[&str]| hsm.with(emulator.certbound()).args(args).args(["-o", "json"]).output().unwrap();
    let exchanged = json(&run(&["exchange", "--leg1-certificate", &uri, "--scope", VAULT]));
    assert_eq!(exchanged["tokenType"], "mtls_pop");
    let token = json(&run(&["token", "--certificate", &uri, "--scope", VAULT]));
    assert_eq!(token["tokenType"], "mtls_pop");
    let source = token["bindingCertificate"]["source"].as_str().unwrap();
    assert!(source.starts_with("pkcs11:token=app;object=client?module-path="), "{source}");
    json(&run(&["assertion", "--certificate", &uri]));
    let bearer =
        run(&["token", "--bearer", "--certificate", &uri, "--scope", "https://graph.microsoft.com/.default"]);
    assert_eq!(json(&bearer)["tokenType"], "Bearer");
    let call =
        hsm.with(emulator.certbound()).args(["call", "--leg1-certificate", &uri, GRAPH]).output().unwrap();
    assert!(call.status.success(), "{}", stderr(&call));
    // The token is bound to the certificate in the token, and the key is not needed to see it.
    let inspected = run(&["inspect", token["accessToken"].as_str().unwrap(), "--certificate", &uri]);
    assert_eq!(json(&inspected)["certificate"]["matches"], true);
    // The chain in a file, the key in the token.
    let split = run(&[
        "exchange",
        "--leg1-certificate",
        emulator.certificate(),
        "--leg1-certificate-key",
        &uri,
        "--scope",
        VAULT,
    ]);
    assert_eq!(json(&split)["tokenType"], "mtls_pop");
    // doctor, and a configuration file.
    let report = json(&run(&["doctor", "--leg1-certificate", &uri, "--scope", VAULT]));
    let lines = report["checks"].as_array().unwrap();
    let line =
        |id: &str| lines.iter().find(|line| line["id"] == id).unwrap_or_else(|| panic!("{id}: {report}"));
    assert_eq!(line("certificate.key")["status"], "ok", "{report}");
    assert_eq!(line("certificate.permissions")["status"], "skipped");
    let config = hsm.path("certbound.toml");
    fs::write(&config, format!("scope = \"{VAULT}\"\nleg1-certificate = \"{uri}\"\n")).unwrap();
    let config = config.to_str().unwrap();
    assert_eq!(json(&run(&["exchange", "--config", config]))["tokenType"], "mtls_pop");
    let checked = run(&["config", "check", config]);
    assert!(checked.status.success(), "{}{}", stdout(&checked), stderr(&checked));
}

#[test]
fn the_pin_comes_from_a_file_or_a_variable_and_is_never_shown() {
    let (hsm, emulator) = (Hsm::new(), Emulator::start());
    hsm.import(&emulator);
    let without = format!("pkcs11:token=app;object=client?{MODULE}");
    let run = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = hsm.with(emulator.certbound());
        command.envs(variables.iter().copied());
        command.args(["token", "--scope", VAULT, "-o", "json"]).args(args).output().unwrap()
    };
    let by_flag = ["--certificate", without.as_str()];
    assert_eq!(refusal(&run(&[], &by_flag)), (2, "pkcs11_pin_missing".into()));
    assert_eq!(refusal(&run(&[("CERTBOUND_PIN", "")], &by_flag)), (2, "pkcs11_pin_missing".into()));
    let named = [("MY_PIN", ""), ("CERTBOUND_CERTIFICATE_PASSWORD_ENV", "MY_PIN")];
    assert_eq!(refusal(&run(&named, &by_flag)), (2, "pkcs11_pin_missing".into()));
    json(&run(&[("CERTBOUND_PIN", PIN)], &by_flag));
    json(&run(&[("MY_PIN", PIN), ("CERTBOUND_CERTIFICATE_PASSWORD_ENV", "MY_PIN")], &by_flag));
    assert_eq!(refusal(&run(&[("CERTBOUND_PIN", "7410-no")], &by_flag)), (2, "pkcs11_pin_refused".into()));
    // In a URI the PIN would be seen by other users.
    let inside = format!("{without}&pin-value=7410-no");
    for args in [
        vec!["token", "--scope", VAULT, "--certificate", &inside],
        vec!["token", "--scope", VAULT, "--certificate", &inside, "--nonsense"],
        vec!["token", "--scope", VAULT, "--certificate", &inside, "--client-secret-env", "X"],
        vec!["keys", "list", &inside],
        vec!["token", "--managed-identity", "system", "--scope", VAULT, "--machine-keys", &inside],
        vec!["config", "show", "--", "token", "--scope", VAULT, "--certificate", &inside],
    ] {
        let output = hsm.with(emulator.certbound()).env("RUST_LOG", "trace").args(&args).output().unwrap();
        let said = format!("{}{}", stdout(&output), stderr(&output));
        assert!(!said.contains("7410"), "{args:?}: {said}");
        assert_eq!(output.status.code(), Some(if args[0] == "config" { 0 } else { 2 }), "{said}");
    }
    let logged = hsm
        .with(emulator.certbound())
        .env("RUST_LOG", "trace")
        .env("CERTBOUND_PIN", PIN)
        .args(["-v", "token", "--scope", VAULT, "--trace", "--certificate", &without])
        .output()
        .unwrap();
    assert!(logged.status.success() && !stderr(&logged).contains(PIN), "{}", stderr(&logged));
}

#[test]
fn bad_uris_are_mistakes_of_the_command_line() {
    let (hsm, emulator) = (Hsm::new(), Emulator::start());
    hsm.import(&emulator);
    let good = hsm.uri("token=app;object=client");
    for (args, code) in [
        (vec!["--certificate", "pkcs11:token=app"], "pkcs11_uri_invalid"),
        (vec!["--certificate", "pkcs11:tokn=app"], "pkcs11_uri_invalid"),
        (vec!["--certificate", "pkcs11:token=app?module-path=/nonexistent.so"], "pkcs11_module_unusable"),
        (vec!["--certificate", &hsm.uri("token=other")], "pkcs11_token_not_found"),
        (vec!["--certificate", &hsm.uri("token=app;object=other")], "pkcs11_key_not_found"),
        (vec!["--certificate", &good, "--certificate-key", &good], "usage"),
        (vec!["--certificate", "tpm:0x81300001"], "tpm_has_no_certificate"),
        (
            vec!["--certificate", "tpm:0x81300001", "--certificate-key", "tpm:0x81300001"],
            "tpm_has_no_certificate",
        ),
        (
            vec!["--certificate", emulator.certificate(), "--certificate-key", "tpm:0x81300001"],
            "tpm_not_built_in",
        ),
        (vec!["--managed-identity", "system", "--machine-keys", "tpm"], "tpm_not_built_in"),
        (vec!["--managed-identity", "system", "--machine-keys", "hsm"], "machine_keys_unknown"),
    ] {
        let mut command = hsm.with(certbound());
        command.env("HTTPS_PROXY", emulator.text("proxy")).env("SSL_CERT_FILE", emulator.text("ca"));
        if args[0] == "--certificate" {
            command.env("AZURE_TENANT_ID", TENANT).env("AZURE_CLIENT_ID", crate::support::APP);
        }
        let output = command.args(["token", "--scope", VAULT, "-o", "json"]).args(&args).output().unwrap();
        assert_eq!(refusal(&output), (2, code.to_owned()), "{args:?}");
    }
    assert!(emulator.journal().is_empty(), "no request was sent");
    let config = hsm.path("certbound.toml");
    fs::write(&config, "certificate = \"pkcs11:tokn=app\"\nmachine-keys = \"tpm\"\n").unwrap();
    let checked = hsm.run(&["config", "check", config.to_str().unwrap(), "-o", "table"]);
    let said = stdout(&checked);
    assert!(said.contains("`tokn` is unknown") && said.contains("tpm2-pkcs11"), "{said}");
}

#[test]
fn the_key_of_a_machine_stays_in_its_token_from_command_to_command() {
    let (hsm, emulator) = (Hsm::new(), Emulator::start());
    let keys = hsm.uri("token=app;object=machine");
    let state = hsm.path("state");
    let run_as = |format: &str, args: &[&str]| {
        let mut command = hsm.with(certbound());
        command.env("HTTPS_PROXY", emulator.text("proxy")).env("SSL_CERT_FILE", emulator.text("ca"));
        command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.text("imds"));
        command.env("CERTBOUND_MACHINE_KEYS", &keys);
        command.args(args).args(["-o", format]).output().unwrap()
    };
    let run = |args: &[&str]| run_as("json", args);
    let token = ["token", "--managed-identity", "system", "--scope", VAULT];
    // A dry run generates nothing.
    let dry = run(&[&token[..], &["--dry-run"]].concat());
    assert!(dry.status.success(), "{}", stderr(&dry));
    assert_eq!(json(&run(&["keys", "list", &hsm.uri("token=app")]))["keys"], Value::Array(vec![]));
    let with_state = [&token[..], &["--machine-state", state.to_str().unwrap()]].concat();
    let first = run(&with_state);
    assert!(!stderr(&first).contains("no program can use"), "{}", stderr(&first));
    let (first, second) = (json(&first), json(&run(&with_state)));
    assert_eq!(
        first["bindingCertificate"], second["bindingCertificate"],
        "one certificate for both commands"
    );
    let listed = hsm.pkcs11_tool(&["-O", "--type", "privkey"]);
    assert!(listed.contains("machine") && listed.contains("never extractable"), "{listed}");
    let names: Vec<_> = fs::read_dir(&state).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("software-key")), "{names:?}");
    let capabilities = json(&run(&["capabilities"]));
    assert_eq!(
        (&capabilities["keyStrength"], &capabilities["keysPersist"]),
        (&"software".into(), &true.into())
    );
    let printed = |format: &str| stdout(&run_as(format, &["capabilities"]));
    assert!(printed("table").contains("\nkeys      stored: "), "{}", printed("table"));
    assert!(printed("env").contains("\nCERTBOUND_KEYS_PERSIST=1\n"), "{}", printed("env"));
    assert!(printed("shell").contains("\nexport CERTBOUND_KEYS_PERSIST='1'\n"), "{}", printed("shell"));
    let exchange = run(&[
        "exchange",
        "--leg1-managed-identity",
        "system",
        "--client-id",
        "c2e9a640-7b15-4d8f-a3c1-5f60e8d2b794",
        "--tenant",
        TENANT,
        "--scope",
        VAULT,
    ]);
    assert_eq!(json(&exchange)["tokenType"], "mtls_pop");
    fs::set_permissions(hsm.path("pin"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(refusal(&run(&token)), (2, "pkcs11_pin_source_unusable".into()));
}
