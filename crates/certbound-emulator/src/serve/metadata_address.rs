//! The address of the metadata service: an address of loopback, or the address of the real service on a loopback
//! interface.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use strum::EnumProperty as _;
use tokio::net::TcpListener;

/// The address of the metadata service on virtual machines.
pub(super) const REAL: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The port of the metadata service at that address.
pub(super) const PORT: u16 = 80;

/// The reason why the metadata service cannot listen at an address. The service gives tokens to every client that
/// reaches it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumProperty)]
#[non_exhaustive]
pub enum MetadataAddressError {
    /// Other machines may reach the address.
    #[error(
        "{0} is not a loopback address: other machines on the network could request the machine's tokens"
    )]
    #[strum(props(
        code = "listen_address_not_loopback",
        fix = "listen on 127.0.0.1, [::1] or 169.254.169.254:80"
    ))]
    NotLoopback(SocketAddr),
    /// The address is that of the real metadata service, but the port is not 80.
    #[error(
        "{0} does not have the port of the metadata service: clients request 169.254.169.254 only at port 80"
    )]
    #[strum(props(
        code = "metadata_port_not_80",
        fix = "listen on 169.254.169.254:80, or on 127.0.0.1 or [::1] with a port of your choice"
    ))]
    OtherPort(SocketAddr),
    /// No interface has the address of the real metadata service.
    #[error("no interface of this machine has the address 169.254.169.254")]
    #[strum(props(code = "metadata_address_missing"))]
    #[strum(props(
        fix = "use `emulator run --isolated`, or add the address to loopback: `ip addr add 169.254.169.254/32 dev lo`, as root or in a separate network namespace (`unshare -Urn`)"
    ))]
    Missing,
    /// An interface that is not loopback has the address of the real metadata service.
    #[error("the interface {interface} has the address 169.254.169.254, and it is not a loopback interface")]
    #[strum(props(code = "listen_address_not_loopback"))]
    #[strum(props(
        fix = "use `emulator run --isolated`, or start the emulator in a separate network namespace (`unshare -Urn`)"
    ))]
    OtherInterface {
        /// The name of the interface.
        interface: String,
    },
    /// This is a virtual machine of Azure, and programs on it need the real metadata service.
    #[error(
        "this is a virtual machine of Azure: at 169.254.169.254 the emulator would replace the real metadata service"
    )]
    #[strum(props(code = "metadata_service_is_real"))]
    #[strum(props(
        fix = "if loopback has the address, remove it (`ip addr del 169.254.169.254/32 dev lo`); use `emulator run --isolated` or a separate network namespace (`unshare -Urn`)"
    ))]
    RealMachine,
    /// The interfaces of this machine are unknown.
    #[error("the interfaces of this machine cannot be read: {reason}")]
    #[strum(props(code = "interfaces_unreadable", fix = "listen on 127.0.0.1 or [::1]"))]
    Unreadable {
        /// The error message of the system.
        reason: String,
    },
}

impl MetadataAddressError {
    /// Returns the code of the error, such as `listen_address_not_loopback`.
    pub fn code(&self) -> &'static str {
        self.get_str("code").unwrap_or_default()
    }

    /// Returns the advice for the user.
    pub fn fix(&self) -> &'static str {
        self.get_str("fix").unwrap_or_default()
    }
}

/// Checks that only programs of this machine reach a metadata service at this address.
///
/// The address must be loopback. On Linux this function also accepts the address of the real metadata service,
/// `169.254.169.254:80`, if a loopback interface has it, no other interface has it, and this machine is not a virtual
/// machine of Azure. In a network namespace that has only loopback, an emulator hides no real service, so the last
/// condition does not apply.
///
/// # Errors
/// [`MetadataAddressError`] if a condition is not true, or if the interfaces of this machine cannot be read.
pub fn check_metadata_address(address: SocketAddr) -> Result<(), MetadataAddressError> {
    loopback_interface(address).map(|_| ())
}

