//! `doctor`: each broken configuration and each fault of the emulator has the line that names it.

mod certificates;
mod configuration;
mod faults;
mod graph;
mod issues;
mod report;
mod rows;

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{APP, Emulator, TENANT, has_token, json, stderr, stdout};

const GRAPH: &str = "https://graph.microsoft.com/.default";
/// The host of Graph that requests the certificate at the first handshake.
const GRAPH_URL: &str = "https://mtlstb.graph.microsoft.com/v1.0/applications";
const VAULT: &str = "https://vault.azure.net/.default";
const VAULT_URL: &str = "https://demo.vault.azure.net/secrets/demo?api-version=7.4";
const TARGET: &str = "c2e9a640-7b15-4d8f-a3c1-5f60e8d2b794";
/// The secret of the emulated platforms.
const SECRET: &str = "certbound-emulator-platform";

/// The source of Leg 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// The certificate of the emulator's application, in a region that is configured.
    Certificate,
    /// The same with a region that the metadata service names.
    Detected,
    /// The certificate of the emulator's application, with a vault as the resource.
    Vault,
    /// A managed identity of a virtual machine.
    Machine,
    /// Managed identities of platforms that cannot bind tokens.
    AppService,
    ServiceFabric,
}

impl Flow {
    /// Returns the command `doctor` for this flow. The resource is Graph, except for the vault.
    fn command(self, emulator: &Emulator) -> Command {
        let mut command = emulator.certbound();
        command.args(["doctor", "--scope", if self == Self::Vault { VAULT } else { GRAPH }]);
        let imds = emulator.text("imds");
        match self {
            Self::Certificate => {
                command.args(["--leg1-certificate", emulator.certificate(), "--resource-url", GRAPH_URL]);
            }
            Self::Detected => {
                command.env("AZURE_REGIONAL_AUTHORITY_NAME", "TryAutoDetect");
                command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", imds);
                command.args(["--leg1-certificate", emulator.certificate()]);
            }
            Self::Vault => {
                command.args(["--leg1-certificate", emulator.certificate(), "--resource-url", VAULT_URL]);
            }
            Self::Machine => {
                command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", imds);
                command.args(["--leg1-managed-identity", "system", "--client-id", TARGET]);
            }
            Self::AppService => {
                command.env("IDENTITY_ENDPOINT", format!("{imds}/app-service/token"));
                command.env("IDENTITY_HEADER", SECRET);
                command.args(["--bearer", "--leg1-managed-identity", "system", "--client-id", TARGET]);
            }
            Self::ServiceFabric => {
                let at = &emulator.ready["service_fabric"];
                command.env("IDENTITY_ENDPOINT", at["endpoint"].as_str().unwrap());
                command.env("IDENTITY_SERVER_THUMBPRINT", at["thumbprint"].as_str().unwrap());
                command.env("IDENTITY_HEADER", SECRET);
                command.args(["--bearer", "--leg1-managed-identity", "system", "--client-id", TARGET]);
            }
        }
        command
    }
}

/// A report, whose exit code was checked.
struct Report(Value);

impl Report {
    fn of(command: &mut Command) -> Self {
        let output = command.args(["-o", "json"]).output().unwrap();
        Self::read(&output)
    }

    fn read(output: &Output) -> Self {
        let report = Self(json(output));
        assert!(!has_token(&stdout(output)) && !has_token(&stderr(output)), "{}", stdout(output));
        assert_eq!(stderr(output), "", "the report is the only output");
        let failed = report.0["failed"].as_u64().unwrap();
        assert_eq!(output.status.code(), Some(i32::from(failed > 0)), "{:#}", report.0);
        assert_eq!(report.0["ok"], failed == 0);
        let counted: u64 = ["passed", "warnings", "failed", "skipped"]
            .iter()
            .map(|it| report.0[*it].as_u64().unwrap())
            .sum();
        assert_eq!(usize::try_from(counted).unwrap(), report.checks().len());
        for line in report.checks() {
            let is_bad = line["status"] == "failed" || line["status"] == "warning";
            assert_eq!(line["fix"].is_string(), is_bad, "a problem has a fix: {line:#}");
            assert_ne!(line["summary"], "", "each line has a summary, and a skipped line a reason: {line:#}");
        }
        report
    }

    fn checks(&self) -> &[Value] {
        self.0["checks"].as_array().unwrap()
    }

    fn line(&self, id: &str) -> &Value {
        let line = self.checks().iter().find(|line| line["id"] == id);
        line.unwrap_or_else(|| panic!("no line {id}: {:#}", self.0))
    }

    /// Returns the lines that are neither ok nor skipped: id, status and code.
    fn problems<'a>(&'a self) -> Vec<(&'a str, &'a str, &'a str)> {
        let bad = self.checks().iter().filter(|line| line["fix"].is_string());
        let text = |value: &'a Value| value.as_str().unwrap_or_default();
        bad.map(|line| (text(&line["id"]), text(&line["status"]), text(&line["error"]["code"]))).collect()
    }

    /// Asserts that exactly this line has a problem.
    #[track_caller]
    fn only(&self, id: &str, status: &str, code: &str) -> &Value {
        assert_eq!(self.problems(), [(id, status, code)], "{:#}", self.0);
        self.line(id)
    }

    fn why(&self, id: &str) -> &str {
        self.line(id)["why"].as_str().unwrap_or_default()
    }
}

/// Returns `doctor` without an emulator, for mistakes that are found before the first request.
fn offline(args: &[&str]) -> Command {
    let mut command = crate::support::certbound();
    command.env("HTTPS_PROXY", crate::support::NOWHERE).env("AZURE_TENANT_ID", TENANT);
    command.env("AZURE_CLIENT_ID", APP).args(["doctor", "--scope", GRAPH]).args(args);
    command
}
