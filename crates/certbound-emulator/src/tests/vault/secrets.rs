use super::*;

const DAY: u64 = 24 * 3600;

#[test]
fn a_secret_of_the_world_has_one_version_that_its_name_and_its_version_name() {
    let emulator = emulator();
    let client = Client::of(&emulator, APP);
    let expected = json!({
        "value": "a secret that is none",
        "id": format!("https://{VAULT_HOST}/secrets/demo/{FIRST}"),
        "attributes": {
            "enabled": true,
            "created": NOW.as_secs() - 300,
            "updated": NOW.as_secs() - 300,
            "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": 90,
        },
        "tags": {},
    });
    // The read of a secret needs no api-version.
    for path in [
        "/secrets/demo",
        "/secrets/demo?",
        "/secrets/demo/?api-version=7.4",
        "/secrets/DEMO?api-version=2025-07-01",
    ] {
        let response = client.send("GET", path, "");
        assert_eq!((response.status().as_u16(), json_of(&response)), (200, expected.clone()), "{path}");
    }
    assert_eq!(client.get(&format!("/secrets/demo/{FIRST}")), expected);
    let (status, code, message) = client.refused("GET", "/secrets/demo/1", &json!({}));
    assert_eq!((status, code.as_str()), (404, "SecretNotFound"));
    assert!(
        message.starts_with("A secret with (name/id) demo/1 was not found in this key vault. If"),
        "{message}"
    );
}

#[test]
fn each_write_makes_a_version_and_the_last_one_is_current() {
    let emulator = emulator();
    let client = Client::writer(&emulator);
    let first = client.set("password", "one");
    let body = json!({
        "value": "two",
        "contentType": "text/plain",
        "tags": { "owner": "contoso" },
        "attributes": { "enabled": true, "nbf": 1, "exp": 2_000_000_000 },
    });
    let second = client.ok("PUT", "/secrets/Password", &body);
    assert_ne!(version(&first), version(&second));
    assert!(first.get("tags").is_none() && first.get("contentType").is_none(), "{first}");
    assert_eq!(second["id"], format!("https://{VAULT_HOST}/secrets/password/{}", version(&second)));
    assert_eq!((&second["contentType"], &second["tags"]["owner"]), (&json!("text/plain"), &json!("contoso")));
    assert_eq!(
        (&second["attributes"]["nbf"], &second["attributes"]["exp"]),
        (&json!(1), &json!(2_000_000_000))
    );
    assert_eq!(client.get("/secrets/password"), second);
    assert_eq!(client.get("/secrets/password/"), second);
    assert_eq!(client.get(&format!("/secrets/password/{}", version(&first)))["value"], "one");
    assert_eq!(client.get(&format!("/secrets/password/{}", version(&second)))["value"], "two");
}

#[test]
fn an_update_changes_the_properties_that_it_names() {
    let emulator = emulator();
    let mut client = Client::writer(&emulator);
    let old = client.set("a", "one");
    client.ok(
        "PUT",
        "/secrets/a",
        &json!({ "value": "two", "contentType": "text/plain", "tags": { "a": "b" } }),
    );
    client.now = later(60);
    let changed = client.ok("PATCH", "/secrets/a/", &json!({ "attributes": { "exp": 7 } }));
    assert!(changed.get("value").is_none(), "{changed}");
    assert_eq!(
        (&changed["contentType"], &changed["tags"], &changed["attributes"]["exp"]),
        (&json!("text/plain"), &json!({ "a": "b" }), &json!(7))
    );
    assert_eq!(
        (&changed["attributes"]["created"], &changed["attributes"]["updated"]),
        (&json!(NOW.as_secs()), &json!(NOW.as_secs() + 60))
    );
    let changed = client.ok("PATCH", "/secrets/a", &json!({ "tags": {}, "contentType": "x" }));
    assert_eq!(
        (&changed["contentType"], &changed["tags"], &changed["attributes"]["exp"]),
        (&json!("x"), &json!({}), &json!(7))
    );

    // Only the named version is disabled.
    let disable = json!({ "attributes": { "enabled": false } });
    let path = format!("/secrets/a/{}", version(&old));
    assert_eq!(client.ok("PATCH", &path, &disable)["attributes"]["enabled"], false);
    let (status, code, message) = client.refused("GET", &path, &json!({}));
    assert_eq!(
        (status, code.as_str(), message.as_str()),
        (403, "Forbidden", "Operation get is not allowed on a disabled secret.")
    );
    assert_eq!(client.inner("GET", &path, &json!({})), "SecretDisabled");
    assert_eq!(client.get("/secrets/a")["value"], "two");
    client.ok("PATCH", &path, &json!({ "attributes": { "enabled": true } }));
    assert_eq!(client.get(&path)["value"], "one");

    for path in ["/secrets/none/", "/secrets/a/none"] {
        assert_eq!(client.refused("PATCH", path, &disable).1, "SecretNotFound", "{path}");
    }
}

