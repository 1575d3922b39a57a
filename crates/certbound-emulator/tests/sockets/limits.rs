//! Clients that occupy a port do not keep other clients from it.

use super::*;

#[tokio::test]
async fn no_port_can_be_filled() {
    let emulator = Arc::new(Emulator::new(World::built_in()).unwrap());
    let mut limits = Limits::default();
    (limits.connections, limits.patience) = (2, Duration::from_millis(20));
    let any = ANY.parse().unwrap();
    let options = ServerOptions { limits, ..ServerOptions::default() };
    let starting = Server::start_anyone_can_mint_tokens(Arc::clone(&emulator), options);
    let mut server = starting.await.unwrap();
    let direct = server.listen_as_the_real_hosts(any).await.unwrap();
    let fixture = Fixture { emulator, server };
    let address = |url: String| url.split('/').nth(2).unwrap().to_owned();
    let (proxy, metadata) = (fixture.server.proxy_address(), address(fixture.server.metadata_url()));
    let (admin, node) = (address(fixture.server.admin_url()), address(fixture.server.service_fabric_url()));

    // Each port has as many silent clients as it has places. At the proxy they are tunnels without a handshake.
    let mut holding = Vec::new();
    for _ in 0..2 {
        holding.push(connect(proxy, &format!("{MTLS}:443")).await.unwrap());
        for port in [&metadata, &admin, &node, &direct.to_string()] {
            holding.push(TcpStream::connect(port).await.unwrap());
        }
    }
    assert_eq!(fixture.leg_1().await.unwrap().status(), StatusCode::OK);
    assert_eq!(fixture.admin("GET", "clock", "").await.0, 200);
    let mut stream = TcpStream::connect(&metadata).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    for (port, name) in [(direct.to_string(), LOGIN), (node, "localhost")] {
        let stream = TcpStream::connect(port).await.unwrap();
        let connector = TlsConnector::from(tls(&fixture.emulator, None));
        let handshake = connector.connect(ServerName::try_from(name).unwrap(), stream).await;
        // The node's certificate is self-signed, so the handshake may fail, but the server sent its certificate.
        let error = handshake.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.is_empty() || error.contains("certificate"), "{name}: {error}");
    }
    drop(holding);
}
