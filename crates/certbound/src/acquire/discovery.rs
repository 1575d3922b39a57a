//! Requests before a token request: they check that an authority exists, and find its token endpoint.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certbound_core::authority::instance::{self, Environment, InstanceMetadata};
use certbound_core::authority::server_metadata::ServerMetadata;
use certbound_core::authority::{Authority, AuthorityKind};
use certbound_core::environment::Cloud;
use certbound_core::json;
use certbound_core::region::RegionOutcome;
use certbound_core::response::MalformedAnswer;
use http::Response;

use crate::acquire::context::Context;
use crate::acquire::headers;
use crate::correlation::CorrelationId;
use crate::error::{Error, Leg, PeerMisbehaved, Phase, RequestTarget, TransportError};
use crate::retry::{Attempts, RetryPolicy, TOKEN_SERVICE};
use crate::span::Target;
use crate::transport::{Sending, Via};

/// The time limit of each attempt to get a document.
const LIMIT: Duration = Duration::from_secs(10);
/// The time for which a caller waits for the request of a different caller. This time is longer than two attempts with
/// the wait between them.
const SHARED_LIMIT: Duration = Duration::from_secs(30);
/// The maximum number of authorities whose documents one client caches, for each kind of document.
const REMEMBERED: u64 = 256;
/// The time after which a document is requested again.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A cache of documents about authorities. Parallel callers share one request. The request presents no client
/// certificate. Requests to an OpenID issuer and to an AD FS server are retried like token requests; instance discovery
/// at Entra is not retried. A failure is not cached: the next call sends a new request.
pub(crate) struct Discovery {
    issuers: moka::future::Cache<String, Arc<ServerMetadata>>,
    environments: moka::future::Cache<String, Option<Arc<Environment>>>,
    federation_servers: moka::future::Cache<String, ()>,
}

/// The parts of the client and the identifiers for a request for a document.
#[derive(Clone, Copy)]
pub(crate) struct DiscoveryRequest<'a> {
    pub(crate) context: &'a Context,
    pub(crate) leg: Option<Leg>,
    pub(crate) correlation_id: CorrelationId,
}

impl Discovery {
    pub(crate) fn new() -> Self {
        Self { issuers: remembered(), environments: remembered(), federation_servers: remembered() }
    }

    /// Adds the facts of the documents to the authority. For the Entra hosts of the known clouds no request is sent.
    ///
    /// If `validates` is true, instance discovery must succeed for an Entra host that belongs to no known cloud or
    /// environment, and an AD FS server must confirm its own name.
    pub(crate) async fn resolve(
        &self,
        authority: Authority,
        validates: bool,
        request: DiscoveryRequest<'_>,
    ) -> Result<Authority, Error> {
        match authority.kind() {
            AuthorityKind::Oidc => {
                let metadata = known(&self.issuers, authority.url(), || request.metadata(&authority)).await?;
                Ok(authority.with_metadata(metadata))
            }
            AuthorityKind::Entra
                if validates
                    && !authority.has_environment()
                    && Cloud::of_host(authority.host()).is_none() =>
            {
                Ok(match self.environment_of(&authority, request).await? {
                    Some(environment) => authority.in_discovered_environment(environment),
                    None => authority,
                })
            }
            AuthorityKind::Adfs if validates => {
                let host = authority.host_and_port();
                known(&self.federation_servers, host, || request.federation_server(&authority)).await?;
                Ok(authority)
            }
            _ => Ok(authority),
        }
    }

    /// Returns the environment of a host that belongs to no known cloud.
    pub(crate) async fn environment_of(
        &self,
        authority: &Authority,
        request: DiscoveryRequest<'_>,
    ) -> Result<Option<Arc<Environment>>, Error> {
        known(&self.environments, authority.host_and_port(), || request.environment(authority)).await
    }
}

/// Returns the cached value, or fetches it once for all parallel callers. Failures are not cached. If the fetching
/// caller does not poll its future, the other callers wait for at most 30 seconds and then fetch the value themselves.
async fn known<V: Clone + Send + Sync + 'static, F: Future<Output = Result<V, Error>>>(
    remembered: &moka::future::Cache<String, V>,
    key: String,
    fetch: impl Fn() -> F,
) -> Result<V, Error> {
    match tokio::time::timeout(SHARED_LIMIT, remembered.try_get_with(key.clone(), fetch())).await {
        Ok(found) => found.map_err(|error| (*error).clone()),
        Err(_) => {
            let fetched = fetch().await?;
            remembered.insert(key, fetched.clone()).await;
            Ok(fetched)
        }
    }
}

fn remembered<V: Clone + Send + Sync + 'static>() -> moka::future::Cache<String, V> {
    moka::future::Cache::builder().max_capacity(REMEMBERED).time_to_live(LIFETIME).build()
}

