//! A server whose emulator is replaced by an emulator of another world.

use certbound_emulator::EmulatorError;
use certbound_emulator::world::ResourceStyle;

use super::*;

/// A world whose tokens are valid for 90 seconds.
fn short() -> World {
    let mut world = World::built_in();
    world.token_lifetime_seconds = Some(90);
    world
}

/// The keys stay, also after a rotation. The journal, the faults and the offset of the clock are those of a new emulator.
#[tokio::test]
async fn another_world_answers_on_open_connections_and_accepts_earlier_tokens() {
    let fixture = start().await;
    fixture.emulator.rotate_keys().unwrap();
    let config = tls(&fixture.emulator, fixture.identity());
    let tunnel = connect(fixture.server.proxy_address(), &format!("{MTLS}:443")).await.unwrap();
    let name = ServerName::try_from(MTLS).unwrap();
    let stream = TlsConnector::from(Arc::clone(&config)).connect(name, tunnel).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let direct = LEG_1.replace("api://AzureADTokenExchange", "api://orders");
    let mut token = async || {
        let body = sender.send_request(post(MTLS, &direct)).await.unwrap().into_body();
        let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        (body["access_token"].as_str().unwrap().to_owned(), body["expires_in"].as_u64().unwrap())
    };
    let (earlier, lifetime) = token().await;
    assert!(lifetime > 90);
    fixture.emulator.add_fault(Fault::always(Condition::any(), FaultResult::ConnectionReset));
    fixture.emulator.advance(1_000_000);

    let current = fixture.server.current();
    current.replace(short()).unwrap();
    assert!((80..=90).contains(&token().await.1));
    let call = Request::get("/orders").header("host", ORDERS_HOST);
    let call = call.header("authorization", format!("mtls_pop {earlier}")).body(Full::default()).unwrap();
    let orders = fixture.send(ORDERS_HOST, config, call).await.unwrap();
    assert_eq!(orders.status(), StatusCode::OK, "{orders:?}");

    let (_, journal) = fixture.admin("GET", "journal", "").await;
    assert_eq!(journal["entries"].as_array().unwrap().len(), 2);
    assert_eq!(fixture.admin("GET", "faults", "").await.1, json!({ "faults": [] }));
    assert_eq!(fixture.admin("GET", "clock", "").await.1["offset_seconds"], 0);
    assert_eq!(fixture.admin("GET", "world", "").await.1["token_lifetime_seconds"], 90);
}

/// The authority's name constraints contain the hosts of the first world. A host that was removed may return.
#[tokio::test]
async fn a_world_with_a_new_host_is_refused_and_the_earlier_world_stays() {
    let fixture = start().await;
    let current = fixture.server.current();
    let mut fewer = World::built_in();
    fewer.resources.retain(|resource| resource.hosts.iter().all(|host| host.name != ORDERS_HOST));
    current.replace(fewer).unwrap();
    assert!(!current.get().is_emulated(ORDERS_HOST));
    current.replace(World::built_in()).unwrap();
    assert!(current.get().is_emulated(ORDERS_HOST));
    let text = World::built_in().to_toml().unwrap().replace(ORDERS_HOST, "new.contoso.example");
    let error = current.replace(World::from_toml(&text).unwrap()).unwrap_err().to_string();
    assert!(error.contains("`new.contoso.example` is a new host") && error.contains("restart"), "{error}");
    assert!(current.get().is_emulated(ORDERS_HOST));
}

/// This server has no TLS library that renegotiates.
#[tokio::test]
async fn a_world_with_a_late_host_is_refused_without_a_library_for_it() {
    let server = start().await.server;
    let mut world = World::built_in();
    let vault = world.resources.iter_mut().find(|it| it.style == ResourceStyle::Vault).unwrap();
    let host = vault.hosts[0].name.clone();
    vault.hosts[0].late_certificate = true;
    assert_eq!(server.current().replace(world), Err(EmulatorError::NoLateTls { host }));
    assert_eq!(server.current().get().late_host(), None);
}
