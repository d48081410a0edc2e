//! Free ports on 127.0.0.1. They are taken below the range from which the kernel serves outgoing connections, so that
//! a server that is stopped for an outage test finds its port still free when it comes back.

use std::net::{Ipv4Addr, TcpListener};

use super::ServicesError;

/// Below this, well-known services live; from the end on, Linux serves outgoing connections.
const PORTS: std::ops::Range<u16> = 10_240..32_000;

/// Enough for a machine on which nine in ten of the ports are taken.
const TRIES_MAX: usize = 200;

/// All of them are held until the last is found, so that they differ; then they are let go for the servers.
pub(super) fn free<const N: usize>() -> Result<[u16; N], ServicesError> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for _ in 0..TRIES_MAX {
        if held.len() == N {
            break;
        }
        let port = rand::random_range(PORTS);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            ports[held.len()] = port;
            held.push(listener);
        }
    }
    if held.len() == N {
        Ok(ports)
    } else {
        Err(ServicesError::NoPorts)
    }
}

/// One for a server that somebody else starts, such as a gateway.
pub fn free_port() -> Result<u16, ServicesError> {
    free::<1>().map(|[port]| port)
}

#[cfg(test)]
mod tests {
    #[test]
    fn ports_differ_and_are_free() {
        let ports = super::free::<8>().unwrap();
        let distinct: std::collections::BTreeSet<_> = ports.iter().collect();
        assert_eq!(distinct.len(), 8);
        assert!(ports.iter().all(|port| super::PORTS.contains(port)));
    }
}
