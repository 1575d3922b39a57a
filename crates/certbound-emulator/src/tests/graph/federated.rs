use super::*;
use crate::world::builtin::APP_PRINCIPAL;

fn credential() -> Value {
    json!({
        "@odata.type": "#microsoft.graph.federatedIdentityCredential",
        "name": "added",
        "issuer": format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        "subject": APP_PRINCIPAL,
        "audiences": ["api://AzureADTokenExchange"],
        "description": "two legs",
    })
}

fn with(name: &str, value: Value) -> Value {
    signed::changed(credential(), name, value)
}

/// Returns an emulator in which the target application has no credential, and the path of its credentials.
fn bare_target(change: impl FnOnce(&mut World)) -> (Emulator, String) {
    let emulator = emulator_with(|world| {
        roles(world, &["Application.ReadWrite.All"]);
        world.application_mut(TARGET_APP).unwrap().federated_credentials.clear();
        change(world);
    });
    let id = object_id(&emulator, TARGET_APP);
    (emulator, format!("applications/{id}/federatedIdentityCredentials"))
}

fn leg_2(emulator: &Emulator, now: UnixTime) -> u64 {
    Ask { client_id: TARGET_APP, now, ..Ask::leg2(emulator) }.code(emulator)
}

#[test]
fn a_credential_is_created_read_changed_and_deleted() {
    let (emulator, path) = bare_target(|_| {});
    let (status, created) = send(&emulator, Method::POST, &path, Some(credential()));
    assert_eq!(status, 201, "{created}");
    let id = created["id"].as_str().unwrap();
    let one = format!("{path}/{id}");
    assert_eq!(all(&get(&emulator, &path), "name"), ["added"]);
    for path in [&one, &format!("{path}/added"), &format!("{path}(name='added')")] {
        let found = get(&emulator, path);
        assert_eq!(
            (&found["subject"], &found["description"]),
            (&json!(APP_PRINCIPAL), &json!("two legs")),
            "{path}"
        );
    }
    let selected = get(&emulator, &format!("{path}?$filter=name%20eq%20'added'&$select=name"));
    assert_eq!(selected["value"], json!([{ "name": "added" }]));
    let change = json!({ "subject": "someone", "description": null });
    assert_eq!(send(&emulator, Method::PATCH, &one, Some(change)), (204, Value::Null));
    let found = get(&emulator, &one);
    assert_eq!((&found["subject"], &found["description"]), (&json!("someone"), &Value::Null));
    assert_eq!((&found["issuer"], &found["id"]), (&credential()["issuer"], &json!(id)));
    assert_eq!(send(&emulator, Method::DELETE, &one, None), (204, Value::Null));
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(refused(&send(&emulator, method, &one, None)), (404, "Request_ResourceNotFound"));
    }
    let change = Some(json!({ "subject": "someone" }));
    assert_eq!(refused(&send(&emulator, Method::PATCH, &one, change)), (404, "Request_ResourceNotFound"));
}

#[test]
fn credentials_of_the_world_have_stable_ids_and_can_be_removed() {
    let emulator = writable();
    let path = format!("applications(appId='{APP}')/federatedIdentityCredentials");
    let listed = get(&emulator, &path);
    assert_eq!(listed["value"][0]["name"], "credential-1");
    assert_eq!(listed, get(&writable(), &path), "another emulator of the same world has the same ids");
    assert_eq!(Ask::leg2(&emulator).code(&emulator), 0);
    for name in all(&listed, "name") {
        assert_eq!(send(&emulator, Method::DELETE, &format!("{path}/{name}"), None).0, 204);
    }
    assert_eq!(Ask::leg2(&emulator).code(&emulator), 70_025);
    emulator.reset();
    assert_eq!(Ask::leg2(&emulator).code(&emulator), 0, "a reset restores the world");
}

#[test]
fn a_change_takes_effect_after_the_propagation_time() {
    let (emulator, path) = bare_target(|world| world.propagation_seconds = 120);
    let change = |seconds: u64, method: Method, path: &str, body: Option<Value>| {
        send_at(&emulator, later(seconds), &method, path, body.as_ref()).status().as_u16()
    };
    let at = |seconds: u64| {
        // The assertion of Leg 1 needs no federated credential.
        leg_2(&emulator, later(seconds))
    };
    assert_eq!(at(200), 70_025);
    assert_eq!(change(200, Method::POST, &path, Some(credential())), 201);
    assert_eq!([at(200), at(319), at(320)], [70_021, 70_021, 0]);
    let added = format!("{path}/added");
    assert_eq!(change(400, Method::PATCH, &added, Some(json!({ "subject": "someone" }))), 204);
    assert_eq!([at(400), at(519), at(520)], [0, 0, 700_213], "the old subject works until then");
    assert_eq!(change(600, Method::PATCH, &added, Some(json!({ "subject": APP_PRINCIPAL }))), 204);
    assert_eq!([at(719), at(720)], [70_021, 0]);
    assert_eq!(change(800, Method::DELETE, &added, None), 204);
    assert_eq!([at(800), at(919), at(920)], [0, 0, 70_025]);
}

