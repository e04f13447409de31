//! The address under which executors on other nodes reach the manager.

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use std::net::Ipv4Addr;

/// The IPv4 address of this interface; of the first that is up and not loopback, if it has no name.
///
/// # Errors
/// One sentence: no such interface, or none with an address.
pub fn address(name: &str) -> Result<Ipv4Addr, String> {
    let all = getifaddrs().map_err(|error| format!("cannot list the network interfaces: {error}"))?;
    let usable = InterfaceFlags::IFF_UP;
    let mut known = Vec::new();
    for one in all {
        let address = one.address.and_then(|address| address.as_sockaddr_in().map(|it| it.ip()));
        let Some(address) = address.filter(|_| one.flags.contains(usable)) else { continue };
        let loopback = one.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        if one.interface_name == name || (name.is_empty() && !loopback) {
            return Ok(address);
        }
        known.push(one.interface_name);
    }
    Err(format!(
        "no network interface {} has an address for executors on other nodes; set blocks.interface to one of: {}",
        if name.is_empty() { "but loopback" } else { name },
        known.join(", ")
    ))
}
