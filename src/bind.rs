//! Binding listening sockets: what the public and the other listeners share.

use std::env;
use std::fs::{self, Permissions};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use crate::config::Place;

/// Why a place cannot be listened on, for the person who chose it.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place}: {cause}")]
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

    /// `option` is the one that chose the address.
    pub fn tcp(address: SocketAddr, error: &io::Error, option: &str) -> Self {
        BindError::new(address, explain_tcp(error, option))
    }

    /// As for a socket at `path`.
    pub fn unix(path: &Path, error: &io::Error) -> Self {
        BindError::new(path.display(), explain_unix(error))
    }
}

/// Finds out whether nobody else has the address; a port 0 becomes a real one. With
/// SO_REUSEPORT alone a second daemon would silently share a port with the first.
/// Where a socket at one of `others` is in the way, that is our own, of the process
/// before this one, and so is the address.
///
/// # Errors
/// Those of `bind`, for [`BindError::tcp`].
pub fn claim(address: SocketAddr, others: &[Place]) -> io::Result<SocketAddr> {
    let place = Place::from(address);
    let ours = others.iter().any(|other| other.overlaps(&place));
    // Whether the machine has the address is to be found out all the same.
    let port = if ours { 0 } else { address.port() };
    let (socket, is_here) = bound(SocketAddr::new(address.ip(), port), false)?;
    if !is_here {
        tracing::warn!(
            "this machine does not have that address yet: {address} is served once it has"
        );
    }
    if ours {
        return Ok(address);
    }
    let bound = socket.local_addr()?;
    Ok(bound.as_socket().expect("it is an IP address"))
}

/// A TCP socket on `address` that does not listen yet.
///
/// A daemon that a service manager starts takes an address that the machine does not
/// have yet, as at boot; nobody would be there to try again. Where a person starts it,
/// such an address is more likely a slip.
///
/// # Errors
/// Those of `bind`, for [`BindError::tcp`].
pub fn tcp(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    bound(address, shared).map(|(socket, _)| socket)
}

/// The socket, and whether the machine has its address by now.
fn bound(address: SocketAddr, shared: bool) -> io::Result<(Socket, bool)> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // So that [::] and 0.0.0.0 can both be asked for.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    match socket.bind(&address.into()) {
        Err(error)
            if error.kind() == io::ErrorKind::AddrNotAvailable
                && env::var_os("NOTIFY_SOCKET").is_some() =>
        {
            match address {
                SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
                SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
            }
            socket.bind(&address.into())?;
            Ok((socket, false))
        }
        bound => bound.map(|()| (socket, true)),
    }
}

fn explain_tcp(error: &io::Error, option: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("address already in use (another fanfare? try {option})")
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        io::ErrorKind::PermissionDenied => {
            "permission denied (ports below 1024 need CAP_NET_BIND_SERVICE)".into()
        }
        _ => error.to_string(),
    }
}

/// Where a socket is bound; `None` for what is neither TCP nor a path.
///
/// # Errors
/// Those of `getsockname`.
pub fn place_of(socket: &impl AsFd) -> io::Result<Option<Place>> {
    let address = SockRef::from(socket).local_addr()?;
    Ok(match address.as_socket() {
        Some(address) => Some(Place::from(address)),
        None => address.as_pathname().map(|path| Place::Unix(path.into())),
    })
}

/// Where sockets are bound, as far as that can be told.
pub fn places_of<'a>(sockets: impl Iterator<Item = &'a (impl AsFd + 'a)>) -> Vec<Place> {
    let places = sockets.filter_map(|socket| place_of(socket).ok().flatten());
    places.collect()
}

/// Removes the files of Unix sockets that nobody is to connect to any more.
pub fn remove_files<'a>(sockets: impl Iterator<Item = &'a (impl AsFd + 'a)>) {
    for place in places_of(sockets) {
        if let Place::Unix(path) = place
            && let Ok(mut file) = inherit(&path)
        {
            file.take();
        }
    }
}

