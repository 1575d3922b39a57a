//! HTTP/2: several requests on one connection, and the limits of such a connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::StatusCode;
use http_body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

/// The body of a request: these bytes, and then its end or nothing.
struct Upload {
    bytes: Option<Bytes>,
    ends: bool,
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.bytes.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

#[derive(Clone)]
struct Client(http2::SendRequest<Upload>);

impl Client {
    async fn send(&self, request: Request<Upload>) -> Result<(StatusCode, String), hyper::Error> {
        let mut sender = self.0.clone();
        sender.ready().await?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
    }

    async fn ask(&self, path: &str) -> Result<String, hyper::Error> {
        let body = Upload { bytes: None, ends: true };
        let request = Request::get(format!("http://a{path}")).body(body).unwrap();
        self.send(request).await.map(|(_, body)| body)
    }

    /// Sends a request and does not wait for the response.
    async fn begin(&self, path: &'static str) -> JoinHandle<Result<String, hyper::Error>> {
        let client = self.clone();
        let asked = tokio::spawn(async move { client.ask(path).await });
        pass(Duration::from_millis(1)).await;
        asked
    }

    /// Sends the head of a request and the first byte of its body, and no more.
    async fn begin_upload(&self) -> JoinHandle<Result<(StatusCode, String), hyper::Error>> {
        let body = Upload { bytes: Some(Bytes::from_static(b"a")), ends: false };
        let request = Request::post("http://a/body").body(body).unwrap();
        let client = self.clone();
        let asked = tokio::spawn(async move { client.send(request).await });
        pass(Duration::from_millis(1)).await;
        asked
    }
}

/// The same responses as [`answer`], and two more: `/fails` is an error of the service, `/3` comes after 3 seconds.
async fn answer_in_time(request: Request<Body>) -> Result<Response<Full<Bytes>>, io::Error> {
    let path = request.uri().path().to_owned();
    if path == "/fails" {
        return Err(io::Error::other("as asked"));
    }
    if let Ok(seconds) = path[1..].parse::<u32>() {
        tokio::time::sleep(seconds * SECOND).await;
    }
    answer(request).await
}

fn server(limits: Limits) -> Server {
    Server::start_with(limits, |stream, connection| async move {
        let _ = connection.http2(stream, answer_in_time).await;
    })
}

async fn client_of(server: &Server, builder: &http2::Builder<TokioExecutor>) -> (Client, JoinHandle<()>) {
    client_on(server.connect(), builder).await
}

async fn client_on(
    stream: DuplexStream,
    builder: &http2::Builder<TokioExecutor>,
) -> (Client, JoinHandle<()>) {
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    // The test needs the end of the connection, not its reason.
    (Client(sender), tokio::spawn(async move { drop(connection.await) }))
}

/// Returns a client, and the task that ends with its connection.
async fn client(server: &Server) -> (Client, JoinHandle<()>) {
    client_of(server, &http2::Builder::new(TokioExecutor::new())).await
}

/// Returns a client that has sent a request and never takes a byte of the response's body.
async fn client_that_takes_nothing(server: &Server) -> (Client, JoinHandle<()>) {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(0);
    let (client, ended) = client_of(server, &builder).await;
    client.begin("/large").await;
    (client, ended)
}

async fn time_until(ended: JoinHandle<()>) -> Duration {
    let before = Instant::now();
    ended.await.unwrap();
    before.elapsed()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// `GET /never`, whose head is complete. The stream's number is that of the nth request.
fn head_of(number: u8) -> Vec<u8> {
    let block = b"\x82\x86\x01\x01a\x04\x06/never";
    [&[0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 2 * number + 1], block.as_slice()].concat()
}

#[tokio::test(start_paused = true)]
async fn requests_share_a_connection_and_do_not_wait_for_each_other() {
    let server = server(limits());
    let ((client, _), began) = (client(&server).await, Instant::now());
    let never = client.begin("/never").await;
    let (two, one) = (client.begin("/2").await, client.begin("/1").await);
    assert_eq!(client.ask("/").await.unwrap(), "/");
    assert!(began.elapsed() < SECOND);
    assert_eq!(one.await.unwrap().unwrap(), "/1");
    assert!(began.elapsed() < 2 * SECOND);
    assert_eq!(two.await.unwrap().unwrap(), "/2");
    assert!(!never.is_finished());
    assert_eq!(client.ask("/large").await.unwrap().len(), LARGE);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_ends_the_whole_connection() {
    let server = server(limits());
    let ((client, ended), began) = (client(&server).await, Instant::now());
    let never = client.begin("/never").await;
    client.ask("/fails").await.unwrap_err();
    never.await.unwrap().unwrap_err();
    ended.await.unwrap();
    assert!(began.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_panic_gives_the_place_back() {
    let server = Server::start_with(places(1), |stream, connection| async move {
        let panics = |request: Request<Body>| async move {
            assert!(request.uri().path() != "/never", "as asked");
            answer(request).await
        };
        let _ = connection.http2(stream, panics).await;
    });
    let (first, ended) = client(&server).await;
    first.ask("/never").await.unwrap_err();
    ended.await.unwrap();
    assert_eq!(client(&server).await.0.ask("/").await.unwrap(), "/");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_server_waits_for_all_open_requests() {
    let mut server = server(limits());
    let (first, _) = client(&server).await;
    let (second, idle) = client(&server).await;
    second.ask("/").await.unwrap();
    let (three, five) = (first.begin("/3").await, first.begin("/5").await);
    let began = Instant::now();
    server.stop();
    assert_eq!(time_until(idle).await, Duration::ZERO, "it has no open request");
    pass(SECOND).await;
    first.ask("/").await.unwrap_err();
    assert_eq!(three.await.unwrap().unwrap(), "/3");
    assert_eq!(five.await.unwrap().unwrap(), "/5");
    server.task.await.unwrap();
    assert!((4 * SECOND..=5 * SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_server_comes_in_nine_seconds_whatever_the_clients_do() {
    let mut server = server(limits());
    let (silent, began) = (server.connect(), Instant::now());
    let (asking, _) = client(&server).await;
    let never = asking.begin("/never").await;
    let (uploading, _) = client(&server).await;
    let upload = uploading.begin_upload().await;
    let _takes_nothing = client_that_takes_nothing(&server).await;
    let mut unanswered = server.connect();
    unanswered.write_all(PREFACE).await.unwrap();
    unanswered.write_all(&head_of(0)).await.unwrap();
    pass(Duration::from_millis(1)).await;
    let before = began.elapsed();
    server.stop();
    server.task.await.unwrap();
    assert_eq!(began.elapsed() - before, 9 * SECOND);
    never.await.unwrap().unwrap_err();
    upload.await.unwrap().unwrap_err();
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_holds_up_the_end_of_the_server_for_a_moment() {
    let mut server = server(limits());
    let mut silent = server.connect();
    pass(Duration::from_millis(1)).await;
    let began = Instant::now();
    server.stop();
    server.task.await.unwrap();
    assert_eq!(began.elapsed(), SECOND / 4);
    assert_eq!(closes(&mut silent).await.0, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_first_request_on_its_way_is_answered() {
    let mut server = server(limits());
    let accepted = server.connect();
    pass(Duration::from_millis(1)).await;
    // The server has not accepted this connection before it is told to stop.
    let queued = server.connect();
    server.stop();
    pass(Duration::from_millis(100)).await;
    let builder = http2::Builder::new(TokioExecutor::new());
    for stream in [accepted, queued] {
        let (client, _) = client_on(stream, &builder).await;
        assert_eq!(client.ask("/").await.unwrap(), "/");
    }
    server.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_first_head_has_ten_seconds() {
    let server = server(limits());
    let head = head_of(0);
    for sent in [b"".as_slice(), &PREFACE[..20], PREFACE, &[PREFACE, &head[..12]].concat()] {
        let mut client = server.connect();
        client.write_all(sent).await.unwrap();
        assert_eq!(closes(&mut client).await.0, 10 * SECOND, "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_be_idle_for_a_minute_and_is_not_while_a_request_is_open() {
    let server = server(limits());
    let (client, ended) = client(&server).await;
    let long = client.begin("/200").await;
    for _ in 0..3 {
        assert_eq!(client.ask("/").await.unwrap(), "/");
        pass(61 * SECOND).await;
    }
    assert_eq!(long.await.unwrap().unwrap(), "/200");
    pass(59 * SECOND).await;
    assert_eq!(client.ask("/").await.unwrap(), "/");
    assert_eq!(time_until(ended).await, 60 * SECOND);
    client.ask("/").await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_data_is_idle_and_has_thirty_seconds_to_end() {
    let server = server(limits());
    let (_client, ended) = client_that_takes_nothing(&server).await;
    let time = time_until(ended).await;
    assert!((89 * SECOND..=90 * SECOND).contains(&time), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping_loses_the_connection() {
    let server = server(limits());
    let mut client = server.connect();
    client.write_all(PREFACE).await.unwrap();
    client.write_all(&head_of(0)).await.unwrap();
    assert_eq!(closes(&mut client).await.0, 40 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_body_has_thirty_seconds_and_other_requests_are_answered_meanwhile() {
    let server = server(limits());
    let ((client, _), began) = (client(&server).await, Instant::now());
    let upload = client.begin_upload().await;
    assert_eq!(client.ask("/1").await.unwrap(), "/1");
    let late = (StatusCode::OK, "reading the body of the request took too long".to_owned());
    assert_eq!(upload.await.unwrap().unwrap(), late);
    assert_eq!(began.elapsed(), 30 * SECOND);
    assert_eq!(client.ask("/").await.unwrap(), "/");
    let whole = Upload { bytes: Some(Bytes::from_static(b"abc")), ends: true };
    let answer = client.send(Request::post("http://a/body").body(whole).unwrap()).await.unwrap();
    assert_eq!(answer.1, "abc");
}

#[tokio::test(start_paused = true)]
async fn a_head_has_64_kib() {
    let server = server(limits());
    let (client, _) = client(&server).await;
    for (length, status) in [(60 * 1024, 200), (64 * 1024, 431), (60 * 1024, 200)] {
        let request = Request::get("http://a/").header("x", "a".repeat(length));
        let answer = client.send(request.body(Upload { bytes: None, ends: true }).unwrap()).await.unwrap();
        assert_eq!(answer.0, status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_as_many_open_requests_as_its_limit_says() {
    let mut limits = limits();
    limits.streams = 2;
    let server = server(limits);
    let (client, _) = client(&server).await;
    // The client knows the limit once the server has answered.
    client.ask("/").await.unwrap();
    let began = Instant::now();
    let (one, two, three) = tokio::join!(client.ask("/1"), client.ask("/1"), client.ask("/1"));
    assert_eq!([one.unwrap(), two.unwrap(), three.unwrap()], ["/1"; 3]);
    assert_eq!(began.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_resets_each_request_at_once_loses_the_connection() {
    let server = server(limits());
    let mut client = server.connect();
    let resets = (0..25).flat_map(|number| {
        let reset = [0, 0, 4, 3, 0, 0, 0, 0, 2 * number + 1, 0, 0, 0, 8];
        [head_of(number), reset.to_vec()].concat()
    });
    client.write_all(&[PREFACE, &resets.collect::<Vec<_>>()].concat()).await.unwrap();
    assert_eq!(closes(&mut client).await.0, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_connection_makes_room_after_a_second_without_a_request_or_while_its_client_takes_or_sends_nothing()
{
    for kind in ["idle", "takes nothing", "sends nothing"] {
        let server = server(places(1));
        let mut upload = None;
        let (first, ended) = match kind {
            "takes nothing" => client_that_takes_nothing(&server).await,
            _ => client(&server).await,
        };
        match kind {
            "idle" => drop(first.ask("/").await.unwrap()),
            "sends nothing" => upload = Some(first.begin_upload().await),
            _ => {}
        }
        let began = Instant::now();
        assert_eq!(client(&server).await.0.ask("/").await.unwrap(), "/");
        assert!((SECOND - Duration::from_millis(2)..=SECOND).contains(&began.elapsed()), "{kind} {began:?}");
        assert_eq!(time_until(ended).await, Duration::ZERO);
        drop(upload);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_one_request_whose_answer_is_being_made_stays() {
    let server = server(places(1));
    let (first, _) = client(&server).await;
    let (upload, long) = (first.begin_upload().await, first.begin("/1000").await);
    let (began, other) =
        (Instant::now(), tokio::spawn(async move { client(&server).await.0.ask("/").await }));
    assert_eq!(long.await.unwrap().unwrap(), "/1000");
    assert!(upload.await.unwrap().is_ok());
    assert!(began.elapsed() < 1_000 * SECOND);
    other.await.unwrap().unwrap();
    let elapsed = began.elapsed();
    assert!((1_000 * SECOND..=1_001 * SECOND).contains(&elapsed), "{elapsed:?}");
}

/// The steps of a tunnel of the emulator: HTTP/1.1, an upgrade, a handshake, and HTTP/2.
#[tokio::test(start_paused = true)]
async fn the_limits_go_on_behind_a_handshake() {
    let server = Server::start_with(limits(), |mut stream, connection| async move {
        let Ok(hello) = connection.handshake(stream.read_u8()).await else { return };
        assert_eq!(hello.unwrap(), b'!');
        let _ = connection.http2(stream, answer_in_time).await;
    });
    let mut stream = server.connect();
    stream.write_all(b"!").await.unwrap();
    assert_eq!(closes(&mut stream).await.0, 10 * SECOND);
    let mut stream = server.connect();
    stream.write_all(b"!").await.unwrap();
    let handshake = http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.unwrap();
    let ended = tokio::spawn(async move { drop(connection.await) });
    assert_eq!(Client(sender.clone()).ask("/").await.unwrap(), "/");
    assert_eq!(time_until(ended).await, 60 * SECOND);
}
