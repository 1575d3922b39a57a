//! The loopback device of a new network: down and without addresses until somebody says otherwise.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use rtnetlink::LinkUnspec;

/// Loopback is the first device of every network.
const LOOPBACK: u32 = 1;

/// Where cloud machines have their metadata service.
const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

/// Brings loopback up, and gives it the address of the metadata service.
pub(super) async fn bring_up() -> io::Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let driver = tokio::spawn(connection);
    let link = LinkUnspec::new_with_index(LOOPBACK).up().build();
    let up = handle.link().change(link).execute().await;
    let addressed = handle.address().add(LOOPBACK, METADATA, 32).execute().await;
    driver.abort();
    up.and(addressed).map_err(io::Error::other)
}
