//! The rules of a vault for bound tokens, and the strength in the token.

use super::*;
use crate::world::builtin::{GRAPH, GRAPH_HOST};
use crate::world::token_binding::STRENGTH_CLAIM;
use crate::world::{
    BoundTokens, ResourceStyle, TokenBindingMode, TokenBindingParameters, TokenBindingStrength,
};
use crate::{Condition, Fault, FaultResult};

const SECRET_PATH: &str = "/secrets/demo";

/// Returns an emulator whose vault has these rules, and whose tokens have this strength.
fn ruled(rules: TokenBindingParameters, strength: Option<TokenBindingStrength>) -> Emulator {
    emulator_with(|world| {
        let vault = world.resources.iter_mut().find(|it| it.style == ResourceStyle::Vault).unwrap();
        vault.token_binding_parameters = Some(rules);
        world.application_mut(MULTI_TENANT_APP).unwrap().token_binding_strength = strength;
    })
}

/// Reads a secret with a Bearer token.
fn with_bearer(emulator: &Emulator) -> (u16, Value) {
    let token = bearer_token(emulator);
    let request = Request::get(format!("{SECRET_PATH}?api-version=7.4"))
        .header("authorization", format!("Bearer {token}"))
        .body(Bytes::new());
    let answer = emulator.handle(NOW, &TlsFacts::without_certificate(VAULT_HOST), request.unwrap());
    (answer.status().as_u16(), json_of(&answer))
}

#[test]
fn a_vault_that_does_not_enforce_the_binding_rejects_bound_tokens() {
    let rules =
        TokenBindingParameters { mode: TokenBindingMode::NotEnforced, ..TokenBindingParameters::default() };
    let emulator = ruled(rules, None);
    let (status, code, message) = Client::writer(&emulator).refused("GET", SECRET_PATH, &json!({}));
    assert_eq!((status, code.as_str()), (401, "Unauthorized"));
    assert!(message.contains("NotEnforced rejects bound tokens"), "{message}");
    for path in [SECRET_PATH, "/no/such/path", "/secrets?api-version=wrong"] {
        let refused = Client::writer(&emulator).send("GET", path, "");
        assert_eq!(refused.status(), 401, "the token is refused before the request: {path}");
        let challenge = refused.headers()["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Bearer authorization=\"https://login.windows.net/"), "{challenge}");
        assert!(challenge.ends_with("resource=\"https://vault.azure.net\""), "{challenge}");
    }
    assert_eq!(with_bearer(&emulator).0, 200);
}

#[test]
fn a_vault_that_enforces_the_binding_rejects_bearer_tokens() {
    let rules =
        TokenBindingParameters { mode: TokenBindingMode::Enforced, ..TokenBindingParameters::default() };
    let emulator = ruled(rules, None);
    assert_eq!(Client::writer(&emulator).status("GET", SECRET_PATH, ""), 200, "no minimum strength");
    let (status, body) = with_bearer(&emulator);
    assert_eq!(status, 401, "{body}");
    assert_eq!(body["error"]["code"], "BearerAuthenticationDisabledForKeyVault");
}

#[test]
fn a_token_needs_the_minimum_strength_of_the_vault() {
    use TokenBindingStrength::{AttestedConfidential, AttestedTrustedLaunch, NoValidation, Unattested};

    let order = [NoValidation, Unattested, AttestedTrustedLaunch, AttestedConfidential];
    for (at_least, minimum_strength) in order.into_iter().enumerate() {
        let rules = TokenBindingParameters { mode: TokenBindingMode::Enforced, minimum_strength };
        for (level, strength) in order.into_iter().enumerate() {
            let emulator = ruled(rules, Some(strength));
            let client = Client::writer(&emulator);
            assert_eq!(claims(&client.token).string(STRENGTH_CLAIM), Some(strength.into()));
            let (status, _, message) = client.refused("GET", SECRET_PATH, &json!({}));
            let expected = if level >= at_least { 200 } else { 401 };
            assert_eq!(status, expected, "{strength:?} {minimum_strength:?}: {message}");
            if expected == 401 {
                let (found, least): (&str, &str) = (strength.into(), minimum_strength.into());
                assert!(
                    message.contains(&format!("is {found}, and the vault requires {least}")),
                    "{message}"
                );
            }
        }
        let emulator = ruled(rules, None);
        let client = Client::writer(&emulator);
        assert_eq!(claims(&client.token).string(STRENGTH_CLAIM), None);
        assert_eq!(client.status("GET", SECRET_PATH, "") == 200, at_least == 0, "a token without the claim");
    }
}