#[test]
fn a_deleted_secret_can_be_recovered_or_purged_and_its_name_is_taken_until_then() {
    let emulator = emulator();
    let client = Client::writer(&emulator);
    let (one, two) = (client.set("a", "one"), client.set("a", "two"));
    let deleted = client.ok("DELETE", "/secrets/a", &json!({}));
    assert_eq!(deleted["recoveryId"], format!("https://{VAULT_HOST}/deletedsecrets/a"));
    assert_eq!(
        (&deleted["deletedDate"], &deleted["scheduledPurgeDate"]),
        (&json!(NOW.as_secs()), &json!(NOW.as_secs() + 90 * DAY))
    );
    assert_eq!(deleted["id"], two["id"]);
    assert!(deleted.get("value").is_none());
    assert_eq!(client.get("/deletedsecrets/A"), deleted);
    for (method, path) in [
        ("GET", "/secrets/a"),
        ("GET", "/secrets/a/versions"),
        ("DELETE", "/secrets/a"),
        ("PATCH", "/secrets/a/"),
    ] {
        assert_eq!(client.refused(method, path, &json!({})).1, "SecretNotFound", "{method} {path}");
    }
    let again = json!({ "value": "three" });
    let (status, code, message) = client.refused("PUT", "/secrets/A", &again);
    assert_eq!((status, code.as_str()), (409, "Conflict"));
    assert!(message.starts_with("Secret a is currently in a deleted but recoverable state"), "{message}");
    assert_eq!(client.inner("PUT", "/secrets/a", &again), "ObjectIsDeletedButRecoverable");

    let recovered = client.ok("POST", "/deletedsecrets/a/recover", &json!({}));
    assert_eq!(recovered["id"], two["id"]);
    assert_eq!(client.get("/secrets/a")["value"], "two");
    assert_eq!(client.get(&format!("/secrets/a/{}", version(&one)))["value"], "one");
    for (method, path) in
        [("GET", "/deletedsecrets/a"), ("DELETE", "/deletedsecrets/a"), ("POST", "/deletedsecrets/a/recover")]
    {
        let found = client.refused(method, path, &json!({}));
        let expected = (404, "SecretNotFound".to_owned(), "Deleted Secret not found: a".to_owned());
        assert_eq!(found, expected, "{method} {path}");
    }

    client.ok("DELETE", "/secrets/a", &json!({}));
    let purged = client.send("DELETE", "/deletedsecrets/a", "");
    assert_eq!((purged.status().as_u16(), purged.body().len()), (204, 0));
    assert_eq!(client.status("GET", "/deletedsecrets/a", ""), 404);
    client.set("a", "three");
    assert_eq!(client.get("/secrets/a/versions")["value"].as_array().unwrap().len(), 1);
}

