//! Open files on their way between processes: over a socket (SCM_RIGHTS), or
//! inherited by number.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};

/// The most files in one message; the kernel's own limit is 253.
pub const FILES_MAX: usize = 200;

/// A further descriptor of an open file.
///
/// # Errors
/// Those of `dup`.
pub fn duplicate(file: &impl AsRawFd) -> io::Result<OwnedFd> {
    // SAFETY: `file` owns the descriptor, and is borrowed for as long as this one.
    let borrowed = unsafe { BorrowedFd::borrow_raw(file.as_raw_fd()) };
    borrowed.try_clone_to_owned()
}

/// Sends `bytes` and, along with their first byte, `files`.
///
/// # Errors
/// Those of `sendmsg`, and when not all bytes were taken.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], files: &[OwnedFd]) -> io::Result<()> {
    let raw: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights };
    let parts = [IoSlice::new(bytes)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    let fd = socket.as_raw_fd();
    let sent = undisturbed(|| sendmsg::<UnixAddr>(fd, &parts, control, flags, None))?;
    if sent == bytes.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// Receives one message into `bytes`: how long it was (0 at the end) and the
/// files that came along.
///
/// # Errors
/// Those of `recvmsg`, and when something did not fit.
pub fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = cmsg_space!([RawFd; FILES_MAX]);
    let mut parts = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = loop {
        // The arguments are borrowed by what comes back, so no closure here.
        match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            other => break other?,
        }
    };
    let mut files = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel has just made these descriptors for us, and
            // nobody else knows them.
            files.extend(
                raw.into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    if message
        .flags
        .intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC)
    {
        return Err(io::Error::other("a message did not fit"));
    }
    Ok((message.bytes, files))
}

/// Calls again what a signal has interrupted.
fn undisturbed<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Takes over a descriptor that the process was started with, by its number.
/// It is not passed on to further processes.
///
/// # Errors
/// When there is no such descriptor.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the number was handed to this process for this use alone; that
    // it is open is checked by the call that follows.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    match fcntl(&file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)) {
        Ok(_) => Ok(file),
        Err(error) => {
            std::mem::forget(file);
            Err(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn files_come_out_where_they_were_sent_to() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut end, other) = UnixStream::pair().unwrap();
        send(here.as_fd(), b"x", &[other.into()]).unwrap();
        let mut bytes = [0; 8];
        let (len, files) = receive(there.as_fd(), &mut bytes).unwrap();
        assert_eq!((len, files.len()), (1, 1));
        end.write_all(b"hello").unwrap();
        assert_eq!(receive(files[0].as_fd(), &mut bytes).unwrap().0, 5);
        drop(here);
        assert_eq!(receive(there.as_fd(), &mut bytes).unwrap().0, 0);
    }

    #[test]
    fn a_number_that_was_not_inherited_is_refused() {
        assert!(inherited(19_999).is_err());
    }
}
