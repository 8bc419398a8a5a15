//! A loader that has not read the kernel's type information.

use std::{io, thread};

use aya::EbpfLoader;

use crate::sys::{
    caps,
    seccomp::{Action, Filter, Reach, Rule, Told},
};

/// aya's loader, without the type information of the whole kernel. aya parses it whenever a loader is made, 20 ms and 20 MiB, and only
/// then can be told to do without; the object needs none of it, for what it has to know of the kernel's structures it is told.
///
/// So a thread makes it that can open no file. Where that cannot be had it only takes longer.
pub(super) fn without_type_information<'a>() -> EbpfLoader<'a> {
    let make = || {
        if let Err(error) = open_nothing() {
            tracing::debug!("aya reads the kernel's type information: {error}");
        }
        EbpfLoader::new()
    };
    let made = thread::scope(|scope| {
        // Not `scope.spawn`, which panics where there may be no more threads.
        thread::Builder::new().spawn_scoped(scope, make).ok().and_then(|thread| thread.join().ok())
    });
    let mut loader = made.unwrap_or_default();
    loader.btf(None);
    loader
}

/// Lets the calling thread open no file any more.
fn open_nothing() -> io::Result<()> {
    caps::no_new_privileges()?;
    let mut filter = Filter::new(Action::Allow);
    let calls = [
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open,
        libc::SYS_openat,
        libc::SYS_openat2,
    ];
    filter.set(&calls, &Rule::Always(Action::Refuse(libc::ENOENT)));
    filter.install(Reach::ThisThread, Told::Nobody)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn the_thread_that_makes_it_opens_nothing_and_the_others_do() {
        let opened = thread::spawn(|| open_nothing().map(|()| File::open("/proc/self/maps").is_ok()));
        assert!(!opened.join().unwrap().unwrap());
        without_type_information();
        assert!(File::open("/proc/self/maps").is_ok());
    }
}