/// Returns an emulator, a client certificate with a lifetime above 90 days, and a time 60 seconds after its start.
fn long_ago() -> (Emulator, ClientIdentity, UnixTime) {
    let mut world = World::built_in();
    world.token_lifetime_seconds = Some(DAY);
    let start = UnixTime::from_secs(NOW.as_secs() - 90 * DAY + 3600);
    let emulator = Emulator::with_keys(world, KEYS.clone(), Arc::new(Fixed)).unwrap();
    let options = IssueOptions::new("certbound-demo-app").valid(start, later(DAY));
    let identity = emulator.issue_client_certificate(&options).unwrap();
    (emulator, identity, start.plus(Duration::from_secs(60)))
}

#[test]
fn a_deleted_secret_is_purged_after_90_days() {
    let (emulator, identity, deleted) = long_ago();
    let send = |method: &str, path: &str, now: UnixTime| {
        Client::at(&emulator, MULTI_TENANT_APP, &identity, now).status(method, path, "")
    };
    // A secret of the world can be deleted too.
    assert_eq!(send("DELETE", "/secrets/demo", deleted), 200);
    let end = deleted.plus(Duration::from_secs(90 * DAY));
    assert_eq!(send("GET", "/deletedsecrets/demo", end.minus(Duration::from_secs(1))), 200);
    assert_eq!(send("GET", "/deletedsecrets/demo", end), 404);
    assert_eq!(send("POST", "/deletedsecrets/demo/recover", end), 404);
    assert_eq!(send("GET", "/secrets/demo", end), 404);
}

#[test]
fn each_host_is_a_vault_of_its_own_and_a_reset_forgets_all_changes() {
    let emulator = emulator();
    let client = Client::writer(&emulator);
    let other = Client { host: "other.vault.azure.net", ..Client::writer(&emulator) };
    client.set("a", "one");
    client.ok("DELETE", "/secrets/demo", &json!({}));
    assert_eq!(other.status("GET", "/secrets/a", ""), 404);
    assert_eq!(other.get("/secrets/demo")["value"], "a secret that is none");
    assert_eq!(
        other.get("/secrets/demo")["id"],
        format!("https://other.vault.azure.net/secrets/demo/{FIRST}")
    );
    emulator.reset();
    assert_eq!(client.status("GET", "/secrets/a", ""), 404);
    assert_eq!(client.get("/secrets/demo")["value"], "a secret that is none");
    assert_eq!(client.get("/deletedsecrets")["value"], json!([]));
}

