//! What is asked of a socket that the standard library has no word for.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

#[cfg(target_os = "linux")]
use rustix::net::sockopt::set_tcp_user_timeout;
use rustix::net::sockopt::{
    set_socket_keepalive, set_socket_recv_buffer_size, set_tcp_keepcnt, set_tcp_keepidle,
    set_tcp_keepintvl,
};

/// Probes of a silent peer before it counts as lost.
const PROBES: u32 = 6;

/// Has the system notice peers that are gone without a word: after `silence` it asks, and a peer that has not
/// answered anything for `unreachable` is an error of the socket. Sockets that a listener accepts have it from
/// the listener.
///
/// A peer that is there but reads nothing is gone too once `unreachable` has passed since its window was full.
pub fn notice_lost_peers(
    socket: impl AsFd,
    silence: Duration,
    unreachable: Duration,
) -> io::Result<()> {
    let socket = socket.as_fd();
    set_socket_keepalive(socket, true)?;
    set_tcp_keepidle(socket, silence)?;
    set_tcp_keepintvl(socket, unreachable / PROBES)?;
    set_tcp_keepcnt(socket, PROBES)?;
    #[cfg(target_os = "linux")]
    set_tcp_user_timeout(
        socket,
        u32::try_from(unreachable.as_millis()).unwrap_or(u32::MAX),
    )?;
    Ok(())
}

/// Has the system keep so many bytes of a connection that nobody has read yet, and not more as they come.
pub fn set_receive_buffer(socket: impl AsFd, bytes: usize) -> io::Result<()> {
    Ok(set_socket_recv_buffer_size(socket, bytes)?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{TcpListener, TcpStream};

    use rustix::net::sockopt::{socket_keepalive, tcp_keepidle, tcp_user_timeout};

    use super::*;

    #[test]
    fn what_a_listener_accepts_has_it_too() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (silence, unreachable) = (Duration::from_secs(70), Duration::from_secs(30));
        notice_lost_peers(&listener, silence, unreachable).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(socket_keepalive(&accepted).unwrap());
        assert_eq!(tcp_keepidle(&accepted).unwrap(), silence);
        assert_eq!(tcp_user_timeout(&accepted).unwrap(), 30_000);
    }
}
