//! `emulator start`, `emulator run` and `emulator world`.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};

use rustix::process::Signal;

use crate::support::{
    APP, Emulator, TENANT, VAULT, certbound, offline, refusal, signal, stderr, stdout, text,
};

fn run(command: &[&str]) -> Output {
    certbound().args(["emulator", "run", "--"]).args(command).output().unwrap()
}

#[test]
fn the_first_line_says_where_everything_is() {
    let emulator = Emulator::start();
    assert_eq!(emulator.ready["ready"], true);
    let members: Vec<&str> = emulator.ready.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members,
        [
            "ready",
            "proxy",
            "imds",
            "imds_at_real_address",
            "service_fabric",
            "admin",
            "ca",
            "client_certificate"
        ]
    );
    assert_eq!(emulator.ready["imds_at_real_address"], false);
    assert!(emulator.text("proxy").starts_with("http://127.0.0.1:"));
    let token = emulator.text("admin").rsplit('/').next().unwrap();
    assert!(emulator.text("admin").starts_with("http://127.0.0.1:") && token.len() >= 32);
    let ca = std::fs::read_to_string(emulator.text("ca")).unwrap();
    assert_eq!((ca.matches("BEGIN CERTIFICATE").count(), ca.contains("PRIVATE KEY")), (1, false));
    let client = std::fs::read_to_string(emulator.certificate()).unwrap();
    assert!(client.contains("BEGIN CERTIFICATE") && client.contains("PRIVATE KEY"));
}

#[test]
fn a_clock_that_differs_from_the_emulators_is_named() {
    let emulator = Emulator::start();
    emulator.advance(20 * 60 + 30);
    let bearer =
        ["token", "-o", "json", "--bearer", "--scope", VAULT, "--certificate", emulator.certificate()];
    let output = emulator.run(&bearer);
    assert_eq!(refusal(&output), (1, "invalid_client".to_owned()));
    let said = stderr(&output);
    assert!(said.contains("AADSTS700024") && said.contains("clock is 20 min behind the server's"), "{said}");
}

/// Without this log, a developer sees only the client's side of a refusal.
#[test]
fn each_refused_request_is_a_line_of_its_log_without_being_asked() {
    let told = |log: Option<&str>| {
        let mut command = certbound();
        command.args(["emulator", "start"]).stderr(Stdio::piped()).envs(log.map(|log| ("RUST_LOG", log)));
        let emulator = Emulator::spawn(command);
        let mut client = emulator.certbound();
        client.args(["token", "--scope", "api://unknown/.default", "--certificate", emulator.certificate()]);
        assert_eq!(client.output().unwrap().status.code(), Some(1));
        emulator.said()
    };
    let said = told(None);
    let line =
        said.lines().find(|line| line.contains("a request was refused")).unwrap_or_else(|| panic!("{said}"));
    let path = format!("path=/{TENANT}/oauth2/v2.0/token");
    for part in [" WARN ", "method=\"POST\"", &path, "status=400", "code=AADSTS500011", APP, "certificate="] {
        assert!(line.contains(part), "{part} {line}");
    }
    assert_eq!(told(Some("off")), "");
    // An empty variable counts as not set, and a mistyped filter is ignored with a warning.
    assert!(told(Some("")).contains("a request was refused"));
    let mistyped = told(Some("certbound=nonsense"));
    assert!(mistyped.contains("warning: RUST_LOG is not a filter"), "{mistyped}");
    assert!(mistyped.contains("a request was refused"), "{mistyped}");
}

#[test]
fn its_files_are_private_and_go_with_it_whatever_ends_it() {
    for with in [Signal::INT, Signal::TERM, Signal::QUIT] {
        let emulator = Emulator::start();
        let client = Path::new(emulator.certificate()).to_owned();
        let directory = client.parent().unwrap().to_owned();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(&directory), mode(&client), mode(Path::new(emulator.text("ca")))),
            (0o700, 0o600, 0o600)
        );
        assert_eq!(emulator.stop(with), Some(0), "{with:?}");
        assert!(!directory.exists(), "{with:?}");
    }
}

/// The terminal of `script` is closed when that program is killed.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test must end if the emulator never does")]
fn it_ends_with_the_terminal_on_which_it_was_started() {
    let mut command = certbound();
    // The shell of `script` may ignore SIGHUP, as every child of nohup does, so the program replaces the shell.
    let start = format!("exec {} emulator start", command.get_program().to_str().unwrap());
    let path = std::env::var_os("PATH").unwrap();
    command = std::process::Command::new("script");
    command.args(["--quiet", "--command", &start, "/dev/null"]).env_clear().env("PATH", path);
    let mut terminal = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(terminal.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    let directory = Path::new(ready["ca"].as_str().unwrap()).parent().unwrap().to_owned();
    assert!(directory.exists());
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    let began = std::time::Instant::now();
    while directory.exists() {
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "the emulator still runs");
    }
}

