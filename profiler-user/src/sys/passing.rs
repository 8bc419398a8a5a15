//! Messages between processes with open files in them: SCM_RIGHTS (unix(7)).

use std::{
    fs::File,
    io::{self, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

/// What comes beside the bytes, as CMSG_SPACE(3) lays it out on 64-bit architectures: one descriptor behind its header.
#[repr(C)]
struct Beside {
    header: libc::cmsghdr,
    descriptor: RawFd,
    padding: u32,
}

impl Beside {
    /// The length that its header has (CMSG_LEN(3)).
    const LENGTH: usize = size_of::<libc::cmsghdr>() + size_of::<RawFd>();

    fn empty() -> Self {
        // SAFETY: a header is made of numbers, for which zero is a value.
        let header: libc::cmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        Self { header, descriptor: -1, padding: 0 }
    }
}

/// Bytes that tell a message's length, little-endian.
const HEADER: usize = 4;

/// Sends a message, and a descriptor with it.
///
/// # Errors
/// Those of sendmsg(2); `BrokenPipe` when nobody reads any more, `InvalidInput` for more than 4 GiB.
pub fn send(socket: &UnixStream, bytes: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let length =
        u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?.to_le_bytes();
    send_header(socket, &length, file)?;
    let mut socket = socket;
    socket.write_all(bytes)
}

/// Receives a message of at the most `most` bytes, and the file that came with it; `None` when nobody sends any more.
///
/// # Errors
/// Those of recvmsg(2); `InvalidData` for a longer message, `UnexpectedEof` for one that was cut off.
pub fn receive(socket: &UnixStream, most: usize) -> io::Result<Option<(Vec<u8>, Option<File>)>> {
    let mut header = [0; HEADER];
    let (read, file) = receive_header(socket, &mut header)?;
    if read == 0 {
        return Ok(None);
    }
    let mut socket = socket;
    socket.read_exact(&mut header[read..])?;
    let length = usize::try_from(u32::from_le_bytes(header)).unwrap_or(usize::MAX);
    if length > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is longer than any is"));
    }
    let mut bytes = vec![0; length];
    socket.read_exact(&mut bytes)?;
    Ok(Some((bytes, file)))
}

/// A message over these bytes, with or without room beside.
fn message(bytes: &mut libc::iovec, beside: Option<&mut Beside>) -> libc::msghdr {
    // SAFETY: msghdr is made of numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = bytes;
    message.msg_iovlen = 1;
    if let Some(beside) = beside {
        message.msg_control = std::ptr::from_mut(beside).cast();
        message.msg_controllen = size_of::<Beside>();
    }
    message
}

fn send_header(socket: &UnixStream, header: &[u8; HEADER], file: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut copy = *header;
    let mut bytes = libc::iovec { iov_base: copy.as_mut_ptr().cast(), iov_len: HEADER };
    let mut beside = Beside::empty();
    beside.header.cmsg_level = libc::SOL_SOCKET;
    beside.header.cmsg_type = libc::SCM_RIGHTS;
    beside.header.cmsg_len = Beside::LENGTH;
    beside.descriptor = file.map_or(-1, |file| file.as_raw_fd());
    let message = message(&mut bytes, file.is_some().then_some(&mut beside));
    // SAFETY: the message's pointers lead to what lives until the call is over; the kernel only reads it.
    let sent = uninterrupted(|| unsafe {
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    })?;
    // What is left of so few bytes goes without the descriptor, which was sent with the first one.
    let mut socket = socket;
    socket.write_all(header.get(sent..).unwrap_or_default())
}

fn receive_header(socket: &UnixStream, header: &mut [u8; HEADER]) -> io::Result<(usize, Option<File>)> {
    let mut bytes = libc::iovec { iov_base: header.as_mut_ptr().cast(), iov_len: HEADER };
    let mut beside = Beside::empty();
    let mut message = message(&mut bytes, Some(&mut beside));
    // SAFETY: the message's pointers lead to what is writable for the lengths that it says, until the call is over.
    let read = uninterrupted(|| unsafe {
        libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC)
    })?;
    let kind = (beside.header.cmsg_level, beside.header.cmsg_type, beside.header.cmsg_len);
    if message.msg_controllen == 0 || kind != (libc::SOL_SOCKET, libc::SCM_RIGHTS, Beside::LENGTH) {
        // More than one do not fit, and the kernel closes those.
        return Ok((read, None));
    }
    // SAFETY: of this kind and length it is one descriptor, which is this process's from now on and nobody else's in it.
    Ok((read, Some(unsafe { OwnedFd::from_raw_fd(beside.descriptor) }.into())))
}

/// Makes a call until no signal interrupts it.
fn uninterrupted(mut call: impl FnMut() -> libc::ssize_t) -> io::Result<usize> {
    loop {
        if let Ok(bytes) = usize::try_from(call()) {
            return Ok(bytes);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn files_come_with_their_messages() {
        let (one, other) = UnixStream::pair().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "content").unwrap();
        send(&one, b"first", None).unwrap();
        send(&one, b"", Some(File::open(&path).unwrap().as_fd())).unwrap();
        send(&one, &[7; 100_000], None).unwrap();
        let (bytes, file) = receive(&other, 5).unwrap().unwrap();
        assert!(bytes == b"first" && file.is_none());
        let (bytes, file) = receive(&other, 5).unwrap().unwrap();
        let mut text = String::new();
        file.unwrap().read_to_string(&mut text).unwrap();
        assert!(bytes.is_empty() && text == "content");
        assert_eq!(receive(&other, 99_999).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn an_end_is_no_message_and_half_a_one_is_an_error() {
        let (one, other) = UnixStream::pair().unwrap();
        drop(one);
        assert!(receive(&other, 10).unwrap().is_none());
        assert_eq!(send(&other, b"x", None).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let (one, other) = UnixStream::pair().unwrap();
        (&one).write_all(&[5, 0, 0, 0, 1]).unwrap();
        drop(one);
        assert_eq!(receive(&other, 10).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
