//! curl, through the proxy, with and without a certificate.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Emulator, stderr, stdout, text};

/// An answer in curl's output.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) challenge: String,
    pub(super) body: Value,
}

impl Answer {
    /// Returns the status, the AADSTS number and the OAuth error of a refusal by the token service.
    pub(super) fn refusal(&self) -> (u16, u64, &str) {
        let code = self.body["error_codes"][0].as_u64().unwrap_or_else(|| panic!("{}", self.body));
        let description = self.body["error_description"].as_str().unwrap();
        assert!(description.starts_with(&format!("AADSTS{code}: ")), "{description}");
        (self.status, code, self.body["error"].as_str().unwrap())
    }

    pub(super) fn token(&self) -> &str {
        self.body["access_token"].as_str().unwrap_or_else(|| panic!("{}", self.body))
    }
}

/// curl, with a certificate or without.
pub(super) struct Curl<'a> {
    emulator: &'a Emulator,
    certificate: Option<PathBuf>,
}

impl<'a> Curl<'a> {
    pub(super) fn with_certificate(emulator: &'a Emulator, file: impl AsRef<Path>) -> Self {
        Self { emulator, certificate: Some(file.as_ref().to_owned()) }
    }

    pub(super) fn without_certificate(emulator: &'a Emulator) -> Self {
        Self { emulator, certificate: None }
    }

    /// Sends a form by POST.
    pub(super) fn post(&self, url: &str, form: &[(&str, &str)]) -> Answer {
        let mut command = self.command();
        for (name, value) in form {
            command.arg("--data-urlencode").arg(format!("{name}={value}"));
        }
        answer(command.arg(url))
    }

    /// Calls a resource with these headers.
    pub(super) fn get(&self, url: &str, headers: &[&str]) -> Answer {
        let mut command = self.command();
        for header in headers {
            command.args(["--header", header]);
        }
        answer(command.arg(url))
    }

    /// Calls a resource several times at once in one run of curl, with this option for the version of HTTP. Returns for
    /// each call the status, the version, and the number of connections that it opened.
    pub(super) fn get_at_once(
        &self,
        version: &str,
        urls: &[&str],
        header: &str,
    ) -> Vec<(u16, String, usize)> {
        let mut command = self.command();
        command.args([version, "--parallel", "--header", header]);
        command.args(["--write-out", "%{http_code} %{http_version} %{num_connects}\\n"]);
        for url in urls {
            command.args(["--output", "/dev/null", url]);
        }
        let output = command.output().expect("curl is needed: run the tests by `cargo xtask test`");
        assert!(output.status.success(), "{}", stderr(&output));
        let text = stdout(&output);
        let lines = text.lines().map(|line| {
            let parts: Vec<_> = line.split(' ').collect();
            (parts[0].parse().unwrap(), parts[1].to_owned(), parts[2].parse().unwrap())
        });
        lines.collect()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("curl");
        // With -q curl ignores the configuration file of the user who runs the tests.
        command.args(["-q", "--silent", "--show-error", "--max-time", "60"]);
        command.args(["--proxy", self.emulator.text("proxy"), "--cacert", self.emulator.text("ca")]);
        command.args(["--write-out", "\\n%{http_code}\\n%header{www-authenticate}"]);
        if let Some(certificate) = &self.certificate {
            command.args(["--cert", text(certificate)]);
        }
        command
    }
}

fn answer(command: &mut Command) -> Answer {
    let output = command.output().expect("curl is needed: run the tests by `cargo xtask test`");
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let (rest, challenge) = text.rsplit_once('\n').unwrap();
    let (body, status) = rest.rsplit_once('\n').unwrap();
    Answer {
        status: status.parse().unwrap(),
        challenge: challenge.to_owned(),
        body: serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")),
    }
}