/// Returns the metadata service's socket, which listens already. The socket must have an address of loopback. This
/// function cannot see whether a socket at the real address accepts connections through the loopback interface only.
pub(super) fn take(listener: std::net::TcpListener) -> std::io::Result<TcpListener> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        let error = MetadataAddressError::NotLoopback(address);
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, error));
    }
    super::tokio_listener(listener)
}

/// Listens at the address. At the address of the real metadata service, the socket accepts connections through the
/// loopback interface only: Linux would otherwise also accept packets that other machines send to this address.
pub(super) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    use std::io::{Error, ErrorKind};

    let interface =
        loopback_interface(address).map_err(|error| Error::new(ErrorKind::InvalidInput, error))?;
    match interface {
        None => TcpListener::bind(address).await,
        Some(interface) => bind_to(&interface, address),
    }
}

#[cfg(target_os = "linux")]
fn bind_to(interface: &str, address: SocketAddr) -> std::io::Result<TcpListener> {
    /// The maximum number of connections that wait to be accepted.
    const BACKLOG: u32 = 1024;

    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// On this system [`loopback_interface`] accepts addresses of loopback only, so this function is never called.
#[cfg(not(target_os = "linux"))]
fn bind_to(_: &str, address: SocketAddr) -> std::io::Result<TcpListener> {
    Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, MetadataAddressError::NotLoopback(address)))
}

/// Returns the loopback interface that has the address of the real metadata service, or `None` for an address of
/// loopback.
fn loopback_interface(address: SocketAddr) -> Result<Option<String>, MetadataAddressError> {
    match address.ip() {
        ip if ip.is_loopback() => Ok(None),
        IpAddr::V4(REAL) if address.port() != PORT => Err(MetadataAddressError::OtherPort(address)),
        IpAddr::V4(REAL) => loopback_with_real_address(address).map(Some),
        _ => Err(MetadataAddressError::NotLoopback(address)),
    }
}

#[cfg(target_os = "linux")]
fn loopback_with_real_address(_: SocketAddr) -> Result<String, MetadataAddressError> {
    let all = if_addrs::get_if_addrs()
        .map_err(|error| MetadataAddressError::Unreadable { reason: error.to_string() })?;
    let all: Vec<(String, IpAddr)> =
        all.into_iter().map(|interface| (interface.name.clone(), interface.ip())).collect();
    // On machines outside of Azure the file is absent or contains a different tag.
    let tag = std::fs::read_to_string("/sys/class/dmi/id/chassis_asset_tag").unwrap_or_default();
    decide(&all, &tag)
}

#[cfg(not(target_os = "linux"))]
fn loopback_with_real_address(address: SocketAddr) -> Result<String, MetadataAddressError> {
    Err(MetadataAddressError::NotLoopback(address))
}

