//! Managed identities on the platforms of `emulator run`. Our own binary is the command that it runs.

use std::process::Output;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::support::{Emulator, TENANT, VAULT, certbound, has_token, json, refusal, stderr, stdout};

const TARGET: &str = "c2e9a640-7b15-4d8f-a3c1-5f60e8d2b794";
const SYSTEM: &str = "f27b94a3-0e5c-4d18-b6a9-3c81d50e7f42";
const USER: &str = "41d8e6b2-7f93-4c0a-a5e1-b90c38f2d76e";
const BY_CLIENT_ID: &str = "client-id:98c4f2e7-1b60-4a5d-9e83-0f7d26b8c514";
const BY_OBJECT_ID: &str = "object-id:41d8e6b2-7f93-4c0a-a5e1-b90c38f2d76e";
const SECRET: &str = "certbound-emulator-platform";

/// Returns the output of our own command under `emulator run` with these flags.
fn on(flags: &[&str], args: &[&str]) -> Output {
    let mut command = certbound();
    command.args(["emulator", "run"]).args(flags).args(["--", env!("CARGO_BIN_EXE_certbound")]);
    command.args(args).args(["-o", "json"]).output().unwrap()
}

/// Returns the owner of a token.
fn owner(result: &Value) -> String {
    let payload = result["accessToken"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    claims["oid"].as_str().unwrap().to_owned()
}

#[test]
fn our_own_client_finds_each_identity_on_each_platform() {
    for (platform, path, identities, refused) in [
        ("app-service", "/app-service", &[BY_CLIENT_ID, BY_OBJECT_ID][..], None),
        ("ml", "/ml", &[BY_CLIENT_ID], Some("invalid_managed_identity_id_type")),
        ("cloud-shell", "/cloud-shell", &[], Some("user_assigned_managed_identity_not_supported")),
    ] {
        let flags = ["--platform", platform];
        let token = |identity: &str| {
            on(&flags, &["token", "--bearer", "--scope", VAULT, "--managed-identity", identity])
        };
        let system = json(&token("system"));
        assert_eq!((&system["tokenType"], owner(&system).as_str()), (&"Bearer".into(), SYSTEM), "{platform}");
        assert!(system["endpoint"].as_str().unwrap().contains(path), "{platform}: {system}");
        for identity in identities {
            assert_eq!(owner(&json(&token(identity))), USER, "{platform} {identity}");
        }
        if let Some(code) = refused {
            assert_eq!(refusal(&token(BY_OBJECT_ID)), (2, code.to_owned()), "{platform}");
        }
        let bound = on(&flags, &["token", "--scope", VAULT, "--managed-identity", "system"]);
        assert_eq!(refusal(&bound), (2, "mtls_pop_not_supported_for_environment".to_owned()), "{platform}");
        // The source comes from the platform's variables.
        let told = json(&on(&flags, &["capabilities"]));
        assert_eq!((&told["source"], &told["bound"]), (&platform.into(), &false.into()));
    }
}

/// An exchange in which a Bearer token of the identity is the assertion.
#[test]
fn where_nothing_binds_a_bearer_exchange_needs_no_certificate() {
    let exchange = |flags: &[&str], more: &[&str]| {
        let args = ["--client-id", TARGET, "--tenant", TENANT, "--scope", VAULT];
        on(flags, &[&["exchange", "--leg1-managed-identity", "system"], &args[..], more].concat())
    };
    for flags in [
        &["--platform", "app-service"][..],
        &["--platform", "ml"],
        &["--platform", "service-fabric"],
        &["--isolated", "--platform", "arc"],
    ] {
        let output = exchange(flags, &["--bearer", "-v"]);
        let result = json(&output);
        assert_eq!(result["tokenType"], "Bearer", "{flags:?}");
        let legs = result["legs"].as_array().unwrap();
        assert!(legs.last().unwrap()["clientAssertionType"].as_str().unwrap().ends_with("jwt-bearer"));
        let told = stderr(&output);
        assert!(told.contains("Leg 1 done: token type Bearer, assertion of "), "{told}");
        let bound = exchange(flags, &["--bound"]);
        assert_eq!(refusal(&bound), (2, "mtls_pop_not_supported_for_environment".to_owned()), "{flags:?}");
    }
    // If the machine has a certificate, the exchange uses it for a Bearer token too.
    let result = json(&exchange(&[], &["--bearer"]));
    assert!(result["legs"][1]["clientAssertionType"].as_str().unwrap().ends_with("jwt-pop"), "{result}");
    let url = "https://graph.microsoft.com/v1.0/applications?$top=1";
    let call =
        ["call", "--bearer", "--leg1-managed-identity", "system", "--client-id", TARGET, "--tenant", TENANT];
    let called = on(&["--platform", "app-service"], &[&call[..], &[url]].concat());
    assert!(called.status.success(), "{}", stderr(&called));
}

/// The trace contains each request and answer, including those of the platform, and no secret.
#[test]
fn a_trace_tells_what_the_platform_was_asked() {
    let machine = ["--managed-identity", "system", "--trace"];
    for command in [&["token", "--scope", VAULT][..], &["assertion"]] {
        let told = stderr(&on(&[], &[command, &machine].concat()));
        let mut rest = told.as_str();
        for line in [
            "> GET http://127.0.0.1:",
            "/metadata/identity/getplatformmetadata?cred-api-version=2.0 (platform)",
            "> metadata: true",
            "< platform: status 200",
            "> POST http://127.0.0.1:",
            "/metadata/identity/issuecredential?cred-api-version=2.0 (platform)",
            "> csr=<redacted, ",
            "< platform: status 200",
            "> POST https://",
            "> TLS presents the certificate ",
            ": status 200",
        ] {
            let (_, after) = rest.split_once(line).unwrap_or_else(|| panic!("{line} is not next in {told}"));
            rest = after;
        }
        assert!(!has_token(&told), "{told}");
    }
    for (platform, header) in
        [("app-service", "x-identity-header"), ("ml", "secret"), ("service-fabric", "secret")]
    {
        let args = [&["token", "--bearer", "--scope", VAULT], &machine[..]].concat();
        let told = stderr(&on(&["--platform", platform], &args));
        assert!(
            told.contains(&format!("> {header}: <redacted, ")) && told.contains("< platform: status 200"),
            "{told}"
        );
        assert!(!told.contains(SECRET) && !has_token(&told), "{told}");
    }
}

#[test]
fn a_dry_run_shows_the_first_request() {
    let shown = |flags: &[&str], args: &[&str]| json(&on(flags, &[args, &["--dry-run"]].concat()));
    let token = ["token", "--scope", VAULT, "--managed-identity", BY_CLIENT_ID];
    let exchange = ["exchange", "--scope", VAULT, "--leg1-managed-identity", "system"];
    let exchange = [&exchange[..], &["--client-id", TARGET, "--tenant", TENANT]].concat();
    let call = ["call", "--managed-identity", "system", "https://demo.vault.azure.net/secrets/demo"];
    let machine = ["--managed-identity", "system"];
    let metadata = "/metadata/identity/getplatformmetadata?cred-api-version=2.0";
    for (args, url, complete, requests) in [
        (token.to_vec(), metadata, false, 1),
        (exchange.clone(), metadata, false, 1),
        ([&exchange[..], &["--bearer"]].concat(), metadata, false, 1),
        (call.to_vec(), metadata, false, 2),
        ([&["assertion"], &machine[..]].concat(), metadata, false, 1),
        (
            [&token[..], &["--bearer"]].concat(),
            "/metadata/identity/oauth2/token?api-version=2018-02-01",
            true,
            1,
        ),
        ([&token[..], &["--bearer", "--bearer-over-mtls"]].concat(), metadata, false, 1),
        (
            [&call[..], &["--bearer"]].concat(),
            "/metadata/identity/oauth2/token?api-version=2018-02-01",
            true,
            2,
        ),
    ] {
        let shown = shown(&[], &args);
        let first = &shown["requests"][0];
        assert!(first["url"].as_str().unwrap().contains(url), "{args:?}: {shown}");
        assert_eq!((&first["method"], &first["headers"]["metadata"]), (&"GET".into(), &"true".into()));
        assert_eq!(shown["complete"], complete, "{args:?}");
        assert_eq!(shown["requests"].as_array().unwrap().len(), requests, "{args:?}");
    }
    // If Leg 1 is a Bearer token, Leg 2's request is known except for the assertion.
    let both = shown(&["--platform", "app-service"], &[&exchange[..], &["--bearer"]].concat());
    assert!(both["requests"][0]["headers"]["x-identity-header"].as_str().unwrap().starts_with("<redacted"));
    assert!(
        both["requests"][1]["body"]["client_assertion"].as_str().unwrap().contains("not yet known"),
        "{both}"
    );
    assert!(!both.to_string().contains(SECRET));
    // The dry run refuses unsupported requests as usual, and does not create a folder.
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let args = [&token[..], &["--machine-state", state.to_str().unwrap()]].concat();
    assert_eq!(shown(&[], &args)["requests"].as_array().unwrap().len(), 1);
    assert!(!state.exists());
    let bound =
        on(&["--platform", "ml"], &["token", "--dry-run", "--scope", VAULT, "--managed-identity", "system"]);
    assert_eq!(refusal(&bound), (2, "mtls_pop_not_supported_for_environment".to_owned()));
}

/// If a flag names a source, each command uses only this source.
#[test]
fn a_named_source_is_taken_as_it_is() {
    let app_service = ("IDENTITY_ENDPOINT", "http://127.0.0.1:9/app-service");
    let run = |args: &[&str], source: &str| {
        let mut command = certbound();
        command.env("HTTPS_PROXY", crate::support::NOWHERE);
        command
            .env(app_service.0, app_service.1)
            .env("IDENTITY_HEADER", "x")
            .env("MSI_ENDPOINT", "http://127.0.0.1:9/msi");
        command.args(args).args(["--managed-identity-source", source, "-o", "json"]).output().unwrap()
    };
    let machine = ["--managed-identity", "system", "--dry-run"];
    let leg1 = ["--leg1-managed-identity", "system", "--client-id", TARGET, "--tenant", TENANT, "--dry-run"];
    let url = |output: &Output| json(output)["requests"][0]["url"].as_str().unwrap().to_owned();
    for args in [
        [&["token", "--scope", VAULT], &machine[..]].concat(),
        [&["assertion"], &machine[..]].concat(),
        [&["call", "https://demo.vault.azure.net/"], &machine[..]].concat(),
        [&["exchange", "--scope", VAULT], &leg1[..]].concat(),
    ] {
        let asked = url(&run(&args, "imds"));
        assert!(asked.starts_with("http://169.254.169.254/metadata/identity/"), "{args:?}: {asked}");
    }
    let bearer = [&["token", "--bearer", "--scope", VAULT], &machine[..]].concat();
    for (source, place) in [
        ("imds", "http://169.254.169.254/metadata/"),
        ("app-service", "http://127.0.0.1:9/app-service"),
        ("arc", "http://127.0.0.1:9/app-service"),
        ("cloud-shell", "http://127.0.0.1:9/msi"),
    ] {
        assert!(url(&run(&bearer, source)).starts_with(place), "{source}");
    }
    for source in ["app-service", "arc", "cloud-shell"] {
        let told = json(&run(&["capabilities"], source));
        assert_eq!((&told["source"], &told["bound"]), (&source.into(), &false.into()));
    }
    let mut nobody = certbound();
    nobody.env(app_service.0, app_service.1).env("IDENTITY_HEADER", "x");
    nobody.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", crate::support::NOWHERE);
    nobody.args(["capabilities", "--managed-identity-source", "imds", "-o", "json"]);
    let nobody = refusal(&nobody.output().unwrap());
    assert_eq!(nobody, (3, "managed_identity_all_sources_unavailable".to_owned()));
    // These sources lack their variables. No other source is used instead.
    for source in ["ml", "service-fabric"] {
        let (exit, _) = refusal(&run(&bearer, source));
        assert_eq!(exit, 2, "{source}");
    }
    assert_eq!(refusal(&run(&bearer, "somewhere")), (2, "usage".to_owned()));
}

/// The variables of a real platform would bypass the emulator.
#[test]
fn the_callers_platform_is_not_the_commands() {
    let run = |flags: &[&str]| {
        let mut command = certbound();
        // The names are written out here, because they are the expectation. The program has its own list.
        for name in [
            "IDENTITY_ENDPOINT",
            "IDENTITY_HEADER",
            "IDENTITY_SERVER_THUMBPRINT",
            "IMDS_ENDPOINT",
            "MSI_ENDPOINT",
            "MSI_SECRET",
            "DEFAULT_IDENTITY_CLIENT_ID",
            "AZUREPS_HOST_ENVIRONMENT",
            "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        ] {
            command.env(name, "http://caller.example");
        }
        let output = command.args(["emulator", "run"]).args(flags).args(["--", "env"]).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    let value = |told: &str, name: &str| {
        told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    let told = run(&[]);
    assert!(!told.contains("caller.example"), "{told}");
    assert_eq!(value(&told, "IDENTITY_ENDPOINT"), None);
    let imds = value(&told, "AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap();
    assert!(imds.strip_prefix("http://127.0.0.1:").unwrap().parse::<u16>().is_ok(), "{imds}");
    let told = run(&["--platform", "cloud-shell"]);
    assert!(!told.contains("caller.example"), "{told}");
    assert!(value(&told, "MSI_ENDPOINT").is_some() && value(&told, "MSI_SECRET").is_none(), "{told}");
    // Inside the namespace the real address leads to the emulator.
    let told = run(&["--isolated"]);
    assert!(!told.contains("caller.example"), "{told}");
    assert_eq!(value(&told, "AZURE_POD_IDENTITY_AUTHORITY_HOST"), None);
}

#[test]
fn the_machines_service_listens_where_it_is_told_and_on_loopback_only() {
    let emulator = Emulator::start_with(&["--imds-listen", "127.0.0.2:0"]);
    let imds = emulator.text("imds");
    assert!(imds.starts_with("http://127.0.0.2:"), "{imds}");
    let mut command = certbound();
    command
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", imds)
        .args(["token", "--bearer", "--scope", VAULT, "-o", "json"]);
    let token = json(&command.args(["--managed-identity", "system"]).output().unwrap());
    assert_eq!(owner(&token), SYSTEM);
    for more in [&[][..], &["--listen-on-the-network-anyone-can-mint-tokens"]] {
        let mut command = certbound();
        command.args(["emulator", "start", "--imds-listen", "0.0.0.0:0", "-o", "json"]).args(more);
        assert_eq!(
            refusal(&command.output().unwrap()),
            (2, "listen_address_not_loopback".to_owned()),
            "{more:?}"
        );
    }
}

/// The machine's certificate is used in the machine's region. The flag sets the region of the exchange.
#[test]
fn the_region_belongs_to_leg_2() {
    let host = |result: &Value, leg: usize| {
        result["legs"][leg]["endpoint"].as_str().unwrap().split('/').nth(2).unwrap().to_owned()
    };
    let exchange =
        ["exchange", "--leg1-managed-identity", "system", "--client-id", TARGET, "--tenant", TENANT];
    let result = json(&on(&[], &[&exchange[..], &["--scope", VAULT, "--region", "northeurope"]].concat()));
    assert_eq!(
        (host(&result, 0).as_str(), host(&result, 1).as_str()),
        ("westus3.mtlsauth.microsoft.com", "northeurope.mtlsauth.microsoft.com")
    );
    assert_eq!(result["region"], "northeurope");
}
