//! The sockets around [`Emulator::handle`]: a proxy port whose tunnels end here, an admin port, and the machine's own.

mod address;
mod admin;
mod connection;
mod fetch;
mod front_door;
mod machine;
mod tls;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use certbound_serve::Connection;
pub use certbound_serve::Limits;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::emulator::Emulator;
use crate::paths::SERVICE_FABRIC;

/// A running emulator. It stops when dropped.
pub struct Server {
    proxy: SocketAddr,
    admin: SocketAddr,
    machine: SocketAddr,
    node: SocketAddr,
    admin_token: String,
    limits: Limits,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    emulator: Arc<Emulator>,
    tls: Arc<tls::Configurations>,
}

impl Server {
    /// Listens at `listen` (port 0 for any) for the proxy, and at another loopback port for the admin surface.
    ///
    /// # Errors
    /// When a port cannot be had, and for an address that is not loopback: the emulator answers under other people's
    /// names, and its admin surface hands out keys' effects to whoever reaches it.
    pub async fn start(emulator: Arc<Emulator>, listen: SocketAddr) -> io::Result<Server> {
        if !listen.ip().is_loopback() {
            let text = "the emulator listens on loopback only: choose an address such as 127.0.0.1:0";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Self::start_on_the_network_anyone_can_mint_tokens(emulator, listen).await
    }

    /// As [`Server::start`], at an address that others may reach: they can have any token minted, and use the proxy. The
    /// admin surface stays on loopback.
    ///
    /// # Errors
    /// When a port cannot be had.
    pub async fn start_on_the_network_anyone_can_mint_tokens(
        emulator: Arc<Emulator>,
        listen: SocketAddr,
    ) -> io::Result<Server> {
        Self::start_with_machine_at(emulator, listen, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// As that, with the machine's metadata service at `machine`.
    ///
    /// # Errors
    /// When a port cannot be had, and for a metadata service that is not on loopback: it gives tokens to whoever asks.
    pub async fn start_with_machine_at(
        emulator: Arc<Emulator>,
        listen: SocketAddr,
        machine: SocketAddr,
    ) -> io::Result<Server> {
        Self::start_within(limits(), emulator, listen, machine).await
    }

    /// As that, with other limits, which hold for each port. The defaults are those of [`Limits`], but that
    /// [`Limits::stop`] is zero: nobody needs the last answers of an emulator.
    ///
    /// # Errors
    /// As [`Server::start_with_machine_at`].
    pub async fn start_within(
        limits: Limits,
        emulator: Arc<Emulator>,
        listen: SocketAddr,
        machine: SocketAddr,
    ) -> io::Result<Server> {
        if !machine.ip().is_loopback() {
            let text = "the metadata service listens on loopback only: choose an address such as 127.0.0.1:0";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let tls = Arc::new(tls::Configurations::new(Arc::clone(&emulator)).map_err(io::Error::other)?);
        let proxy = TcpListener::bind(listen).await?;
        let admin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let metadata = TcpListener::bind(machine).await?;
        let node = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let admin_token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let mut server = Server {
            proxy: proxy.local_addr()?,
            admin: admin.local_addr()?,
            machine: metadata.local_addr()?,
            node: node.local_addr()?,
            admin_token,
            limits,
            stop: watch::channel(false).0,
            tasks: Vec::new(),
            emulator: Arc::clone(&emulator),
            tls: Arc::clone(&tls),
        };
        server.accept_admins(admin);
        server.accept_machines(metadata, server.machine);
        server.accept_nodes(node)?;
        server.accept(proxy, move |stream, connection| {
            front_door::connection(stream, connection, Arc::clone(&emulator), Arc::clone(&tls))
        });
        Ok(server)
    }

    /// Also answers at `listen` as the real hosts would: TLS at once, for the name that the client asks for. For a
    /// network of its own in which those names lead there.
    ///
    /// # Errors
    /// When the port cannot be had, and for an address that is not loopback.
    pub async fn listen_as_the_real_hosts(&mut self, listen: SocketAddr) -> io::Result<SocketAddr> {
        if !listen.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "real names are answered on loopback only",
            ));
        }
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (emulator, tls) = (Arc::clone(&self.emulator), Arc::clone(&self.tls));
        self.accept(listener, move |stream, connection| {
            front_door::direct(stream, connection, Arc::clone(&emulator), Arc::clone(&tls))
        });
        Ok(address)
    }

    /// Also answers at the link-local address of the real metadata service, for a network of its own that has it.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn listen_as_the_real_metadata_service(&mut self) -> io::Result<()> {
        self.listen_as_a_machine(([169, 254, 169, 254], 80).into()).await
    }