#[test]
fn a_state_directory_stays_and_must_be_ones_own() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("a/state");
    let emulator = Emulator::start_with(&["--state", text(&state)]);
    assert_eq!(Path::new(emulator.certificate()), state.join("client.pem"));
    assert_eq!(emulator.stop(Signal::TERM), Some(0));
    assert!(state.join("client.pem").exists() && state.join("ca.pem").exists());
    // A second emulator can use the same folder.
    assert_eq!(Emulator::start_with(&["--state", text(&state)]).stop(Signal::TERM), Some(0));

    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o755)).unwrap();
    let start = |path: &Path| refusal(&offline(&["emulator", "start", "-o", "json", "--state", text(path)]));
    assert_eq!(start(&state), (2, "state_directory_unusable".to_owned()));
    assert_eq!(start(&state.join("ca.pem")), (2, "state_directory_unusable".to_owned()));
    // The ready line is JSON, which cannot contain this name. No key is written there.
    use std::os::unix::ffi::OsStrExt as _;
    let odd = home.path().join(std::ffi::OsStr::from_bytes(b"d\xff"));
    let mut command = certbound();
    let output = command.args(["emulator", "start", "-o", "json", "--state"]).arg(&odd).output().unwrap();
    assert_eq!(refusal(&output), (2, "state_directory_unusable".to_owned()));
    assert!(!odd.join("client.pem").exists());
}

/// By a symbolic link, the emulator could write the key into another directory.
#[test]
fn a_link_in_the_place_of_the_state_directory_is_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let own = home.path().join("own");
    std::fs::create_dir(&own).unwrap();
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o700)).unwrap();
    let (link, dangling) = (home.path().join("link"), home.path().join("dangling"));
    std::os::unix::fs::symlink(&own, &link).unwrap();
    std::os::unix::fs::symlink(home.path().join("nothing"), &dangling).unwrap();
    for path in [&link, &link.join(""), &link.join("."), &dangling] {
        let output = offline(&["emulator", "start", "-o", "json", "--state", text(path)]);
        assert_eq!(refusal(&output), (2, "state_directory_unusable".to_owned()), "{path:?}");
    }
    assert_eq!(std::fs::read_dir(&own).unwrap().count(), 0);
    assert!(!home.path().join("nothing").exists());
    // Symbolic links in the place of its files are replaced.
    let victim = crate::support::file(&home, "victim", "kept");
    for name in ["ca.pem", "client.pem"] {
        std::os::unix::fs::symlink(&victim, own.join(name)).unwrap();
    }
    let emulator = Emulator::start_with(&["--state", text(&own)]);
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "kept");
    assert!(!std::fs::symlink_metadata(emulator.certificate()).unwrap().is_symlink());
}

#[test]
fn other_peoples_addresses_need_the_dangers_name() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let output = offline(&["emulator", "start", "-o", "json", "--listen", address]);
        assert_eq!(refusal(&output), (2, "listen_address_not_loopback".to_owned()), "{address}");
        assert!(stderr(&output).contains("--listen-on-the-network-anyone-can-mint-tokens"));
    }
    let taken = Emulator::start();
    let address = taken.text("proxy").trim_start_matches("http://");
    let output = offline(&["emulator", "start", "-o", "json", "--listen", address]);
    assert_eq!(refusal(&output), (2, "listen_failed".to_owned()));
}

/// Each connection needs an open file.
#[cfg(target_os = "linux")]
#[test]
fn a_low_limit_of_open_files_is_raised_for_the_server() {
    let mut command = std::process::Command::new("sh");
    let script =
        format!("ulimit -Sn 100; ulimit -Hn 500; exec {} emulator start", env!("CARGO_BIN_EXE_certbound"));
    let mut child = command.args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    signal(&child, Signal::TERM);
    child.wait().unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("500"), "{files}");
}

