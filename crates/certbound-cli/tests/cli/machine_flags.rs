//! A managed identity together with every other flag or variable that sets the identity.

use std::process::Output;

use serde_json::Value;

use crate::support::{APP, Emulator, NOWHERE, TENANT, VAULT, certbound, file, json, refusal, stderr, text};

const CALL: &str = "https://demo.vault.azure.net/secrets/demo";
const APPLICATION: [&str; 4] = ["--client-id", APP, "--tenant", TENANT];

/// Runs the command with these variables. No request can be sent.
fn run(variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = certbound();
    command.env("HTTPS_PROXY", NOWHERE).env("THE_SECRET", "S").envs(variables.iter().copied());
    command.args(args).args(["-o", "json"]).output().unwrap()
}

/// Returns the kind of identity of a dry run's first request.
fn asks(variables: &[(&str, &str)], args: &[&str]) -> &'static str {
    let shown = json(&run(variables, &[args, &["--dry-run"]].concat()));
    let request = &shown["requests"][0];
    let has = |parameter: &str| request["body"].get(parameter).is_some();
    match request["url"].as_str().unwrap() {
        url if url.contains("/metadata/identity/") => "machine",
        _ if has("client_secret") => "secret",
        _ if request["leg"] == 1 => "leg 1 by certificate",
        _ if request["leg"] == 2 => "leg 2",
        _ if request["certificate"] != Value::Null => "certificate",
        _ if has("client_assertion") => "assertion",
        url => panic!("{url}: {shown}"),
    }
}

#[test]
fn a_call_as_a_managed_identity_has_no_leg_1() {
    let emulator = Emulator::start();
    let certificate = emulator.certificate();
    for flags in [
        &["--leg1-certificate", certificate][..],
        &["--leg1-certificate", certificate, "--client-id", APP, "--tenant", TENANT],
        &["--leg1-managed-identity", "system"],
        &["--leg1-certificate-key", certificate],
        &["--leg1-client-id", APP],
        &["--leg1-tenant", TENANT],
        &["--assertion-file", certificate],
        &["--assertion-file", certificate, "--certificate", certificate],
    ] {
        let args = [&["call", CALL, "--managed-identity", "system"], flags].concat();
        assert_eq!(refusal(&run(&[], &args)), (2, "managed_identity_cannot_be_leg2".to_owned()), "{flags:?}");
    }
}

#[test]
fn what_is_typed_beside_a_managed_identity_is_not_passed_by() {
    let emulator = Emulator::start();
    let certificate = emulator.certificate();
    let anywhere: [&[&str]; 9] = [
        &["--certificate", certificate],
        &["--certificate-password-env", "THE_SECRET"],
        &["--issuer", "https://issuer.example"],
        &["--client-id", APP],
        &["--tenant", TENANT],
        &["--region", "westus3"],
        &["--global-if-region-unreachable"],
        &["--authority", "https://login.microsoftonline.us"],
        &["--no-authority-validation"],
    ];
    let of_the_direct_flow: [&[&str]; 3] =
        [&["--client-secret-env", "THE_SECRET"], &["--bearer-over-mtls"], &["--no-x5c"]];
    let of_token: [&[&str]; 1] = [&["--assertion-file", certificate]];
    // A managed identity can request a Bearer token over mutual TLS too.
    let without_mtls = of_the_direct_flow.into_iter().filter(|flag| flag != &["--bearer-over-mtls"]);
    let direct: Vec<&[&str]> = anywhere.into_iter().chain(without_mtls).collect();
    for (command, others) in [
        (&["token", "--scope", VAULT][..], [&direct[..], &of_token].concat()),
        (&["call", CALL], direct),
        (&["assertion"], anywhere.to_vec()),
    ] {
        for other in others {
            let args = [command, &["--managed-identity", "system"], other].concat();
            let output = run(&[], &args);
            assert_eq!(refusal(&output), (2, "usage".to_owned()), "{args:?}");
            let said = stderr(&output);
            assert!(said.contains(other[0]) && said.contains("--managed-identity"), "{args:?}: {said}");
        }
    }
    // The same conflicts for a Leg 1 together with a credential of the direct flow.
    for leg1 in [["--leg1-certificate", certificate], ["--leg1-managed-identity", "system"]] {
        for other in of_the_direct_flow {
            let args = [&["call", CALL], &leg1[..], &APPLICATION, other].concat();
            assert_eq!(refusal(&run(&[], &args)), (2, "usage".to_owned()), "{args:?}");
        }
    }
    let both = ["--client-secret-env", "THE_SECRET", "--assertion-file", certificate];
    let args = [&["call", CALL], &APPLICATION[..], &both].concat();
    assert_eq!(refusal(&run(&[], &args)), (2, "usage".to_owned()));
}

