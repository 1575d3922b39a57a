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
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use uuid::Uuid;

use crate::emulator::Emulator;
use crate::platform::service_fabric::SERVICE_FABRIC;

/// The most connections at once, for each port.
const MAX_CONNECTIONS: usize = 1_024;
/// The pause after an `accept` that failed, so that running out of files does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// A running emulator. It stops when dropped.
pub struct Server {
    proxy: SocketAddr,
    admin: SocketAddr,
    machine: SocketAddr,
    node: SocketAddr,
    admin_token: String,
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
        if !machine.ip().is_loopback() {
            let text = "the metadata service listens on loopback only: choose an address such as 127.0.0.1:0";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let tls = Arc::new(tls::Configurations::new(Arc::clone(&emulator)).map_err(io::Error::other)?);
        let (proxy, admin) =
            (TcpListener::bind(listen).await?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let machine = TcpListener::bind(machine).await?;
        let (proxy_address, admin_address) = (proxy.local_addr()?, admin.local_addr()?);
        let machine_address = machine.local_addr()?;
        let node = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let node_address = node.local_addr()?;
        let of_node = |foreign| tls.of_service_fabric(foreign).map_err(io::Error::other);
        let node_tls = machine::NodeTls { own: of_node(false)?, foreign: of_node(true)? };
        let nodes = nodes(&emulator, Arc::new(node_tls), node_address);
        let admin_token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let (stop, stopped) = watch::channel(false);

        let surface =
            Arc::new(admin::Surface::new(Arc::clone(&emulator), admin_token.clone(), admin_address.port()));
        let (of_doors, tls_of_doors) = (Arc::clone(&emulator), Arc::clone(&tls));
        let doors =
            move |stream| front_door::connection(stream, Arc::clone(&of_doors), Arc::clone(&tls_of_doors));
        let admins = move |stream| admin::connection(stream, Arc::clone(&surface));
        let tasks = vec![
            tokio::spawn(accept(proxy, stopped.clone(), doors)),
            tokio::spawn(accept(admin, stopped.clone(), admins)),
            tokio::spawn(accept(machine, stopped.clone(), machines(&emulator, machine_address))),
            tokio::spawn(accept(node, stopped, nodes)),
        ];
        Ok(Server {
            proxy: proxy_address,
            admin: admin_address,
            machine: machine_address,
            node: node_address,
            admin_token,
            stop,
            tasks,
            emulator,
            tls,
        })
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
        let doors = move |stream| front_door::direct(stream, Arc::clone(&emulator), Arc::clone(&tls));
        self.tasks.push(tokio::spawn(accept(listener, self.stop.subscribe(), doors)));
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
        let doors = machines(&self.emulator, address);
        self.tasks.push(tokio::spawn(accept(listener, self.stop.subscribe(), doors)));
        Ok(())
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

/// Answers for the machine at an address.
fn machines(
    emulator: &Arc<Emulator>,
    address: SocketAddr,
) -> impl FnMut(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + use<> {
    let (emulator, own_host): (_, Arc<str>) = (Arc::clone(emulator), address.to_string().into());
    move |stream| Box::pin(machine::connection(stream, Arc::clone(&emulator), Arc::clone(&own_host)))
}

/// Answers for the machine as a node of Service Fabric.
fn nodes(
    emulator: &Arc<Emulator>,
    tls: Arc<machine::NodeTls>,
    address: SocketAddr,
) -> impl FnMut(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + use<> {
    let (emulator, own_host): (_, Arc<str>) = (Arc::clone(emulator), address.to_string().into());
    move |stream| {
        let (emulator, tls, own_host) = (Arc::clone(&emulator), Arc::clone(&tls), Arc::clone(&own_host));
        Box::pin(machine::node_connection(stream, emulator, tls, own_host))
    }
}

/// Accepts until told to stop, or until the [`Server`] is gone; then every connection goes too.
async fn accept<F>(
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
    mut serve: impl FnMut(TcpStream) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream))),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    connections.shutdown().await;
}
