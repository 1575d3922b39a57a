use super::*;

/// Follows the addresses in `nextLink` and returns the last segment of each id, page by page.
fn pages(client: &Client<'_>, first: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut path = first.to_owned();
    loop {
        let page = client.get(&path);
        let id = |entry: &Value| {
            let id = entry.get("id").or_else(|| entry.get("kid")).and_then(Value::as_str);
            id.unwrap().rsplit('/').next().unwrap().to_owned()
        };
        pages.push(page["value"].as_array().unwrap().iter().map(id).collect());
        let Some(next) = page["nextLink"].as_str() else { return pages };
        path = next.strip_prefix("https://demo.vault.azure.net:443").unwrap().to_owned();
        assert!(path.starts_with(first.split('?').next().unwrap()) && path.contains("$skiptoken="), "{path}");
    }
}

#[test]
fn a_list_has_the_properties_of_each_secret_without_version_and_value() {
    let emulator = emulator();
    let client = Client::writer(&emulator);
    client.set("b", "one");
    client.ok(
        "PUT",
        "/secrets/b",
        &json!({ "value": "two", "contentType": "text/plain", "tags": { "a": "b" } }),
    );
    let list = client.get("/secrets");
    assert_eq!(list["nextLink"], Value::Null);
    let entries = list["value"].as_array().unwrap();
    assert_eq!(entries.len(), 3, "{list}");
    assert_eq!(entries[0]["id"], format!("https://{VAULT_HOST}/secrets/b"));
    assert_eq!(
        (&entries[0]["contentType"], &entries[0]["tags"]),
        (&json!("text/plain"), &json!({ "a": "b" }))
    );
    assert_eq!(entries[2]["id"], format!("https://{VAULT_HOST}/secrets/demo-client"));
    assert_eq!(
        (&entries[2]["managed"], &entries[2]["contentType"]),
        (&json!(true), &json!("application/x-pem-file"))
    );
    assert!(
        entries.iter().all(|entry| entry.get("value").is_none() && entry["attributes"]["enabled"] == true)
    );
    assert!(!list.to_string().contains("PRIVATE KEY"));
}

#[test]
fn lists_come_in_pages_of_25_or_of_the_requested_size() {
    let emulator = emulator();
    let client = Client::writer(&emulator);
    for number in 0..60 {
        client.set(&format!("s-{number:02}"), "v");
    }
    let sizes = |pages: &[Vec<String>]| pages.iter().map(Vec::len).collect::<Vec<_>>();
    let found = pages(&client, "/secrets");
    assert_eq!(sizes(&found), [25, 25, 12]);
    let all = found.concat();
    assert!(all.is_sorted() && all[2] == "s-00" && all[61] == "s-59", "{all:?}");
    assert_eq!(pages(&client, "/secrets?api-version=7.4&maxresults=25").concat(), all);
    assert_eq!(sizes(&pages(&client, "/secrets?api-version=7.4&maxresults=1")), [1; 62]);
    // The last page is full, and no empty page follows.
    assert_eq!(sizes(&pages(&client, "/secrets?api-version=7.4&maxresults=2")), [2; 31]);

    // A secret that is deleted between two pages moves no other secret.
    let page = client.get("/secrets?api-version=7.4&maxresults=2");
    let next = page["nextLink"].as_str().unwrap().split_once(":443").unwrap().1.to_owned();
    assert!(next.ends_with("&maxresults=2"), "{next}");
    client.ok("DELETE", "/secrets/demo", &json!({}));
    assert_eq!(client.send("DELETE", "/deletedsecrets/demo", "").status(), 204);
    assert_eq!(client.get(&next)["value"][0]["id"], format!("https://{VAULT_HOST}/secrets/s-00"));

    for number in 0..30 {
        client.ok("DELETE", &format!("/secrets/s-{number:02}"), &json!({}));
    }
    assert_eq!(sizes(&pages(&client, "/deletedsecrets")), [25, 5]);
    let deleted = client.get("/deletedsecrets?api-version=7.4&maxresults=1");
    assert_eq!(deleted["value"][0]["recoveryId"], format!("https://{VAULT_HOST}/deletedsecrets/s-00"));
    assert_eq!(deleted["value"][0]["id"], format!("https://{VAULT_HOST}/secrets/s-00"));
}

#[test]
fn versions_of_a_secret_come_in_pages_too() {
    let emulator = emulator();
    let client = Client::writer(&emulator);
    let mut versions: Vec<String> =
        (0..30).map(|number| version(&client.set("a", &number.to_string()))).collect();
    versions.sort();
    let found = pages(&client, "/secrets/a/versions");
    assert_eq!((found[0].len(), found[1].len(), found.concat()), (25, 5, versions));
    assert_eq!(pages(&client, "/secrets/demo/versions"), [[FIRST]]);
    assert_eq!(client.refused("GET", "/secrets/none/versions", &json!({})).1, "SecretNotFound");
}

#[test]
fn keys_and_certificates_are_listed() {
    let emulator = emulator();
    let client = Client::of(&emulator, APP);
    assert_eq!(
        pages(&client, "/keys?api-version=7.4&maxresults=2"),
        [vec!["demo-client", "demo-p256"], vec!["demo-rsa"]]
    );
    assert_eq!(pages(&client, "/keys/demo-rsa/versions"), [[FIRST]]);
    assert_eq!(client.get("/keys")["value"][0]["managed"], true);
    assert_eq!(client.get("/keys")["value"][1].get("managed"), None);
    assert_eq!(pages(&client, "/certificates"), [["demo-client"]]);
    assert_eq!(pages(&client, "/certificates/demo-client/versions"), [[FIRST]]);
}

#[test]
fn wrong_pages_are_refused() {
    let emulator = emulator();
    let client = Client::of(&emulator, APP);
    for query in
        ["maxresults=0", "maxresults=26", "maxresults=x", "$skiptoken=x", "maxresults=1&maxresults=2"]
    {
        let (status, code, _) =
            client.refused("GET", &format!("/secrets?api-version=7.4&{query}"), &json!({}));
        assert_eq!((status, code.as_str()), (400, "BadParameter"), "{query}");
    }
}
