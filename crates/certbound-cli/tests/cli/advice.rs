//! Advice for the first mistakes of a new user.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;

use crate::support::{
    APP, Emulator, NOWHERE, TENANT, VAULT, certbound, file, offline, signal, stderr, stdout, text,
};

/// Returns the advice as text and the advice as JSON.
fn both(args: &[&str]) -> [String; 2] {
    let as_json: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
    [args, &as_json].map(|args| {
        let output = offline(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        stderr(&output)
    })
}

#[test]
fn a_mistake_in_the_command_line_has_a_tip() {
    for (args, tip) in [
        (
            &["token", "--scope", VAULT, "--leg1-certificate", "a.pem"][..],
            "so write --certificate; `exchange`",
        ),
        (
            &["token", "--scope", VAULT, "--leg1-tenant", TENANT],
            "`exchange` runs both legs and has --leg1-tenant",
        ),
        (&["endpoint", "--tenant", TENANT], "a part of --authority: https://"),
        (&["config", "show", "exchange"], "`certbound config show -- COMMAND`"),
        (&["token", "--scope", VAULT, "--certificate", ""], "the value of --certificate is empty or missing"),
        (
            &["token", "--scope", VAULT, "--certificate", "--bearer"],
            "the value of --certificate is empty or missing",
        ),
    ] {
        let said = both(args);
        let lines: Vec<&str> = said[0].lines().collect();
        let [what, why, fix] = lines[..] else { panic!("{}", said[0]) };
        assert_eq!(what, "error: the command line is wrong [usage]");
        assert!(why.starts_with("  why: ") && fix.starts_with("  fix: "), "{}", said[0]);
        for said in said {
            assert!(said.contains(tip) && !said.contains("--certificate-key"), "{args:?}: {said}");
            assert!(!said.contains("single quotes"), "{said}");
        }
    }
    for said in both(&["token", "--certificat", "a.pem"]) {
        assert!(said.contains("did you mean `--certificate`? See --help"), "{said}");
    }
    let help = stderr(&offline(&["keys"]));
    assert!(help.starts_with("List and generate keys") && help.contains("Usage:"), "{help}");
    let mut inside = certbound();
    inside.args(["token", "--certificate", ""]).env("CERTBOUND_EMULATOR_ADMIN", "http://127.0.0.1:1/x");
    assert!(stderr(&inside.output().unwrap()).contains("sh -c '…' in single quotes"));
}

#[test]
fn a_second_key_for_a_certificate_in_a_token_is_refused_for_either_leg() {
    let (identity, uri) = (["--tenant", TENANT, "--client-id", APP], "pkcs11:token=app;object=client");
    for (command, certificate, key) in [
        ("token", "--certificate", "--certificate-key"),
        ("exchange", "--leg1-certificate", "--leg1-certificate-key"),
    ] {
        let args = [command, "--scope", VAULT, certificate, uri, key, "client.key"];
        for said in both(&[&args[..], &identity].concat()) {
            assert!(said.contains("[usage]") || said.contains(r#""code":"usage""#), "{said}");
            assert!(said.contains("--certificate-key (for Leg 1 --leg1-certificate-key)"), "{said}");
        }
    }
}

#[test]
fn verify_names_the_flags_that_it_needs() {
    let [said, _] = both(&["verify", "abc", "--tenant", TENANT, "--audience", "x"]);
    assert!(said.contains("fix: give --require-role, --require-scope or --allow-client"), "{said}");
    for help in ["-h", "--help"] {
        let help = stdout(&offline(&["verify", help]));
        assert!(
            help.contains("issuer (--tenant or --issuer), and a rule for callers\n(--require-role, "),
            "{help}"
        );
    }
}

#[test]
fn a_secret_in_the_place_of_a_name_is_not_printed() {
    let emulator = Emulator::start();
    let identity = ["--tenant", TENANT, "--client-id", APP, "--scope", VAULT];
    let password =
        ["token", "--certificate", emulator.certificate(), "--certificate-password-env", "p4ss-w*rd"];
    let secret = ["token", "--bearer", "--client-secret-env", "p4ss-w*rd"];
    for (args, flag) in [(&password[..], "--certificate-password-env"), (&secret[..], "--client-secret-env")]
    {
        for said in both(&[args, &identity].concat()) {
            assert!(said.contains(&format!("{flag} takes the name of a variable")), "{said}");
            assert!(!said.contains("p4ss"), "{said}");
        }
    }
}

#[test]
fn the_variable_of_a_wrong_password_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (key, pem) = (directory.path().join("key.pem"), directory.path().join("app.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-subj", "/CN=x", "-passout", "pass:right", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&pem)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let args =
        ["token", "--tenant", TENANT, "--client-id", APP, "--scope", VAULT, "--certificate", text(&pem)];
    let run = |more: &[&str]| {
        let mut command = certbound();
        command.args([&args[..], &["--certificate-key", text(&key)], more].concat());
        stderr(
            &command.env("PW", "wrong").env("AZURE_CLIENT_CERTIFICATE_PASSWORD", "wrong").output().unwrap(),
        )
    };
    let named = run(&["--certificate-password-env", "PW"]);
    assert!(named.contains("reads it from PW\n") && !named.contains("AZURE_"), "{named}");
    assert!(run(&[]).contains("reads it from AZURE_CLIENT_CERTIFICATE_PASSWORD"));
}

#[test]
fn the_emulator_is_named_only_where_it_explains_the_error() {
    let emulator = Emulator::start();
    let token = |tenant: &str, marker: bool| {
        let mut command = certbound();
        let flags = ["--client-id", APP, "--scope", VAULT, "--certificate", emulator.certificate()];
        command.args(["token", "--tenant", tenant]).args(flags).env("HTTPS_PROXY", NOWHERE);
        if marker {
            command.env("CERTBOUND_EMULATOR_ADMIN", "http://127.0.0.1:1/x");
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        stderr(&output).contains("put `certbound emulator run --` before the command")
    };
    assert!(token(TENANT, false));
    assert!(!token(TENANT, true), "the command uses an emulator");
    assert!(!token("72f988bf-86f1-41af-91ab-2d7cd011db47", false), "a tenant of a user");

    let call = format!(
        "{} call --certificate \"$CERTBOUND_EMULATOR_CERTIFICATE\" --tenant {TENANT} --client-id {APP} --scope {VAULT} https://other.example/",
        env!("CARGO_BIN_EXE_certbound")
    );
    let output = certbound().args(["emulator", "run", "--", "sh", "-c", &call]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("fix: the emulator has no host other.example: "), "{}", stderr(&output));
}

#[test]
fn the_configuration_file_is_named_only_if_the_value_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let config = file(&directory, "certbound.toml", "region = 'not a region'\ntimeout = 20\n");
    let emulator = Emulator::start();
    let run = |more: &[&str]| {
        let base =
            ["token", "--config", text(&config), "--tenant", TENANT, "--client-id", APP, "--scope", VAULT];
        stderr(&offline(&[&base[..], &["--certificate", emulator.certificate()], more].concat()))
    };
    let hint = "checks the values that come from this file";
    assert!(run(&[]).contains(hint), "{}", run(&[]));
    assert!(!run(&["--region", "also wrong"]).contains(hint), "{}", run(&["--region", "also wrong"]));
    assert!(!run(&["--region", "westus3", "--zzz"]).contains(hint));
}

#[test]
fn a_certificate_that_has_expired_is_found_by_config_check() {
    let directory = tempfile::tempdir().unwrap();
    let emulator = Emulator::start();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    (parameters.not_before, parameters.not_after) =
        (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let expired = parameters.self_signed(&key).unwrap();
    let expired = file(&directory, "old.pem", format!("{}{}", expired.pem(), key.serialize_pem()));
    for (certificate, code) in [(emulator.certificate(), 0), (text(&expired), 2)] {
        let config = file(&directory, "certbound.toml", format!("certificate = '{certificate}'\n"));
        let output = offline(&["config", "check", text(&config)]);
        assert_eq!(output.status.code(), Some(code), "{}", stdout(&output));
        assert_eq!(stdout(&output).contains("expired"), code == 2, "{}", stdout(&output));
    }
}

/// Runs `emulator start -o shell`, and a script in a shell that has read its lines.
fn in_a_shell(script: &str) -> Output {
    let mut child = certbound();
    child.args(["emulator", "start", "-o", "shell"]).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut variables = String::new();
    loop {
        let line = lines.next().unwrap();
        variables.push_str(&format!("{line}\n"));
        if line.starts_with("export CERTBOUND_EMULATOR_CERTIFICATE=") {
            break;
        }
    }
    let mut shell = Command::new("sh");
    shell.env_clear().env("PATH", std::env::var("PATH").unwrap()).arg("-c");
    let output = shell.arg(format!("{variables}{script}")).output().unwrap();
    signal(&child, Signal::TERM);
    child.wait().unwrap();
    output
}

#[test]
fn another_shell_gets_the_variables_of_emulator_run() {
    let names = |text: &str| {
        let names = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name.to_owned());
        let mut names: Vec<String> =
            names.filter(|name| !["PWD", "OLDPWD", "_", "SHLVL"].contains(&name.as_str())).collect();
        names.sort();
        names
    };
    let path = std::env::var("PATH").unwrap();
    let call = format!(
        "{} call --certificate \"$CERTBOUND_EMULATOR_CERTIFICATE\" --tenant {TENANT} --client-id {APP} https://demo.vault.azure.net/secrets/demo",
        env!("CARGO_BIN_EXE_certbound")
    );
    let output = in_a_shell(&format!("{call} && echo && env"));
    assert!(output.status.success(), "{}", stderr(&output));
    let mut clean = Command::new(env!("CARGO_BIN_EXE_certbound"));
    clean.env_clear().env("PATH", path).args(["emulator", "run", "--", "env"]);
    let of_run = names(&stdout(&clean.output().unwrap()));
    let of_start = names(&stdout(&output));
    assert!(
        of_run.len() > 10 && of_run.iter().all(|name| of_start.contains(name)),
        "{of_run:?} {of_start:?}"
    );

    for format in ["table", "header", "env", "raw"] {
        let output = offline(&["emulator", "start", "-o", format]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("[output_format_unsupported]"), "{}", stderr(&output));
    }
}
