//! This machine's own addresses.

use std::io;
use std::net::IpAddr;

/// The addresses that others may reach, IPv4 first, loopback only when there is nothing else.
///
/// # Errors
/// The operating system does not tell.
pub fn detect() -> io::Result<Vec<IpAddr>> {
    let mut list: Vec<IpAddr> = all()?.into_iter().filter(|ip| !ip.is_loopback() && !is_link_local(*ip)).collect();
    list.sort_by_key(|ip| ip.is_ipv6());
    list.dedup();
    if list.is_empty() {
        list.push(IpAddr::from([127, 0, 0, 1]));
    }
    Ok(list)
}

/// Every address of this machine.
///
/// # Errors
/// The operating system does not tell.
pub fn all() -> io::Result<Vec<IpAddr>> {
    Ok(if_addrs::get_if_addrs()?.into_iter().map(|interface| interface.ip()).collect())
}

/// Whether `ip` is one of the addresses `own`: on Linux all of 127.0.0.0/8 is, although an interface names but one of them.
pub fn is_own(own: &[IpAddr], ip: IpAddr) -> bool {
    own.contains(&ip) || (ip.is_ipv4() && ip.is_loopback())
}

/// Link-local addresses need a zone to be reached, which neither SIP nor SDP can say.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_loopback_range_is_ours() {
        let own = [IpAddr::from([192, 0, 2, 1])];
        for (ip, ours) in [([192, 0, 2, 1], true), ([127, 0, 7, 30], true), ([192, 0, 2, 2], false)] {
            assert_eq!(is_own(&own, ip.into()), ours);
        }
    }
}
