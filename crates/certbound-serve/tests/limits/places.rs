//! Which connections are closed when there are more clients than places.

use super::*;

async fn never(server: &Server) -> DuplexStream {
    let mut client = server.connect();
    client.write_all(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    pass(Duration::from_millis(1)).await;
    client
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_connection_makes_room_at_once() {
    let server = Server::start(places(2));
    let (mut first, mut second) = (server.connect(), server.connect());
    for client in [&mut first, &mut second] {
        ask(client).await.unwrap();
        pass(SECOND).await;
    }
    // The first connection is used again, so the second one has been idle for longer.
    ask(&mut first).await.unwrap();
    let began = Instant::now();
    assert_eq!(ask(&mut server.connect()).await.unwrap(), "/");
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(closes(&mut second).await.0, Duration::ZERO);
    assert_eq!(ask(&mut first).await.unwrap(), "/");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_keeps_the_server_waiting_makes_room_after_a_second() {
    let flood = GET.repeat(200);
    for sent in [
        b"".as_slice(),
        b"GET / HTT",
        b"POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n",
        b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n",
        &flood,
    ] {
        let server = Server::start(places(1));
        let mut first = server.connect();
        let _ = tokio::time::timeout(Duration::ZERO, first.write_all(sent)).await;
        let began = Instant::now();
        assert_eq!(ask(&mut server.connect()).await.unwrap(), "/");
        assert!((SECOND - Duration::from_millis(2)..=SECOND).contains(&began.elapsed()), "{began:?}");
        assert_eq!(closes(&mut first).await.0, Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_answer_is_being_made_stays() {
    let server = Server::start(places(2));
    let (mut first, second) = (never(&server).await, never(&server).await);
    let mut third = server.connect();
    let asked = tokio::spawn(async move { ask(&mut third).await.unwrap() });
    pass(1_000 * SECOND).await;
    assert!(!asked.is_finished());
    // The client closes its connection, which frees the place.
    drop(second);
    assert_eq!(asked.await.unwrap(), "/");
    first.write_all(b" ").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_becomes_idle_while_others_wait_makes_room_then() {
    let server = Server::start_with(places(1), |stream, connection| async move {
        let slow = |_| async {
            tokio::time::sleep(7 * SECOND).await;
            Ok::<_, io::Error>(Response::new(Full::new(Bytes::from("late"))))
        };
        let _ = connection.http1(stream, slow).await;
    });
    let (mut first, began) = (server.connect(), Instant::now());
    first.write_all(GET).await.unwrap();
    pass(Duration::from_millis(1)).await;
    let mut second = server.connect();
    assert_eq!(ask(&mut second).await.unwrap(), "late");
    assert_eq!(began.elapsed(), 14 * SECOND);
    assert_eq!(one_answer(&mut first).await.unwrap(), "late");
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_lost_by_making_room() {
    let server = Server::start(places(4));
    let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
    for client in &mut clients {
        // Each client is answered in its turn, after an earlier idle connection was closed.
        assert_eq!(ask(client).await.unwrap(), "/");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_gives_the_place_back() {
    let server = Server::start_with(places(1), |stream, connection| async move {
        let panics = |request: Request<Body>| async move {
            assert!(request.uri().path() != "/never", "as asked");
            answer(request).await
        };
        let _ = connection.http1(stream, panics).await;
    });
    let mut client = never(&server).await;
    closes(&mut client).await;
    assert_eq!(ask(&mut server.connect()).await.unwrap(), "/");
}
