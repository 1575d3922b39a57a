//! Clients that send slowly or send nothing.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_has_the_time_of_a_head() {
    let server = Server::start(limits());
    assert_eq!(closes(&mut server.connect()).await, (10 * SECOND, String::new()));
}

#[tokio::test(start_paused = true)]
async fn a_head_has_ten_seconds_however_it_comes() {
    let server = Server::start(limits());
    for (before, after) in [("", "GET / HTTP/1.1\r\nhost: a\r\nx: "), ("G", "ET / HTTP/1.1\r\nx: ")] {
        let mut client = server.connect();
        client.write_all(before.as_bytes()).await.unwrap();
        client.write_all(after.as_bytes()).await.unwrap();
        assert_eq!(closes(&mut client).await.0, 10 * SECOND);
    }
    // One byte each second does not complete a head. The five seconds of silence before the first byte count.
    let (mut reader, mut writer) = tokio::io::split(server.connect());
    let dripping = tokio::spawn(async move {
        pass(5 * SECOND).await;
        while writer.write_all(b"G").await.is_ok() {
            pass(SECOND).await;
        }
    });
    assert_eq!(closes(&mut reader).await.0, 10 * SECOND);
    dripping.await.unwrap();
    // A head that is complete in time is served.
    let mut client = server.connect();
    client.write_all(&GET[..10]).await.unwrap();
    pass(9 * SECOND).await;
    client.write_all(&GET[10..]).await.unwrap();
    assert_eq!(one_answer(&mut client).await.unwrap(), "/");
}

#[tokio::test(start_paused = true)]
async fn between_requests_a_connection_may_be_idle_for_a_minute() {
    let server = Server::start(limits());
    let mut client = server.connect();
    for _ in 0..3 {
        assert_eq!(ask(&mut client).await.unwrap(), "/");
        pass(59 * SECOND).await;
    }
    assert_eq!(ask(&mut client).await.unwrap(), "/");
    assert_eq!(closes(&mut client).await, (60 * SECOND, String::new()));
    // The next head has ten seconds from its first byte.
    let mut client = server.connect();
    assert_eq!(ask(&mut client).await.unwrap(), "/");
    pass(30 * SECOND).await;
    client.write_all(b"GET").await.unwrap();
    assert_eq!(closes(&mut client).await.0, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_body_has_thirty_seconds_however_it_comes() {
    let server = Server::start(limits());
    let head = b"POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n";
    let late = "reading the body of the request took too long";
    let mut client = server.connect();
    let began = Instant::now();
    client.write_all(head).await.unwrap();
    assert_eq!(one_answer(&mut client).await.unwrap(), late);
    assert_eq!(began.elapsed(), 30 * SECOND);

    let (mut client, began) = (server.connect(), Instant::now());
    client.write_all(head).await.unwrap();
    for _ in 0..30 {
        client.write_all(b"a").await.unwrap();
        pass(SECOND).await;
    }
    assert_eq!(one_answer(&mut client).await.unwrap(), late);
    assert_eq!(began.elapsed(), 30 * SECOND);

    let mut client = server.connect();
    client.write_all(head).await.unwrap();
    pass(29 * SECOND).await;
    client.write_all(&[b'a'; 100]).await.unwrap();
    assert_eq!(one_answer(&mut client).await.unwrap().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_head_has_64_kib() {
    let server = Server::start(limits());
    let mut client = server.connect();
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(64 * 1024));
    let _ = client.write_all(head.as_bytes()).await;
    let (_, answer) = closes(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let mut client = server.connect();
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(60 * 1024));
    client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(one_answer(&mut client).await.unwrap(), "/");
}

#[tokio::test(start_paused = true)]
async fn a_head_has_8_kib_however_small_its_limit_is() {
    let mut limits = limits();
    limits.head_bytes = 1;
    let server = Server::start(limits);
    assert_eq!(ask(&mut server.connect()).await.unwrap(), "/");
    for (length, answered) in [(7 * 1024, "HTTP/1.1 200 "), (8 * 1024, "HTTP/1.1 431 ")] {
        let mut client = server.connect();
        let head =
            format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: {}\r\n\r\n", "a".repeat(length));
        let _ = client.write_all(head.as_bytes()).await;
        let (_, answer) = closes(&mut client).await;
        assert!(answer.starts_with(answered), "{length}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_take_its_time() {
    let server = Server::start_with(limits(), |stream, connection| async move {
        let slow = |_| async {
            tokio::time::sleep(500 * SECOND).await;
            Ok::<_, io::Error>(Response::new(Full::new(Bytes::from("late"))))
        };
        let _ = connection.http1(stream, slow).await;
    });
    assert_eq!(ask(&mut server.connect()).await.unwrap(), "late");
}

/// The emulator's tunnels have these steps: HTTP, an upgrade, a handshake, and HTTP again.
#[tokio::test(start_paused = true)]
async fn the_limits_go_on_behind_a_handshake_and_an_upgrade() {
    let handle = |stream: DuplexStream, connection: Connection| async move {
        let (sent, upgraded) = (std::sync::Mutex::new(None), std::sync::Mutex::new(None));
        let connect = |mut request: Request<Body>| {
            *upgraded.lock().unwrap() = Some(hyper::upgrade::on(&mut request));
            *sent.lock().unwrap() = Some(());
            async { Ok::<_, io::Error>(Response::new(Full::<Bytes>::default())) }
        };
        if connection.http1(stream, connect).await.is_err() {
            return;
        }
        let Some(upgrade) = upgraded.into_inner().unwrap() else { return };
        let mut tunnel = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
        let Ok(hello) = connection.handshake(tunnel.read_u8()).await else { return };
        assert_eq!(hello.unwrap(), b'!');
        let _ = connection.http1(tunnel, answer).await;
    };
    let server = Server::start_with(limits(), handle);
    let tunnel = || async {
        let mut client = server.connect();
        client.write_all(b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n").await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        client
    };
    assert_eq!(closes(&mut tunnel().await).await.0, 10 * SECOND, "no handshake");
    let mut client = tunnel().await;
    client.write_all(b"!").await.unwrap();
    assert_eq!(closes(&mut client).await.0, 10 * SECOND, "no request");
    let mut client = tunnel().await;
    client.write_all(b"!").await.unwrap();
    assert_eq!(ask(&mut client).await.unwrap(), "/");
    assert_eq!(closes(&mut client).await.0, 60 * SECOND, "no second request");
}
