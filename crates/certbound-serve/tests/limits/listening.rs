//! Failures of `accept`.

use super::*;

fn out_of_files() -> io::Error {
    io::Error::other("out of files")
}

#[tokio::test(start_paused = true)]
async fn the_pause_after_a_failure_grows_up_to_a_second_and_ends_with_a_success() {
    let server = Server::start(limits());
    let answered_after = |failures: usize| {
        let server = &server;
        async move {
            let began = Instant::now();
            (0..failures).for_each(|_| server.clients.send(Err(out_of_files())).unwrap());
            ask(&mut server.connect()).await.unwrap();
            began.elapsed()
        }
    };
    let milliseconds = Duration::from_millis;
    assert_eq!(answered_after(1).await, milliseconds(5));
    assert_eq!(answered_after(3).await, milliseconds(5 + 10 + 20));
    assert_eq!(answered_after(10).await, milliseconds(5 * 255 + 2 * 1_000));
    assert_eq!(answered_after(1).await, milliseconds(5));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_went_away_is_no_reason_to_pause() {
    let server = Server::start(limits());
    let began = Instant::now();
    for kind in [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset] {
        server.clients.send(Err(kind.into())).unwrap();
    }
    ask(&mut server.connect()).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_failure_closes_an_idle_connection_since_each_holds_a_file() {
    let server = Server::start(limits());
    let mut idle = server.connect();
    ask(&mut idle).await.unwrap();
    server.clients.send(Err(out_of_files())).unwrap();
    assert_eq!(closes(&mut idle).await, (Duration::ZERO, String::new()));
}

#[tokio::test(start_paused = true)]
async fn it_stops_during_a_pause() {
    let mut server = Server::start(limits());
    (0..20).for_each(|_| server.clients.send(Err(out_of_files())).unwrap());
    pass(8 * SECOND).await;
    let began = Instant::now();
    server.stop();
    server.task.await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}
