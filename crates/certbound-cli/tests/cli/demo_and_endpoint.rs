//! `demo` and `endpoint`, and the rules of all commands.

use std::io::Read as _;
use std::process::Stdio;

use crate::support::{certbound, json, offline, refusal, stderr, stdout};

#[test]
fn the_demo_holds_in_every_line() {
    for args in [&["demo", "-o", "json"][..], &["demo"]] {
        let output = offline(args);
        let report = json(&output);
        assert_eq!((output.status.code(), &report["failed"]), (Some(0), &0.into()), "{report:#}");
        let checks = report["checks"].as_array().unwrap();
        assert_eq!(report["passed"], checks.len());
        assert!(report["milliseconds"].is_u64());
        for check in checks {
            let text = |member: &str| check[member].as_str().is_some_and(|text| !text.is_empty());
            assert!(text("id") && text("text") && text("detail") && check["ok"] == true, "{check}");
            assert!(["wire", "type", "text"].contains(&check["how"].as_str().unwrap()), "{check}");
            assert!(check["leg"].is_null() || [1, 2].contains(&check["leg"].as_u64().unwrap()), "{check}");
        }
        assert_eq!(stderr(&output), "");
    }
    let told = stderr(&offline(&["demo", "--verbose"]));
    assert_eq!(told, "tip: `-o table` prints the drawing, `--all -o table` the checklist\n");
    let all = stdout(&offline(&["demo", "--all", "-o", "table"]));
    assert!(
        all.contains("42 passed, 0 failed;")
            && all.contains("leg1.scope is api://AzureADTokenExchange/.default")
    );
}

#[test]
fn the_demo_is_one_screen() {
    let plain = stdout(&offline(&["demo", "-o", "table"]));
    assert!(plain.contains("✓ 42 checks passed.") && !plain.contains('\x1b'), "{plain}");
    assert!(plain.lines().count() <= 24 && plain.lines().all(|line| line.chars().count() <= 80), "{plain}");
    let certificates: Vec<&str> = plain.split(' ').filter(|word| word.contains('…')).collect();
    let [first, second, third, other, last] = certificates[..] else { panic!("{plain}") };
    assert!(first == second && first == third && first == last && first != other, "{plain}");
    assert_eq!(plain.matches("✗ 401 ").count(), 3, "{plain}");

    let coloured = stdout(&offline(&["demo", "-o", "table", "--color", "always"]));
    let arrows = coloured.matches("\x1b[1;35m━━ certificate ").count();
    assert_eq!((arrows, coloured.matches("\x1b[31m✗ 401 ").count()), (3, 3), "{coloured:?}");
    let never = stdout(&offline(&["demo", "-o", "table", "--color", "never"]));
    assert!(!never.contains('\x1b'), "{never:?}");
}

#[test]
fn the_endpoint_is_told_with_its_rule() {
    let authority = "https://login.microsoftonline.com/contoso.com";
    for (flags, endpoint, rule) in [
        (
            &["--region", "westus3", "--mtls"][..],
            "https://westus3.mtlsauth.microsoft.com/contoso.com/oauth2/v2.0/token",
            "regional_mtls",
        ),
        (&["--mtls"], "https://mtlsauth.microsoft.com/contoso.com/oauth2/v2.0/token", "global_mtls"),
        (
            &["--region", "westus3"],
            "https://westus3.login.microsoft.com/contoso.com/oauth2/v2.0/token",
            "regional",
        ),
    ] {
        let args = [&["endpoint", "--authority", authority], flags].concat();
        let found = json(&offline(&args));
        assert_eq!((found["endpoint"].as_str(), found["rule"].as_str()), (Some(endpoint), Some(rule)));
        assert_eq!(found.as_object().unwrap().len(), 2);
        let table = stdout(&offline(&[&args[..], &["-o", "table"]].concat()));
        assert!(table.contains(endpoint) && table.contains(rule), "{table}");
    }
}

