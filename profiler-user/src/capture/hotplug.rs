//! Hears of CPUs that come and go, from the kernel's uevents (NETLINK_KOBJECT_UEVENT).

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// What happened to a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CpuEvent {
    /// It runs again.
    Online(u32),
    /// It stopped.
    Offline(u32),
}

/// A socket that hears the kernel's device events.
pub(super) struct Hotplug {
    socket: OwnedFd,
}

impl Hotplug {
    /// Starts listening. Only the initial network namespace hears the events; elsewhere CPUs are compared once a window.
    pub(super) fn listen() -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let fd = unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
                libc::NETLINK_KOBJECT_UEVENT,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above just made the descriptor, and nothing else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: sockaddr_nl is plain numbers, for which zero is a value.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        // Group 1: what the kernel itself says; group 2 would be udev's.
        address.nl_groups = 1;
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the address is valid for the length that is passed.
        let ret = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
        if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(Self { socket }) }
    }

    /// All CPU events since the last call; other devices' events are dropped.
    pub(super) fn drain(&self) -> Vec<CpuEvent> {
        let mut events = Vec::new();
        let mut buffer = [0_u8; 8192];
        loop {
            // SAFETY: the buffer is writable for its length.
            let read = unsafe {
                libc::recv(
                    self.socket.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    libc::MSG_DONTWAIT,
                )
            };
            let Some(message) = usize::try_from(read).ok().and_then(|len| buffer.get(..len)) else {
                return events;
            };
            if message.is_empty() {
                return events;
            }
            events.extend(parse(message));
        }
    }
}

impl AsFd for Hotplug {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The first field of a uevent is `action@device path`.
fn parse(message: &[u8]) -> Option<CpuEvent> {
    let first = message.split(|&byte| byte == 0).next()?;
    let (action, device) = std::str::from_utf8(first).ok()?.split_once('@')?;
    let cpu = device.strip_prefix("/devices/system/cpu/cpu")?.parse().ok()?;
    match action {
        "online" => Some(CpuEvent::Online(cpu)),
        "offline" => Some(CpuEvent::Offline(cpu)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cpus_count() {
        let online = b"online@/devices/system/cpu/cpu1\0ACTION=online\0DEVPATH=/devices/system/cpu/cpu1\0";
        assert_eq!(parse(online), Some(CpuEvent::Online(1)));
        assert_eq!(parse(b"offline@/devices/system/cpu/cpu12\0"), Some(CpuEvent::Offline(12)));
        assert_eq!(parse(b"offline@/devices/system/memory/memory1\0"), None);
        assert_eq!(parse(b"add@/devices/system/cpu/cpu1/cache\0"), None);
        assert_eq!(parse(&[0xff, 0, 1]), None);
    }
}