/// The variables, the command, its other flags, and the expected identity.
type Row<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a [&'a str], &'a str);

#[test]
fn typed_beats_the_environment_and_our_variables_beat_the_sdks() {
    let emulator = Emulator::start();
    let folder = tempfile::tempdir().unwrap();
    let jwt = file(&folder, "assertion", "J.J.J");
    let (certificate, jwt) = (emulator.certificate(), text(&jwt));
    let machine = ("CERTBOUND_MANAGED_IDENTITY", "system");
    let leg1_machine = ("CERTBOUND_LEG1_MANAGED_IDENTITY", "system");
    let leg1_certificate = ("CERTBOUND_LEG1_CERTIFICATE", certificate);
    let secret = ("CERTBOUND_CLIENT_SECRET_ENV", "THE_SECRET");
    let assertion = ("CERTBOUND_ASSERTION_FILE", jwt);
    let sdk = ("AZURE_CLIENT_CERTIFICATE_PATH", certificate);
    let sdk_key = ("CERTBOUND_CERTIFICATE_KEY", certificate);
    let (app, tenant) = (("AZURE_CLIENT_ID", APP), ("AZURE_TENANT_ID", TENANT));
    let region = ("AZURE_REGIONAL_AUTHORITY_NAME", "westus3");
    let (sdk_secret, federated) = (("AZURE_CLIENT_SECRET", "S"), ("AZURE_FEDERATED_TOKEN_FILE", jwt));

    let (token, call) = (["token", "--scope", VAULT], ["call", CALL]);
    let exchange = ["exchange", "--scope", VAULT];
    let over_mtls = ("CERTBOUND_BEARER_OVER_MTLS", "true");
    let rows: [Row<'_>; 29] = [
        // A flag overrides all other settings in the environment.
        (
            &[app, tenant, region, sdk, sdk_key, secret, assertion, ("CERTBOUND_BEARER_OVER_MTLS", "true")],
            &token,
            &["--managed-identity", "system"],
            "machine",
        ),
        (
            &[leg1_certificate, leg1_machine, assertion, sdk, app, tenant, ("CERTBOUND_LEG1_TENANT", TENANT)],
            &call,
            &["--managed-identity", "system"],
            "machine",
        ),
        (&[sdk, app, tenant, region], &["assertion"], &["--managed-identity", "system"], "machine"),
        (&[machine, app, tenant], &token, &["--certificate", certificate], "certificate"),
        (&[machine, app, tenant], &token, &["--client-secret-env", "THE_SECRET", "--bearer"], "secret"),
        (&[machine, app, tenant], &token, &["--assertion-file", jwt, "--bearer"], "assertion"),
        (&[machine, sdk, tenant], &token, &["--client-id", APP], "certificate"),
        (&[machine, sdk, app], &token, &["--tenant", TENANT], "certificate"),
        (&[machine, app, tenant], &call, &["--leg1-certificate", certificate], "leg 1 by certificate"),
        (&[machine, app, tenant], &call, &["--assertion-file", jwt, "--bearer"], "assertion"),
        (&[machine, app, tenant], &call, &["--leg1-managed-identity", "system"], "machine"),
        (&[machine, app, tenant], &exchange, &["--leg1-certificate", certificate], "leg 1 by certificate"),
        (&[machine, app, tenant], &exchange, &["--certificate", certificate], "leg 1 by certificate"),
        (
            &[leg1_machine, app, tenant],
            &exchange,
            &["--leg1-certificate", certificate],
            "leg 1 by certificate",
        ),
        (&[leg1_machine, app, tenant], &exchange, &["--certificate", certificate], "leg 1 by certificate"),
        (&[leg1_machine, app, tenant], &call, &["--client-secret-env", "THE_SECRET", "--bearer"], "secret"),
        (
            &[leg1_certificate, sdk, secret, assertion, app, tenant],
            &call,
            &["--leg1-managed-identity", "system"],
            "machine",
        ),
        (
            &[("CERTBOUND_ISSUER", "https://issuer.example"), app],
            &token,
            &["--tenant", TENANT, "--certificate", certificate],
            "certificate",
        ),
        // Variables that conflict with each other.
        (&[machine, sdk, sdk_key, app, tenant, region], &token, &[], "machine"),
        (&[machine, sdk, over_mtls, app, tenant], &token, &["--bearer"], "machine"),
        (&[sdk, over_mtls, app, tenant], &token, &["--bearer", "--managed-identity", "system"], "machine"),
        (&[leg1_machine, sdk, sdk_key, app, tenant, region], &exchange, &[], "machine"),
        (&[leg1_certificate, sdk, sdk_key, app, tenant], &exchange, &[], "leg 1 by certificate"),
        (&[secret, sdk, app, tenant], &token, &["--bearer"], "secret"),
        (&[assertion, sdk, app, tenant], &token, &["--bearer"], "assertion"),
        (&[sdk, sdk_secret, federated, app, tenant], &token, &[], "certificate"),
        (&[sdk_secret, federated, app, tenant], &token, &["--bearer"], "secret"),
        (&[federated, app, tenant], &token, &["--bearer"], "assertion"),
        (&[federated, app, tenant], &call, &["--bearer"], "assertion"),
    ];
    for (variables, command, flags, expected) in rows {
        let args = [command, flags].concat();
        assert_eq!(asks(variables, &args), expected, "{variables:?} {args:?}");
    }
    // Two variables of certbound that contradict each other, and a flag of a Leg 1 that has no credential.
    let leg1_client = ("CERTBOUND_LEG1_CLIENT_ID", APP);
    for (variables, command, code) in [
        (&[sdk_secret, leg1_client, app, tenant][..], &call[..], "leg1_required"),
        (&[leg1_machine, leg1_certificate, app, tenant], &exchange, "usage"),
        (&[machine, secret], &token, "usage"),
        (&[machine, leg1_certificate], &call, "managed_identity_cannot_be_leg2"),
        (&[machine, app, tenant], &exchange, "managed_identity_cannot_be_leg2"),
    ] {
        assert_eq!(refusal(&run(variables, command)), (2, code.to_owned()), "{variables:?} {command:?}");
    }
}

