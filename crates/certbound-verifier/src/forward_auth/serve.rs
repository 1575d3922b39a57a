//! The HTTP server for forward-auth requests.

use std::convert::Infallible;
use std::future::Future;

use certbound_serve::{Body, Limits, Listener, Load};
use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

use super::ForwardAuth;
use crate::forwarded::PeerAddress;

impl ForwardAuth {
    /// Answers on `listener` until `stop` is ready. Then this method sends the responses in progress. It ends within 10
    /// seconds even if clients do not read their responses. The other limits are the defaults of [`Limits`].
    ///
    /// The method serves plain HTTP/1.1, so run it on the proxy's own host or network. Bodies are not read.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        self.serve_within(Limits::default(), listener, stop).await;
    }

    /// Does the same as [`ForwardAuth::serve`], with your own limits or on another kind of listener.
    ///
    /// The peer of a Unix socket is [`PeerAddress::UnixSocket`], for [`TrustedProxy::or_unix_sockets`].
    ///
    /// [`TrustedProxy::or_unix_sockets`]: crate::TrustedProxy::or_unix_sockets
    pub async fn serve_within<L>(self, limits: Limits, listener: L, stop: impl Future<Output = ()>)
    where
        L: Listener<Peer: Into<PeerAddress>>,
        L::Stream: AsyncRead + AsyncWrite + Unpin,
    {
        self.serve_with_load(limits, Load::default(), listener, stop).await;
    }

    /// Does the same as [`ForwardAuth::serve_within`], and counts the connections and requests in `load`.
    pub async fn serve_with_load<L>(
        self,
        limits: Limits,
        load: Load,
        listener: L,
        stop: impl Future<Output = ()>,
    ) where
        L: Listener<Peer: Into<PeerAddress>>,
        L::Stream: AsyncRead + AsyncWrite + Unpin,
    {
        certbound_serve::serve_with_load(listener, limits, load, stop, |stream, from, connection| {
            let (auth, from): (_, PeerAddress) = (self.clone(), from.into());
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
