//! The observed binding: each result shows whether the token names the certificate, and `--require-observed-binding`
//! refuses every other token.

use serde_json::{Value, json};

use crate::support::{Emulator, VAULT, json as result, refusal, stderr, stdout};

const DEMAND: &str = "--require-observed-binding";

fn token<'a>(emulator: &'a Emulator, more: &[&'a str]) -> Vec<&'a str> {
    [&["token", "--scope", VAULT, "--certificate", emulator.certificate()], more].concat()
}

fn fault(form: &str) -> Value {
    json!({"condition": {"leg": "direct"}, "result": {"token_form": form}})
}

#[test]
fn a_token_that_cannot_be_read_is_told_and_refused_on_demand() {
    let emulator = Emulator::start();
    assert_eq!(result(&emulator.run(&token(&emulator, &[DEMAND])))["bindingObserved"], true);
    for form in ["opaque", "encrypted"] {
        emulator.plant(&fault(form));
        let seen = result(&emulator.run(&token(&emulator, &[])));
        assert_eq!((&seen["bindingObserved"], seen["tokenType"].as_str()), (&false.into(), Some("mtls_pop")));
        for (format, place) in [("table", stdout as fn(&_) -> String), ("header", stderr), ("env", stderr)] {
            emulator.plant(&fault(form));
            let output = emulator.run(&token(&emulator, &["-o", format]));
            assert!(
                place(&output).contains("not observed: the token cannot be read"),
                "{format}: {output:?}"
            );
        }
        emulator.plant(&fault(form));
        let refused = emulator.run(&token(&emulator, &[DEMAND, "-o", "json"]));
        assert_eq!(refusal(&refused), (1, "binding_not_observed".to_owned()));
        emulator.plant(&fault(form));
        let mut by_variable = emulator.certbound();
        by_variable.env("CERTBOUND_REQUIRE_OBSERVED_BINDING", "1").args(token(&emulator, &["-o", "json"]));
        assert_eq!(refusal(&by_variable.output().unwrap()), (1, "binding_not_observed".to_owned()));
    }
    let table = emulator.run(&token(&emulator, &["-o", "table"]));
    assert!(stdout(&table).contains("observed in the token"), "{}", stdout(&table));
    let bearer = result(&emulator.run(&token(&emulator, &["--bearer"])));
    assert_eq!((&bearer["bindingObserved"], bearer.get("bindingCertificate")), (&false.into(), None));
    let both = emulator.run(&token(&emulator, &["--bearer", DEMAND, "-o", "json"]));
    assert_eq!(refusal(&both), (2, "usage".to_owned()));
}

/// An earlier version accepted each of these answers as a bound token, with exit code 0 and the certificate in the
/// result.
#[test]
fn a_jwt_that_does_not_name_the_certificate_is_never_a_bound_token() {
    let emulator = Emulator::start();
    let forms = ["cnf_twice", "padded_payload", "fourth_part"]
        .map(|form| (json!({"token_form": form}), "token_unreadable"));
    let altered = [("no_cnf", "confirmation_missing"), ("foreign_cnf", "bound_to_another")];
    for (fault, code) in forms.into_iter().chain(altered.map(|(name, code)| (json!(name), code))) {
        for leg in ["direct", "leg2"] {
            emulator.plant(&json!({"condition": {"leg": leg}, "result": fault}));
            let output = match leg {
                "direct" => emulator.run(&token(&emulator, &["-o", "json"])),
                _ => {
                    let flags = ["exchange", "--scope", VAULT, "--leg1-certificate", emulator.certificate()];
                    emulator.run(&[&flags[..], &["-o", "json"]].concat())
                }
            };
            assert_eq!(refusal(&output), (1, code.to_owned()), "{fault} {leg}");
        }
    }
}

#[test]
fn exchange_and_call_demand_it_too_also_of_a_token_that_was_kept() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let opaque =
        || emulator.plant(&json!({"condition": {"leg": "leg2"}, "result": {"token_form": "opaque"}}));
    let cache = folder.path().join("tokens");
    let run = |args: &[&str]| {
        let mut command = emulator.certbound();
        command.env_remove("CERTBOUND_NO_CACHE").env("CERTBOUND_CACHE_DIR", &cache).args(args);
        command.args(["-o", "json", "--leg1-certificate", emulator.certificate()]).output().unwrap()
    };
    let exchange = ["exchange", "--scope", VAULT];
    let call = ["call", "https://demo.vault.azure.net/secrets/demo?api-version=7.4"];
    opaque();
    let kept = result(&run(&exchange));
    assert_eq!((&kept["bindingObserved"], &kept["fromCache"]), (&false.into(), &false.into()));
    assert_eq!(result(&run(&exchange))["fromCache"], true);
    // The resource refuses a token that it cannot read. The command has reported before that the token is unreadable.
    let called = run(&call);
    assert_eq!(called.status.code(), Some(1));
    assert!(stderr(&called).contains("warning: the binding was not observed"), "{}", stderr(&called));
    for command in [&exchange[..], &call[..]] {
        opaque();
        let refused = run(&[command, &[DEMAND]].concat());
        assert_eq!(refusal(&refused), (1, "binding_not_observed".to_owned()), "{command:?}");
        emulator.admin("DELETE", "faults");
    }
    assert_eq!(run(&[&call[..], &[DEMAND]].concat()).status.code(), Some(0));
    assert_eq!(result(&run(&[&exchange[..], &[DEMAND]].concat()))["bindingObserved"], true);
}

#[test]
fn a_machine_demands_it_too() {
    let emulator = Emulator::start();
    let run = |args: &[&str]| {
        let mut command = emulator.certbound();
        for name in ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_REGIONAL_AUTHORITY_NAME"] {
            command.env_remove(name);
        }
        command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.text("imds"));
        command.args(["token", "--managed-identity", "system", "--scope", VAULT, "-o", "json"]).args(args);
        command.output().unwrap()
    };
    assert_eq!(result(&run(&[DEMAND]))["bindingObserved"], true);
    emulator.plant(&fault("opaque"));
    assert_eq!(refusal(&run(&[DEMAND])), (1, "binding_not_observed".to_owned()));
}
