//! Microsoft Graph: reading, permissions and refusals. The submodules test the changes.

mod federated;
mod key_credentials;

use http::Method;
use serde_json::json;

use super::*;
use crate::world::World;
use crate::world::builtin::{
    GRAPH, GRAPH_HOST, MULTI_TENANT_APP, OTHER_TENANT, SECRET_APP, SECRET_PRINCIPAL, SYSTEM_IDENTITY,
    TARGET_APP, USER_IDENTITY, USER_IDENTITY_PRINCIPAL, USER_IDENTITY_RESOURCE,
};

const GRAPH_APP_ID: &str = "00000003-0000-0000-c000-000000000000";

/// Gives the application of the tests these permissions.
fn roles(world: &mut World, roles: &[&str]) {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    world.application_mut(APP).unwrap().roles.insert(GRAPH_APP_ID.to_owned(), roles);
}

/// Returns an emulator in which the application of the tests may change all applications.
fn writable() -> Emulator {
    emulator_with(|world| roles(world, &["Application.ReadWrite.All", "Organization.Read.All"]))
}

/// Sends a request to Graph with a Bearer token of the application of the tests, at the time `now`.
fn send_at(
    emulator: &Emulator,
    now: UnixTime,
    method: &Method,
    path: &str,
    body: Option<&Value>,
) -> Response<Bytes> {
    let scope = format!("{GRAPH}/.default");
    let token = Ask { scope: &scope, ..Ask::plain(emulator) }.token(emulator);
    let request = Request::builder()
        .method(method)
        .uri(format!("/v1.0/{path}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    emulator.handle(now, &TlsFacts::without_certificate(GRAPH_HOST), request.body(body).unwrap())
}

/// Returns the status and the body of an answer. An answer without a body has the body `null`.
fn send(emulator: &Emulator, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let response = send_at(emulator, NOW, &method, path, body.as_ref());
    let body = if response.body().is_empty() { Value::Null } else { json_of(&response) };
    (response.status().as_u16(), body)
}

fn get(emulator: &Emulator, path: &str) -> Value {
    let (status, body) = send(emulator, Method::GET, path, None);
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// Returns the status and the code of a refusal.
fn refused(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or("-"))
}

/// Returns the values of a property in a collection.
fn all(body: &Value, property: &str) -> Vec<String> {
    let values = body["value"].as_array().unwrap().iter();
    values.map(|value| value[property].as_str().unwrap().to_owned()).collect()
}

fn object_id(emulator: &Emulator, app_id: &str) -> String {
    get(emulator, &format!("applications(appId='{app_id}')"))["id"].as_str().unwrap().to_owned()
}

#[test]
fn an_application_is_found_by_each_of_its_names() {
    let emulator = writable();
    let listed = get(&emulator, "applications");
    assert_eq!(
        all(&listed, "appId"),
        [APP, TARGET_APP, MULTI_TENANT_APP, SECRET_APP, BARE_APP],
        "no identities"
    );
    assert_eq!(listed["@odata.context"], "https://graph.microsoft.com/v1.0/$metadata#applications");
    let id = object_id(&emulator, TARGET_APP);
    assert_ne!(id, TARGET_APP, "the object id is not the client id");
    for path in [
        format!("applications/{id}"),
        format!("applications/{}", id.to_uppercase()),
        format!("applications('{id}')"),
        format!("applications(appId='{TARGET_APP}')"),
        format!("applications(appId=%27{TARGET_APP}%27)"),
        format!("Applications/{id}/"),
    ] {
        let found = get(&emulator, &path);
        assert_eq!(
            (found["appId"].as_str(), found["id"].as_str()),
            (Some(TARGET_APP), Some(id.as_str())),
            "{path}"
        );
        assert_eq!(
            found["@odata.context"],
            "https://graph.microsoft.com/v1.0/$metadata#applications/$entity"
        );
    }
    let filtered =
        get(&emulator, &format!("applications?%24filter=appId%20eq%20%27{TARGET_APP}%27&$select=id"));
    assert_eq!(filtered["value"], json!([{ "id": id }]));
    assert_eq!(
        get(&emulator, &format!("applications?$filter=appId+eq+'{OTHER_TENANT}'"))["value"],
        json!([])
    );
    let audience =
        |app: &str| get(&emulator, &format!("applications(appId='{app}')"))["signInAudience"].clone();
    assert_eq!([audience(APP), audience(MULTI_TENANT_APP)], ["AzureADMyOrg", "AzureADMultipleOrgs"]);
}

#[test]
fn an_unknown_application_is_refused_as_the_real_service_words_it() {
    let emulator = writable();
    for (path, status, code, message) in [
        (
            format!("applications/{TARGET_APP}"),
            404,
            "Request_ResourceNotFound",
            "does not exist or one of its",
        ),
        (format!("applications(appId='{OTHER_TENANT}')"), 404, "Request_ResourceNotFound", OTHER_TENANT),
        // A managed identity has no application object.
        (format!("applications(appId='{SYSTEM_IDENTITY}')"), 404, "Request_ResourceNotFound", "Resource"),
        ("applications/x".to_owned(), 400, "Request_BadRequest", "Invalid object identifier 'x'."),
        ("applications(uniqueName='x')".to_owned(), 501, "NotImplemented", "the alternate key 'uniquename'"),
    ] {
        let answer = send(&emulator, Method::GET, &path, None);
        assert_eq!(refused(&answer), (status, code), "{path}");
        let found = answer.1["error"]["message"].as_str().unwrap();
        assert!(found.contains(message), "{path}: {found}");
        assert!(answer.1["error"]["innerError"]["request-id"].is_string());
    }
}

#[test]
fn service_principals_include_managed_identities_and_belong_to_the_tenant() {
    let emulator = writable();
    let identity = get(&emulator, &format!("servicePrincipals(appId='{USER_IDENTITY}')"));
    assert_eq!(identity["servicePrincipalType"], "ManagedIdentity");
    assert_eq!(identity["alternativeNames"], json!(["isExplicit=True", USER_IDENTITY_RESOURCE]));
    assert_eq!(
        get(&emulator, &format!("servicePrincipals/{USER_IDENTITY_PRINCIPAL}"))["appId"],
        USER_IDENTITY
    );
    let by_filter =
        get(&emulator, &format!("servicePrincipals?$filter=appId eq '{SECRET_APP}'").replace(' ', "%20"));
    assert_eq!(all(&by_filter, "id"), [SECRET_PRINCIPAL]);
    assert_eq!(all(&get(&emulator, "servicePrincipals"), "id").len(), 7);
    // In this world, the other tenant has the service principals of two applications of the first tenant.
    let emulator = emulator_with(|world| {
        world
            .application_mut(APP)
            .unwrap()
            .principals
            .insert(OTHER_TENANT.to_owned(), BARE_PRINCIPAL.to_owned());
    });
    let identity = emulator.client_identity();
    let aud = json!(format!("https://{LOGIN}/{OTHER_TENANT}/oauth2/v2.0/token"));
    let body = signed::changed(signed::body(LOGIN), "aud", aud);
    let assertion = signed_by(identity, signed::header(identity), body);
    let scope = format!("{GRAPH}/.default");
    let token = Ask { tenant: OTHER_TENANT, scope: &scope, ..signed::classic(assertion) }.token(&emulator);
    let listed = |path: &str| {
        let request = Request::get(path).header("authorization", format!("Bearer {token}"));
        let request = request.body(Bytes::new()).unwrap();
        all(&json_of(&emulator.handle(NOW, &TlsFacts::without_certificate(GRAPH_HOST), request)), "appId")
    };
    assert_eq!(listed("/v1.0/servicePrincipals"), [APP, MULTI_TENANT_APP]);
    assert_eq!(listed("/v1.0/applications"), Vec::<String>::new());
}

#[test]
fn a_collection_comes_in_pages() {
    let emulator = writable();
    let mut path = "applications?$top=2&$select=appId,displayName".to_owned();
    let mut found = Vec::new();
    loop {
        let page = get(&emulator, &path);
        found.push(all(&page, "appId"));
        assert_eq!(page["value"][0].as_object().unwrap().len(), 2, "{page}");
        let Some(next) = page["@odata.nextLink"].as_str() else { break };
        path = next.strip_prefix("https://graph.microsoft.com/v1.0/").unwrap().to_owned();
    }
    assert_eq!(found, [vec![APP, TARGET_APP], vec![MULTI_TENANT_APP, SECRET_APP], vec![BARE_APP]]);
    let listed = get(&emulator, "applications?$top=5");
    assert!(listed.get("@odata.nextLink").is_none(), "{listed}");
    for (query, status, code) in [
        ("$top=0", 400, "Request_UnsupportedQuery"),
        ("$top=1000", 400, "Request_UnsupportedQuery"),
        ("$top=x", 400, "Request_UnsupportedQuery"),
        ("$top=1&$top=2", 400, "BadRequest"),
        ("$skiptoken=eA", 400, "Directory_ExpiredPageToken"),
        ("$skiptoken=*", 400, "Directory_ExpiredPageToken"),
        ("$filter=keyCredentials%20eq%20'x'", 400, "Request_UnsupportedQuery"),
        ("$filter=startswith(displayName,'x')", 501, "NotImplemented"),
        ("$filter=appId%20eq%20x", 501, "NotImplemented"),
        ("$filter=appId%20eq%20'a'%20or%20appId%20eq%20'b'", 501, "NotImplemented"),
        ("$select=id,owners", 501, "NotImplemented"),
        ("$expand=owners", 501, "NotImplemented"),
        ("$count=true", 501, "NotImplemented"),
        ("$orderby=appId", 501, "NotImplemented"),
    ] {
        let answer = send(&emulator, Method::GET, &format!("applications?{query}"), None);
        assert_eq!(refused(&answer), (status, code), "{query}");
    }
    let id = object_id(&emulator, APP);
    let answer = send(&emulator, Method::GET, &format!("applications/{id}?$filter=appId%20eq%20'x'"), None);
    assert_eq!(refused(&answer), (400, "BadRequest"));
}

#[test]
fn the_organization_is_the_tenant() {
    let emulator = writable();
    let listed = get(&emulator, "organization");
    assert_eq!(all(&listed, "id"), [TENANT]);
    assert_eq!(listed["value"][0]["verifiedDomains"][0]["name"], "contoso.example");
    assert_eq!(
        get(&emulator, &format!("organization/{TENANT}?$select=displayName"))["displayName"],
        "contoso.example"
    );
    let other = send(&emulator, Method::GET, &format!("organization/{OTHER_TENANT}"), None);
    assert_eq!(refused(&other), (404, "Request_ResourceNotFound"));
}

#[test]
fn the_roles_of_the_token_decide() {
    let read = "applications";
    let own = &format!("applications(appId='{APP}')/federatedIdentityCredentials/credential-1");
    let other = &format!("applications(appId='{TARGET_APP}')/federatedIdentityCredentials/credential-1");
    let denied = (403, "Authorization_RequestDenied");
    let nothing = (204, "-");
    for (role, expected) in [
        ("Application.Read.All", [(200, "-"), denied, denied, denied]),
        ("Directory.Read.All", [(200, "-"), denied, denied, (200, "-")]),
        ("Organization.Read.All", [denied, denied, denied, (200, "-")]),
        ("Application.ReadWrite.OwnedBy", [(200, "-"), nothing, denied, denied]),
        ("Application.ReadWrite.All", [(200, "-"), nothing, nothing, denied]),
        ("User.Read.All", [denied; 4]),
        ("application.readwrite.all", [denied; 4]),
    ] {
        let emulator = emulator_with(|world| roles(world, &[role]));
        let answers = [
            (Method::GET, read),
            (Method::DELETE, own),
            (Method::DELETE, other),
            (Method::GET, "organization"),
        ]
        .map(|(method, path)| send(&emulator, method, path, None));
        assert_eq!(answers.each_ref().map(refused), expected, "{role}");
    }
}

#[test]
fn a_request_that_is_not_emulated_is_refused_with_the_list_of_what_is() {
    let emulator = writable();
    let id = object_id(&emulator, APP);
    for (method, path) in [
        (Method::GET, "users".to_owned()),
        (Method::POST, "applications".to_owned()),
        (Method::DELETE, format!("applications/{id}")),
        (Method::PUT, format!("applications/{id}/federatedIdentityCredentials/x")),
        (Method::GET, format!("applications/{id}/owners")),
        (Method::POST, format!("applications/{id}/addKey")),
        (Method::POST, format!("applications/{id}/removeKey")),
        (Method::POST, format!("applications/{id}/addPassword")),
        (Method::PATCH, format!("servicePrincipals/{SECRET_PRINCIPAL}")),
        (Method::POST, "$batch".to_owned()),
        (Method::GET, "applications/delta".to_owned()),
        (Method::GET, "applications/delta()".to_owned()),
        (Method::GET, "applications/$count".to_owned()),
        (Method::GET, "applications/%24count".to_owned()),
        (Method::GET, "servicePrincipals/delta".to_owned()),
        (Method::GET, "servicePrincipals/$count".to_owned()),
        (Method::GET, "organization/delta".to_owned()),
        (Method::GET, "organization/$count".to_owned()),
        (Method::GET, format!("applications/{id}/federatedIdentityCredentials/$count")),
        (Method::GET, "applications(appId=x)".to_owned()),
        (Method::GET, "applications('a'b')".to_owned()),
        (Method::GET, "applications/%ff".to_owned()),
        (Method::GET, String::new()),
        (Method::GET, "../v2.0/applications".to_owned()),
    ] {
        let answer = send(&emulator, method, &path, None);
        assert_eq!(refused(&answer), (501, "NotImplemented"), "{path}");
        let message = answer.1["error"]["message"].as_str().unwrap();
        assert!(message.contains("federatedIdentityCredentials"), "{message}");
    }
}
