//! The listening socket, with what its connections inherit from it, and what they are given when they are accepted.

use std::io;
use std::os::fd::AsFd;

use millstream_api::HostPort;
use millstream_env::set_receive_buffer;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

/// What the kernel is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketSettings {
    /// Bytes that a connection may have received and that nobody has read
    /// (`socket.receive.buffer.bytes`), less where there are many; none: as the system does.
    pub receive_buffer_bytes: Option<u32>,
    /// Bytes that were written to a connection and not yet taken by its peer
    /// (`socket.send.buffer.bytes`); none: as the system does.
    pub send_buffer_bytes: Option<u32>,
    /// Connections that wait to be accepted (`socket.listen.backlog.size`); the system has a bound of its own.
    pub backlog: u32,
}

/// What a connection may always have received, if the setting is not less: Kafka's default.
const RECEIVE_MIN: u32 = 100 << 10;

impl SocketSettings {
    /// Sets how much a connection that was accepted may have received, by its share of the memory. Those that
    /// nobody has accepted yet have what the system begins with: a crowd that comes at once must not have more.
    pub(super) fn set_received(self, accepted: impl AsFd, share: usize) -> io::Result<()> {
        let share = u32::try_from(share).unwrap_or(u32::MAX).max(RECEIVE_MIN);
        match self.receive_buffer_bytes {
            Some(bytes) => set_receive_buffer(accepted, bytes.min(share) as usize),
            None => Ok(()),
        }
    }
}

/// Binds an address: the first of those that a name stands for which can be bound.
pub(super) async fn listen(
    address: &HostPort,
    settings: SocketSettings,
) -> io::Result<TcpListener> {
    let mut failure = None;
    for address in lookup_host((address.host.as_str(), address.port)).await? {
        let socket = match address.is_ipv4() {
            true => TcpSocket::new_v4(),
            false => TcpSocket::new_v6(),
        };
        let listener = socket.and_then(|socket| {
            socket.set_reuseaddr(true)?;
            if let Some(bytes) = settings.send_buffer_bytes {
                socket.set_send_buffer_size(bytes)?;
            }
            socket.bind(address)?;
            socket.listen(settings.backlog)
        });
        match listener {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| io::Error::other("the name stands for no address")))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rustix::net::sockopt::{socket_recv_buffer_size, socket_send_buffer_size};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn what_a_listener_accepts_has_its_buffers() {
        let address = "127.0.0.1:0".parse().unwrap();
        let settings = SocketSettings {
            receive_buffer_bytes: None,
            send_buffer_bytes: Some(32 << 10),
            backlog: 16,
        };
        let listener = listen(&address, settings).await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (accepted, _) = listener.accept().await.unwrap();
        // Linux doubles it, for what it keeps beside the bytes.
        assert_eq!(socket_send_buffer_size(&accepted).unwrap(), 64 << 10);
    }

    #[tokio::test]
    async fn where_there_are_many_each_may_have_received_less() {
        let address = "127.0.0.1:0".parse().unwrap();
        let settings = SocketSettings {
            receive_buffer_bytes: Some(200 << 10),
            send_buffer_bytes: None,
            backlog: 16,
        };
        let listener = listen(&address, settings).await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (accepted, _) = listener.accept().await.unwrap();
        for (share, size) in [(300, 200), (150, 150), (1, 100)] {
            settings.set_received(&accepted, share << 10).unwrap();
            let has = socket_recv_buffer_size(&accepted).unwrap();
            assert_eq!(has, (2 * size) << 10, "{share}");
        }
        let small = SocketSettings {
            receive_buffer_bytes: Some(50 << 10),
            ..settings
        };
        small.set_received(&accepted, 0).unwrap();
        assert_eq!(socket_recv_buffer_size(&accepted).unwrap(), 100 << 10);
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_an_error() {
        let address = "127.0.0.1:0".parse().unwrap();
        let settings = SocketSettings {
            receive_buffer_bytes: None,
            send_buffer_bytes: None,
            backlog: 16,
        };
        let first = listen(&address, settings).await.unwrap();
        let taken = first.local_addr().unwrap().into();
        let refused = listen(&taken, settings).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    }
}