#[test]
fn msals_variables_choose_the_region() {
    let endpoint = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = certbound();
        command
            .args(["endpoint", "--mtls", "--authority", "https://login.microsoftonline.com/contoso.com"])
            .args(flags);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        json(&output)["endpoint"].as_str().unwrap().split('/').nth(2).unwrap().to_owned()
    };
    let (azure, force, disable) = (
        ("AZURE_REGIONAL_AUTHORITY_NAME", "eastus"),
        ("MSAL_FORCE_REGION", "westeurope"),
        ("MSAL_DISABLE_REGION", "1"),
    );
    assert_eq!(endpoint(&[azure], &[]), "eastus.mtlsauth.microsoft.com");
    assert_eq!(endpoint(&[azure], &["--region", "westus3"]), "westus3.mtlsauth.microsoft.com");
    assert_eq!(endpoint(&[force], &[]), "westeurope.mtlsauth.microsoft.com");
    assert_eq!(endpoint(&[force, azure], &[]), "eastus.mtlsauth.microsoft.com");
    assert_eq!(endpoint(&[disable, azure], &["--region", "westus3"]), "mtlsauth.microsoft.com");
    assert_eq!(endpoint(&[("AZURE_REGIONAL_AUTHORITY_NAME", "")], &[]), "mtlsauth.microsoft.com");
    let (name, detect) = (("REGION_NAME", "East US"), ("MSAL_FORCE_REGION", "TryAutoDetect"));
    assert_eq!(endpoint(&[name], &["--region", "AutoDiscoverRegion"]), "eastus.mtlsauth.microsoft.com");
    assert_eq!(endpoint(&[name, detect], &[]), "eastus.mtlsauth.microsoft.com");
    assert_eq!(endpoint(&[name], &[]), "mtlsauth.microsoft.com");
    assert_eq!(endpoint(&[name, force], &["--region", "DisableMsalForceRegion"]), "mtlsauth.microsoft.com");
}

#[test]
fn a_refused_authority_or_region_is_exit_2_with_its_code() {
    for (authority, flags, code) in [
        ("http://login.microsoftonline.com/contoso.com", &[][..], "authority_not_https"),
        ("https://login.microsoftonline.com", &[], "authority_path_required"),
        ("https://login.microsoftonline.com/common", &[], "missing_tenanted_authority"),
        ("https://login.microsoftonline.com/a b", &[], "authority_invalid"),
        ("https://login.microsoftonline.com/a..b", &[], "invalid_tenant"),
        ("https://contoso.b2clogin.com/tfp/contoso.com", &[], "authority_path_required"),
        ("https://login.microsoftonline.com/contoso.com", &["--region", "West US 3"], "invalid_region"),
        (
            "https://login.microsoftonline.com/contoso.com",
            &["--region", "TryAutoDetect"],
            "region_discovery_failed",
        ),
        ("https://sts.windows.net/contoso.com", &["--mtls"], "mtls_pop_not_supported_for_environment"),
        ("https://login.microsoftonline.com/consumers", &["--mtls"], "missing_tenanted_authority"),
        ("https://host.example/dstsv2/common", &["--mtls"], "missing_tenanted_authority"),
        ("", &[], "authority_invalid"),
    ] {
        let args = [&["endpoint", "-o", "json", "--authority", authority], flags].concat();
        assert_eq!(refusal(&offline(&args)), (2, code.to_owned()), "{authority}");
    }
}

#[test]
fn an_error_for_people_is_what_why_and_what_to_do() {
    let output = offline(&["endpoint", "--authority", "https://login.microsoftonline.com/common"]);
    let text = stderr(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("error: ") && lines[0].ends_with("[missing_tenanted_authority]"), "{text}");
    assert!(lines[1].starts_with("  why: ") && lines[2].starts_with("  fix: "), "{text}");
}

#[test]
fn a_wrong_command_line_is_exit_2_and_json_when_asked_for() {
    for args in [
        &["--no-such-flag"][..],
        &["endpoint"],
        &["token", "--bearer", "--bound"],
        &["emulator", "run"],
        &["nonsense"],
    ] {
        assert_eq!(offline(args).status.code(), Some(2), "{args:?}");
        let output = offline(&[&["-o", "json"], args].concat());
        assert_eq!(refusal(&output), (2, "usage".to_owned()), "{args:?}");
    }
    for args in [&["--help"][..], &["--version"], &["emulator", "start", "--help"]] {
        let output = offline(args);
        assert!(output.status.success() && stderr(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn results_have_only_the_forms_that_make_sense() {
    for args in [
        &["demo", "-o", "header"][..],
        &["demo", "-o", "env"],
        &["endpoint", "--authority", "https://login.microsoftonline.com/a.b", "-o", "header"],
    ] {
        let output = offline(args);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("[output_format_unsupported]"));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = certbound()
        .args(["demo", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}
