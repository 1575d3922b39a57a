//! `--dry-run`: it prints the whole request without secrets, and sends nothing.

use crate::support::{
    APP, Emulator, TENANT, VAULT, certbound, file, has_token, json, offline, refusal, stderr, stdout, text,
};

const JWT_POP: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";

#[test]
fn both_legs_are_shown_and_the_assertion_is_not_yet_known() {
    let emulator = Emulator::start();
    let identity = ["--tenant", TENANT, "--client-id", APP, "--region", "westus3"];
    let base = ["exchange", "--dry-run", "--scope", VAULT, "--leg1-certificate", emulator.certificate()];
    let output = offline(&[&base[..], &identity].concat());
    let shown = json(&output);
    let requests = shown["requests"].as_array().unwrap();
    assert_eq!((output.status.code(), requests.len(), &shown["dryRun"]), (Some(0), 2, &true.into()));
    assert_eq!((&requests[0]["leg"], &requests[1]["leg"]), (&1.into(), &2.into()));
    assert_eq!(requests[0]["body"]["scope"], "api://AzureADTokenExchange/.default");
    assert!(requests[0]["body"].get("client_assertion").is_none());
    assert_eq!(requests[1]["body"]["client_assertion_type"], JWT_POP);
    assert!(requests[1]["body"]["client_assertion"].as_str().unwrap().contains("not yet known"));
    assert!(requests.iter().all(|request| request["certificate"] == requests[0]["certificate"]));
    let table = stdout(&offline(&[&base[..], &identity, &["-o", "table"]].concat()));
    assert!(table.starts_with("Nothing was sent.") && table.contains("not yet known"), "{table}");
    assert!(!has_token(&table), "{table}");
}

/// `call` runs the flow of `exchange` if it has a flag of `exchange`.
#[test]
fn call_runs_leg_1_as_the_application_that_a_flag_names() {
    let emulator = Emulator::start();
    let vault = "https://demo.vault.azure.net/secrets/demo";
    let call = ["call", "--dry-run", "-o", "json", vault, "--tenant", TENANT, "--client-id", APP];
    let certificate = ["--certificate", emulator.certificate()];
    let clients = |more: &[&str]| -> Vec<String> {
        let shown = json(&offline(&[&call[..], &certificate, more].concat()));
        let requests = shown["requests"].as_array().unwrap().iter();
        requests.filter_map(|it| it["body"]["client_id"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(clients(&[]), [APP]);
    let other = "00000000-0000-0000-0000-00000000000a";
    assert_eq!(clients(&["--leg1-client-id", other]), [other, APP]);

    // A typed flag overrides the flags of the environment that it excludes, and the key of an excluded certificate.
    let ids = ["--tenant", TENANT, "--client-id", APP];
    let run = |variables: &[(&str, &str)], more: &[&str]| {
        let mut command = certbound();
        command
            .envs(variables.iter().copied())
            .args([&["call", "--dry-run", "-o", "json", vault], &ids[..], more].concat());
        command.output().unwrap()
    };
    let key = ("CERTBOUND_LEG1_CERTIFICATE_KEY", "/nonexistent");
    let both = [("CERTBOUND_LEG1_CERTIFICATE", "/nonexistent"), key];
    json(&run(&both, &certificate));
    let secret = ["--bearer", "--client-secret-env", "SECRET"];
    let leg1 = [("SECRET", "s"), ("CERTBOUND_LEG1_CLIENT_ID", other), ("CERTBOUND_LEG1_TENANT", TENANT), key];
    json(&run(&leg1, &secret));
    // Typed flags that exclude each other are a mistake.
    let one_of_two = run(&[("SECRET", "s")], &[&secret[..], &["--leg1-client-id", other]].concat());
    assert_eq!(refusal(&one_of_two), (2, "usage".to_owned()));
    // The key of a certificate that is not given is a mistake, also in a dry run.
    let alone = run(&[key], &certificate);
    assert_eq!(refusal(&alone), (2, "leg1_flag_unused".to_owned()));
}

#[test]
fn nothing_secret_is_shown_and_nothing_is_sent() {
    let emulator = Emulator::start();
    let made = json(&emulator.run(&["assertion", "--certificate", emulator.certificate()]));
    let assertion = made["assertion"].as_str().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "assertion.jwt", assertion);
    let leg2 = ["--assertion-file", text(&path), "--certificate", emulator.certificate()];
    let identity = ["--tenant", TENANT, "--client-id", APP];
    let vault = "https://demo.vault.azure.net/secrets/demo";
    let certificate = ["--certificate", emulator.certificate()];
    for command in [
        [&["exchange", "--scope", VAULT], &leg2[..], &identity].concat(),
        [&["call", vault, "-d", "hidden body", "-H", "X-Key: hidden key"], &leg2[..], &identity].concat(),
        [&["token", "--scope", VAULT, "--bearer"], &certificate[..], &identity].concat(),
        [&["assertion"], &certificate[..], &identity].concat(),
    ] {
        for format in ["json", "table"] {
            let output = offline(&[&command[..], &["--dry-run", "-v", "--trace", "-o", format]].concat());
            let shown = stdout(&output) + &stderr(&output);
            assert_eq!(output.status.code(), Some(0), "{shown}");
            assert!(!has_token(&shown), "{shown}");
            for secret in [assertion, "hidden", "PRIVATE KEY"] {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
        }
    }
}

/// Each cloud has an audience of its own. The legacy German cloud has none, and that of an unknown host is unknown.
#[test]
fn leg_1_has_the_audience_of_its_cloud_or_is_refused() {
    let emulator = Emulator::start();
    let dry = |command: &str, authority: &str| {
        let leg1 = if command == "exchange" { "--leg1-certificate" } else { "--certificate" };
        let mut args = vec![command, "--dry-run", "--authority", authority, "--client-id", APP];
        args.extend([leg1, emulator.certificate(), "--no-authority-validation"]);
        if command == "exchange" {
            args.extend(["--scope", VAULT]);
        }
        offline(&args)
    };
    let france = format!("https://login.sovcloud-identity.fr/{TENANT}");
    for command in ["assertion", "exchange"] {
        let shown = json(&dry(command, &france));
        assert_eq!(shown["requests"][0]["body"]["scope"], "api://AzureADTokenExchangeFrance/.default");
        for host in ["login.microsoftonline.de", "login.private.example"] {
            let output = dry(command, &format!("https://{host}/{TENANT}"));
            let told = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{command} {host}: {told}");
            assert!(told.contains("token_exchange_not_supported"), "{command} {host}: {told}");
        }
    }
}
