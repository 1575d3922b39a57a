//! The sockets around [`Emulator::handle`]: a proxy port whose tunnels end in the emulator, an admin port, and the
//! ports of the machine.

mod address;
mod admin;
mod connection;
mod current;
mod fetch;
mod front_door;
mod late;
mod machine;
mod metadata_address;
mod tls;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use certbound_serve::Connection;
pub use certbound_serve::{Limits, Load};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub use self::current::CurrentEmulator;
pub use self::late::{BoxedIo, Io, LateAccepting, LateClient, LateConnection, LateTls, Requesting};
pub use self::metadata_address::{MetadataAddressError, check_metadata_address};
use crate::emulator::Emulator;
use crate::error::EmulatorError;
use crate::paths::SERVICE_FABRIC;

/// A running emulator. It stops when this value is dropped.
pub struct Server {
    proxy: SocketAddr,
    admin: SocketAddr,
    machine: SocketAddr,
    node: SocketAddr,
    admin_token: String,
    limits: Limits,
    load: Load,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    current: CurrentEmulator,
}

/// A port of the emulator.
#[derive(Debug)]
pub enum Port {
    /// The emulator listens at this address.
    Address(SocketAddr),
    /// A listening socket, for example a socket that a service manager has opened.
    Socket(std::net::TcpListener),
}

/// The options of [`Server::start_anyone_can_mint_tokens`].
#[derive(Debug)]
pub struct ServerOptions {
    /// The port of the proxy. Default: any free port on loopback.
    pub listen: Port,
    /// The port of the machine's metadata service. [`check_metadata_address`] says which addresses are allowed. A
    /// [`Port::Socket`] must listen at an address of loopback. Default: any free port on loopback.
    pub machine: Port,
    /// The limits of each port. Default: the defaults of [`Limits`], except for a [`Limits::stop`] of zero. The
    /// emulator then stops without finishing its answers.
    pub limits: Limits,
    /// The counters of the connections and requests of all ports.
    pub load: Load,
    /// The TLS of hosts that request the certificate late. By default there is no TLS library for these hosts, and a
    /// world with a host of this kind is refused.
    pub late_tls: Option<Arc<dyn LateTls>>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        let any = || Port::Address((Ipv4Addr::LOCALHOST, 0).into());
        let mut limits = Limits::default();
        limits.stop = Duration::ZERO;
        Self { listen: any(), machine: any(), limits, load: Load::default(), late_tls: None }
    }
}

impl Server {
    /// Starts the emulator. The proxy listens at `listen` (port 0 means any free port). The admin interface and the
    /// ports of the machine listen at other loopback ports.
    ///
    /// # Errors
    /// An I/O error if a port is not available, if the world has a host with `late_certificate`, or if the address is
    /// not loopback. The emulator answers under the names of other services, and any client that reaches it can get any
    /// token.
    pub async fn start(emulator: Arc<Emulator>, listen: SocketAddr) -> io::Result<Server> {
        only_loopback(
            listen,
            "the emulator listens on loopback only: choose an address such as 127.0.0.1:0",
        )?;
        let options = ServerOptions { listen: Port::Address(listen), ..ServerOptions::default() };
        Self::start_anyone_can_mint_tokens(emulator, options).await
    }

    /// Starts the emulator as [`Server::start`] does, with options. If other machines can reach the address of the
    /// proxy, programs on them can get any token and use the proxy. The admin interface always listens on loopback.
    ///
    /// # Errors
    /// An I/O error if a port is not available, if [`check_metadata_address`] refuses the address of the machine, or if
    /// the socket of the machine does not listen on loopback. The metadata service gives tokens to every client that
    /// reaches it. The error is [`io::ErrorKind::Unsupported`] if the world has a host with `late_certificate` and the
    /// options have no TLS for this host.
    pub async fn start_anyone_can_mint_tokens(
        emulator: Arc<Emulator>,
        options: ServerOptions,
    ) -> io::Result<Server> {
        let ServerOptions { listen, machine, limits, load, late_tls } = options;
        let current = CurrentEmulator::new(emulator, late_tls).map_err(|error| match error {
            EmulatorError::NoLateTls { .. } => io::Error::new(io::ErrorKind::Unsupported, error),
            error => io::Error::other(error),
        })?;
        let proxy = match listen {
            Port::Address(address) => TcpListener::bind(address).await?,
            Port::Socket(listener) => tokio_listener(listener)?,
        };
        let admin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let metadata = match machine {
            Port::Address(address) => metadata_address::bind(address).await?,
            Port::Socket(listener) => metadata_address::take(listener)?,
        };
        let node = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let admin_token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let mut server = Server {
            proxy: proxy.local_addr()?,
            admin: admin.local_addr()?,
            machine: metadata.local_addr()?,
            node: node.local_addr()?,
            admin_token,
            limits,
            load,
            stop: watch::channel(false).0,
            tasks: Vec::new(),
            current: current.clone(),
        };
        server.accept_admins(admin);
        server.accept_machines(metadata, server.machine);
        server.accept_nodes(node);
        server.accept(proxy, move |stream, connection| {
            front_door::connection(stream, connection, current.clone())
        });
        Ok(server)
    }

