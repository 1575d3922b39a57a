//! The tunnel through an HTTP proxy: one `CONNECT` (RFC 9110, section 9.3.6). The error for a refusal contains the
//! address of the proxy and the status of its answer.

use std::io;
use std::pin::pin;

use bytes::Bytes;
use certbound_core::cause::Cause;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderValue, Request, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::error::Error;
use crate::failure::closed;

/// Opens a tunnel to the host and port of `target` on a connection to a proxy. `proxy` is the address of the proxy, for
/// errors.
pub(crate) async fn open(
    tcp: TcpStream,
    target: &Uri,
    password: Option<&HeaderValue>,
    proxy: &str,
) -> Result<TcpStream, Error> {
    let failed = |reason| Error::Proxy { proxy: proxy.to_owned(), reason };
    let broken = |error: hyper::Error| match error.is_incomplete_message() {
        true => failed(closed("the proxy closed the connection before it answered")),
        false => failed(Cause::new(error)),
    };
    let host = format!("{}:{}", target.host().unwrap_or_default(), target.port_u16().unwrap_or(443));
    let mut request = Request::connect(&host).header(HOST, &host);
    if let Some(password) = password {
        let mut password = password.clone();
        password.set_sensitive(true);
        request = request.header(PROXY_AUTHORIZATION, password);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| Error::NotHttps)?;
    let (mut sender, connection) = handshake(TokioIo::new(tcp)).await.map_err(broken)?;
    // The sender is dropped after the answer. If the proxy refused the tunnel, the drop ends the connection.
    let ask = async move {
        match sender.send_request(request).await.map_err(broken)?.status() {
            status if status.is_success() => Ok(()),
            status => Err(Error::ProxyRefused { proxy: proxy.to_owned(), status }),
        }
    };
    let tunnel = async { connection.without_shutdown().await.map_err(broken) };
    let (mut ask, mut tunnel) = (pin!(ask), pin!(tunnel));
    let (answer, ended) = tokio::select! {
        answer = &mut ask => (answer, None),
        ended = &mut tunnel => (ask.await, Some(ended)),
    };
    let parts = match (answer, ended) {
        // A proxy can refuse and then break the connection. The proxy's answer explains the failure better than the
        // error of the connection.
        (Err(refused @ Error::ProxyRefused { .. }), _) => return Err(refused),
        (_, Some(Err(error))) | (Err(error), _) => return Err(error),
        (Ok(()), Some(Ok(parts))) => parts,
        (Ok(()), None) => tunnel.await?,
    };
    match parts.read_buf.is_empty() {
        true => Ok(parts.io.into_inner()),
        // In TLS the client sends the first message.
        false => Err(failed(Cause::new(io::Error::other("the proxy sent data before TLS began")))),
    }
}
