//! The one request that the agent makes of the kernel's RDMA by itself: `rdma link add`, as `rdma(8)` of iproute2 says it.
//! Distributions leave that tool out of small systems; the message is part of the kernel's stable interface
//! (`include/uapi/rdma/rdma_netlink.h`).

use std::io;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, netlink, recv, send, socket};

/// `RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, RDMA_NLDEV_CMD_NEWLINK)`
const NEW_LINK: u16 = (5 << 10) + 3;
/// `NLM_F_REQUEST | NLM_F_ACK`
const FLAGS: u16 = 1 | 4;
const DEVICE_NAME: u16 = 2;
const NETDEV_NAME: u16 = 51;
const LINK_TYPE: u16 = 65;
/// `NLMSG_ERROR`: with the error 0 it is an acknowledgement.
const ANSWER: u16 = 2;
const HEADER: usize = 16;

/// Makes an RDMA device of a kind on a network device.
pub(super) fn add_link(device: &str, kind: &str, netdev: &str) -> io::Result<()> {
    let request = request(device, kind, netdev)?;
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::RDMA))?;
    send(&socket, &request, SendFlags::empty())?;
    let mut bytes = [0; 4096];
    let (length, _) = recv(&socket, &mut bytes[..], RecvFlags::empty())?;
    answer(&bytes[..length])
}

fn request(device: &str, kind: &str, netdev: &str) -> io::Result<Vec<u8>> {
    let mut attributes = Vec::new();
    for (number, text) in [(DEVICE_NAME, device), (LINK_TYPE, kind), (NETDEV_NAME, netdev)] {
        let length = u16::try_from(4 + text.len() + 1).map_err(io::Error::other)?;
        attributes.extend(length.to_ne_bytes());
        attributes.extend(number.to_ne_bytes());
        attributes.extend(text.as_bytes());
        attributes.push(0);
        attributes.resize(attributes.len().next_multiple_of(4), 0);
    }
    let length = u32::try_from(HEADER + attributes.len()).map_err(io::Error::other)?;
    let mut message = Vec::from(length.to_ne_bytes());
    message.extend(NEW_LINK.to_ne_bytes());
    message.extend(FLAGS.to_ne_bytes());
    // A sequence number, and whose it is: there is one request alone.
    message.extend([1_u32.to_ne_bytes(), [0; 4]].concat());
    message.extend(attributes);
    Ok(message)
}

fn answer(bytes: &[u8]) -> io::Result<()> {
    let kind = bytes.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
    let error = bytes.get(HEADER..HEADER + 4).and_then(|error| error.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, error) {
        (Some(ANSWER), Some(0)) => Ok(()),
        (Some(ANSWER), Some(error)) => Err(io::Error::from_raw_os_error(error.saturating_neg())),
        _ => Err(io::Error::other("the kernel answers something else")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_its_length_and_padded_attributes() {
        let request = request("rxe0", "rxe", "dum0").unwrap();
        assert_eq!(request.len(), 16 + 12 + 8 + 12);
        assert_eq!(request[..4], 48_u32.to_ne_bytes());
        assert_eq!(request[16..20], [[9, 0], 2_u16.to_ne_bytes()].concat());
        assert_eq!(request[20..28], *b"rxe0\0\0\0\0");
        assert_eq!(request[28..36], *b"\x08\0\x41\0rxe\0");
    }

    #[test]
    fn an_answer_is_an_acknowledgement_or_the_kernels_error() {
        let with = |error: i32| {
            let mut bytes = vec![36, 0, 0, 0, 2, 0];
            bytes.resize(HEADER, 0);
            bytes.extend(error.to_ne_bytes());
            answer(&bytes)
        };
        assert!(with(0).is_ok());
        assert_eq!(with(-22).unwrap_err().raw_os_error(), Some(22));
        assert!(answer(&[0; 8]).is_err());
    }
}
