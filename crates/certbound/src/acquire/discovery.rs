//! What has to be known of an authority before anything is sent to it: that it exists, and where its token endpoint is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certbound_core::authority::{Authority, AuthorityKind};
use certbound_core::environment::Cloud;
use certbound_core::instance::{self, Environment, InstanceMetadata};
use certbound_core::json;
use certbound_core::response::MalformedAnswer;
use certbound_core::server_metadata::ServerMetadata;
use http::Response;

use crate::acquire::headers;
use crate::correlation::CorrelationId;
use crate::error::{Error, Leg, PeerMisbehaved, Phase, TransportError};
use crate::transport::{AnyTransport, Via};

/// No document is waited for longer.
const LIMIT: Duration = Duration::from_secs(10);
/// Authorities that one client remembers.
const REMEMBERED: u64 = 256;
/// A document is asked for again after this.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Documents about authorities: each is fetched once, however many ask, without a client certificate and without a
/// retry. A failure is not remembered: the next request tries anew.
pub(crate) struct Discovery {
    issuers: moka::future::Cache<String, Arc<ServerMetadata>>,
    environments: moka::future::Cache<String, Option<Arc<Environment>>>,
    federation_servers: moka::future::Cache<String, ()>,
}

/// Who asks, and by what.
#[derive(Clone, Copy)]
pub(crate) struct Asks<'a> {
    pub(crate) transport: &'a dyn AnyTransport,
    pub(crate) leg: Option<Leg>,
    pub(crate) correlation_id: CorrelationId,
}

impl Discovery {
    pub(crate) fn new() -> Self {
        Self { issuers: remembered(), environments: remembered(), federation_servers: remembered() }
    }

    /// The authority with what is known of it. Nothing is asked about the hosts of the known clouds.
    ///
    /// `validates`: a host that the library does not know must be known to Microsoft's own directory (Entra), or say
    /// of itself that it is one (AD FS).
    pub(crate) async fn resolve(
        &self,
        authority: Authority,
        validates: bool,
        asks: Asks<'_>,
    ) -> Result<Authority, Error> {
        match authority.kind() {
            AuthorityKind::Oidc => {
                let metadata = known(&self.issuers, authority.url(), || asks.metadata(&authority)).await?;
                Ok(authority.with_metadata(metadata))
            }
            AuthorityKind::Entra
                if validates
                    && !authority.has_environment()
                    && Cloud::of_host(authority.host()).is_none() =>
            {
                Ok(match self.environment_of(&authority, asks).await? {
                    Some(environment) => authority.in_discovered_environment(environment),
                    None => authority,
                })
            }
            AuthorityKind::Adfs if validates => {
                let host = authority.host_and_port();
                known(&self.federation_servers, host, || asks.federation_server(&authority)).await?;
                Ok(authority)
            }
            _ => Ok(authority),
        }
    }

    /// The environment of a host that is not one of the known ones.
    pub(crate) async fn environment_of(
        &self,
        authority: &Authority,
        asks: Asks<'_>,
    ) -> Result<Option<Arc<Environment>>, Error> {
        known(&self.environments, authority.host_and_port(), || asks.environment(authority)).await
    }
}

/// What is known, or fetched once for all callers that ask at the same time. Failures are not remembered.
async fn known<V: Clone + Send + Sync + 'static, F: Future<Output = Result<V, Error>>>(
    remembered: &moka::future::Cache<String, V>,
    key: String,
    fetch: impl FnOnce() -> F,
) -> Result<V, Error> {
    remembered.try_get_with(key, fetch()).await.map_err(|error| (*error).clone())
}

fn remembered<V: Clone + Send + Sync + 'static>() -> moka::future::Cache<String, V> {
    moka::future::Cache::builder().max_capacity(REMEMBERED).time_to_live(LIFETIME).build()
}

