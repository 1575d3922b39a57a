//! An attack over TCP sockets: clients that pipeline requests and never read a response.

use tokio::net::{TcpListener, TcpStream};

use super::*;

#[tokio::test]
async fn clients_that_pipeline_and_never_read_neither_fill_the_server_nor_keep_it_from_ending() {
    let mut limits = places(8);
    limits.patience = Duration::from_millis(20);
    limits.stop = Duration::from_millis(200);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(
        listener,
        limits,
        async { drop(stopped.await) },
        |stream, _, connection| async move {
            let _ = connection.http1(stream, answer).await;
        },
    ));
    // Each attacker sends until the server reads no more. Then it holds a place and never reads.
    let flood = GET.repeat(1_000);
    let mut attackers = Vec::new();
    for _ in 0..8 {
        let attacker = TcpStream::connect(address).await.unwrap();
        while tokio::time::timeout(Duration::from_millis(50), attacker.writable()).await.is_ok() {
            if attacker.try_write(&flood).is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
                break;
            }
        }
        attackers.push(attacker);
    }
    for _ in 0..4 {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    // The remaining attackers do not keep the server from ending.
    stop.send(()).unwrap();
    server.await.unwrap();
    drop(attackers);
}
