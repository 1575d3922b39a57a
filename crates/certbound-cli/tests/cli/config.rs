//! Configuration files: the two-leg flow with a file, the order of the sources, and the mistakes in a file.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    APP, Emulator, NOWHERE, TENANT, VAULT, certbound, file, json, offline, refusal, stderr, stdout, text,
};

/// Writes a configuration file that only its owner can read.
fn config(folder: &TempDir, content: &str) -> PathBuf {
    let path = file(folder, "certbound.toml", content);
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

/// Runs a command with a configuration file and these variables. No request can be sent.
fn run(path: &Path, variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = certbound();
    command.env("HTTPS_PROXY", NOWHERE).envs(variables.iter().copied());
    command.args(args).args(["-o", "json", "--config", text(path)]).output().unwrap()
}

#[test]
fn a_file_drives_both_legs_and_a_call() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    // The path is relative to the file, and the command runs in a different folder.
    std::fs::copy(emulator.certificate(), folder.path().join("app.pem")).unwrap();
    let path = config(
        &folder,
        &format!(
            "scope = '{VAULT}'\nregion = 'westus3'\ntimeout = 20\n\
             [profile.both]\nclient-id = '{APP}'\ntenant = '{TENANT}'\nleg1-certificate = 'app.pem'\n\
             [profile.bearer]\nclient-id = '{APP}'\ntenant = '{TENANT}'\nleg1-certificate = 'app.pem'\n\
             bearer = true\nreport = true\n"
        ),
    );
    let run = |profile: &str, args: &[&str]| {
        let mut command = certbound();
        command.env("HTTPS_PROXY", emulator.text("proxy")).env("SSL_CERT_FILE", emulator.text("ca"));
        command.env("CERTBOUND_CONFIG", &path).env("CERTBOUND_PROFILE", profile).current_dir("/");
        command.args(args).output().unwrap()
    };
    let bound = json(&run("both", &["exchange"]));
    assert_eq!((&bound["tokenType"], &bound["region"]), (&"mtls_pop".into(), &"westus3".into()));
    assert_eq!(bound["legs"].as_array().unwrap().len(), 2);
    let bearer = json(&run("bearer", &["exchange"]));
    assert_eq!((&bearer["tokenType"], bearer.get("report").is_some()), (&"Bearer".into(), true));
    let called = run("both", &["call", "https://demo.vault.azure.net/secrets/demo?api-version=7.4"]);
    assert!(called.status.success(), "{}", stderr(&called));
    // The flags, in both of their places, override the variables.
    for args in [
        &["--profile", "bearer", "--config", text(&path), "exchange"][..],
        &["exchange", "--config", text(&path), "--profile", "bearer"],
    ] {
        assert_eq!(json(&run("both", args))["tokenType"], "Bearer", "{args:?}");
    }
    // A program of `emulator run` has its own arguments, and gets the variables.
    let mut command = certbound();
    command.env("CERTBOUND_CONFIG", &path).env("CERTBOUND_PROFILE", "both").args(["emulator", "run", "--"]);
    command.args([
        env!("CARGO_BIN_EXE_certbound"),
        "endpoint",
        "--authority",
        "https://login.microsoftonline.com/a.b",
    ]);
    let output = command.output().unwrap();
    assert_eq!(json(&output)["rule"], "regional", "{}", stderr(&output));
}

/// The values of the flag, the variable, the profile and the keys for all profiles; then the effective value and its
/// origin.
type Row<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>, Option<&'a str>, &'a str, &'a str);