    /// Also answers where the real Cloud Shell does, `localhost:50342`, for a network of its own.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn listen_as_the_real_cloud_shell(&mut self) -> io::Result<()> {
        self.listen_as_a_machine((Ipv4Addr::LOCALHOST, 50342).into()).await
    }

    async fn listen_as_a_machine(&mut self, address: SocketAddr) -> io::Result<()> {
        let listener = TcpListener::bind(address).await?;
        self.accept_machines(listener, address);
        Ok(())
    }

    /// Answers for the machine at an address.
    fn accept_machines(&mut self, listener: TcpListener, address: SocketAddr) {
        let (emulator, own_host): (_, Arc<str>) = (Arc::clone(&self.emulator), address.to_string().into());
        self.accept(listener, move |stream, connection| {
            machine::connection(stream, connection, Arc::clone(&emulator), Arc::clone(&own_host))
        });
    }

    /// Answers for the machine as a node of Service Fabric.
    fn accept_nodes(&mut self, listener: TcpListener) -> io::Result<()> {
        let of_node = |foreign| self.tls.of_service_fabric(foreign).map_err(io::Error::other);
        let tls = Arc::new(machine::NodeTls { own: of_node(false)?, foreign: of_node(true)? });
        let (emulator, own_host): (_, Arc<str>) = (Arc::clone(&self.emulator), self.node.to_string().into());
        self.accept(listener, move |stream, connection| {
            let (emulator, tls, own_host) = (Arc::clone(&emulator), Arc::clone(&tls), Arc::clone(&own_host));
            machine::node_connection(stream, connection, emulator, tls, own_host)
        });
        Ok(())
    }

    fn accept_admins(&mut self, listener: TcpListener) {
        let surface =
            admin::Surface::new(Arc::clone(&self.emulator), self.admin_token.clone(), self.admin.port());
        let surface = Arc::new(surface);
        self.accept(listener, move |stream, connection| {
            admin::connection(stream, connection, Arc::clone(&surface))
        });
    }

    /// Accepts until told to stop, or until the server is gone; then every connection goes too.
    fn accept<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        listener: TcpListener,
        serve: impl Fn(TcpStream, Connection) -> F + Send + 'static,
    ) {
        let (limits, mut stop) = (self.limits.clone(), self.stop.subscribe());
        let stop = async move { drop(stop.changed().await) };
        self.tasks.push(tokio::spawn(certbound_serve::serve(
            listener,
            limits,
            stop,
            move |stream, _, connection| serve(stream, connection),
        )));
    }

    /// The machine's metadata service, for `AZURE_POD_IDENTITY_AUTHORITY_HOST`: `http://127.0.0.1:port`.
    pub fn metadata_url(&self) -> String {
        format!("http://{}", self.machine)
    }

    /// The token service of the machine as a node of Service Fabric, for `IDENTITY_ENDPOINT`: `https://127.0.0.1:port`
    /// and its path. It is known by [`Emulator::service_fabric_thumbprint`].
    pub fn service_fabric_url(&self) -> String {
        format!("https://{}{SERVICE_FABRIC}", self.node)
    }

    /// Where the proxy listens.
    pub fn proxy_address(&self) -> SocketAddr {
        self.proxy
    }

    /// The proxy, for `HTTPS_PROXY`: `http://127.0.0.1:port`.
    pub fn proxy_url(&self) -> String {
        format!("http://{}", self.proxy)
    }

    /// The admin surface with its path token, without a slash at the end: who has it commands the emulator.
    pub fn admin_url(&self) -> String {
        format!("http://{}/{}", self.admin, self.admin_token)
    }

    /// Stops listening and closes every connection.
    pub async fn shutdown(mut self) {
        // Nobody listening any more is as good.
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

/// An emulator that ends is not waited for.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.stop = Duration::ZERO;
    limits
}
