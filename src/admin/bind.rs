//! Where the admin listener listens: a TCP address or a Unix socket.

use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// Connections that may wait until one of those being served has ended.
const BACKLOG: i32 = 128;

/// Who may connect to the Unix socket: the user that the daemon runs as.
const SOCKET_MODE: u32 = 0o600;

/// Why the admin listener cannot listen, for the person who chose the address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place} for the admin listener: {cause}")]
pub struct BindError {
    place: String,
    cause: String,
}

impl BindError {
    fn new(place: impl ToString, cause: impl ToString) -> Self {
        BindError {
            place: place.to_string(),
            cause: cause.to_string(),
        }
    }
}

/// Binds a TCP address. Returns it as bound (a port 0 has become a real one).
pub(super) fn tcp(address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bind().map_err(|error: io::Error| BindError::new(address, explain_tcp(&error)))
}

fn explain_tcp(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "address already in use (another fanfare? try --admin with another port, or off)".into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        io::ErrorKind::PermissionDenied => {
            "permission denied (ports below 1024 need CAP_NET_BIND_SERVICE)".into()
        }
        _ => error.to_string(),
    }
}

/// A listening Unix socket's file, removed with it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode: what has come to lie at the path since is not ours.
    id: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).ok() == Some(self.id)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the admin socket");
        }
    }
}

/// Binds a Unix socket. One that a daemon has left behind is replaced; one on
/// which somebody answers is not, nor is a file that is no socket.
pub(super) fn unix(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    let refuse = |cause: &dyn ToString| BindError::new(path.display(), cause.to_string());
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(refuse(&"there is a file that is no socket"));
        }
        Ok(_) => clear(path).map_err(|cause| refuse(&cause))?,
        // No file is as it should be; other trouble shows on binding.
        Err(_) => {}
    }
    bind_unix(path).map_err(|error| refuse(&explain_unix(&error)))
}

/// Removes a socket that nobody listens on.
fn clear(path: &Path) -> Result<(), String> {
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| format!("cannot remove the old socket: {error}"))
        }
        Ok(_) => Err("somebody answers there already (another fanfare?)".into()),
        // A full backlog, or no right to ask: not known to be abandoned.
        Err(error) => Err(format!("there is a socket that may be in use: {error}")),
    }
}

fn bind_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile {
        path: path.to_owned(),
        id: identity(path)?,
    };
    // Before it listens, so that nobody else gets in between.
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    socket.listen(BACKLOG)?;
    Ok((UnixListener::from(OwnedFd::from(socket)), file))
}

/// The file of a Unix socket that another process has bound.
pub(super) fn inherit(path: &Path) -> Result<SocketFile, BindError> {
    match identity(path) {
        Ok(id) => Ok(SocketFile {
            path: path.to_owned(),
            id,
        }),
        Err(error) => Err(BindError::new(path.display(), error)),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

fn explain_unix(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "the folder is not there".into(),
        io::ErrorKind::InvalidInput => "the path is too long for a socket".into(),
        io::ErrorKind::PermissionDenied => "permission denied in that folder".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_refused_in_a_sentence() {
        let (_held, address) = tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let sentence = tcp(address).unwrap_err().to_string();
        assert!(
            sentence.starts_with(&format!("cannot listen on {address}")),
            "{sentence}"
        );
        assert!(sentence.contains("already in use"), "{sentence}");
    }

    #[test]
    fn a_socket_is_for_its_user_only_and_goes_with_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let (_listener, file) = unix(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn an_abandoned_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        let (_listener, _file) = unix(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_socket_in_use_and_a_plain_file_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let (_listener, _file) = unix(&path).unwrap();
        let sentence = unix(&path).unwrap_err().to_string();
        assert!(sentence.contains("another fanfare"), "{sentence}");
        UnixStream::connect(&path).unwrap();

        let plain = folder.path().join("plain");
        fs::write(&plain, "precious").unwrap();
        let sentence = unix(&plain).unwrap_err().to_string();
        assert!(sentence.contains("no socket"), "{sentence}");
        assert_eq!(fs::read_to_string(&plain).unwrap(), "precious");
    }

    #[test]
    fn what_has_taken_the_place_of_our_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let (_listener, file) = unix(&path).unwrap();
        fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        fs::write(&path, "another's").unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn an_impossible_path_is_refused_in_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let missing = unix(&folder.path().join("none/admin.sock")).unwrap_err();
        assert!(missing.to_string().contains("folder is not there"));
        let long = unix(&folder.path().join("x".repeat(200))).unwrap_err();
        assert!(long.to_string().contains("too long"), "{long}");
    }
}