#[test]
fn a_flag_a_variable_a_profile_and_the_file_override_each_other_in_this_order() {
    let folder = tempfile::tempdir().unwrap();
    let rows: [Row<'_>; 9] = [
        (Some("a"), Some("b"), Some("c"), Some("d"), "a", "flag"),
        (Some("a"), None, Some("c"), None, "a", "flag"),
        (None, Some("b"), Some("c"), Some("d"), "b", "variable"),
        (None, Some("b"), None, Some("d"), "b", "variable"),
        (None, Some(""), Some("c"), None, "c", "profile"),
        (None, None, Some("c"), Some("d"), "c", "profile"),
        (None, None, None, Some("d"), "d", "file"),
        (Some("a"), None, None, None, "a", "flag"),
        (None, Some("b"), None, None, "b", "variable"),
    ];
    for (flag, variable, profile, top, value, origin) in rows {
        let line = |value: Option<&str>| value.map(|it| format!("region = '{it}'\n")).unwrap_or_default();
        let path = config(&folder, &format!("{}[profile.p]\n{}", line(top), line(profile)));
        let mut args = vec!["--profile", "p", "config", "show", "--", "endpoint"];
        args.extend(flag.iter().flat_map(|flag| ["--region", flag]));
        let mut command = certbound();
        command.envs(variable.map(|it| ("AZURE_REGIONAL_AUTHORITY_NAME", it))).arg("--config").arg(&path);
        let shown = json(&command.args(args).output().unwrap());
        let region = shown["values"].as_array().unwrap().iter().find(|it| it["key"] == "region").unwrap();
        assert_eq!((&region["value"], &region["origin"]), (&value.into(), &origin.into()), "{shown:#}");
        let file_of = region["file"].as_str();
        assert_eq!(file_of, matches!(origin, "profile" | "file").then_some(text(&path)), "{region}");

        // The command itself uses the same value.
        let mut args = vec!["endpoint", "--authority", "https://login.microsoftonline.com/contoso.com"];
        args.extend(flag.iter().flat_map(|flag| ["--region", flag]));
        let mut command = certbound();
        command.envs(variable.map(|it| ("AZURE_REGIONAL_AUTHORITY_NAME", it)));
        command.env("CERTBOUND_CONFIG", &path).env("CERTBOUND_PROFILE", "p");
        let endpoint = json(&command.args(args).output().unwrap());
        let host = format!("https://{value}.login.microsoft.com/");
        assert!(endpoint["endpoint"].as_str().unwrap().starts_with(&host), "{endpoint}");
    }
}

