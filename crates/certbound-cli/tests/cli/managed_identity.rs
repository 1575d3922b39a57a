//! Managed identities on the command line, against the emulated machine.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Output;

use crate::support::{Emulator, NOWHERE, TENANT, VAULT, certbound, json, refusal, stderr, stdout};

const TARGET: &str = "c2e9a640-7b15-4d8f-a3c1-5f60e8d2b794";
const USER: &str = "client-id:98c4f2e7-1b60-4a5d-9e83-0f7d26b8c514";

/// Runs the binary on the emulator's machine, without a named application.
fn on_machine(emulator: &Emulator, args: &[&str]) -> Output {
    let mut command = certbound();
    command.env("HTTPS_PROXY", emulator.text("proxy")).env("SSL_CERT_FILE", emulator.text("ca"));
    command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.text("imds"));
    command.args(args).args(["-o", "json"]).output().unwrap()
}

#[test]
fn the_four_combinations_and_one_step() {
    let emulator = Emulator::start();
    for identity in ["system", USER] {
        let token =
            json(&on_machine(&emulator, &["token", "--managed-identity", identity, "--scope", VAULT]));
        assert_eq!(token["tokenType"], "mtls_pop");
        assert_eq!(token["bindingCertificate"]["source"], format!("managed-identity:{identity}"));
        let plain = ["token", "--bearer", "--managed-identity", identity, "--scope", VAULT];
        assert_eq!(json(&on_machine(&emulator, &plain))["tokenType"], "Bearer");
        let exchange = [
            "exchange",
            "--leg1-managed-identity",
            identity,
            "--client-id",
            TARGET,
            "--tenant",
            TENANT,
            "--scope",
            VAULT,
        ];
        for (kind, expected) in [("--bound", "mtls_pop"), ("--bearer", "Bearer")] {
            let token = json(&on_machine(&emulator, &[&exchange[..], &[kind]].concat()));
            assert_eq!(token["tokenType"], expected);
            let legs = token["legs"].as_array().unwrap();
            assert_eq!((legs.len(), &legs[0]["clientAssertionType"]), (2, &serde_json::Value::Null));
            assert!(legs[1]["clientAssertionType"].as_str().unwrap().ends_with("jwt-pop"));
        }
        let assertion = json(&on_machine(&emulator, &["assertion", "--managed-identity", identity]));
        assert!(assertion["assertion"].as_str().unwrap().starts_with("eyJ"));
    }
    let url = "https://demo.vault.azure.net/secrets/demo";
    let called = on_machine(&emulator, &["call", "--managed-identity", "system", url]);
    assert!(stdout(&called).contains("a secret that is none"), "{}", stdout(&called));
    let by_legs = ["call", "--leg1-managed-identity", USER, "--client-id", TARGET, "--tenant", TENANT, url];
    assert!(stdout(&on_machine(&emulator, &by_legs)).contains("a secret that is none"));
}

#[test]
fn a_token_whose_key_ends_with_the_command_has_a_warning() {
    let emulator = Emulator::start();
    let state = tempfile::tempdir().unwrap();
    let state = state.path().join("state");
    let token = ["token", "--managed-identity", "system", "--scope", VAULT];
    for (more, is_warned) in
        [(&[][..], true), (&["--bearer"], false), (&["--machine-state", state.to_str().unwrap()], false)]
    {
        let output = on_machine(&emulator, &[&token[..], more].concat());
        assert!(json(&output)["accessToken"].is_string());
        assert_eq!(stderr(&output).contains("its private key exists"), is_warned, "{more:?}: {output:?}");
    }
}

