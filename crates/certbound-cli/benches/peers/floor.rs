//! The floor: a map look-up, and the requests by hyper and rustls alone.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::INSIDE;
use crate::work::{APP, Does, MANY, SCOPE, SECRET, SECRET_APP, TENANT, scope};

const LOGIN: &str = "login.microsoftonline.com";
const MTLS: &str = "mtlsauth.microsoft.com";
const EXCHANGE: &str = "api://AzureADTokenExchange/.default";

pub(crate) struct Floor {
    tokens: HashMap<String, Arc<str>>,
    key: String,
    many: Option<Many>,
    login: Connection,
    mtls: Option<Connection>,
}

/// A map, and its keys in order.
type Many = (HashMap<String, Arc<str>>, Vec<String>);

impl Floor {
    pub(crate) async fn new() -> Self {
        let key = format!("{TENANT}/{SECRET_APP}/{SCOPE}");
        let tokens = HashMap::from([(key.clone(), Arc::from("t".repeat(1_500)))]);
        Self { tokens, key, many: None, login: Connection::to(LOGIN, false).await, mtls: None }
    }
}

impl Does for Floor {
    async fn hit(&mut self) {
        let token = self.tokens.get(black_box(self.key.as_str())).map(Arc::clone);
        black_box((token, clock_gettime(ClockId::Realtime)));
    }

    async fn hit_of_many(&mut self, number: usize) {
        let (tokens, keys) = self.many.get_or_insert_with(|| {
            let keys: Vec<_> =
                (0..MANY).map(|number| format!("{TENANT}/{SECRET_APP}/{}", scope(number))).collect();
            let tokens = keys.iter().map(|key| (key.clone(), Arc::from("t".repeat(1_500)))).collect();
            (tokens, keys)
        });
        let token = tokens.get(black_box(keys[number].as_str())).map(Arc::clone);
        black_box((token, clock_gettime(ClockId::Realtime)));
    }

    async fn cold(&mut self) {
        let form = [("client_id", SECRET_APP), ("client_secret", SECRET), ("scope", SCOPE)];
        black_box(self.login.token(&form).await);
    }

    async fn slowest_hit(&mut self) -> Duration {
        unreachable!("it is not asked to");
    }

    async fn pair(&mut self) {
        if self.mtls.is_none() {
            self.mtls = Some(Connection::to(MTLS, true).await);
        }
        let Some(mtls) = &mut self.mtls else { return };
        let assertion =
            mtls.token(&[("client_id", APP), ("scope", EXCHANGE), ("token_type", "mtls_pop")]).await;
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";
        let form = [
            ("client_id", APP),
            ("scope", SCOPE),
            ("token_type", "mtls_pop"),
            ("client_assertion_type", kind),
            ("client_assertion", assertion.as_str()),
        ];
        black_box(mtls.token(&form).await);
    }
}

/// A connection that is reused.
struct Connection {
    host: &'static str,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    async fn to(host: &'static str, mutual: bool) -> Self {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::pem_file_iter(std::env::var("SSL_CERT_FILE").unwrap()).unwrap();
        roots.add_parsable_certificates(ca.map(Result::unwrap));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_root_certificates(roots);
        let mut config = match mutual {
            false => config.with_no_client_auth(),
            true => {
                let pem = std::fs::read(std::env::var(INSIDE).unwrap()).unwrap();
                let chain = vec![CertificateDer::from_pem_slice(&pem).unwrap()];
                config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&pem).unwrap()).unwrap()
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tcp = TcpStream::connect((host, 443)).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::try_from(host).unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { host, sender }
    }

    /// Sends a form and returns the token of the answer.
    async fn token(&mut self, form: &[(&str, &str)]) -> String {
        let encoded: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let form = format!("{}&grant_type=client_credentials&client_info=2", encoded.join("&"));
        // The request has the same headers as the client's, so that as many bytes are encrypted, sent and read.
        let request = Request::post(format!("/{TENANT}/oauth2/v2.0/token"))
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-client-sku", "certbound")
            .header("x-client-ver", "0.1.0")
            .header("x-client-os", "Linux")
            .header("client-request-id", "00000000-0000-4000-8000-000000000000")
            .header("return-client-request-id", "true")
            .header("x-client-current-telemetry", "5|1004,2,,,|0,1,6,,,")
            .header("x-ms-lib-capability", "retry-after, h429")
            .header("host", self.host)
            .body(Full::from(form))
            .unwrap();
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{}", String::from_utf8_lossy(&body));
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }
}

fn escaped(value: &str) -> String {
    value.replace(':', "%3A").replace('/', "%2F")
}