#[test]
fn a_refused_request_changes_nothing() {
    let emulator = emulator();
    let client = Client::writer(&emulator);
    let long = "v".repeat(25_601);
    // After a first change, the emulator stores the vault, and a refused request reaches the stored secrets.
    client.set("b", "v");
    let before = client.get("/secrets/demo");
    for (method, path, body, code) in [
        ("PUT", "/secrets/a", json!({}), "BadParameter"),
        ("PUT", "/secrets/a", json!({ "value": long }), "BadParameter"),
        ("PUT", "/secrets/a", json!({ "value": "v", "tags": 1 }), "BadParameter"),
        ("PUT", "/secrets/a", json!("hunter2"), "BadParameter"),
        ("PUT", "/secrets/a_b", json!({ "value": "v" }), "BadParameter"),
        ("PUT", "/secrets/a?api-version=x", json!({ "value": "v" }), "BadParameter"),
        ("PUT", "/secrets/a?x=1", json!({ "value": "v" }), "BadParameter"),
        ("PATCH", "/secrets/demo/", json!({ "attributes": { "enabled": 1 } }), "BadParameter"),
        ("PATCH", "/secrets/demo/x", json!({ "contentType": "x" }), "SecretNotFound"),
        ("PUT", "/secrets/demo-client", json!({ "value": "v" }), "Conflict"),
        ("DELETE", "/secrets/demo-client", json!({}), "Conflict"),
        ("PATCH", "/secrets/demo-client/", json!({}), "Conflict"),
        ("DELETE", "/deletedsecrets/demo", json!({}), "SecretNotFound"),
        ("POST", "/secrets/demo/backup", json!({}), "NotImplemented"),
        ("PUT", "/certificates/x", json!({}), "NotImplemented"),
        ("POST", "/keys/demo-rsa/create", json!({}), "NotImplemented"),
    ] {
        let (_, found, message) = client.refused(method, path, &body);
        assert_eq!(found, code, "{method} {path}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    let names = |list: &Value| list["value"].as_array().unwrap().iter().map(version).collect::<Vec<_>>();
    assert_eq!(names(&client.get("/secrets")), ["b", "demo", "demo-client"]);
    assert_eq!(names(&client.get("/deletedsecrets")), Vec::<String>::new());
    assert_eq!(client.get("/secrets/demo"), before);
    assert_eq!(names(&client.get("/secrets/demo/versions")), [FIRST]);
}

#[test]
fn the_number_of_versions_is_limited() {
    let emulator = emulator();
    let client = Client::writer(&emulator);
    // One version is that of the world.
    for number in 1..2_000 {
        let name = format!("secret-{}", number % 10);
        assert_eq!(client.status("PUT", &format!("/secrets/{name}"), r#"{"value":"v"}"#), 200, "{number}");
    }
    let more = json!({ "value": "v" });
    let (status, code, message) = client.refused("PUT", "/secrets/demo", &more);
    assert_eq!((status, code.as_str()), (403, "Forbidden"));
    assert!(message.contains("at most 2000 versions"), "{message}");
    let other = Client { host: "other.vault.azure.net", ..Client::writer(&emulator) };
    assert_eq!(other.inner("PUT", "/secrets/a", &more), "EmulatorLimit");
    // Deleted secrets count until they are purged.
    client.ok("DELETE", "/secrets/secret-1", &json!({}));
    assert_eq!(client.inner("PUT", "/secrets/demo", &more), "EmulatorLimit");
    assert_eq!(client.status("DELETE", "/deletedsecrets/secret-1", ""), 204);
    client.set("demo", "v");
}

#[test]
fn deleted_secrets_of_all_vaults_leave_room_after_90_days() {
    let (emulator, identity, deleted) = long_ago();
    let client = Client::at(&emulator, MULTI_TENANT_APP, &identity, deleted);
    // One version is that of the world.
    for _ in 1..2_000 {
        assert_eq!(client.status("PUT", "/secrets/a", r#"{"value":"v"}"#), 200);
    }
    client.ok("DELETE", "/secrets/a", &json!({}));
    let put = |now: UnixTime| {
        let other = Client::at(&emulator, MULTI_TENANT_APP, &identity, now);
        Client { host: "other.vault.azure.net", ..other }.status("PUT", "/secrets/b", r#"{"value":"v"}"#)
    };
    let end = deleted.plus(Duration::from_secs(90 * DAY));
    assert_eq!([put(end.minus(Duration::from_secs(1))), put(end)], [403, 200]);
}

#[test]
fn the_number_of_changed_vaults_is_limited() {
    let emulator = emulator();
    let hosts: Vec<String> = (0..101).map(|number| format!("v{number}.vault.azure.net")).collect();
    let writer = Client::writer(&emulator);
    for (number, host) in hosts.iter().enumerate() {
        let client = Client { host, token: writer.token.clone(), ..writer };
        assert_eq!(client.status("GET", "/secrets/demo", ""), 200, "a read needs no room");
        let expected = if number < 100 { 200 } else { 403 };
        assert_eq!(client.status("PUT", "/secrets/a", r#"{"value":"v"}"#), expected, "{host}");
    }
}

#[test]
fn the_journal_has_no_value_of_a_secret() {
    let emulator = emulator();
    let client = Client::writer(&emulator);
    client.set("a", "hunter2");
    assert_eq!(client.status("PUT", "/secrets/a", "\"hunter2\""), 400);
    assert_eq!(client.status("PUT", "/secrets/a", "hunter2"), 400);
    let untyped = Request::put("/secrets/a?api-version=7.4").body(Bytes::from("hunter2")).unwrap();
    let tls = with(VAULT_HOST, emulator.client_identity());
    assert_eq!(emulator.handle(NOW, &tls, untyped).status(), 401);
    assert!(!format!("{:?}", emulator.journal()).contains("hunter2"));
}
