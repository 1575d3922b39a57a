//! Runs the binary, and an emulator for it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub(crate) const TENANT: &str = "bea21ebe-8b64-4d06-9f6d-6a889b120a7c";
pub(crate) const APP: &str = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e";
pub(crate) const VAULT: &str = "https://vault.azure.net/.default";
/// An address at which nothing listens: a command that uses the network fails with exit code 3.
pub(crate) const NOWHERE: &str = "http://127.0.0.1:9";

/// Returns a command for the binary, with a clean environment.
pub(crate) fn certbound() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_certbound"));
    command.env_clear().stdin(Stdio::null()).env("CERTBOUND_NO_CACHE", "true");
    // The tests do not use the keychain of the user who runs them.
    command.env("CERTBOUND_CACHE_KEY", "file");
    for name in ["PATH", "HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Runs the binary without a network.
pub(crate) fn offline(args: &[&str]) -> Output {
    certbound().args(args).env("HTTPS_PROXY", NOWHERE).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", stdout(output), stderr(output)))
}

/// Returns whether the text contains a JWT. A thumbprint has 43 characters, of which any three can be `eyJ`. The command
/// writes `eyJ...` in the place of a token.
pub(crate) fn has_token(text: &str) -> bool {
    let mut words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')));
    words.any(|word| word.starts_with("eyJ") && !matches!(word.len(), 3 | 43))
}

/// Returns the exit code, and the code of the JSON error.
pub(crate) fn refusal(output: &Output) -> (i32, String) {
    let text = stderr(output);
    let line = text.lines().last().unwrap_or_default();
    let error: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {text}"));
    let error = &error["error"];
    assert_eq!(stdout(output), "", "a refusal has no result");
    for member in ["message", "fix"] {
        assert!(error[member].as_str().is_some_and(|text| text.len() > 5), "{member}: {text}");
    }
    for member in [
        "leg",
        "aadsts",
        "correlation_id",
        "transient",
        "retry_after",
        "host",
        "endpoint",
        "region",
        "region_outcome",
        "region_source",
        "region_reason",
        "tenant",
    ] {
        assert!(error.get(member).is_some(), "{member}: {text}");
    }
    assert!(error["transient"].is_boolean(), "{text}");
    (output.status.code().unwrap(), error["code"].as_str().unwrap().to_owned())
}

/// A running `emulator start`.
pub(crate) struct Emulator {
    pub(crate) child: Child,
    pub(crate) ready: Value,
}

impl Emulator {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(args: &[&str]) -> Self {
        let mut command = certbound();
        // Most tests provoke refusals. Their log lines would only fill the output.
        command.env("RUST_LOG", "off").args(["emulator", "start"]).args(args);
        Self::spawn(command)
    }

    /// Runs a command that starts an emulator. Its stdout must not be used otherwise.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { ready: serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")), child }
    }

    pub(crate) fn text(&self, member: &str) -> &str {
        self.ready[member].as_str().unwrap()
    }

    pub(crate) fn certificate(&self) -> &str {
        self.text("client_certificate")
    }

    /// Returns a command for the binary that uses this emulator.
    pub(crate) fn certbound(&self) -> Command {
        let mut command = certbound();
        command.env("HTTPS_PROXY", self.text("proxy")).env("SSL_CERT_FILE", self.text("ca"));
        command.env("AZURE_TENANT_ID", TENANT).env("AZURE_CLIENT_ID", APP);
        command.env("AZURE_REGIONAL_AUTHORITY_NAME", "westus3");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.certbound().args(args).output().unwrap()
    }

    /// Returns the requests since the last call.
    pub(crate) fn journal(&self) -> Vec<Value> {
        let read = self.admin("GET", "journal");
        self.admin("DELETE", "journal");
        serde_json::from_str::<Value>(&read).unwrap()["entries"].as_array().unwrap().clone()
    }

    /// Sends a request to the admin interface and returns the body of the answer.
    pub(crate) fn admin(&self, method: &str, path: &str) -> String {
        self.admin_with(method, path, "")
    }

    /// Adds a fault in the form of `docs/faults.md`.
    pub(crate) fn plant(&self, fault: &Value) {
        self.admin_with("POST", "faults", &fault.to_string());
    }

    /// Moves the emulator's clock.
    pub(crate) fn advance(&self, seconds: i64) {
        self.admin_with("PUT", "clock", &format!(r#"{{"advance_seconds":{seconds}}}"#));
    }

    fn admin_with(&self, method: &str, path: &str, body: &str) -> String {
        let (address, token) = self.text("admin").strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        // HTTP 1.0 has no chunked bodies.
        let head = format!("{method} /{token}/{path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 2"), "{answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Stops the emulator and returns its stderr, which the command must have piped.
    pub(crate) fn said(mut self) -> String {
        signal(&self.child, Signal::TERM);
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }

    /// Sends a signal and returns the exit code.
    pub(crate) fn stop(mut self, with: Signal) -> Option<i32> {
        signal(&self.child, with);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            signal(&self.child, Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Writes a file in a directory that is removed with the test.
pub(crate) fn file(directory: &tempfile::TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Returns the root of the repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares a page of the repository with what a run shows. With `CERTBOUND_WRITE_DOCS=1` it writes the page instead.
/// `expected` gets the text of the page.
#[track_caller]
pub(crate) fn page(path: &str, expected: impl FnOnce(&str) -> String) {
    let path = root().join(path);
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let expected = expected(&found);
    if std::env::var_os("CERTBOUND_WRITE_DOCS").is_some() {
        std::fs::write(path, expected).unwrap();
        return;
    }
    let differences = differences(&found, &expected);
    assert!(
        found == expected,
        "run this test with CERTBOUND_WRITE_DOCS=1 in the environment:\n{differences}"
    );
}

/// Returns the lines in which two texts differ, at most 40 of them.
fn differences(found: &str, expected: &str) -> String {
    let (found, expected): (Vec<&str>, Vec<&str>) = (found.lines().collect(), expected.lines().collect());
    let same_start = found.iter().zip(&expected).take_while(|(a, b)| a == b).count();
    let rest = (&found[same_start..], &expected[same_start..]);
    let same_end = rest.0.iter().rev().zip(rest.1.iter().rev()).take_while(|(a, b)| a == b).count();
    let part = |sign: char, lines: &[&str]| {
        let lines = &lines[..lines.len() - same_end];
        lines.iter().take(20).map(|line| format!("{sign} {line}\n")).collect::<String>()
    };
    format!("@ line {}\n{}{}", same_start + 1, part('-', rest.0), part('+', rest.1))
}

#[test]
fn a_difference_is_shown_with_its_line() {
    assert_eq!(differences("a\nb\nc\nd\n", "a\nB\nc\nd\n"), "@ line 2\n- b\n+ B\n");
    assert_eq!(differences("", "a\n"), "@ line 1\n+ a\n");
}
