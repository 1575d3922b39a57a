//! Clients that read slowly or never read.

use super::*;

/// Returns how long the server serves a client that sends `sent` and reads nothing.
async fn served(sent: &[u8]) -> Duration {
    let (ended, mut times) = mpsc::unbounded_channel();
    let server = Server::start_with(limits(), move |stream, connection| {
        let (ended, began) = (ended.clone(), Instant::now());
        async move {
            let _ = connection.http1(stream, answer).await;
            let _ = ended.send(began.elapsed());
        }
    });
    let mut client = server.connect();
    // The write does not complete if the server stops reading.
    let _ = tokio::time::timeout(SECOND, client.write_all(sent)).await;
    times.recv().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_has_thirty_seconds() {
    assert_eq!(served(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await, 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn pipelining_makes_it_no_longer() {
    assert_eq!(served(&GET.repeat(10_000)).await, 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn each_write_has_a_time_of_its_own() {
    let server = Server::start(limits());
    let (mut client, mut read) = (server.connect(), 0);
    client.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut piece = vec![0; LARGE / 20];
    for _ in 0..20 {
        pass(29 * SECOND).await;
        read += client.read_exact(&mut piece).await.unwrap();
    }
    assert!(closes(&mut client).await.1.len() + read > LARGE, "the whole answer came");
}
