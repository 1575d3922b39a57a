//! The machine's services: TLS for Service Fabric's token service, plain HTTP for the other platforms.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use certbound_serve::{Body, Connection};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::connection::{Resettable, carry_out, whole};
use super::current::CurrentEmulator;
use super::front_door::facts;

/// Serves one client. `own_host` is the `host:port` of the listener.
pub(super) async fn connection(
    stream: TcpStream,
    connection: Connection,
    current: CurrentEmulator,
    own_host: Arc<str>,
) {
    let (stream, reset) = Resettable::new(stream);
    let answer = move |request| {
        let emulator = current.get();
        emulator.handle_machine(emulator.now(), &own_host, request)
    };
    if let Err(error) = serve(stream, &connection, answer, reset).await {
        tracing::debug!(%error, "a connection to the metadata service ended early");
    }
}

/// Serves one client of Service Fabric's token service.
pub(super) async fn node_connection(
    stream: TcpStream,
    connection: Connection,
    current: CurrentEmulator,
    own_host: Arc<str>,
) {
    let (stream, reset) = Resettable::new(stream);
    let stream = async {
        let state = current.state();
        let foreign = state.emulator.node_is_foreign();
        let config = state.tls.of_service_fabric(foreign).map_err(io::Error::other)?;
        connection.handshake(TlsAcceptor::from(config).accept(stream)).await?
    };
    let stream = match stream.await {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, "a handshake with Service Fabric's service failed"),
    };
    let name = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
    let facts = facts(stream.get_ref().1, &name);
    let answer = move |request| {
        let emulator = current.get();
        emulator.handle_service_fabric(emulator.now(), &facts, &own_host, request)
    };
    if let Err(error) = serve(stream, &connection, answer, reset).await {
        tracing::debug!(%error, "a connection to Service Fabric's service ended early");
    }
}

/// Serves HTTP on a stream. A thread that may block answers each request: the issue of a certificate can take time.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    connection: &Connection,
    answer: impl Fn(Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
    reset: Arc<AtomicBool>,
) -> io::Result<()> {
    let answer = Arc::new(answer);
    let service = move |request: Request<Body>| {
        let (answer, reset) = (Arc::clone(&answer), Arc::clone(&reset));
        async move {
            let request = match whole(request).await {
                Ok(request) => request,
                Err(response) => return Ok(response),
            };
            let answered = tokio::task::spawn_blocking(move || answer(request)).await;
            carry_out(answered.map_err(|_| io::Error::other("the emulator failed"))?, &reset).await
        }
    };
    connection.http1(stream, service).await
}
