//! The HTTP server for forward-auth requests.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;

use certbound_serve::{Body, Limits, Listener};
use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

use super::ForwardAuth;

impl ForwardAuth {
    /// Answers on `listener` until `stop` is ready. Then this method sends the responses in progress. It ends within 10
    /// seconds even if clients do not read their responses. The other limits are the defaults of [`Limits`].
    ///
    /// The method serves plain HTTP/1.1, so run it on the proxy's own host or network. Bodies are not read.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        self.serve_within(Limits::default(), listener, stop).await;
    }

    /// Does the same as [`ForwardAuth::serve`], with your own limits or on another kind of listener.
    pub async fn serve_within<L>(self, limits: Limits, listener: L, stop: impl Future<Output = ()>)
    where
        L: Listener<Peer = SocketAddr>,
        L::Stream: AsyncRead + AsyncWrite + Unpin,
    {
        certbound_serve::serve(listener, limits, stop, |stream, from, connection| {
            let auth = self.clone();
            async move {
                let answer = |request: Request<Body>| {
                    let auth = auth.clone();
                    async move {
                        let (mut parts, _) = request.into_parts();
                        parts.extensions.insert(from);
                        Ok::<_, Infallible>(auth.answer(&parts).await.map(Full::new))
                    }
                };
                // The error concerns this connection of the proxy only.
                if let Err(error) = connection.http1(stream, answer).await {
                    tracing::debug!(%error, "a proxy's connection ended early");
                }
            }
        })
        .await;
    }
}