/// Decides by the addresses, each with its label, and by the asset tag of the machine's firmware. Linux labels an IPv4
/// address with the name of its interface, or with this name and a suffix (`lo:imds`). An interface is loopback if it
/// has an address of loopback.
#[cfg(any(target_os = "linux", test))]
fn decide(all: &[(String, IpAddr)], asset_tag: &str) -> Result<String, MetadataAddressError> {
    /// The tag of each virtual machine of Azure.
    const AZURE: &str = "7783-7084-3265-9085-8269-3286-77";

    let interface = |label: &str| label.split(':').next().unwrap_or_default().to_owned();
    let all: Vec<(String, IpAddr)> = all.iter().map(|(label, ip)| (interface(label), *ip)).collect();
    let is_loopback = |name: &str| all.iter().any(|(other, ip)| other == name && ip.is_loopback());
    let with_address = || all.iter().filter(|(_, ip)| *ip == IpAddr::V4(REAL)).map(|(name, _)| name);
    if let Some(other) = with_address().find(|name| !is_loopback(name)) {
        return Err(MetadataAddressError::OtherInterface { interface: other.clone() });
    }
    // This check precedes the check for `Missing`, because the advice of `Missing` would hide the real service.
    let has_other = all.iter().any(|(name, _)| !is_loopback(name));
    if asset_tag.trim() == AZURE && has_other {
        return Err(MetadataAddressError::RealMachine);
    }
    let Some(name) = with_address().next() else { return Err(MetadataAddressError::Missing) };
    Ok(name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(all: &[(&str, &str)], tag: &str) -> Result<String, MetadataAddressError> {
        let all: Vec<_> = all.iter().map(|(name, ip)| ((*name).to_owned(), ip.parse().unwrap())).collect();
        decide(&all, tag)
    }

    #[test]
    fn the_real_address_must_be_on_loopback_and_cover_no_real_service() {
        const LO: (&str, &str) = ("lo", "127.0.0.1");
        const ETH: (&str, &str) = ("eth0", "10.0.0.4");
        const AZURE: &str = "7783-7084-3265-9085-8269-3286-77\n";
        let real = |name| (name, "169.254.169.254");
        let other = |name: &str| MetadataAddressError::OtherInterface { interface: name.to_owned() };
        for (all, tag, expected) in [
            (&[LO, real("lo")][..], "", Ok("lo".to_owned())),
            (&[LO, real("lo"), ETH], "", Ok("lo".to_owned())),
            (&[LO, real("lo"), ETH], "another tag\n", Ok("lo".to_owned())),
            (&[LO, real("lo"), ETH], AZURE, Err(MetadataAddressError::RealMachine)),
            (&[LO, ETH], AZURE, Err(MetadataAddressError::RealMachine)),
            // A virtual machine of Azure, in a network namespace that has only loopback.
            (&[LO, real("lo")], AZURE, Ok("lo".to_owned())),
            (&[("lo", "::1"), real("lo")], "", Ok("lo".to_owned())),
            (&[LO, real("lo:imds")], "", Ok("lo".to_owned())),
            (&[LO, ETH, real("eth0:imds")], "", Err(other("eth0"))),
            (&[LO, ETH], "", Err(MetadataAddressError::Missing)),
            (&[LO, ETH, real("eth0")], "", Err(other("eth0"))),
            (&[LO, real("lo"), real("eth0")], "", Err(other("eth0"))),
            (&[LO, real("dummy0")], "", Err(other("dummy0"))),
            (&[real("lo")], "", Err(other("lo"))),
        ] {
            assert_eq!(on(all, tag), expected, "{all:?}");
        }
    }

    #[test]
    fn other_addresses_must_be_loopback() {
        for (address, is_allowed) in [
            ("127.0.0.1:0", true),
            ("127.9.9.9:80", true),
            ("[::1]:80", true),
            ("0.0.0.0:80", false),
            ("169.254.169.253:80", false),
            ("10.0.0.4:80", false),
            ("[::ffff:169.254.169.254]:80", false),
        ] {
            let address = address.parse().unwrap();
            let expected = if is_allowed { Ok(()) } else { Err(MetadataAddressError::NotLoopback(address)) };
            assert_eq!(check_metadata_address(address), expected);
        }
    }

    #[test]
    fn the_real_address_must_have_port_80() {
        for address in ["169.254.169.254:0", "169.254.169.254:8080"] {
            let address = address.parse().unwrap();
            assert_eq!(check_metadata_address(address), Err(MetadataAddressError::OtherPort(address)));
        }
    }

    #[test]
    fn each_error_has_a_code_and_a_fix() {
        let address = "10.0.0.4:80".parse().unwrap();
        let text = || "x".to_owned();
        for error in [
            MetadataAddressError::NotLoopback(address),
            MetadataAddressError::OtherPort(address),
            MetadataAddressError::Missing,
            MetadataAddressError::OtherInterface { interface: text() },
            MetadataAddressError::RealMachine,
            MetadataAddressError::Unreadable { reason: text() },
        ] {
            assert!(!error.code().is_empty() && error.fix().len() > 5, "{error:?}");
        }
    }
}
