//! The common parts of the tests with resources: tokens, certificates, and the attacks.

use std::path::PathBuf;
use std::process::{Command, Output};

use certbound_verifier::{Cloud, Issuer, KeySet, TenantId, Verifier};
use tempfile::TempDir;

use super::openssl;
use crate::support::{APP, Emulator, TENANT, file, json, stderr, stdout, text};

/// The client id of the custom API, which its tokens name as audience.
pub(super) const ORDERS_ID: &str = "d95b1e37-8c04-4f6a-b2e9-60a7c3f81d45";
pub(super) const ROLE: &str = "Orders.Read.All";

/// Number and name of the attack, URL, client certificate, headers, and the expected reason in the answer.
type Attack<'a> = (&'a str, &'a str, Option<&'a str>, Vec<String>, &'a str);

/// An emulator that issues tokens, and the files of a resource and its callers.
pub(super) struct Fixture {
    pub(super) emulator: Emulator,
    pub(super) directory: TempDir,
    /// The resource's own certificate and key.
    pub(super) server_pem: PathBuf,
    pub(super) server_key: PathBuf,
    /// The authorities that callers trust: those of the emulator and of the resource.
    pub(super) trust: PathBuf,
    /// A certificate that no token is bound to.
    pub(super) other: PathBuf,
    pub(super) token: String,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let emulator = Emulator::start();
        let directory = tempfile::tempdir().unwrap();
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let server_pem = file(&directory, "server.pem", cert.pem());
        let server_key = file(&directory, "server.key", signing_key.serialize_pem());
        let ca = std::fs::read_to_string(emulator.text("ca")).unwrap();
        let trust = file(&directory, "trust.pem", format!("{ca}\n{}", cert.pem()));
        let other = openssl::certificate(&directory, "other", "CN=somebody");
        let mut fixture =
            Self { emulator, directory, server_pem, server_key, trust, other, token: String::new() };
        fixture.token = fixture.token_for("api://orders/.default", &[]);
        fixture
    }

    pub(super) fn token_for(&self, scope: &str, more: &[&str]) -> String {
        let base = ["token", "-o", "json", "--scope", scope, "--certificate", self.emulator.certificate()];
        let output = self.emulator.run(&[&base, more].concat());
        json(&output)["accessToken"].as_str().unwrap().to_owned()
    }

    /// Returns a verifier with the keys that the emulator publishes, fetched by curl.
    pub(super) fn verifier(&self) -> Verifier {
        let keys = Command::new("curl")
            .args([
                "-sS",
                "--fail",
                "--proxy",
                self.emulator.text("proxy"),
                "--cacert",
                self.emulator.text("ca"),
            ])
            .arg(format!("https://login.microsoftonline.com/{TENANT}/discovery/v2.0/keys"))
            .output()
            .expect("curl is needed: run the tests by `cargo xtask test`");
        assert!(keys.status.success(), "{}", stderr(&keys));
        let issuer = Issuer::entra(Cloud::Public, [TenantId::parse(TENANT).unwrap()]).unwrap();
        let keys = KeySet::of_jwks(&issuer, &keys.stdout).unwrap();
        let builder = Verifier::builder().issuer_with_keys(issuer, keys);
        builder.audience(ORDERS_ID).any_role([ROLE]).build().unwrap()
    }

    /// Runs curl, with a certificate or without.
    pub(super) fn curl(&self, certificate: Option<&str>, arguments: &[&str]) -> Output {
        let mut command = Command::new("curl");
        command.args(["-sS", "-i", "--noproxy", "*", "--cacert", text(&self.server_pem)]);
        if let Some(certificate) = certificate {
            command.args(["--cert", certificate]);
        }
        let output = command.args(arguments).output().expect("curl is needed");
        assert!(output.status.success(), "{} {}", stderr(&output), stdout(&output));
        output
    }

    /// Returns the status and the whole answer of a GET with these headers.
    pub(super) fn get(&self, url: &str, certificate: Option<&str>, headers: &[&str]) -> (u16, String) {
        let mut arguments = vec!["--http1.1"];
        for header in headers {
            arguments.extend(["-H", header]);
        }
        arguments.push(url);
        let shown = stdout(&self.curl(certificate, &arguments));
        let status = shown.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("{shown}")), shown)
    }

    /// Runs our own client in a separate process: it gets the token and calls the resource.
    pub(super) fn call(&self, url: &str) -> Output {
        let mut command = self.emulator.certbound();
        command.env("SSL_CERT_FILE", &self.trust);
        let scope = ["--scope", "api://orders/.default", "--certificate", self.emulator.certificate()];
        command.args(["call", "-i", url]).args(scope).output().unwrap()
    }

    /// Calls the resource as the right client, by curl and by our own client, and then runs every attack that an HTTP
    /// client can make.
    pub(super) fn drive(&self, url: &str) {
        let ours = Some(self.emulator.certificate());
        let bound = format!("Authorization: mtls_pop {}", self.token);
        let (status, shown) = self.get(url, ours, &[&bound]);
        assert_eq!(status, 200, "{shown}");
        assert!(shown.contains(APP), "the resource names the caller: {shown}");
        let own = self.call(url);
        assert_eq!(own.status.code(), Some(0), "{}{}", stdout(&own), stderr(&own));
        assert!(stdout(&own).contains(APP), "{}", stdout(&own));

        let plain = self.token_for("api://orders/.default", &["--bearer"]);
        let for_graph = self.token_for("https://graph.microsoft.com/.default", &[]);
        let (head, signature) = self.token.rsplit_once('.').unwrap();
        let tampered =
            format!("{head}.{}{}", if signature.starts_with('A') { "B" } else { "A" }, &signature[1..]);
        let pop = |token: &str| format!("Authorization: mtls_pop {token}");
        let look_alike = openssl::certificate(&self.directory, "alike", "CN=Certbound emulator client");
        let (other, alike) = (Some(text(&self.other)), Some(text(&look_alike)));
        let pem = std::fs::read_to_string(self.emulator.certificate()).unwrap();
        let der: String = pem.lines().skip(1).take_while(|line| !line.starts_with('-')).collect();
        let token_in_url = format!("{url}?access_token={}", self.token);
        let cases: [Attack<'_>; 15] = [
            ("01 no certificate", url, None, vec![bound.clone()], "no client certificate"),
            (
                "02 an unrelated certificate",
                url,
                other,
                vec![bound.clone()],
                "bound to a different certificate",
            ),
            ("04 a look-alike", url, alike, vec![bound.clone()], "bound to a different certificate"),
            ("05 no cnf under mtls_pop", url, ours, vec![pop(&plain)], "not bound to a certificate"),
            (
                "06 under Bearer",
                url,
                ours,
                vec![format!("Authorization: Bearer {}", self.token)],
                "under Bearer",
            ),
            (
                "06 under Bearer, no certificate",
                url,
                None,
                vec![format!("Authorization: Bearer {}", self.token)],
                "under Bearer",
            ),
            (
                "07 a plain token",
                url,
                ours,
                vec![format!("Authorization: Bearer {plain}")],
                "not bound to a certificate",
            ),
            ("32 no JWT", url, ours, vec![pop("x")], "malformed"),
            ("38 another audience", url, ours, vec![pop(&for_graph)], "audience is not accepted"),
            ("44 another signature", url, ours, vec![pop(&tampered)], "signature is not valid"),
            ("46 two tokens", url, ours, vec![pop(&self.token), pop("x")], ""),
            ("48 a token in the URL", &token_in_url, ours, vec![bound.clone()], "must not be in the URL"),
            ("49 another scheme", url, ours, vec![format!("Authorization: PoP {}", self.token)], ""),
            (
                "50 a header of its own",
                url,
                None,
                vec![
                    bound.clone(),
                    format!("Client-Cert: :{der}:"),
                    format!("X-SSL-Client-Cert: {der}"),
                    format!("X-ARR-ClientCert: {der}"),
                ],
                "no client certificate",
            ),
            ("nothing", url, ours, vec![], ""),
        ];
        for (name, url, certificate, headers, reason) in cases {
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let (status, shown) = self.get(url, certificate, &headers);
            assert!(matches!(status, 400 | 401), "{name}: {shown}");
            assert!(shown.contains(reason), "{name}: {shown}");
            assert!(!shown.contains(APP) && !shown.contains(&self.token[..60]), "{name}: {shown}");
        }
    }

    /// Sends the request by `openssl s_client` and returns the answer; with `-ign_eof` openssl waits for the answer.
    pub(super) fn s_client(&self, address: &str, options: &[&str], request: &str) -> String {
        use std::io::Write as _;
        use std::process::Stdio;
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", address, "-servername", "localhost", "-ign_eof", "-CAfile"])
            .arg(&self.server_pem)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl is needed: run the tests by `cargo xtask test`");
        child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
        stdout(&child.wait_with_output().unwrap())
    }
}

/// Runs a server on a thread that ends with the test process.
pub(super) fn in_background<F>(serve: impl FnOnce() -> F + Send + 'static)
where
    F: Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>>,
{
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(serve()).unwrap();
    });
}