/// Ends sockets that another process has had, so that nobody gets to them by any
/// handle that may be left.
pub fn end(sockets: Vec<OwnedFd>) {
    remove_files(sockets.iter());
    for socket in sockets {
        // It may have ended by itself.
        let _ = SockRef::from(&socket).shutdown(Shutdown::Both);
    }
}

/// Takes from `inherited` the socket that is bound where `wanted` says; any port
/// does for port 0.
pub fn take_inherited(inherited: &mut Vec<OwnedFd>, wanted: &Place) -> Option<OwnedFd> {
    let fits = |socket: &OwnedFd| {
        let bound = place_of(socket).ok().flatten();
        bound.is_some_and(|bound| bound == *wanted || wanted.admits(&bound))
    };
    let at = inherited.iter().position(fits)?;
    Some(inherited.swap_remove(at))
}

/// A listening Unix socket's file, removed with it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: what has come to lie at the path since is not ours.
    id: (u64, u64),
    /// It is still another process's, which needs it if this one fails.
    lent: bool,
}

impl SocketFile {
    /// From here on the file is this process's to remove.
    pub fn take(&mut self) {
        self.lent = false;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.lent
            && identity(&self.path).ok() == Some(self.id)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

/// Binds a Unix socket, which listens then. One that a daemon has left behind is
/// replaced; one on which somebody answers is not, nor is a file that is no socket.
/// `mode` says who may connect.
///
/// # Errors
/// A sentence.
pub fn unix(path: &Path, mode: u32, backlog: i32) -> Result<(Socket, SocketFile), BindError> {
    let refuse = |cause: &dyn ToString| BindError::new(path.display(), cause.to_string());
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(refuse(&"there is a file that is no socket"));
        }
        Ok(_) => clear(path).map_err(|cause| refuse(&cause))?,
        // No file is as it should be; other trouble shows on binding.
        Err(_) => {}
    }
    bind_unix(path, mode, backlog).map_err(|error| BindError::unix(path, &error))
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

fn bind_unix(path: &Path, mode: u32, backlog: i32) -> io::Result<(Socket, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile {
        path: path.to_owned(),
        id: identity(path)?,
        lent: false,
    };
    // Before it listens, so that nobody else gets in between.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(backlog)?;
    Ok((socket, file))
}

/// The file of a Unix socket that another process has bound. It is left alone until
/// [`SocketFile::take`].
///
/// # Errors
/// A sentence, when the file is gone: then nobody gets to the socket any more.
pub fn inherit(path: &Path) -> Result<SocketFile, BindError> {
    match identity(path) {
        Ok(id) => Ok(SocketFile {
            path: path.to_owned(),
            id,
            lent: true,
        }),
        Err(error) => Err(BindError::unix(path, &error)),
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
    use std::os::unix::net::UnixListener;

    use super::*;

    const MODE: u32 = 0o600;

    fn unix(path: &Path) -> Result<(Socket, SocketFile), BindError> {
        super::unix(path, MODE, 8)
    }

    #[test]
    fn a_taken_port_is_refused_in_a_sentence() {
        let held = tcp("127.0.0.1:0".parse().unwrap(), false).unwrap();
        held.listen(1).unwrap();
        let address = held.local_addr().unwrap().as_socket().unwrap();
        let error = tcp(address, false).unwrap_err();
        let sentence = BindError::tcp(address, &error, "--admin").to_string();
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
        assert_eq!(mode & 0o777, MODE);
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

    #[test]
    fn an_inherited_socket_is_found_by_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let (local, _file) = unix(&path).unwrap();
        let tcp = tcp("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = tcp.local_addr().unwrap().as_socket().unwrap();
        let mut inherited: Vec<OwnedFd> = vec![local.into(), tcp.into()];
        let mut take = |word: &str| {
            let place = Place::parse(word).unwrap();
            take_inherited(&mut inherited, &place).is_some()
        };
        assert!(!take("127.0.0.2:0") && !take("[::1]:0") && !take("unix:/elsewhere"));
        assert!(take(&format!("unix:{}", path.display())));
        assert!(take(&address.to_string()));
        assert!(inherited.is_empty());
    }
}
