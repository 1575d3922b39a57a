//! SIGTERM while requests are in progress: each request that the server has accepted is answered.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::decider::{Decider, request};
use crate::support::{Emulator, VAULT};
use crate::verify_callers::Idp;

const CLIENTS: usize = 20;

/// A server whose requests wait for the keys of the issuer: the proxy of its fetch does not answer.
struct Waiting {
    decider: Decider,
    clients: Vec<TcpStream>,
    fetch: TcpStream,
}

impl Waiting {
    fn start() -> Self {
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let idp = Idp::new();
        // The flags of the issuer without the file of its keys.
        let mut issuer = idp.flags();
        let at = issuer.iter().position(|flag| flag == "--keys").unwrap();
        issuer.drain(at..at + 2);
        let more = ["--binding", "rfc8705-when-bound", "--admin-listen", "127.0.0.1:0"];
        let mut command = Decider::command("127.0.0.1:0", &issuer, &more);
        command.env("HTTPS_PROXY", format!("http://{}", proxy.local_addr().unwrap()));
        let decider = Decider::spawn(command);
        let head = "GET / HTTP/1.1\r\nHost: a\r\n";
        let request = format!("{head}Authorization: Bearer {}\r\n\r\n", idp.token(json!({})));
        let clients = (0..CLIENTS).map(|_| {
            let mut client = decider.connect();
            client.write_all(request.as_bytes()).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            client
        });
        let clients = clients.collect();
        let mut fetch = proxy.accept().unwrap().0;
        assert!(fetch.read(&mut [0; 4096]).unwrap() > 0, "the fetch has begun");
        until_active(&decider, CLIENTS);
        Self { decider, clients, fetch }
    }
}

/// Waits until this number of requests is in progress.
fn until_active(decider: &Decider, requests: usize) {
    let admin = decider.ready["admin"].as_str().unwrap().strip_prefix("http://").unwrap();
    let expected = format!("certbound_server_requests_active {requests}\n");
    while !request(admin, "GET", "/metrics", "").contains(&expected) {}
}

/// Connects until the server accepts no more connections.
#[expect(clippy::disallowed_methods, reason = "the test must end if the server never stops")]
fn until_closed(address: &str) {
    let began = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(20), "the server still accepts connections");
    }
}

#[test]
fn requests_in_progress_are_answered_and_no_new_connection_is_accepted() {
    let Waiting { decider, clients, fetch } = Waiting::start();
    let address = decider.address().to_owned();
    decider.signal(Signal::TERM);
    until_closed(&address);
    // The fetch fails now, so the requests are answered.
    drop(fetch);
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
    assert_eq!(decider.end().0, Some(0));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test measures how long a process takes to end")]
fn a_second_signal_ends_it_at_once() {
    let Waiting { decider, mut clients, fetch } = Waiting::start();
    let address = decider.address().to_owned();
    decider.signal(Signal::TERM);
    until_closed(&address);
    let began = Instant::now();
    decider.signal(Signal::INT);
    let (code, said) = decider.end();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(code, Some(0));
    assert!(said.contains("a second signal ends the server"), "{said}");
    assert!(matches!(clients[0].read(&mut [0; 1]), Ok(0) | Err(_)));
    drop(fetch);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test measures how long a process takes to end")]
fn the_time_for_requests_in_progress_is_limited() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let idp = Idp::new();
    let mut command = Decider::command("127.0.0.1:0", &idp.flags()[..4], &["--audience", "orders"]);
    command.args(["--binding", "rfc8705-when-bound", "--stop-timeout", "0", "--admin-listen", "127.0.0.1:0"]);
    command.env("HTTPS_PROXY", format!("http://{}", proxy.local_addr().unwrap()));
    let decider = Decider::spawn(command);
    let mut client = decider.connect();
    let token = idp.token(json!({}));
    client
        .write_all(format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes())
        .unwrap();
    let _fetch = proxy.accept().unwrap();
    until_active(&decider, 1);
    let began = Instant::now();
    assert_eq!(decider.stop().0, Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// The log has one line for each request that the server accepted, and the clients count their answers.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the server waits a limited time for the request of a new connection"
)]
fn under_load_each_accepted_request_is_answered() {
    let mut decider = Decider::start(&Idp::new().flags(), &[]);
    let address = decider.address().to_owned();
    let answered = AtomicUsize::new(0);
    let mut stderr = decider.child.stderr.take().unwrap();
    let lines = thread::scope(|scope| {
        let lines = scope.spawn(move || {
            let mut said = String::new();
            stderr.read_to_string(&mut said).unwrap();
            said.matches("request refused").count()
        });
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Ok(mut stream) = TcpStream::connect(&address) {
                    let connected = Instant::now();
                    let mut answer = String::new();
                    let sent = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                    let was_late = connected.elapsed() > Duration::from_millis(200);
                    match sent.and_then(|()| stream.read_to_string(&mut answer)) {
                        // The server has accepted this connection and has not answered.
                        Ok(0) => assert!(was_late, "a request was lost"),
                        Ok(_) => {
                            assert!(answer.starts_with("HTTP/1.1 401") && answer.ends_with('}'), "{answer}");
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                        // The kernel had accepted this connection, and the server had not.
                        Err(error) => assert!(
                            answer.is_empty()
                                && matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
                            "{error} {answer}"
                        ),
                    }
                }
            });
        }
        while answered.load(Ordering::SeqCst) < 50 * CLIENTS {
            thread::yield_now();
        }
        decider.signal(Signal::TERM);
        lines.join().unwrap()
    });
    assert_eq!(lines, answered.into_inner());
    assert_eq!(decider.child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_emulator_answers_the_requests_in_progress() {
    let emulator = Emulator::start();
    let delay = json!({ "delay": { "milliseconds": 700 } });
    emulator.plant(&json!({ "condition": { "leg": "direct" }, "result": delay }));
    let mut command = emulator.certbound();
    command.args(["token", "-o", "json", "--scope", VAULT, "--certificate", emulator.certificate()]);
    let token = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The request is in the journal before its delayed answer is sent.
    while !emulator.admin("GET", "journal").contains("/oauth2/v2.0/token") {}
    assert_eq!(emulator.stop(Signal::TERM), Some(0));
    let output = token.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", crate::support::stderr(&output));
}