#[test]
fn what_cannot_be_is_refused_by_its_name() {
    let emulator = Emulator::start();
    let system = ["--managed-identity", "system", "--scope", VAULT];
    let id = "client-id:00000000-0000-4000-8000-000000000000";
    let rows: [(Vec<&str>, (i32, &str)); 5] = [
        (
            [&["exchange", "--client-id", TARGET, "--tenant", TENANT], &system[..]].concat(),
            (2, "managed_identity_cannot_be_leg2"),
        ),
        (vec!["token", "--managed-identity", "me", "--scope", VAULT], (2, "invalid_managed_identity_id")),
        (vec!["token", "--managed-identity", id, "--scope", VAULT], (1, "managed_identity_request_failed")),
        (
            vec!["token", "--managed-identity", "system", "--scope", "https://management.azure.com/.default"],
            (1, "invalid_request"),
        ),
        (
            vec![
                "exchange",
                "--leg1-managed-identity",
                "system",
                "--leg1-tenant",
                TENANT,
                "--client-id",
                TARGET,
                "--tenant",
                TENANT,
                "--scope",
                VAULT,
            ],
            (2, "leg1_flag_unused"),
        ),
    ];
    for (args, (exit, code)) in rows {
        assert_eq!(refusal(&on_machine(&emulator, &args)), (exit, code.to_owned()), "{args:?}");
    }
    // A machine without a metadata service.
    let mut command = certbound();
    command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9").args(["token"]).args(system);
    assert_eq!(
        refusal(&command.args(["-o", "json"]).output().unwrap()),
        (3, "managed_identity_unreachable_network".to_owned())
    );
    // A platform that cannot bind tokens is refused before a request is sent.
    let mut command = certbound();
    command.env("MSI_ENDPOINT", "http://127.0.0.1:9").args(["token"]).args(system);
    assert_eq!(
        refusal(&command.args(["-o", "json"]).output().unwrap()),
        (2, "mtls_pop_not_supported_for_environment".to_owned())
    );
}

/// Clients look for the files of the agent's challenges in one folder only.
#[test]
fn the_agent_of_arc_is_there_inside_only() {
    for identity in ["system", USER] {
        let ours = [env!("CARGO_BIN_EXE_certbound"), "token", "--bearer", "--scope", VAULT, "-o", "json"];
        let mut command = certbound();
        command.args(["emulator", "run", "--isolated", "--platform", "arc", "--"]).args(ours);
        let token = json(&command.args(["--managed-identity", identity]).output().unwrap());
        assert_eq!(token["tokenType"], "Bearer", "{token}");
        assert!(token["endpoint"].as_str().unwrap().ends_with("/arc/token"), "{token}");
    }
    let outside = certbound().args(["emulator", "run", "--platform", "arc", "--", "true"]).output().unwrap();
    assert_eq!(outside.status.code(), Some(125));
    assert!(stderr(&outside).contains("arc_needs_isolation"), "{}", stderr(&outside));
}

/// Returns the output of our token command under `emulator run` on a node of Service Fabric.
fn on_node(flags: &[&str], token: &[&str]) -> Output {
    let mut command = certbound();
    command.args(["emulator", "run", "--platform", "service-fabric"]).args(flags).arg("--");
    command.args([env!("CARGO_BIN_EXE_certbound"), "token", "--scope", VAULT, "-o", "json"]);
    command.args(token).output().unwrap()
}

#[test]
fn a_node_of_service_fabric_is_known_by_its_thumbprint() {
    let user = "object-id:41d8e6b2-7f93-4c0a-a5e1-b90c38f2d76e";
    for flags in [&[][..], &["--isolated"]] {
        for identity in ["system", user] {
            let token = json(&on_node(flags, &["--bearer", "--managed-identity", identity]));
            assert_eq!(token["tokenType"], "Bearer", "{token}");
            let endpoint = token["endpoint"].as_str().unwrap();
            assert!(
                endpoint.starts_with("https://127.0.0.1:") && endpoint.ends_with("/service-fabric/token")
            );
        }
    }
    let other_name = on_node(&[], &["--bearer", "--managed-identity", USER]);
    assert_eq!(
        refusal(&other_name),
        (2, "user_assigned_managed_identity_not_configurable_at_runtime".to_owned())
    );
    let bound = on_node(&[], &["--managed-identity", "system"]);
    assert_eq!(refusal(&bound), (2, "mtls_pop_not_supported_for_environment".to_owned()));
}