/// Flags that exclude each other: the file, the variables, the arguments, and a text that shows the identity in use.
#[test]
fn of_two_flags_that_exclude_each_other_the_source_decides() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let certificate = emulator.certificate();
    let of_app = format!("client-id = '{APP}'\ntenant = '{TENANT}'\n");
    let by_certificate = format!("{of_app}certificate = '{certificate}'\n");
    let machine = "managed-identity = 'system'\n".to_owned();
    let token = ["token", "--scope", VAULT, "--dry-run"];
    let sdk = ("AZURE_CLIENT_CERTIFICATE_PATH", certificate);
    let (app, tenant) = (("AZURE_CLIENT_ID", APP), ("AZURE_TENANT_ID", TENANT));
    let our_machine = ("CERTBOUND_MANAGED_IDENTITY", "system");
    let identity = ["--managed-identity", "system"];
    let application = ["--client-id", APP, "--tenant", TENANT, "--certificate", certificate];
    type Row<'a> = (String, &'a [(&'a str, &'a str)], &'a [&'a str], &'a str);
    let rows: [Row<'_>; 9] = [
        (by_certificate.clone(), &[], &[], "login"),
        // A flag overrides its rivals in the file.
        (by_certificate.clone(), &[], &identity, "machine"),
        (machine.clone(), &[], &application, "login"),
        // A variable of certbound overrides its rivals in the file too.
        (by_certificate.clone(), &[our_machine], &[], "machine"),
        // The file overrides rivals that are variables of the SDKs.
        (machine.clone(), &[sdk, app, tenant], &[], "machine"),
        // A profile overrides the keys for all profiles.
        (format!("{by_certificate}[profile.p]\n{machine}"), &[], &["--profile", "p"], "machine"),
        (format!("{machine}[profile.p]\n{by_certificate}"), &[], &["--profile", "p"], "login"),
        // A switch that is off excludes no other flag, and overrides the key for all profiles.
        (
            format!("{by_certificate}bearer = true\n[profile.p]\nbearer = false\n"),
            &[],
            &["--profile", "p"],
            "mtls_pop",
        ),
        (
            format!("{by_certificate}require-observed-binding = true\n"),
            &[("CERTBOUND_BEARER", "false")],
            &[],
            "mtls_pop",
        ),
    ];
    for (content, variables, more, expected) in rows {
        let path = config(&folder, &content);
        let output = run(&path, variables, &[&token[..], more].concat());
        let shown = json(&output);
        let request = &shown["requests"][0];
        let url = request["url"].as_str().unwrap_or_else(|| panic!("{}", stderr(&output)));
        let found = match url.contains("/metadata/identity/") {
            true => "machine",
            false if expected == "mtls_pop" => request["body"]["token_type"].as_str().unwrap_or("Bearer"),
            false => "login",
        };
        assert_eq!(found, expected, "{content} {variables:?} {more:?}: {shown}");
    }
    // `verify` accepts several issuers, and a token on the command line excludes the keys of a server.
    let path = config(
        &folder,
        &format!(
            "issuer = 'https://issuer.example'\nalgorithm = 'RS256'\nkeys = 'k.json'\naudience = 'a'\n\
             [profile.p]\ntenant = '{TENANT}'\nserve = '127.0.0.1:0'\ntrust-proxy = '127.0.0.1/32'\n\
             certificate-header = 'rfc9440'\n"
        ),
    );
    let shown = json(&run(&path, &[], &["--profile", "p", "config", "show", "--", "verify"]));
    let used = shown["values"].as_array().unwrap().iter().filter(|it| it["excludedBy"].is_null());
    let used: Vec<_> = used.filter_map(|it| it["key"].as_str()).collect();
    assert!(used.contains(&"issuer") && used.contains(&"tenant"), "{shown:#}");
    let output = run(&path, &[], &["verify", "x", "--profile", "p"]);
    assert_eq!(refusal(&output), (2, "usage".to_owned()), "the keys belong to one of the two issuers");
    let output = run(&path, &[], &["verify", "x"]);
    assert_eq!(refusal(&output), (2, "file_unreadable".to_owned()), "the keys of the server are not used");
    // The key has the highest rank: it excludes the identity, which would exclude the key's certificate.
    let path = config(&folder, "leg1-certificate = 'a.pem'\n[profile.p]\nleg1-managed-identity = 'system'\n");
    let key = [("CERTBOUND_LEG1_CERTIFICATE_KEY", "k.pem")];
    let shown = json(&run(&path, &key, &["--profile", "p", "config", "show", "--", "exchange"]));
    let used = shown["values"].as_array().unwrap().iter().filter(|it| it["excludedBy"].is_null());
    let used: Vec<_> = used.filter_map(|it| it["key"].as_str()).collect();
    let leg1: Vec<_> = used.into_iter().filter(|key| key.starts_with("leg1")).collect();
    assert_eq!(leg1, ["leg1-certificate", "leg1-certificate-key"], "{shown:#}");
    // A key belongs to the certificate of its own source.
    let path = config(&folder, "certificate = 'a.crt'\ncertificate-key = 'a.key'\n");
    let args = ["token", "--scope", VAULT, "--client-id", APP, "--tenant", TENANT, "--dry-run"];
    for (variables, more) in [(&[sdk][..], &[][..]), (&[], &["--certificate", certificate])] {
        let output = run(&path, variables, &[&args[..], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    // In the last row of the table the key of the file is still used.
    let path = config(&folder, "require-observed-binding = true\n");
    let args = ["config", "show", "--", "exchange", "--scope", VAULT];
    let shown = json(&run(&path, &[("CERTBOUND_BEARER", "false")], &args));
    let key = shown["values"].as_array().unwrap().iter().find(|it| it["key"] == "require-observed-binding");
    assert_eq!(key.unwrap()["excludedBy"], Value::Null, "{shown:#}");
}

#[test]
fn each_mistake_in_a_file_has_its_code_its_place_and_its_fix() {
    let folder = tempfile::tempdir().unwrap();
    for (content, code, place, says) in [
        ("tenant = 'a'\ntenant = 'b'", "config_syntax", ":2:1: ", "duplicate"),
        ("tenant = contoso.com", "config_syntax", ":1:", "quotes"),
        ("regon = 'westus3'", "config_unknown_key", ":1:1: ", "did you mean `region`?"),
        ("client_id = 'x'", "config_unknown_key", ":1:1: ", "did you mean `client-id`?"),
        ("[profiles.p]\nregion = 'x'", "config_unknown_key", ":1:", "did you mean `profile`?"),
        ("client-secret = 'swordfish'", "config_unknown_key", ":1:1: ", "client-secret-env"),
        ("config = 'other.toml'", "config_unknown_key", ":1:1: ", "the long name of a flag"),
        ("\n  region = 5", "config_wrong_type", ":2:3: ", "must be a text, but the value is a number"),
        ("bearer = 'yes'", "config_wrong_type", ":1:1: ", "must be true or false"),
        ("timeout = '30'", "config_wrong_type", ":1:1: ", "must be a number"),
        ("timeout = 1.5", "config_wrong_type", ":1:1: ", "a number with a fraction"),
        ("region = ['a', 'b']", "config_wrong_type", ":1:1: ", "is a list"),
        ("[profile.p.region]\na = 1", "config_wrong_type", ":1:", "is a table"),
        ("connect-timeout = 0", "config_invalid_value", ":1:1: ", "0 is not in 1..=3600"),
        ("cache-key = 'fil'", "config_invalid_value", ":1:1: ", "`file`"),
        ("bound = true\nbearer = true", "config_conflict", ":1:1: ", "(line 2) cannot be used together"),
        ("\u{0}", "config_syntax", ":1:", "quotes"),
    ] {
        let path = config(&folder, &format!("{content}\n"));
        let profile: &[&str] = if content.contains("[profile.p") { &["--profile", "p"] } else { &[] };
        let args = ["exchange", "--scope", VAULT, "--client-id", APP, "--tenant", TENANT];
        let output = run(&path, &[], &[&args[..], profile].concat());
        assert_eq!(refusal(&output), (2, code.to_owned()), "{content}: {}", stderr(&output));
        let said = stderr(&output);
        assert!(
            said.contains(&format!("{}{place}", text(&path))) && said.contains(says),
            "{content}: {said}"
        );
        assert!(!said.contains("swordfish"), "{said}");
        // `config check` finds the same mistake.
        let checked = certbound().args(["config", "check", "-o", "json"]).arg(&path).output().unwrap();
        assert_eq!(checked.status.code(), Some(2), "{content}");
        let found = format!("{}{}", stdout(&checked), stderr(&checked));
        assert!(found.contains(code), "{content}: {found}");
    }
    // Values that only other commands accept: `health` accepts a time limit of zero, `verify` a list of tenants.
    let path = config(&folder, "timeout = 0\n");
    let output = run(&path, &[], &["exchange", "--scope", VAULT, "--client-id", APP, "--tenant", TENANT]);
    assert_eq!(refusal(&output), (2, "config_invalid_value".to_owned()));
    let path = config(&folder, &format!("tenant = ['{TENANT}']\n"));
    let output = run(&path, &[], &["exchange", "--scope", VAULT, "--client-id", APP]);
    assert_eq!(refusal(&output), (2, "config_wrong_type".to_owned()));
    assert!(stderr(&output).contains("must be a text, but the value is a list"), "{}", stderr(&output));
    let checked = certbound().args(["config", "check"]).arg(&path).output().unwrap();
    assert!(checked.status.success(), "{}", stdout(&checked));
    // A wrong key of a profile that is not chosen has no effect on a command.
    let path = config(&folder, "[profile.broken]\nregon = 'x'\n");
    let output = run(&path, &[], &["endpoint", "--authority", "https://login.microsoftonline.com/a.b"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_file_or_profile_that_does_not_exist_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(&folder, "[profile.a]\n[profile.b]\n");
    let endpoint = ["endpoint", "-o", "json", "--authority", "https://login.microsoftonline.com/a.b"];
    for (args, code, says) in [
        (&["--config", "/no/such/file"][..], "config_unreadable", "/no/such/file"),
        (&["--config", "/"], "config_unreadable", "directory"),
        (&["--config", "/dev/zero"], "config_unreadable", "larger than"),
        (
            &["--config", text(&path), "--profile", "c"],
            "config_unknown_profile",
            "choose one of its profiles: a, b",
        ),
        (&["--profile", "c"], "config_missing", "--config FILE"),
    ] {
        let output = offline(&[&endpoint[..], args].concat());
        assert_eq!(refusal(&output), (2, code.to_owned()), "{args:?}");
        assert!(stderr(&output).contains(says), "{args:?}: {}", stderr(&output));
    }
    let output = certbound().env("CERTBOUND_PROFILE", "c").args(endpoint).output().unwrap();
    assert_eq!(refusal(&output), (2, "config_missing".to_owned()));
    // Help and completions need no file.
    for args in [&["exchange", "--help"][..], &["-h"], &["completions", "bash"], &["man"], &["--version"]] {
        let output = certbound().env("CERTBOUND_CONFIG", "/no/such/file").args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    }
    // Bytes that are not UTF-8.
    let path = folder.path().join("latin1.toml");
    std::fs::write(&path, b"region = 'x'\ntenant = '\xe9'\n").unwrap();
    let output = offline(&[&endpoint[..], &["--config", text(&path)]].concat());
    assert_eq!(refusal(&output), (2, "config_syntax".to_owned()));
    assert!(stderr(&output).contains("latin1.toml:2:1: "), "{}", stderr(&output));
}

#[test]
fn a_secret_in_a_file_that_others_can_read_is_refused() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let path = config(&folder, "header = 'x-api-key: swordfish'\nregion = 'westus3'\n");
    let call = ["call", "https://demo.vault.azure.net/", "--dry-run", "--tenant", TENANT, "--client-id", APP];
    let call = [&call[..], &["--certificate", emulator.certificate()]].concat();
    assert_eq!(run(&path, &[], &call).status.code(), Some(0));
    for mode in [0o640, 0o604, 0o660] {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let output = run(&path, &[], &call);
        assert_eq!(refusal(&output), (2, "config_readable_by_others".to_owned()), "{mode:o}");
        let said = stderr(&output);
        assert!(
            said.contains(&format!("chmod 600 {}", text(&path))) && !said.contains("swordfish"),
            "{said}"
        );
        let checked = certbound().args(["config", "check"]).arg(&path).output().unwrap();
        assert!(stdout(&checked).contains("config_readable_by_others"), "{}", stdout(&checked));
        // A flag overrides the secret, and other commands do not use it.
        let typed = run(&path, &[], &[&call[..], &["-H", "x-api-key: other"]].concat());
        assert_eq!(typed.status.code(), Some(0), "{}", stderr(&typed));
        let warning =
            format!("warning: {}:1:1: `header` can contain a secret, but other users can read", text(&path));
        assert!(stderr(&typed).starts_with(&warning), "{}", stderr(&typed));
        let endpoint = ["endpoint", "--authority", "https://login.microsoftonline.com/a.b"];
        assert_eq!(run(&path, &[], &endpoint).status.code(), Some(0));
    }
    // The secret is never printed.
    let shown = run(&path, &[("CERTBOUND_DATA", "swordfish")], &["config", "show", "--origin"]);
    assert!(
        stdout(&shown).contains("<redacted, 20 bytes>") && !stdout(&shown).contains("swordfish"),
        "{shown:?}"
    );
}

#[test]
fn a_check_covers_all_profiles_and_the_files_that_they_name() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    std::fs::copy(emulator.certificate(), folder.path().join("app.pem")).unwrap();
    file(&folder, "text.pem", "no certificate");
    let good = format!(
        "scope = '{VAULT}'\n[profile.a]\nclient-id = '{APP}'\ntenant = '{TENANT}'\ncertificate = 'app.pem'\n\
         [profile.verify]\nissuer = 'https://issuer.example'\nalgorithm = ['RS256']\ntenant = ['{TENANT}']\n\
         audience = 'api://x'\n"
    );
    let path = config(&folder, &good);
    let check = |content: &str| {
        let path = config(&folder, content);
        certbound().args(["config", "check", "-o", "json"]).arg(&path).output().unwrap()
    };
    let output = check(&good);
    let report = json(&output);
    assert_eq!((output.status.code(), &report["ok"]), (Some(0), &true.into()), "{report:#}");
    assert_eq!(report["profiles"], json!(["a", "verify"]));
    for (more, line, profile, says) in [
        ("[profile.x]\ntenant = 'not a tenant'", 12, "x", "tenant"),
        ("[profile.x]\nregion = 'west us!'", 12, "x", "region"),
        ("[profile.x]\nauthority = 'http://login.microsoftonline.us'", 12, "x", "https"),
        ("[profile.x]\nissuer = 'not a url'", 12, "x", "issuer"),
        ("[profile.x]\nclient-id = 'my-app'", 12, "x", "is not a GUID"),
        ("[profile.x]\nscope = 'https://vault.azure.net'", 12, "x", "/.default"),
        ("[profile.x]\nmanaged-identity = 'client-id:x'", 12, "x", "identity"),
        ("[profile.x]\nleg1-certificate = 'none.pem'", 12, "x", "none.pem"),
        ("[profile.x]\ncertificate = 'text.pem'", 12, "x", "certificate"),
        ("[profile.x]\nkeys = '.'", 12, "x", "directory"),
        (
            "[profile.x]\nclient-secret-env = 'sword-fish!'",
            12,
            "x",
            "not the name of an environment variable",
        ),
        (
            "[profile.x]\nmanaged-identity = 'system'\nclient-id = '163ffef9-a313-45b4-ab2f-c7e2f5e0e23e'",
            13,
            "x",
            "managed-identity",
        ),
        ("[profile.x]\ncertificate = 'app.pem'\nleg1-certificate = 'app.pem'", 13, "x", "leg1-certificate"),
    ] {
        let output = check(&format!("{good}{more}\n"));
        let report = json(&output);
        assert_eq!(output.status.code(), Some(2), "{more}: {report:#}");
        let [problem] = report["problems"].as_array().unwrap().as_slice() else {
            panic!("{more}: {report:#}")
        };
        assert_eq!(
            (&problem["severity"], &problem["line"]),
            (&"error".into(), &line.into()),
            "{more}: {report:#}"
        );
        assert_eq!(problem["profile"], profile);
        let said = problem["message"].as_str().unwrap();
        assert!(said.contains(says) && !said.contains("sword"), "{more}: {said}");
        assert!(problem["fix"].as_str().is_some_and(|fix| fix.len() > 5), "{report:#}");
        assert!(stderr(&output).contains("config_invalid"), "{}", stderr(&output));
    }
    // A text that is not the name of a variable may be the secret itself, so no output contains it.
    let checked = check("certificate = 'app.pem'\ncertificate-password-env = 'Sword-fish!'\n");
    let shown = run(&path, &[], &["config", "show"]);
    let token = run(&path, &[], &["token", "--scope", VAULT, "--client-id", APP, "--tenant", TENANT]);
    for output in [&checked, &shown, &token] {
        let said = format!("{}{}", stdout(output), stderr(output));
        assert!(said.len() > 20 && !said.contains("Sword"), "{said}");
    }
    // No command accepts a URL with a password.
    let url = check("authority = 'https://user:Sword-fish@login.example/contoso.com'\n");
    let shown = run(&path, &[], &["config", "show"]);
    assert!(stdout(&shown).contains("a URL with a user name or password"), "{}", stdout(&shown));
    for output in [&url, &shown] {
        let said = format!("{}{}", stdout(output), stderr(output));
        assert!(!said.contains("Sword"), "{said}");
    }
    let missing = check("[profile.p]\ndata = '@none.json'\n");
    assert_eq!(missing.status.code(), Some(2), "{}", stdout(&missing));
    let scope = check("scope = 'api.read'\n[profile.p]\nissuer = 'https://issuer.example'\n");
    assert_eq!(scope.status.code(), Some(0), "{}", stdout(&scope));
    let id = json(&check("client-id = 'my-app'\n[profile.p]\ntenant = 'contoso.com'\n"));
    assert_eq!((id["problems"].as_array().unwrap().len(), &id["problems"][0]["line"]), (1, &1.into()));
    let warned = json(&check("client-secret-env = 'NO_SUCH_VARIABLE'\n"));
    assert_eq!((&warned["ok"], &warned["problems"][0]["severity"]), (&true.into(), &"warning".into()));
    // The table has one line for each mistake, and one with its fix.
    config(&folder, "regon = 'x'\nbearer = 1\n");
    let table = certbound().args(["config", "check", "-o", "table"]).arg(&path).output().unwrap();
    let lines = stdout(&table);
    assert!(
        lines.contains("certbound.toml:1:1: error: ") && lines.contains("certbound.toml:2:1: error: "),
        "{lines}"
    );
    assert!(
        lines.ends_with("2 error(s), 0 warning(s)\n") && lines.matches("  fix: ").count() == 2,
        "{lines}"
    );
    assert_eq!(refusal(&offline(&["config", "check", "-o", "json"])), (2, "config_missing".to_owned()));
}

#[test]
fn the_values_are_shown_with_their_origin() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(&folder, "region = 'westus3'\n[profile.p]\ntenant = 'contoso.com'\nbearer = true\n");
    let show = |more: &[&str]| {
        let mut command = certbound();
        command.env("AZURE_CLIENT_ID", APP).env("CERTBOUND_CONFIG", &path).env("CERTBOUND_PROFILE", "p");
        stdout(&command.args(["config", "show", "-o", "table"]).args(more).output().unwrap())
    };
    let (plain, origins) = (show(&[]), show(&["--origin"]));
    assert!(plain.starts_with(&format!("# configuration file {}, profile p\n", text(&path))), "{plain}");
    assert!(!plain.contains("default") && plain.contains("contoso.com"), "{plain}");
    // An origin that does not fit beside its value has its own line.
    let line = |key: &str| {
        let from = origins.lines().skip_while(|line| !line.starts_with(&format!("{key} ")));
        let more = from.clone().skip(1).take_while(|line| line.starts_with("  "));
        from.take(1).chain(more).collect::<Vec<_>>().join("  ")
    };
    for (key, value, origin) in [
        ("client-id", APP, "variable AZURE_CLIENT_ID"),
        ("tenant", "contoso.com", &*format!("{}:3:1, profile p", text(&path))),
        ("region", "westus3", &*format!("{}:1:1, for all profiles", text(&path))),
        ("bearer", "true", &*format!("{}:4:1, profile p", text(&path))),
        ("timeout", "30", "default"),
        ("output", "table", "flag --output"),
    ] {
        let line = line(key);
        let found: Vec<&str> = line.split("  ").map(str::trim).filter(|part| !part.is_empty()).collect();
        assert_eq!(found, [key, value, origin], "{origins}");
    }
    // The flags of `config show` and of the line choose the file and the profile.
    let run = |args: &[&str]| certbound().args(args).output().unwrap();
    let target = ["endpoint", "--authority", "https://login.microsoftonline.com/a.b"];
    for (own, line) in [
        (&["--config", text(&path), "--profile", "p"][..], &[][..]),
        (&["--config", text(&path)], &["--profile", "p"]),
        (&[], &["--config", text(&path), "--profile", "p"]),
    ] {
        let args = [&["config", "show", "-o", "json"], own, &["--"], &target[..], line].concat();
        assert_eq!(json(&run(&args))["profile"], "p", "{args:?}");
    }
    let args = [&["config", "show", "-o", "json", "--"], &target[..], &["--config", "/no/such"]].concat();
    assert_eq!(refusal(&run(&args)), (2, "config_unreadable".to_owned()));
    // An empty variable counts as not set, and does not override the file.
    let mut command = certbound();
    command.env("CERTBOUND_CONFIG", &path).env("CERTBOUND_OUTPUT", "").args(target);
    assert_eq!(json(&command.output().unwrap())["rule"], "regional");
    // The values of a command line: its flags exclude keys of the file.
    let of_command = show(&["--origin", "--", "token", "--bound", "--scope", VAULT, "-v"]);
    assert!(of_command.contains("(not used, because bound is set)"), "{of_command}");
    assert!(of_command.contains("flag --scope") && of_command.contains("flag --verbose"), "{of_command}");
    assert!(!of_command.contains("imds-listen"), "{of_command}");
}

/// If a value of the file cannot be used, the advice of the command names the file.
#[test]
fn a_command_that_fails_by_a_value_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(&folder, "region = 'west us'\n");
    let output = run(&path, &[], &["endpoint", "--authority", "https://login.microsoftonline.com/a.b"]);
    assert_eq!(refusal(&output).0, 2);
    let advice = format!("`certbound config check {}`", text(&path));
    assert!(stderr(&output).contains(&advice), "{}", stderr(&output));
    // The error has a different cause: an argument is missing.
    for format in ["table", "json"] {
        let mut command = certbound();
        command.args(["exchange", "-o", format, "--config", text(&path)]);
        let output = command.output().unwrap();
        assert!(output.status.code() == Some(2) && !stderr(&output).contains(&advice), "{}", stderr(&output));
    }
}