#[test]
fn a_fault_gives_a_vault_other_rules_for_one_call() {
    use TokenBindingMode::{Enforced, NotEnforced};
    use TokenBindingStrength::{AttestedConfidential, NoValidation};

    let world_rules = TokenBindingParameters { mode: Enforced, minimum_strength: NoValidation };
    for (mode, minimum_strength, bound, bearer) in [
        (NotEnforced, NoValidation, 401, 200),
        (Enforced, NoValidation, 200, 401),
        (Enforced, AttestedConfidential, 401, 401),
    ] {
        let rules = TokenBindingParameters { mode, minimum_strength };
        for bound_tokens in [BoundTokens::Allowed, BoundTokens::Required] {
            let emulator = emulator_with(|world| {
                let vault = world.resources.iter_mut().find(|it| it.style == ResourceStyle::Vault).unwrap();
                vault.bound_tokens = bound_tokens;
            });
            let fault = || {
                emulator.add_fault(Fault::once(Condition::any(), FaultResult::TokenBindingParameters(rules)))
            };
            let client = Client::writer(&emulator);
            fault();
            assert_eq!(client.status("GET", SECRET_PATH, ""), bound, "{rules:?} {bound_tokens:?}");
            assert_eq!(client.status("GET", SECRET_PATH, ""), 200, "once");
            fault();
            assert_eq!(with_bearer(&emulator).0, bearer, "{rules:?} {bound_tokens:?}");
        }
        // The rules of the fault replace those of the world.
        let emulator = ruled(world_rules, None);
        emulator.add_fault(Fault::once(Condition::any(), FaultResult::TokenBindingParameters(rules)));
        assert_eq!(Client::writer(&emulator).status("GET", SECRET_PATH, ""), bound, "{rules:?}");
    }
}

#[test]
fn a_fault_of_a_vault_waits_for_a_call_of_a_vault_with_a_token() {
    let emulator = emulator();
    let rules = TokenBindingParameters::default();
    emulator.add_fault(Fault::once(Condition::any(), FaultResult::TokenBindingParameters(rules)));
    let call = |host: &str, path: &str, token: Option<&str>| {
        let mut request = Request::get(path).header("host", host);
        if let Some(token) = token {
            request = request.header("authorization", format!("mtls_pop {token}"));
        }
        let request = request.body(Bytes::new()).unwrap();
        emulator.handle(NOW, &with(host, emulator.client_identity()), request).status().as_u16()
    };
    let graph = Ask { scope: &format!("{GRAPH}/.default"), ..Ask::leg1(&emulator) }.token(&emulator);
    assert_eq!(call(GRAPH_HOST, "/v1.0/applications", Some(&graph)), 200);
    assert_eq!(call(VAULT_HOST, SECRET_PATH, None), 401);
    let client = Client::writer(&emulator);
    let (status, _, message) = client.refused("GET", SECRET_PATH, &json!({}));
    assert_eq!(status, 401);
    assert!(message.contains("NotEnforced rejects bound tokens"), "{message}");
    let faults: Vec<_> = emulator.journal().iter().filter_map(|entry| entry.fault).collect();
    assert_eq!(faults, ["token_binding_parameters"]);
}
