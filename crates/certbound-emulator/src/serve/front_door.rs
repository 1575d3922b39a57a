//! The proxy port: it accepts CONNECT to an emulated host, then TLS with that host's certificate, then HTTP requests
//! for the emulator. Hosts of resources usually offer HTTP/2 too.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use certbound_core::shown::shown;
use certbound_serve::{Body, Connection};
use http::header::{DATE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use rustls::{HandshakeKind, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

use super::connection::{Resettable, ResponseBody, carry_out, last, whole, without_body};
use super::current::CurrentEmulator;
use super::fetch;
use super::late;
use super::tls::HTTP_2;
use crate::answers::http_date;
use crate::emulator::Emulator;
use crate::tls_facts::TlsFacts;

/// The time in which a client has to close the connection after an alert.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves one client of the proxy, from CONNECT to the end of its tunnel.
pub(super) async fn connection(stream: TcpStream, connection: Connection, current: CurrentEmulator) {
    let (stream, reset) = Resettable::new(stream);
    let Some((host, upgrade)) = connect(stream, &connection, &current).await else { return };
    let tunnel = match upgrade.await {
        Ok(tunnel) => tunnel,
        Err(error) => return tracing::debug!(%error, "a tunnel could not be opened"),
    };
    let tunnel = TokioIo::new(tunnel);
    let served = match current.get().asks_late(&host) {
        true => late::serve(Box::new(tunnel), &connection, &host, current, reset).await,
        false => serve(tunnel, &connection, Some(&host), current, reset).await,
    };
    if let Err(error) = served {
        tracing::debug!(%error, host, "a tunnel ended early");
    }
}

/// Serves one client that connects to a real host name. The TLS handshake names the host.
pub(super) async fn direct(stream: TcpStream, connection: Connection, current: CurrentEmulator) {
    let (stream, reset) = Resettable::new(stream);
    let served = match current.get().late_host().is_some() {
        true => by_name(stream, &connection, current, reset).await,
        false => serve(stream, &connection, None, current, reset).await,
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Reads the server name in the handshake, and serves the client by the TLS library of this host.
async fn by_name(
    stream: Resettable,
    connection: &Connection,
    current: CurrentEmulator,
    reset: Arc<AtomicBool>,
) -> io::Result<()> {
    let (name, stream) = connection.handshake(late::server_name(stream)).await??;
    match current.get().asks_late(&name) {
        true => late::serve(Box::new(stream), connection, &name, current, reset).await,
        false => serve(stream, connection, None, current, reset).await,
    }
}

/// Answers requests until the client sends a CONNECT to an emulated host, or until the connection ends.
async fn connect(
    stream: Resettable,
    connection: &Connection,
    current: &CurrentEmulator,
) -> Option<(String, OnUpgrade)> {
    let opened = Mutex::new(None);
    let service = |mut request: Request<Body>| {
        let answer = match destination(&request, &current.get()) {
            Ok(host) => {
                let upgrade = hyper::upgrade::on(&mut request);
                *opened.lock().unwrap_or_else(PoisonError::into_inner) = Some((host, upgrade));
                Response::new(ResponseBody::whole(Bytes::new()))
            }
            Err((status, text)) => {
                let mut response = Response::new(ResponseBody::whole(Bytes::from(format!("{text}\n"))));
                *response.status_mut() = status;
                response
            }
        };
        async move { Ok::<_, Infallible>(answer) }
    };
    if let Err(error) = connection.http1(stream, service).await {
        tracing::debug!(%error, "a proxy connection ended early");
    }
    opened.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn destination(request: &Request<Body>, emulator: &Emulator) -> Result<String, (StatusCode, String)> {
    if request.method() != Method::CONNECT {
        let text =
            "This is the emulator's proxy. It accepts the method CONNECT only. Use it as an HTTPS proxy.";
        return Err((StatusCode::METHOD_NOT_ALLOWED, text.to_owned()));
    }
    let (host, port) = request.uri().authority().map_or(("", None), |to| (to.host(), to.port_u16()));
    if port != Some(443) || !emulator.is_emulated(host) {
        tracing::warn!(host = shown(host), "a request was refused: CONNECT to a host that is not emulated");
        let text = "This host is not emulated, and the emulator does not forward requests. Use an emulated host at port 443.";
        return Err((StatusCode::FORBIDDEN, text.to_owned()));
    }
    let host = host.to_ascii_lowercase();
    if emulator.is_unreachable(&host) {
        let text = "A rule of this emulator makes the host unreachable.";
        return Err((StatusCode::BAD_GATEWAY, text.to_owned()));
    }
    Ok(host)
}

/// Performs the TLS handshake and serves the requests. `host` is the destination of the tunnel. Without a tunnel the
/// handshake names the host.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    connection: &Connection,
    host: Option<&str>,
    current: CurrentEmulator,
    reset: Arc<AtomicBool>,
) -> io::Result<()> {
    let handshake = async {
        let state = current.state();
        let (emulator, tls) = (&state.emulator, &state.tls);
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let name = start.client_hello().server_name().map(str::to_ascii_lowercase).unwrap_or_default();
        let same = match host {
            Some(host) => name == host,
            None => emulator.is_emulated(&name),
        };
        let config = match same {
            false => tls.refusing(),
            true if emulator.refuses_certificates(&name) => tls.blaming(&name).map_err(io::Error::other)?,
            true => tls.of(&name).map_err(io::Error::other)?,
        };
        match start.into_stream(config).into_fallible().await {
            Ok(stream) => Ok((stream, name)),
            Err((error, stream)) => {
                leave(stream).await;
                Err(error)
            }
        }
    };
    let (stream, name) = connection.handshake(handshake).await??;
    let by_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
    let client = Arc::new(Client::Early(facts(stream.get_ref().1, &name)));
    let service = move |request: Request<Body>| {
        respond(request, current.get(), Arc::clone(&client), Arc::clone(&reset))
    };
    match by_http2 {
        true => connection.http2(stream, service).await,
        false => connection.http1(stream, service).await,
    }
}

/// Ends a connection whose handshake failed. Reads and ignores the data that the client sent in the meantime. Unread
/// data would end the connection by a reset, which can arrive before the alert.
async fn leave(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let rest = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // If the client does not close in time, the connection is dropped.
    let _ = tokio::time::timeout(FAREWELL, rest).await;
}

pub(super) fn facts(connection: &ServerConnection, host: &str) -> TlsFacts {
    let chain = connection.peer_certificates().filter(|chain| !chain.is_empty());
    TlsFacts {
        server_name: host.to_owned(),
        client_chain: chain.map(|chain| chain.iter().map(|certificate| certificate.to_vec()).collect()),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        protocol: connection.protocol_version().and_then(|version| version.as_str().map(str::to_owned)),
    }
}

/// The client of a connection to an emulated host.
pub(super) enum Client {
    /// The handshake determined the facts of all requests.
    Early(TlsFacts),
    /// The host may request the certificate after a request.
    Late(late::Peer),
}

/// Returns whether the version of HTTP allows the number of `Host` headers in the request. RFC 9112, section 3.2,
/// requires the status 400 for any other number.
fn has_right_hosts(request: &Request<Body>) -> bool {
    match (request.version(), request.headers().get_all(HOST).iter().count()) {
        (_, 1) => true,
        (Version::HTTP_11, _) => false,
        (_, hosts) => hosts == 0,
    }
}

/// Answers a request to an emulated host.
pub(super) async fn respond(
    request: Request<Body>,
    emulator: Arc<Emulator>,
    client: Arc<Client>,
    reset: Arc<AtomicBool>,
) -> io::Result<Response<ResponseBody>> {
    let is_head = request.method() == Method::HEAD;
    if !has_right_hosts(&request) {
        tracing::warn!("a request was refused: it must have the header Host exactly once");
        return Ok(last(StatusCode::BAD_REQUEST));
    }
    let request = match whole(request).await {
        Ok(request) => request,
        Err(response) => return Ok(response),
    };
    let facts = match &*client {
        Client::Early(facts) => facts,
        Client::Late(peer) => peer.facts(request.headers(), &emulator).await?,
    };
    fetch::learn(&emulator, &request).await;
    let now = emulator.now();
    let mut response = emulator.handle(now, facts, request);
    if let Ok(date) = HeaderValue::from_str(&http_date(now)) {
        // If the header `Date` were absent, the HTTP library would add the real time. A fault can set the header too.
        response.headers_mut().entry(DATE).or_insert(date);
    }
    let response = carry_out(response, &reset).await?;
    Ok(if is_head { without_body(response) } else { response })
}
