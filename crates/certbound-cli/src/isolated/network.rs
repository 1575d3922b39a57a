//! The loopback device of a new network: it is down and has no addresses at first.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use rtnetlink::LinkUnspec;

/// The index of loopback, which is the first device of every network.
const LOOPBACK: u32 = 1;

/// The address of the metadata service on virtual machines.
const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

/// Brings loopback up, and adds the address of the metadata service to it.
pub(super) async fn bring_up() -> io::Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let driver = tokio::spawn(connection);
    let link = LinkUnspec::new_with_index(LOOPBACK).up().build();
    let up = handle.link().change(link).execute().await;
    let addressed = handle.address().add(LOOPBACK, METADATA, 32).execute().await;
    driver.abort();
    up.and(addressed).map_err(io::Error::other)
}