impl DiscoveryRequest<'_> {
    async fn metadata(self, authority: &Authority) -> Result<Arc<ServerMetadata>, Error> {
        let read = |answer: &Response<Bytes>| {
            ServerMetadata::parse(authority, self.ok(answer)?)
                .map(Arc::new)
                .map_err(|error| Error::peer(self.leg, PeerMisbehaved::Metadata(error)))
        };
        self.read(authority, &ServerMetadata::url_of(authority), self.context.retry_policy, read).await
    }

    async fn environment(self, authority: &Authority) -> Result<Option<Arc<Environment>>, Error> {
        let read = |answer: &Response<Bytes>| {
            let document = self.ok(answer)?;
            match InstanceMetadata::parse(document) {
                Ok(metadata) => Ok(metadata.of_host(authority.host()).map(Arc::clone)),
                // A response without a list confirms only that the host exists.
                Err(_) if has_no_list(document) => Ok(None),
                Err(error) => Err(Error::peer(self.leg, PeerMisbehaved::InstanceMetadata(error))),
            }
        };
        self.read(authority, &instance::discovery_url(authority), RetryPolicy::none(), read).await
    }

    /// Sends a Webfinger request (RFC 7033). The response must name the server's own URL as the trusted realm.
    async fn federation_server(self, authority: &Authority) -> Result<(), Error> {
        const REALM: &str = "http://schemas.microsoft.com/rel/trusted-realm";
        let host = authority.host_and_port();
        let url = format!("https://{host}/.well-known/webfinger?rel={REALM}&resource=https://{host}");
        let is_it = |link: &serde_json::Value| {
            let member = |name| link.get(name).and_then(serde_json::Value::as_str);
            member("rel") == Some(REALM)
                && member("href").is_some_and(|href| href.eq_ignore_ascii_case(&format!("https://{host}")))
        };
        let read = |answer: &Response<Bytes>| {
            // The host can be an AD FS server whose service is unavailable.
            if matches!(answer.status().as_u16(), 408 | 429 | 500..) {
                self.ok(answer)?;
            }
            let document = json::parse_object(answer.body()).ok().filter(|_| answer.status() == 200);
            let links = document.as_ref().and_then(|document| document.get("links")?.as_array());
            match links.is_some_and(|links| links.iter().any(is_it)) {
                true => Ok(()),
                false => {
                    Err(Error::peer(self.leg, PeerMisbehaved::NotAFederationServer { host: host.clone() }))
                }
            }
        };
        self.read(authority, &url, self.context.retry_policy, read).await
    }

    /// Sends a request about the authority, with the retries that `retry_policy` allows, and reads the response. An
    /// error contains the target of the request.
    async fn read<T>(
        self,
        authority: &Authority,
        url: &str,
        retry_policy: RetryPolicy,
        read: impl FnOnce(&Response<Bytes>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut attempts = Attempts::new(retry_policy, &TOKEN_SERVICE);
        let result = self.get(url, &mut attempts).await.and_then(|answer| read(&answer));
        result.map_err(|error| {
            error.at(RequestTarget {
                endpoint: url.split('?').next().unwrap_or_default().to_owned(),
                tenant: None,
                region: None,
                region_outcome: RegionOutcome::default(),
                correlation_id: self.correlation_id.to_string(),
                authority: Some(authority.host_and_port()),
                certificate: None,
                certificate_subject: None,
                of_managed_identity: false,
                clock_ahead: None,
                attempts: attempts.made(),
            })
        })
    }

    async fn get(self, url: &str, attempts: &mut Attempts) -> Result<Response<Bytes>, Error> {
        let mut request = http::Request::get(url).body(Bytes::new()).map_err(|_| {
            // In practice this error cannot occur: the host of the URL is constant, or comes from a parsed authority.
            Error::peer(self.leg, PeerMisbehaved::DiscoveryUrl { url: url.chars().take(256).collect() })
        })?;
        request.headers_mut().extend(headers::discovery(self.correlation_id));
        let host = request.uri().host().unwrap_or_default();
        loop {
            let sent = self.send(request.clone(), attempts.next()).await;
            if !attempts.again(&sent, host, &*self.context.clock, |_| true).await {
                return sent.map_err(|cause| Error::transport(self.leg, cause));
            }
        }
    }

    async fn send(
        self,
        request: http::Request<Bytes>,
        attempt: u32,
    ) -> Result<Response<Bytes>, TransportError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        tracing::debug!(host, correlation_id = %self.correlation_id, "discovery");
        let (target, context) = (Target::Discovery { leg: self.leg }, self.context);
        let sending = Sending::open(target, (&request, attempt), context.observers(None), &*context.clock);
        let sent = async {
            let sent = tokio::time::timeout(LIMIT, self.context.transport.send(request, Via::Tls)).await;
            sent.unwrap_or_else(|_| {
                Err(TransportError::TimedOut { host, phase: Phase::Exchange, limit: LIMIT, proxy: None })
            })
        };
        Ok(sending.run(sent).await?.response)
    }

    /// Returns the body of a response with status 200. For any other status, the error is the same as for a token
    /// endpoint's response.
    fn ok(self, answer: &Response<Bytes>) -> Result<&[u8], Error> {
        use certbound_core::response::{AnswerError, TokenResponse};

        let status = answer.status().as_u16();
        if status == 200 {
            return Ok(answer.body());
        }
        let facts = headers::facts(answer.headers(), self.context.clock.now());
        match TokenResponse::parse(status, &facts, answer.body()) {
            Err(AnswerError::Refused(refusal)) => Err(Error::refused(self.leg, refusal)),
            Err(AnswerError::Malformed(malformed)) => Err(Error::peer(self.leg, malformed.into())),
            // The parser accepts only status 200 as a token response, so this arm is never reached.
            Ok(_) => Err(Error::peer(self.leg, MalformedAnswer::MissingTokenType.into())),
        }
    }
}

fn has_no_list(document: &[u8]) -> bool {
    json::parse_object(document)
        .is_ok_and(|it| it.contains_key("tenant_discovery_endpoint") && !it.contains_key("metadata"))
}