    /// Also accepts TLS connections at `listen`, without a proxy. The server name in the handshake selects the emulated
    /// host. Use this method in a separate network in which the real names resolve to this address.
    ///
    /// # Errors
    /// An I/O error if the port is not available, or if the address is not loopback.
    pub async fn listen_as_the_real_hosts(&mut self, listen: SocketAddr) -> io::Result<SocketAddr> {
        only_loopback(
            listen,
            "the emulator answers for the real names on loopback only: choose an address such as 127.0.0.1:443",
        )?;
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let current = self.current.clone();
        self.accept(listener, move |stream, connection| {
            front_door::direct(stream, connection, current.clone())
        });
        Ok(address)
    }

    /// Also answers at the link-local address of the real metadata service. Use this method in a separate network that
    /// has this address on loopback.
    ///
    /// # Errors
    /// An I/O error if the port is not available, or if [`check_metadata_address`] refuses the address.
    pub async fn listen_as_the_real_metadata_service(&mut self) -> io::Result<()> {
        self.listen_as_a_machine((metadata_address::REAL, metadata_address::PORT).into()).await
    }

    /// Also answers at the address of the real Cloud Shell, `localhost:50342`. Use this method in a separate network.
    ///
    /// # Errors
    /// An I/O error if the port is not available.
    pub async fn listen_as_the_real_cloud_shell(&mut self) -> io::Result<()> {
        self.listen_as_a_machine((Ipv4Addr::LOCALHOST, 50342).into()).await
    }

    async fn listen_as_a_machine(&mut self, address: SocketAddr) -> io::Result<()> {
        let listener = metadata_address::bind(address).await?;
        self.accept_machines(listener, address);
        Ok(())
    }

    /// Accepts connections to the machine's plain HTTP services at `address`.
    fn accept_machines(&mut self, listener: TcpListener, address: SocketAddr) {
        let (current, own_host): (_, Arc<str>) = (self.current.clone(), address.to_string().into());
        self.accept(listener, move |stream, connection| {
            machine::connection(stream, connection, current.clone(), Arc::clone(&own_host))
        });
    }

    /// Accepts connections to Service Fabric's token service.
    fn accept_nodes(&mut self, listener: TcpListener) {
        let (current, own_host): (_, Arc<str>) = (self.current.clone(), self.node.to_string().into());
        self.accept(listener, move |stream, connection| {
            machine::node_connection(stream, connection, current.clone(), Arc::clone(&own_host))
        });
    }

    fn accept_admins(&mut self, listener: TcpListener) {
        let surface = admin::Surface::new(self.current.clone(), self.admin_token.clone(), self.admin.port());
        let surface = Arc::new(surface);
        self.accept(listener, move |stream, connection| {
            admin::connection(stream, connection, Arc::clone(&surface))
        });
    }

    /// Accepts connections until `shutdown` is called or the server is dropped. The server then waits at most
    /// [`Limits::stop`] for the answers in progress, and closes all connections.
    fn accept<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        listener: TcpListener,
        serve: impl Fn(TcpStream, Connection) -> F + Send + 'static,
    ) {
        let (limits, load, mut stop) = (self.limits.clone(), self.load.clone(), self.stop.subscribe());
        let stop = async move { drop(stop.changed().await) };
        self.tasks.push(tokio::spawn(certbound_serve::serve_with_load(
            listener,
            limits,
            load,
            stop,
            move |stream, _, connection| serve(stream, connection),
        )));
    }

    /// Returns the emulator of this server. The emulator can be replaced while the server runs.
    pub fn current(&self) -> CurrentEmulator {
        self.current.clone()
    }

    /// Returns the URL of the machine's metadata service, for `AZURE_POD_IDENTITY_AUTHORITY_HOST`. By default it is
    /// `http://127.0.0.1:port`.
    pub fn metadata_url(&self) -> String {
        format!("http://{}", self.machine)
    }

    /// Returns the URL of Service Fabric's token service, for `IDENTITY_ENDPOINT`: `https://127.0.0.1:port` and a path.
    /// Clients recognize the server's certificate by [`Emulator::service_fabric_thumbprint`].
    pub fn service_fabric_url(&self) -> String {
        format!("https://{}{SERVICE_FABRIC}", self.node)
    }

    /// Returns the address at which the proxy listens.
    pub fn proxy_address(&self) -> SocketAddr {
        self.proxy
    }

    /// Returns the URL of the proxy, for `HTTPS_PROXY`. By default it is `http://127.0.0.1:port`.
    pub fn proxy_url(&self) -> String {
        format!("http://{}", self.proxy)
    }

    /// Returns the URL of the admin interface with the token in its path, without a slash at the end. A program that
    /// has this URL controls the emulator.
    pub fn admin_url(&self) -> String {
        format!("http://{}/{}", self.admin, self.admin_token)
    }

    /// Stops listening, waits at most [`Limits::stop`] for the answers in progress, and closes every connection.
    pub async fn shutdown(mut self) {
        // `send` fails only if all listeners have already ended.
        let _ = self.stop.send(true);
        for task in self.tasks.drain(..) {
            // A task that panicked has closed its connections too.
            let _ = task.await;
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("proxy", &self.proxy)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

/// Converts a listening socket for the Tokio runtime.
fn tokio_listener(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn only_loopback(address: SocketAddr, otherwise: &str) -> io::Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, otherwise))
}