/// If a managed identity would be a fix for the mistake, the advice names it.
#[test]
fn the_fixes_name_the_managed_identity() {
    let scope = ["--scope", VAULT];
    for (args, code, flag) in [
        (
            [&["token"], &APPLICATION[..], &scope].concat(),
            "Client_Credentials_Required_In_Confidential_Client_Application",
            "--managed-identity",
        ),
        ([&["assertion"], &APPLICATION[..]].concat(), "certificate_required", "--managed-identity"),
        ([&["exchange"], &APPLICATION[..], &scope].concat(), "leg1_required", "--leg1-managed-identity"),
        (
            [
                &["exchange", "--leg1-managed-identity", "system", "--leg1-client-id", APP],
                &APPLICATION[..],
                &scope,
            ]
            .concat(),
            "leg1_flag_unused",
            "--leg1-managed-identity",
        ),
    ] {
        let output = run(&[], &args);
        assert_eq!(refusal(&output), (2, code.to_owned()), "{args:?}");
        let error: Value = serde_json::from_str(stderr(&output).lines().last().unwrap()).unwrap();
        assert!(error["error"]["fix"].as_str().unwrap().contains(flag), "{error}");
    }
    for (command, flag) in [("exchange", "--leg1-managed-identity"), ("assertion", "--managed-identity")] {
        let help = certbound().args([command, "--help"]).output().unwrap();
        let about = crate::support::stdout(&help).split("Usage:").next().unwrap().to_owned();
        assert!(about.contains(flag), "{about}");
    }
}