#[test]
fn without_a_propagation_time_a_change_takes_effect_at_once() {
    let (emulator, path) = bare_target(|_| {});
    assert_eq!(leg_2(&emulator, NOW), 70_025);
    assert_eq!(send(&emulator, Method::POST, &path, Some(credential())).0, 201);
    assert_eq!(leg_2(&emulator, NOW), 0);
    assert_eq!(send(&emulator, Method::DELETE, &format!("{path}/added"), None).0, 204);
    assert_eq!(leg_2(&emulator, NOW), 70_025);
}

#[test]
fn an_invalid_credential_is_refused() {
    let (emulator, path) = bare_target(|_| {});
    assert_eq!(send(&emulator, Method::POST, &path, Some(credential())).0, 201);
    let github = |expression: &str| {
        let other = signed::changed(with("name", json!("flexible")), "subject", Value::Null);
        let expression = json!({ "value": expression, "languageVersion": 1 });
        signed::changed(other, "claimsMatchingExpression", expression)
    };
    let other = |name: &str, value: Value| {
        signed::changed(signed::changed(with("name", json!("other")), "subject", json!("other")), name, value)
    };
    let long = "x".repeat(601);
    let invalid = (400, "InvalidFederatedIdentityCredentialValue");
    for (name, body, expected) in [
        ("same name", with("subject", json!("x")), (409, "Request_MultipleObjectsWithSameKeyValue")),
        ("same pair", with("name", json!("another")), invalid),
        ("no name", other("name", Value::Null), invalid),
        ("a short name", other("name", json!("ab")), invalid),
        ("a long name", other("name", json!("a".repeat(121))), invalid),
        ("a name with a slash", other("name", json!("a/bc")), invalid),
        ("a name that begins with -", other("name", json!("-abc")), invalid),
        ("a name with other letters", other("name", json!("\u{e9}bcd")), invalid),
        ("no issuer", other("issuer", Value::Null), invalid),
        ("an empty issuer", other("issuer", json!("")), invalid),
        ("a long issuer", other("issuer", json!(long)), invalid),
        ("no subject", other("subject", Value::Null), invalid),
        ("a long subject", other("subject", json!(long)), invalid),
        ("no audience", other("audiences", json!([])), invalid),
        ("absent audiences", other("audiences", Value::Null), invalid),
        ("two audiences", other("audiences", json!(["a", "b"])), invalid),
        ("an empty audience", other("audiences", json!([""])), invalid),
        ("audiences that are no list", other("audiences", json!("a")), (400, "Request_BadRequest")),
        ("a long description", other("description", json!(long)), invalid),
        ("a number as subject", other("subject", json!(1)), (400, "Request_BadRequest")),
        ("an id", other("id", json!("x")), (400, "Request_BadRequest")),
        ("an unknown property", other("audience", json!("a")), (400, "Request_BadRequest")),
        ("an expression of another issuer", github("claims['sub'] eq 'x'"), invalid),
    ] {
        let answer = send(&emulator, Method::POST, &path, Some(body));
        assert_eq!(refused(&answer), expected, "{name}");
    }
    let message = |body: Value| {
        let answer = send(&emulator, Method::POST, &path, Some(body));
        answer.1["error"]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(message(credential()), "FederatedIdentityCredential with name added already exists.");
    let pair = message(with("name", json!("another")));
    assert!(
        pair.starts_with("The combination of issuer and subject must be unique for the application."),
        "{pair}"
    );
    // The name cannot be changed, and a change is checked as a whole.
    let change = |body: Value| send(&emulator, Method::PATCH, &format!("{path}/added"), Some(body));
    for body in [json!({ "name": "other" }), json!({ "audiences": [] }), json!({ "subject": "" })] {
        assert_eq!(refused(&change(body.clone())), invalid, "{body}");
    }
    assert_eq!(change(json!({ "name": "added" })).0, 204);
    assert_eq!(all(&get(&emulator, &path), "subject"), [APP_PRINCIPAL], "nothing changed");
}

#[test]
fn a_flexible_credential_has_an_expression_instead_of_a_subject() {
    let (emulator, path) = bare_target(|_| {});
    let expression = "claims['sub'] matches 'repo:contoso/*'";
    let flexible = |expression: &str| {
        json!({
            "name": "flexible",
            "issuer": "https://token.actions.githubusercontent.com",
            "claimsMatchingExpression": { "value": expression, "languageVersion": 1 },
            "audiences": ["api://AzureADTokenExchange"],
        })
    };
    for wrong in ["claims['sub'] is 'x'", "claims['actor'] eq 'x'", ""] {
        let answer = send(&emulator, Method::POST, &path, Some(flexible(wrong)));
        assert_eq!(refused(&answer), (400, "InvalidFederatedIdentityCredentialValue"), "{wrong}");
    }
    assert_eq!(send(&emulator, Method::POST, &path, Some(flexible(expression))).0, 201);
    let found = get(&emulator, &format!("{path}/flexible"));
    assert_eq!(
        (&found["subject"], &found["claimsMatchingExpression"]["value"]),
        (&Value::Null, &json!(expression))
    );
    let both = json!({ "subject": "x", "claimsMatchingExpression": { "value": expression } });
    let answer = send(&emulator, Method::PATCH, &format!("{path}/flexible"), Some(both));
    assert_eq!(refused(&answer), (400, "InvalidFederatedIdentityCredentialValue"));
    let subject = Some(json!({ "subject": "x" }));
    assert_eq!(send(&emulator, Method::PATCH, &format!("{path}/flexible"), subject).0, 204);
    let found = get(&emulator, &format!("{path}/flexible"));
    assert_eq!((&found["subject"], &found["claimsMatchingExpression"]), (&json!("x"), &Value::Null));
}

#[test]
fn an_application_has_at_most_twenty_credentials() {
    let (emulator, path) = bare_target(|_| {});
    let numbered = |number: u32| {
        signed::changed(
            with("name", json!(format!("number-{number}"))),
            "subject",
            json!(format!("{number}")),
        )
    };
    for number in 0..20 {
        assert_eq!(send(&emulator, Method::POST, &path, Some(numbered(number))).0, 201, "{number}");
    }
    let answer = send(&emulator, Method::POST, &path, Some(numbered(20)));
    assert_eq!(refused(&answer), (403, "Directory_QuotaExceeded"));
    assert_eq!(send(&emulator, Method::DELETE, &format!("{path}/number-0"), None).0, 204);
    assert_eq!(send(&emulator, Method::POST, &path, Some(numbered(20))).0, 201);
    let page = get(&emulator, &format!("{path}?$top=19"));
    assert_eq!(page["value"].as_array().unwrap().len(), 19);
    assert!(page["@odata.nextLink"].is_string());
}

#[test]
fn a_patch_by_name_creates_a_credential_where_the_request_says_so() {
    let (emulator, path) = bare_target(|_| {});
    let scope = format!("{GRAPH}/.default");
    let token = Ask { scope: &scope, ..Ask::plain(&emulator) }.token(&emulator);
    let upsert = |name: &str, preference: &str| {
        let request = Request::patch(format!("/v1.0/{path}(name='{name}')"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json; charset=utf-8")
            .header("prefer", preference);
        let request = request.body(Bytes::from(credential().to_string())).unwrap();
        emulator.handle(NOW, &TlsFacts::without_certificate(GRAPH_HOST), request).status().as_u16()
    };
    let create = "create-if-missing";
    assert_eq!(
        [("added", create), ("added", create), ("other", create)].map(|(name, it)| upsert(name, it)),
        [201, 204, 400]
    );
    assert_eq!(all(&get(&emulator, &path), "name"), ["added"]);
    for (preference, expected) in [
        ("return=minimal", 404),
        ("create-if-missing-not", 404),
        ("return=minimal, Create-If-Missing", 201),
        ("create-if-missing,return=minimal", 201),
    ] {
        send(&emulator, Method::DELETE, &format!("{path}/added"), None);
        assert_eq!(upsert("added", preference), expected, "{preference}");
    }
}

#[test]
fn a_body_must_be_json() {
    let (emulator, path) = bare_target(|_| {});
    let scope = format!("{GRAPH}/.default");
    let token = Ask { scope: &scope, ..Ask::plain(&emulator) }.token(&emulator);
    let good = credential().to_string();
    for (kind, body) in [
        (None, good.as_str()),
        (Some("application/x-www-form-urlencoded"), &good),
        (Some("application/json"), ""),
        (Some("application/json"), "[]"),
        (Some("application/json"), r#"{"name":"abc","name":"abd"}"#),
    ] {
        let mut request =
            Request::post(format!("/v1.0/{path}")).header("authorization", format!("Bearer {token}"));
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let request = request.body(Bytes::from(body.to_owned())).unwrap();
        let answer = emulator.handle(NOW, &TlsFacts::without_certificate(GRAPH_HOST), request);
        assert_eq!(
            refused(&(answer.status().as_u16(), json_of(&answer))),
            (400, "BadRequest"),
            "{kind:?} {body}"
        );
    }
}
