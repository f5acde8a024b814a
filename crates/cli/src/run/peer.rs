//! Which process is at the far end of a loopback connection, as the kernel says (Linux, `/proc`): only the program that
//! `run` started, and what that program started, may use its agent.
//!
//! So no key is needed that could be copied: not in a URL, not in a file, not in the environment. A process of the same
//! user that is no descendant is refused; so is a descendant that was given to another parent (a daemon).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Whether a descendant of `ancestor` holds the far end of a connection to `local`. Anything unclear is a no.
pub(crate) fn is_descendant(peer: SocketAddr, local: SocketAddr, ancestor: u32) -> bool {
    let Ok(table) = std::fs::read_to_string("/proc/net/tcp") else {
        return false;
    };
    let Some(inode) = inode_of(&table, peer, local) else {
        return false;
    };
    let link = format!("socket:[{inode}]");
    descendants(ancestor)
        .into_iter()
        .any(|process| holds(process, &link))
}

/// The inode of the socket at the far end. Each line of the table: `sl local remote st … uid timeout inode …`.
fn inode_of(table: &str, peer: SocketAddr, local: SocketAddr) -> Option<u64> {
    let (peer, local) = (written(peer)?, written(local)?);
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = fields.get(1) == Some(&peer.as_str()) && fields.get(2) == Some(&local.as_str());
        let inode = fields.get(9).filter(|_| is_it)?.parse().ok()?;
        (inode != 0).then_some(inode)
    })
}

/// An address as the kernel writes it: the bytes as a number of this machine, then the port.
fn written(address: SocketAddr) -> Option<String> {
    match address.ip() {
        IpAddr::V4(ip) => Some(format!(
            "{:08X}:{:04X}",
            u32::from_ne_bytes(ip.octets()),
            address.port()
        )),
        IpAddr::V6(_) => None,
    }
}

/// Every process below another.
fn descendants(ancestor: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if let Some(parent) = parent_of(process) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![ancestor];
    while let Some(parent) = next.pop() {
        let below = children.remove(&parent).unwrap_or_default();
        next.extend(&below);
        found.extend(below);
    }
    found
}

/// The fourth field of `stat`. The second, the name, is in brackets and may hold anything.
fn parent_of(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

fn holds(process: u32, link: &str) -> bool {
    let files = std::fs::read_dir(format!("/proc/{process}/fd"));
    files
        .into_iter()
        .flatten()
        .flatten()
        .any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == Path::new(link)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_end_is_found_by_both_addresses() {
        let peer = "127.0.0.1:40000".parse().unwrap();
        let local = "127.0.0.1:8440".parse().unwrap();
        let (a, b) = (written(peer).unwrap(), written(local).unwrap());
        let line = |local: &str, remote: &str, inode: u64| {
            format!(
                "   0: {local} {remote} 01 00000000:00000000 00:00000000 00000000  1000        0 {inode} 1 x\n"
            )
        };
        let table = format!("  sl  …\n{}{}", line(&b, &a, 7), line(&a, &b, 9));
        assert_eq!(inode_of(&table, peer, local), Some(9));
        assert_eq!(inode_of(&table, local, "127.0.0.1:1".parse().unwrap()), None);
    }

    #[test]
    fn this_process_is_not_its_own_descendant() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let stream = std::net::TcpStream::connect(local).unwrap();
        let peer = stream.local_addr().unwrap();
        assert!(!is_descendant(peer, local, std::process::id()));
        // Its parent has this process below it, which does hold the socket.
        let parent = parent_of(std::process::id()).unwrap();
        assert!(is_descendant(peer, local, parent));
        assert!(!is_descendant("127.0.0.1:1".parse().unwrap(), local, parent));
    }
}