impl Asks<'_> {
    async fn metadata(self, authority: &Authority) -> Result<Arc<ServerMetadata>, Error> {
        let answer = self.get(&ServerMetadata::url_of(authority)).await?;
        let document = self.ok(&answer)?;
        ServerMetadata::parse(authority, document)
            .map(Arc::new)
            .map_err(|error| Error::peer(self.leg, PeerMisbehaved::Metadata(error)))
    }

    async fn environment(self, authority: &Authority) -> Result<Option<Arc<Environment>>, Error> {
        let answer = self.get(&instance::discovery_url(authority)).await?;
        let document = self.ok(&answer)?;
        let metadata = match InstanceMetadata::parse(document) {
            Ok(metadata) => metadata,
            // An answer without a list says that the host exists, and nothing more.
            Err(_) if has_no_list(document) => return Ok(None),
            Err(error) => return Err(Error::peer(self.leg, PeerMisbehaved::InstanceMetadata(error))),
        };
        Ok(metadata.of_host(authority.host()).map(Arc::clone))
    }

    /// Webfinger: the server must say that it is the trusted realm of its own name.
    async fn federation_server(self, authority: &Authority) -> Result<(), Error> {
        const REALM: &str = "http://schemas.microsoft.com/rel/trusted-realm";
        let host = authority.host_and_port();
        let answer = self
            .get(&format!("https://{host}/.well-known/webfinger?rel={REALM}&resource=https://{host}"))
            .await?;
        let refuse = || Error::peer(self.leg, PeerMisbehaved::NotAFederationServer { host: host.clone() });
        if answer.status() != 200 {
            return Err(refuse());
        }
        let document = json::parse_object(answer.body()).map_err(|_| refuse())?;
        let links =
            document.get("links").and_then(|links| links.as_array()).map(Vec::as_slice).unwrap_or_default();
        let is_it = |link: &serde_json::Value| {
            let member = |name| link.get(name).and_then(serde_json::Value::as_str);
            member("rel") == Some(REALM)
                && member("href").is_some_and(|href| href.eq_ignore_ascii_case(&format!("https://{host}")))
        };
        if links.iter().any(is_it) { Ok(()) } else { Err(refuse()) }
    }

    async fn get(self, url: &str) -> Result<Response<Bytes>, Error> {
        let lost = |cause| Error::Transport { leg: self.leg, cause };
        let mut request = http::Request::get(url).body(Bytes::new()).map_err(|_| {
            // An authority's URL was parsed; this one is made of it.
            Error::peer(self.leg, PeerMisbehaved::DiscoveryUrl { url: url.chars().take(256).collect() })
        })?;
        request.headers_mut().extend(headers::discovery(self.correlation_id));
        let host = request.uri().host().unwrap_or_default().to_owned();
        tracing::debug!(host, correlation_id = %self.correlation_id, "discovery");
        match tokio::time::timeout(LIMIT, self.transport.send(request, Via::Tls)).await {
            Ok(answer) => Ok(answer.map_err(lost)?.response),
            Err(_) => Err(lost(TransportError::TimedOut { host, phase: Phase::Exchange, limit: LIMIT })),
        }
    }

    /// The body of a 200 answer; any other status is what a token endpoint's would be.
    fn ok(self, answer: &Response<Bytes>) -> Result<&[u8], Error> {
        use certbound_core::response::{AnswerError, TokenResponse};

        let status = answer.status().as_u16();
        if status == 200 {
            return Ok(answer.body());
        }
        let facts = headers::facts(answer.headers());
        match TokenResponse::parse(status, &facts, answer.body()) {
            Err(AnswerError::Refused(refusal)) => {
                Err(Error::Refused { leg: self.leg, answer: Arc::from(refusal) })
            }
            Err(AnswerError::Malformed(malformed)) => Err(Error::peer(self.leg, malformed.into())),
            // Only a 200 is a token answer, and this is none.
            Ok(_) => Err(Error::peer(self.leg, MalformedAnswer::MissingTokenType.into())),
        }
    }
}

fn has_no_list(document: &[u8]) -> bool {
    json::parse_object(document)
        .is_ok_and(|it| it.contains_key("tenant_discovery_endpoint") && !it.contains_key("metadata"))
}