#[test]
fn another_thumbprint_or_none_is_refused_by_its_name() {
    let emulator = Emulator::start();
    let node = &emulator.ready["service_fabric"];
    let (endpoint, thumbprint) = (node["endpoint"].as_str().unwrap(), node["thumbprint"].as_str().unwrap());
    let with = |endpoint: &str, thumbprint: &str| {
        let mut command = certbound();
        command.env("IDENTITY_ENDPOINT", endpoint).env("IDENTITY_HEADER", "certbound-emulator-platform");
        command.env("IDENTITY_SERVER_THUMBPRINT", thumbprint);
        let token = ["token", "--bearer", "--managed-identity", "system", "--scope", VAULT, "-o", "json"];
        command.args(token).output().unwrap()
    };
    assert_eq!(json(&with(endpoint, &thumbprint.to_lowercase()))["tokenType"], "Bearer");
    let other = "A9993E364706816ABA3E25717850C26C9CD0D89D";
    let refused = with(endpoint, other);
    assert_eq!(refusal(&refused), (1, "managed_identity_unreachable_network".to_owned()));
    let text = stderr(&refused);
    assert!(text.contains(other) && text.contains(thumbprint), "{text}");
    assert!(!text.contains("certbound-emulator-platform"), "{text}");
    for (endpoint, thumbprint, code) in [
        (endpoint, &thumbprint[1..], "invalid_server_thumbprint"),
        (endpoint, "none", "invalid_server_thumbprint"),
        (&endpoint.replace("https", "http"), thumbprint, "invalid_managed_identity_endpoint"),
    ] {
        assert_eq!(refusal(&with(endpoint, thumbprint)), (2, code.to_owned()));
    }
}

/// Runs `capabilities` with the metadata service at `imds`.
fn capabilities(imds: &str, variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = certbound();
    command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", imds).envs(variables.iter().copied());
    command.arg("capabilities").args(args).output().unwrap()
}

#[test]
fn what_a_machine_can_do_is_found_out() {
    let emulator = Emulator::start();
    let imds = emulator.text("imds");
    let machine = json(&capabilities(imds, &[], &["-o", "json", "--managed-identity", USER]));
    let expected = serde_json::json!({
        "identity": USER, "source": "imds", "metadataService": "2", "bearer": true, "bound": true,
        "imdsV2Disabled": false, "keyStrength": "software", "keysPersist": false,
        "fips": cfg!(feature = "fips"), "tpm": cfg!(feature = "tpm"), "openssl": cfg!(feature = "openssl"),
    });
    assert_eq!(machine, expected);
    let table = stdout(&capabilities(imds, &[], &["-o", "table"]));
    let keys = "keys      in memory: a bound token cannot be used after the command ends\n";
    let bound = "Bearer    yes\nbound     yes; key strength: software\n";
    let expected = format!("identity  system\nsource    imds, version 2\n{bound}{keys}FIPS      ");
    let built: Vec<&str> =
        table.strip_prefix(&expected).unwrap_or_else(|| panic!("{table}")).lines().collect();
    let has = |line: &str, feature: bool| line.starts_with(if feature { "yes" } else { "no" });
    assert!(has(built[0], cfg!(feature = "fips")), "{table}");
    let built_in = [("TPM keys  ", cfg!(feature = "tpm")), ("OpenSSL   ", cfg!(feature = "openssl"))];
    for (line, (label, feature)) in built[1..].iter().zip(built_in) {
        assert!(line.strip_prefix(label).is_some_and(|value| has(value, feature)), "{table}");
    }
    assert_eq!(built.len(), 3, "{table}");
    let env = stdout(&capabilities(imds, &[], &["-o", "env"]));
    let flag = |name: &str, is_built_in: bool| format!("CERTBOUND_{name}={}\n", u8::from(is_built_in));
    let built_in = flag("FIPS", cfg!(feature = "fips"))
        + &flag("TPM", cfg!(feature = "tpm"))
        + &flag("OPENSSL", cfg!(feature = "openssl"));
    let lines = ["SOURCE=imds", "BOUND=1", "KEYS_PERSIST=0", "KEY_STRENGTH=software"];
    assert_eq!(env, lines.map(|line| format!("CERTBOUND_{line}\n")).concat() + &built_in);
    let header = capabilities(imds, &[], &["-o", "header"]);
    assert_eq!((header.status.code(), header.stdout.len()), (Some(2), 0));
}

#[test]
fn the_older_metadata_service_binds_nothing() {
    let imds = answering(|path| match path {
        path if path.contains("getplatformmetadata") => 404,
        path if path.contains("oauth2/token") => 400,
        _ => 403,
    });
    let machine = json(&capabilities(&imds, &[], &["-o", "json"]));
    assert_eq!(
        (&machine["metadataService"], &machine["bound"], &machine["keyStrength"]),
        (&"1".into(), &false.into(), &serde_json::Value::Null)
    );
    let table = stdout(&capabilities(&imds, &[], &["-o", "table"]));
    assert!(table.contains("version 1") && table.contains("bound     no: this metadata service"), "{table}");
    let env = stdout(&capabilities(&imds, &[], &["-o", "env"]));
    let expected = "CERTBOUND_SOURCE=imds\nCERTBOUND_BOUND=0\nCERTBOUND_KEYS_PERSIST=0\nCERTBOUND_FIPS=";
    assert!(env.starts_with(expected), "{env}");
    assert!(!table.contains("\nkeys "), "{table}");
}