#[test]
fn it_exits_as_the_command_does() {
    let directory = tempfile::tempdir().unwrap();
    let not_executable = crate::support::file(&directory, "plain.txt", "x");
    for (command, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 3"], 3),
        (&["sh", "-c", "kill -TERM $$"], 128 + 15),
        (&["sh", "-c", "kill -KILL $$"], 128 + 9),
        (&["/no/such/command"], 127),
        (&["no-such-command-anywhere"], 127),
        (&[text(&not_executable)], 126),
        (&["/"], 126),
    ] {
        let output = run(command);
        assert_eq!(output.status.code(), Some(code), "{command:?}");
        let fix = match code {
            127 => "  fix: check the name, or give the path of the program\n",
            126 => "  fix: give a program that this user may execute\n",
            _ => "",
        };
        assert!(stderr(&output).ends_with(fix), "{command:?}: {}", stderr(&output));
    }
}

#[test]
fn signals_are_passed_on() {
    for (with, code) in
        [(Signal::TERM, 7), (Signal::HUP, 8), (Signal::INT, 9), (Signal::QUIT, 10), (Signal::USR1, 11)]
    {
        let script = "trap 'exit 7' TERM; trap 'exit 8' HUP; trap 'exit 9' INT; trap 'exit 10' QUIT; trap 'exit 11' USR1; echo ready; while :; do sleep 0.05; done";
        let mut command = certbound();
        command.args(["emulator", "run", "--", "sh", "-c", script]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        signal(&child, with);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{with:?}");
    }
}

#[test]
fn the_command_finds_the_emulator_by_its_environment() {
    let mut command = certbound();
    command.args(["emulator", "run", "--", "env"]);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY", "no_proxy"] {
        command.env(name, "http://elsewhere.example");
    }
    let environment = stdout(&command.output().unwrap());
    let value = |name: &str| {
        environment
            .lines()
            .find_map(|line| line.split_once('=').filter(|(found, _)| *found == name))
            .map(|(_, value)| value.to_owned())
    };
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        assert_eq!(value(name), None, "{name}");
    }
    let proxy = value("HTTPS_PROXY").unwrap();
    assert!(proxy.starts_with("http://127.0.0.1:"));
    assert_eq!(value("https_proxy"), Some(proxy));
    assert_eq!(value("NO_PROXY").unwrap(), "127.0.0.1,localhost,169.254.169.254");
    let ca = value("SSL_CERT_FILE").unwrap();
    for name in ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
        assert_eq!(value(name).as_ref(), Some(&ca), "{name}");
    }
    assert_eq!(value("NODE_USE_ENV_PROXY").unwrap(), "1");
    assert!(value("CERTBOUND_EMULATOR_ADMIN").unwrap().starts_with("http://127.0.0.1:"));
    let certificate = value("CERTBOUND_EMULATOR_CERTIFICATE").unwrap();
    assert!(!Path::new(&certificate).exists() && !Path::new(&ca).exists(), "files were left behind");
}

#[test]
fn certbound_itself_runs_under_it() {
    let binary = env!("CARGO_BIN_EXE_certbound");
    let flags = format!(
        "--leg1-certificate \"$CERTBOUND_EMULATOR_CERTIFICATE\" --client-id {APP} --tenant {TENANT} --region westus3"
    );
    let script = format!(
        "{binary} exchange --scope https://vault.azure.net/.default {flags} -o table && {binary} call {flags} \
         'https://mtlstb.graph.microsoft.com/v1.0/applications?$top=1'"
    );
    let output = run(&["sh", "-c", &script]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("token type   mtls_pop") && text.contains(APP), "{text}");
}

#[test]
fn a_world_is_printed_edited_and_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let printed = stdout(&offline(&["emulator", "world"]));
    assert!(printed.starts_with("# The world of the certbound emulator"), "{printed}");
    // No application trusts the subject of the client certificate here. The certificate is still written.
    let edited =
        printed.replace("contoso.example", "tailspin.example").replace("CN=certbound-demo-app", "CN=x");
    let file = crate::support::file(&directory, "world.toml", edited);
    let emulator = Emulator::start_with(&["--world", text(&file)]);
    assert!(std::fs::read_to_string(emulator.certificate()).unwrap().contains("PRIVATE KEY"));
    let flags =
        ["exchange", "-o", "json", "--scope", "https://vault.azure.net/.default", "--leg1-certificate"];
    let exchange = |tenant: &str| {
        let output = emulator.run(&[&flags[..], &[emulator.certificate(), "--tenant", tenant]].concat());
        let error: serde_json::Value = serde_json::from_str(stderr(&output).lines().last().unwrap()).unwrap();
        error["error"]["aadsts"].as_u64()
    };
    assert_eq!(exchange("tailspin.example"), Some(700_030), "the tenant is known, the subject is not");
    assert_eq!(exchange("contoso.example"), Some(90_002));

    let mut command = certbound();
    command.args(["emulator", "run", "--", "true"]).env("CERTBOUND_EMULATOR_WORLD", &file);
    assert_eq!(command.output().unwrap().status.code(), Some(0));
}

