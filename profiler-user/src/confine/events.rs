//! What opening events takes on this kernel.
//!
//! Linux asks for `CAP_PERFMON` (5.8). The kernels of Debian and its descendants ask everybody for `CAP_SYS_ADMIN` while
//! kernel.perf_event_paranoid is above 2, which is how they come (Debian's patch "security,perf: Allow further restriction of
//! perf_event_open"). So it is tried, and not concluded from a version.

use std::{io, thread};

use super::Role;
use crate::sys::{
    caps::{self, Capability, CapabilitySet},
    cpus,
    perf::{self, EventSpec, Sampling, Scope},
};

/// Whether events can be opened with all of `CAP_SYS_ADMIN` and not without it. `held` is what the process has.
pub(super) fn want_admin(held: CapabilitySet) -> bool {
    if !held.contains(Capability::SysAdmin) {
        return false;
    }
    let without = held.without(Capability::SysAdmin).granting(Role::Loading.wants());
    // Where it stands for the others it is kept anyway.
    if !without.contains(Capability::Perfmon) {
        return false;
    }
    // Capabilities are a thread's own: what this one gives up nobody misses.
    let tried = thread::Builder::new().name("privilege".to_owned()).spawn(move || -> io::Result<bool> {
        caps::set_effective(without)?;
        let refused = is_refused(open());
        caps::set_effective(without.with(Capability::SysAdmin))?;
        Ok(refused && open().is_ok())
    });
    // Where there is no room for a thread, those that are needed will not start either, and say so.
    let tried =
        tried.and_then(|thread| thread.join().map_err(|_| io::Error::other("the thread panicked"))?);
    tried.unwrap_or_else(|error| {
        tracing::debug!("whether events want CAP_SYS_ADMIN is not known: {error}");
        false
    })
}

fn open() -> io::Result<()> {
    let cpu = cpus::online()?.first().copied().unwrap_or(0);
    perf::open(&EventSpec::cpu_clock(Sampling::Hertz(19)), Scope::Cpu(cpu)).map(drop)
}

fn is_refused(result: io::Result<()>) -> bool {
    result.is_err_and(|error| matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_is_not_asked_for_where_it_is_not_there_or_stands_for_the_others() {
        assert!(!want_admin(CapabilitySet::from_iter([Capability::Bpf, Capability::Perfmon])));
        assert!(!want_admin(CapabilitySet::from_iter([Capability::SysAdmin])));
    }

    #[test]
    fn only_a_refusal_is_one() {
        let result = |errno| is_refused(Err(io::Error::from_raw_os_error(errno)));
        assert!(result(libc::EACCES) && result(libc::EPERM));
        assert!(!result(libc::EMFILE) && !is_refused(Ok(())));
    }
}