#[test]
fn no_metadata_service_is_an_error_with_both_reasons() {
    const CODE: &str = "managed_identity_all_sources_unavailable";
    let nobody = capabilities(NOWHERE, &[], &["-o", "json"]);
    assert_eq!(refusal(&nobody), (3, CODE.to_owned()));
    assert_eq!(stderr(&nobody).matches("the connection failed").count(), 2, "{}", stderr(&nobody));
    let another = capabilities(&answering(|_| 403), &[], &["-o", "json"]);
    assert_eq!(refusal(&another), (1, CODE.to_owned()));
    assert_eq!(stderr(&another).matches("status 403").count(), 2, "{}", stderr(&another));
}

#[test]
fn another_platform_is_believed_without_asking() {
    let told = |variables: &[(&str, &str)]| json(&capabilities(NOWHERE, variables, &["-o", "json"]));
    let app = told(&[("IDENTITY_ENDPOINT", "http://127.0.0.1:9/x"), ("IDENTITY_HEADER", "x")]);
    assert_eq!((&app["source"], &app["bound"]), (&"app-service".into(), &false.into()));
    assert_eq!(app["keyStrength"], serde_json::Value::Null);
    let node = told(&[
        ("IDENTITY_ENDPOINT", "https://127.0.0.1:9/x"),
        ("IDENTITY_HEADER", "x"),
        ("IDENTITY_SERVER_THUMBPRINT", "A9993E364706816ABA3E25717850C26C9CD0D89D"),
    ]);
    assert_eq!((&node["source"], &node["bound"]), (&"service-fabric".into(), &false.into()));
    let unnamed = [("MSI_ENDPOINT", "http://127.0.0.1:9/x"), ("MSI_SECRET", "x")];
    let unnamed = refusal(&capabilities(NOWHERE, &unnamed, &["-o", "json"]));
    assert_eq!(unnamed, (2, "invalid_managed_identity_id_type".to_owned()));
}

#[test]
fn a_variable_disables_version_2_for_every_command() {
    const CODE: &str = "mtls_pop_token_not_supported_in_imds_v1";
    let emulator = Emulator::start();
    let run = |args: &[&str]| {
        let mut command = certbound();
        command.env("HTTPS_PROXY", emulator.text("proxy")).env("SSL_CERT_FILE", emulator.text("ca"));
        command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.text("imds"));
        command.env("MSAL_MI_DISABLE_IMDS_V2", "True");
        command.args(args).args(["-o", "json"]).output().unwrap()
    };
    let system = ["--managed-identity", "system"];
    let token = [&["token", "--scope", VAULT], &system[..]].concat();
    let over_mtls = [&token[..], &["--bearer", "--bearer-over-mtls"]].concat();
    for args in [&token, &over_mtls, &[&["assertion"], &system[..]].concat()] {
        let refused = run(args);
        assert_eq!(refusal(&refused), (2, CODE.to_owned()), "{args:?}");
        assert!(stderr(&refused).contains("MSAL_MI_DISABLE_IMDS_V2"), "{}", stderr(&refused));
    }
    assert_eq!(json(&run(&[&token[..], &["--bearer"]].concat()))["tokenType"], "Bearer");
    // A Bearer exchange has an unbound Leg 1, as on a platform that cannot bind tokens.
    let app = ["--client-id", TARGET, "--tenant", TENANT, "--scope", VAULT];
    let exchange = [&["exchange", "--leg1-managed-identity", "system"], &app[..]].concat();
    let unbound = json(&run(&[&exchange[..], &["--bearer"]].concat()));
    let kind = unbound["legs"].as_array().unwrap().last().unwrap()["clientAssertionType"].clone();
    assert!(kind.as_str().unwrap().ends_with("jwt-bearer"), "{unbound}");
    assert_eq!(refusal(&run(&exchange)), (2, CODE.to_owned()));

    let disabled = [("MSAL_MI_DISABLE_IMDS_V2", "1")];
    let imds = emulator.text("imds");
    let machine = json(&capabilities(imds, &disabled, &["-o", "json"]));
    let expected = serde_json::json!({
        "identity": "system", "source": "imds", "metadataService": "1", "bearer": true, "bound": false,
        "imdsV2Disabled": true, "keyStrength": null, "keysPersist": false,
        "fips": cfg!(feature = "fips"), "tpm": cfg!(feature = "tpm"), "openssl": cfg!(feature = "openssl"),
    });
    assert_eq!(machine, expected);
    let table = stdout(&capabilities(imds, &disabled, &["-o", "table"]));
    assert!(table.contains("bound     no: MSAL_MI_DISABLE_IMDS_V2 disables version 2"), "{table}");
    let nobody = capabilities(NOWHERE, &disabled, &["-o", "json"]);
    assert_eq!(refusal(&nobody), (3, "managed_identity_all_sources_unavailable".to_owned()));
    assert!(stderr(&nobody).contains("MSAL_MI_DISABLE_IMDS_V2"), "{}", stderr(&nobody));
}

