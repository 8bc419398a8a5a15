//! Where a server listens: an address, or a Unix socket; encrypted or not.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;

use super::tls::Encryption;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A socket in the file system, for the profiler's user alone.
    Unix(PathBuf),
}

impl Address {
    /// Whether only processes of this host can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Address::Tcp(address) => address.ip().is_loopback(),
            Address::Unix(_) => true,
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix:").or(text.starts_with('/').then_some(text)) {
            return if path.is_empty() {
                Err("unix: needs a path".to_owned())
            } else {
                Ok(Address::Unix(path.into()))
            };
        }
        text.parse().map(Address::Tcp).map_err(|_| {
            "it must be an address and a port, such as 127.0.0.1:4041 or [::1]:4041, or unix:PATH".to_owned()
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A stream of bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, Unlink),
}

/// Removes a socket's file when it is over.
struct Unlink(PathBuf);

impl Drop for Unlink {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Listens.
pub struct Listener {
    socket: Socket,
    tls: Option<Encryption>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Listener {
    /// Listens there. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address is taken or is none of this host's; the file cannot be made.
    pub async fn bind(address: &Address, tls: Option<Encryption>) -> io::Result<Listener> {
        let socket = match address {
            Address::Tcp(address) => Socket::Tcp(TcpListener::bind(address).await?),
            Address::Unix(path) => {
                remove_left_over(path)?;
                let listener = UnixListener::bind(path)?;
                let unlink = Unlink(path.clone());
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
                Socket::Unix(listener, unlink)
            }
        };
        Ok(Listener { socket, tls })
    }

    /// Where it listens, with the port that the kernel chose.
    ///
    /// # Errors
    /// The socket is no more.
    pub fn address(&self) -> io::Result<Address> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Socket::Unix(_, unlink) => Ok(Address::Unix(unlink.0.clone())),
        }
    }

    /// The next connection, not encrypted yet.
    pub(super) async fn accept(&self) -> io::Result<Connection> {
        let plain = match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // An answer is sent in one piece where it fits; nothing is gained by waiting for more.
                let _ = stream.set_nodelay(true);
                Plain::Tcp(stream)
            }
            Socket::Unix(listener, _) => Plain::Unix(listener.accept().await?.0),
        };
        let tls = self.tls.as_ref().map(|tls| TlsAcceptor::from(tls.config()));
        Ok(Connection { plain, tls })
    }
}

/// Whoever was killed leaves its socket's file. One that somebody listens on stays, and so does what is no socket.
fn remove_left_over(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection that was accepted.
pub(super) struct Connection {
    plain: Plain,
    tls: Option<TlsAcceptor>,
}

impl Connection {
    /// Agrees on encryption, where there is to be some.
    pub(super) async fn open(self) -> io::Result<Box<dyn Stream>> {
        let plain: Box<dyn Stream> = match self.plain {
            Plain::Tcp(stream) => Box::new(stream),
            Plain::Unix(stream) => Box::new(stream),
        };
        match self.tls {
            Some(tls) => Ok(Box::new(tls.accept(plain).await?)),
            None => Ok(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let read = |text: &str| text.parse::<Address>();
        assert_eq!(read("127.0.0.1:80"), Ok(Address::Tcp(([127, 0, 0, 1], 80).into())));
        assert_eq!(read("unix:/run/p.sock"), Ok(Address::Unix("/run/p.sock".into())));
        assert_eq!(read("/run/p.sock"), Ok(Address::Unix("/run/p.sock".into())));
        for wrong in ["", "80", ":80", "localhost:80", "unix:", "127.0.0.1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        for (text, local) in [
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("/x", true),
            ("0.0.0.0:1", false),
            ("10.0.0.1:1", false),
        ] {
            assert_eq!(read(text).unwrap().is_local(), local, "{text}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_was_left_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let address = Address::Unix(folder.path().join("s"));
        let first = Listener::bind(&address, None).await.unwrap();
        assert!(Listener::bind(&address, None).await.is_err(), "in use");
        let mode = std::fs::metadata(folder.path().join("s")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(first);
        assert!(!folder.path().join("s").exists());
        drop(std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap());
        assert!(Listener::bind(&address, None).await.is_ok(), "nobody listens");
        std::fs::write(folder.path().join("f"), "").unwrap();
        assert!(Listener::bind(&Address::Unix(folder.path().join("f")), None).await.is_err(), "a file");
    }
}
