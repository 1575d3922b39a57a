//! The end of a server: it comes within the time limit, whatever the clients do.

use super::*;

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_at_once_and_new_ones_after_a_moment() {
    let mut server = Server::start(limits());
    let (mut idle, mut silent) = (server.connect(), server.connect());
    ask(&mut idle).await.unwrap();
    let began = Instant::now();
    server.stop();
    assert_eq!(closes(&mut idle).await, (Duration::ZERO, String::new()));
    assert_eq!(closes(&mut silent).await, (SECOND / 4, String::new()));
    server.task.await.unwrap();
    assert_eq!(began.elapsed(), SECOND / 4);
}

#[tokio::test(start_paused = true)]
async fn a_request_on_its_way_is_answered() {
    let mut server = Server::start(limits());
    let mut accepted = server.connect();
    pass(Duration::from_millis(1)).await;
    // The server has not accepted this connection before it is told to stop.
    let mut queued = server.connect();
    server.stop();
    pass(Duration::from_millis(100)).await;
    assert_eq!(ask(&mut accepted).await.unwrap(), "/");
    assert_eq!(ask(&mut queued).await.unwrap(), "/");
    server.task.await.unwrap();
}

/// More connections than a task may accept at once without a pause (Tokio's budget).
#[tokio::test(start_paused = true)]
async fn a_long_queue_is_answered() {
    let mut server = Server::start(limits());
    let mut clients: Vec<_> = (0..300).map(|_| server.connect()).collect();
    // An aborted connection does not hide those behind it.
    server.clients.send(Err(io::ErrorKind::ConnectionAborted.into())).unwrap();
    clients.extend((0..10).map(|_| server.connect()));
    server.stop();
    for client in &mut clients {
        assert_eq!(ask(client).await.unwrap(), "/");
    }
    server.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn answers_under_way_are_sent_and_are_the_last_ones() {
    let mut server = Server::start_with(limits(), |stream, connection| async move {
        let slow = |_| async {
            tokio::time::sleep(3 * SECOND).await;
            Ok::<_, io::Error>(Response::new(Full::new(Bytes::from("late"))))
        };
        let _ = connection.http1(stream, slow).await;
    });
    let (mut client, began) = (server.connect(), Instant::now());
    client.write_all(&GET.repeat(2)).await.unwrap();
    pass(Duration::from_millis(1)).await;
    server.stop();
    let (_, answers) = closes(&mut client).await;
    assert_eq!((began.elapsed(), answers.matches("late").count()), (3 * SECOND, 1));
    assert!(answers.contains("connection: close"), "{answers}");
    server.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_ends_in_nine_seconds_whatever_the_clients_do() {
    let mut server = Server::start(limits());
    let mut clients = Vec::new();
    let large = b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n".as_slice();
    for sent in [&GET.repeat(30), large, b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n", &GET[..9]] {
        let mut client = server.connect();
        client.write_all(sent).await.unwrap();
        pass(Duration::from_millis(1)).await;
        clients.push(client);
    }
    let began = Instant::now();
    server.stop();
    server.task.await.unwrap();
    assert_eq!(began.elapsed(), 9 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn it_ends_while_a_client_waits_for_a_place_too() {
    let mut server = Server::start(places(1));
    let mut first = server.connect();
    first.write_all(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut second = server.connect();
    pass(Duration::from_millis(1)).await;
    let began = Instant::now();
    server.stop();
    assert_eq!(closes(&mut second).await.0, Duration::ZERO);
    server.task.await.unwrap();
    assert_eq!(began.elapsed(), 9 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_server_closes_every_connection() {
    let server = Server::start(limits());
    let mut client = server.connect();
    client.write_all(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    pass(Duration::from_millis(1)).await;
    server.task.abort();
    assert_eq!(closes(&mut client).await, (Duration::ZERO, String::new()));
}