#[test]
fn a_search_that_takes_too_long_is_a_failure_of_the_network() {
    // The service asks for a retry after 10 s, seven times.
    let updating = answering(|_| 410);
    let late = capabilities(&updating, &[], &["-o", "json", "--timeout", "1"]);
    assert_eq!(refusal(&late), (3, "request_timeout".to_owned()));
    assert!(stderr(&late).contains("took longer than 1 s"), "{}", stderr(&late));
    for wrong in ["0", "-1", "3601", "soon"] {
        let output = capabilities(&updating, &[], &["-o", "json", "--timeout", wrong]);
        assert_eq!(refusal(&output).0, 2, "{wrong}");
    }
}

#[test]
fn a_bearer_token_over_mutual_tls_is_issued_by_the_token_service() {
    let emulator = Emulator::start();
    let state = tempfile::tempdir().unwrap();
    let state = state.path().join("state");
    for identity in ["system", USER] {
        let token = ["token", "--managed-identity", identity, "--scope", VAULT, "--bearer-over-mtls"];
        let output = on_machine(&emulator, &[&token[..], &["--bearer"]].concat());
        let bearer = json(&output);
        assert_eq!((&bearer["tokenType"], &bearer["region"]), (&"Bearer".into(), &"westus3".into()));
        let endpoint = bearer["endpoint"].as_str().unwrap();
        assert!(endpoint.starts_with("https://westus3.mtlsauth.microsoft.com/"), "{endpoint}");
        assert_eq!(bearer["bindingCertificate"], serde_json::Value::Null);
        // The token needs no key, so nothing is lost with the command.
        assert!(!stderr(&output).contains("its private key ends"), "{output:?}");
        // As for an application, the flag has no effect on a bound token.
        assert_eq!(json(&on_machine(&emulator, &token))["tokenType"], "mtls_pop");
        let stored = ["--bearer", "--machine-state", state.to_str().unwrap()];
        assert_eq!(json(&on_machine(&emulator, &[&token[..], &stored].concat()))["tokenType"], "Bearer");
    }
    let url = "https://demo.vault.azure.net/secrets/demo";
    let call = ["call", "--managed-identity", "system", "--bearer", "--bearer-over-mtls", "--trace", url];
    let called = on_machine(&emulator, &call);
    assert!(stdout(&called).contains("a secret that is none"), "{}", stdout(&called));
    let told = stderr(&called);
    assert!(
        told.contains("> token_type=bearer") && told.contains("> TLS presents the certificate "),
        "{told}"
    );
    // A platform without certificates is refused before a request is sent.
    let mut command = certbound();
    command.env("MSI_ENDPOINT", "http://127.0.0.1:9").args(["token", "--scope", VAULT]);
    command.args(["--managed-identity", "system", "--bearer", "--bearer-over-mtls", "-o", "json"]);
    assert_eq!(refusal(&command.output().unwrap()), (2, "mtls_pop_not_supported_for_environment".to_owned()));
}

/// Returns the URL of a server that answers each path with a status and an empty body.
fn answering(status: fn(&str) -> u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for mut tcp in listener.incoming().flatten() {
            let mut line = String::new();
            let mut lines = BufReader::new(&tcp).lines().map_while(Result::ok);
            for next in lines.by_ref().take_while(|next| !next.is_empty()) {
                if line.is_empty() {
                    line = next;
                }
            }
            let path = line.split(' ').nth(1).unwrap_or_default();
            let answer =
                format!("HTTP/1.1 {} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status(path));
            let _ = tcp.write_all(answer.as_bytes());
        }
    });
    url
}
