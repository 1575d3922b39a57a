//! The loopback device of a new network: it is down and has no addresses at first.

use std::io;
use std::net::Ipv4Addr;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// The index of loopback, which is the first device of every network.
const LOOPBACK: u32 = 1;

/// The address of the metadata service on virtual machines.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

// Numbers of `linux/netlink.h`, `linux/rtnetlink.h`, `linux/if.h` and `linux/if_addr.h`.
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const NLM_F_REQUEST_ACK: u16 = 0x1 | 0x4;
const NLM_F_CREATE: u16 = 0x400;
const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const HEADER: usize = 16;

/// Brings loopback up, and adds the address of the metadata service to it.
pub(super) fn bring_up() -> io::Result<()> {
    request(RTM_NEWLINK, NLM_F_REQUEST_ACK, &link_up())?;
    request(RTM_NEWADDR, NLM_F_REQUEST_ACK | NLM_F_CREATE, &address())
}

/// `ifinfomsg`: family, padding, device type, index, flags, and the mask of the flags that change.
fn link_up() -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(LOOPBACK.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    body
}

/// `ifaddrmsg` (family, prefix length, flags, scope, index), and two attributes of eight bytes.
fn address() -> Vec<u8> {
    let family = u8::try_from(AddressFamily::INET.as_raw()).unwrap_or_default();
    let mut body = vec![family, 32, 0, 0];
    body.extend(LOOPBACK.to_ne_bytes());
    for attribute in [IFA_LOCAL, IFA_ADDRESS] {
        body.extend(8_u16.to_ne_bytes());
        body.extend(attribute.to_ne_bytes());
        body.extend(METADATA.octets());
    }
    body
}

/// Sends one request to the kernel and reads its acknowledgement. The kernel answers before `sendto` returns.
fn request(kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    // The protocol of number 0, which is the default, is `NETLINK_ROUTE`.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // The sequence number and the sender's port are not needed: a socket sends one request.
    message.extend([0; 8]);
    message.extend(body);
    sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 512];
    let (_, received) = recv(&socket, &mut answer, RecvFlags::empty())?;
    acknowledged(&answer[..received.min(answer.len())])
}

/// An acknowledgement is a message of the type `NLMSG_ERROR`: its header, and then a negative error number or 0.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let number =
        answer.get(HEADER..HEADER + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, number) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(number)) => Err(io::Error::from_raw_os_error(number.wrapping_neg())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is not an acknowledgement")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: u16, number: i32) -> Vec<u8> {
        let mut answer = vec![36, 0, 0, 0];
        answer.extend(kind.to_ne_bytes());
        answer.extend([0; 10]);
        answer.extend(number.to_ne_bytes());
        answer
    }

    #[test]
    fn only_an_acknowledgement_without_an_error_is_success() {
        acknowledged(&answer(NLMSG_ERROR, 0)).unwrap();
        let refused = acknowledged(&answer(NLMSG_ERROR, -1)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        for unreadable in [&answer(3, 0)[..], &answer(NLMSG_ERROR, 0)[..18], &[]] {
            assert_eq!(acknowledged(unreadable).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn a_refusal_of_the_kernel_is_an_error() {
        // No device has this index.
        let mut body = address();
        body[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(request(RTM_NEWADDR, NLM_F_REQUEST_ACK | NLM_F_CREATE, &body).is_err());
    }
}