#[test]
fn a_world_that_is_none_is_refused_with_every_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let file = |content: &str| crate::support::file(&directory, "world.toml", content);
    let start = |path: &Path| offline(&["emulator", "start", "-o", "json", "--world", text(path)]);
    let two = start(&file("[[tenants]]\nid = 'x'\n[[tenants]]\nid = 'y'"));
    assert_eq!(refusal(&two), (2, "world_unusable".to_owned()));
    assert!(stderr(&two).contains("tenants[0].id: 'x' is not a GUID; tenants[1].id"), "{}", stderr(&two));
    let syntax = start(&file("[[tenants]"));
    assert_eq!(refusal(&syntax), (2, "world_unusable".to_owned()));
    assert!(stderr(&syntax).contains("line 1, column 11"), "{}", stderr(&syntax));
    assert_eq!(refusal(&start(directory.path())), (2, "file_unreadable".to_owned()));
    let run = ["emulator", "run", "-o", "json", "--world", "/no/such/file", "--", "true"];
    assert_eq!(refusal(&offline(&run)), (125, "file_unreadable".to_owned()));
}

/// The tests in `tests/late` have the build with OpenSSL.
#[cfg(not(feature = "openssl"))]
#[test]
fn a_vault_that_requests_the_certificate_late_needs_openssl() {
    let directory = tempfile::tempdir().unwrap();
    let world = stdout(&certbound().args(["emulator", "world"]).output().unwrap());
    let host = "name = \"*.vault.azure.net\"\n";
    let world = world.replace(host, &format!("{host}late_certificate = true\n"));
    let path = crate::support::file(&directory, "world.toml", world);
    let output = offline(&["emulator", "start", "-o", "json", "--world", text(&path)]);
    assert_eq!(refusal(&output), (2, "openssl_not_built_in".to_owned()));
    let said = stderr(&output);
    assert!(
        said.contains("*.vault.azure.net has late_certificate") && said.contains("--features openssl"),
        "{said}"
    );
}

#[test]
fn a_seed_gives_the_same_client_key_again() {
    let key = |args: &[&str]| {
        let emulator = Emulator::start_with(args);
        let pem = std::fs::read_to_string(emulator.certificate()).unwrap();
        pem.split_once("PRIVATE KEY").unwrap().1.to_owned()
    };
    let one = key(&["--seed", "one"]);
    assert_eq!(key(&["--seed", "one"]), one);
    assert_ne!(key(&[]), one);
}

/// The example of docs/world.md: an application authenticates by a token of an issuer that the emulator serves.
#[test]
fn an_issuer_that_it_serves_gives_tokens_to_curl() {
    let directory = tempfile::tempdir().unwrap();
    let world = format!(
        r#"
        [[tenants]]
        id = "{TENANT}"

        [[applications]]
        id = "{APP}"
        home_tenant = "{TENANT}"
        principals = {{ {TENANT} = "0b4d7f52-6e18-4c3a-8f95-21c7d0a9e6b3" }}
        [[applications.federated_credentials]]
        issuer = "https://tokens.contoso.example"
        subject = "repo:contoso/app"
        audience = "api://AzureADTokenExchange"

        [[resources]]
        uris = ["api://orders"]
        app_id = "d95b1e37-8c04-4f6a-b2e9-60a7c3f81d45"

        [[external_issuers]]
        issuer = "https://tokens.contoso.example"
        served = true
        "#
    );
    let world = crate::support::file(&directory, "world.toml", world);
    let assertion = directory.path().join("assertion.jwt");
    let token = |subject: &str| {
        let script = format!(
            "curl --fail --silent --show-error -d sub={subject} https://tokens.contoso.example/token > {file} && \
             {binary} token --bearer --scope api://orders/.default --client-id {APP} --tenant {TENANT} \
             --assertion-file {file} -o json",
            file = text(&assertion),
            binary = env!("CARGO_BIN_EXE_certbound"),
        );
        let mut command = certbound();
        command.args(["emulator", "run", "--world", text(&world), "--", "sh", "-c", &script]);
        command.output().unwrap()
    };
    let given = token("repo:contoso/app");
    assert_eq!(given.status.code(), Some(0), "{}", stderr(&given));
    assert_eq!(crate::support::json(&given)["tokenType"], "Bearer");
    let refused = token("repo:contoso/other");
    assert!(stderr(&refused).contains("700213"), "{}", stderr(&refused));
}
