//! Privilege: giving up what the profiler does not need any more, before it reads the first byte that a stranger wrote.
//!
//! Everything here is of threads, for that is whose capabilities, seccomp filters and Landlock domains are on Linux. There are
//! four [roles](Role), each with the capabilities that it needs ([`Role::wants`]), a filter (`filter.rs`), and Landlock where it does
//! not have to look into other processes, which Landlock forbids. [`threads`] keeps one thread of each, so that whatever
//! is needed later — loading again, a clock for a CPU that came, a debug file — is done by the one that may; and
//! those who parse programs, debug information and requests are started by the one that may least.
//!
//! docs/privilege.md says what this protects from, and what it does not.

pub mod apart;
mod events;
mod filter;
mod folders;
pub mod threads;

use std::{fmt, io, sync::OnceLock};

pub use folders::{Content, Folder};

use crate::sys::{
    caps::{self, Capability, CapabilitySet},
    landlock, limits, priority,
    seccomp::{Reach, Told},
};

/// What a thread does, as far as privileges are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The main thread: looks at processes, and opens what they have mapped.
    Collecting,
    /// Opens files for those who may not.
    Opening,
    /// Loads programs and opens events; the thread that drains is started by it.
    Loading,
    /// Reads what was opened, writes, serves and sends: `tables`, `naming`, `http`, `upload`, `engines`.
    Working,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Collecting, Self::Opening, Self::Loading, Self::Working];

    /// The capabilities that a thread of the role cannot do without.
    #[must_use]
    pub fn wants(self) -> &'static [Capability] {
        use Capability::{Bpf, CheckpointRestore, DacReadSearch, Perfmon, SysPtrace, Syslog};
        match self {
            Self::Collecting => &[SysPtrace, DacReadSearch, CheckpointRestore],
            Self::Opening => &[SysPtrace, DacReadSearch, CheckpointRestore, Syslog],
            Self::Loading => &[Bpf, Perfmon, Syslog],
            Self::Working => &[DacReadSearch],
        }
    }

    /// Its name in what is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Collecting => "collecting",
            Self::Opening => "opening",
            Self::Loading => "loading",
            Self::Working => "working",
        }
    }

    /// Landlock forbids to look at processes that are not confined likewise, which is what the others do all day.
    fn suits_landlock(self) -> bool {
        matches!(self, Self::Loading | Self::Working)
    }
}

/// What is left to the profiler.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Folders that the working threads write to.
    pub folders: Vec<Folder>,
    /// Whether the main thread writes files: a recording is written by it, wherever the user said.
    pub main_writes: bool,
    /// Whether something is served at a port below 1024.
    pub low_port: bool,
}

/// What is in force.
#[derive(Clone, Debug)]
pub struct InForce {
    /// Whether system calls are filtered.
    pub seccomp: bool,
    /// Landlock's version; `None` where the kernel has none.
    pub landlock: Option<u32>,
    /// Whether programs that it would run get no more than it has.
    pub no_new_privileges: bool,
    /// What each role has left.
    pub capabilities: Vec<(Role, CapabilitySet)>,
    folders: Vec<Folder>,
}

impl fmt::Display for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seccomp = if self.seccomp { "seccomp" } else { "no seccomp" };
        match self.landlock {
            Some(abi) => write!(f, "{seccomp}, Landlock {abi}")?,
            None => write!(f, "{seccomp}, no Landlock")?,
        }
        f.write_str(if self.no_new_privileges { ", no new privileges" } else { ", new privileges" })?;
        for (role, left) in &self.capabilities {
            write!(f, "; {}: {left}", role.name())?;
        }
        Ok(())
    }
}

impl InForce {
    /// Which of these folders cannot be written to: they are none of those that were named at the start.
    #[must_use]
    pub fn outside<'a>(&self, folders: &'a [Folder]) -> Option<&'a Folder> {
        let known = |folder: &Folder| self.folders.iter().any(|allowed| allowed.holds(folder));
        // Where nothing holds it back, a new folder needs no new start.
        self.landlock.and_then(|_| folders.iter().find(|folder| !known(folder)))
    }
}

static IN_FORCE: OnceLock<InForce> = OnceLock::new();

/// What is in force in this process; `None` where nothing is.
#[must_use]
pub fn in_force() -> Option<&'static InForce> {
    IN_FORCE.get()
}

/// Confines the process: call it on the main thread, once, after what has to be started with all privileges and before anything
/// is read that others wrote. What the kernel has not is left out, and told by what this gives.
///
/// # Errors
/// When the threads cannot be started, or it was called before.
pub fn begin(plan: &Plan) -> io::Result<&'static InForce> {
    if threads::are_running() {
        return Err(io::Error::other("the process is confined already"));
    }
    // What takes a capability that goes.
    if let Err(error) = limits::raise_memlock() {
        tracing::debug!("RLIMIT_MEMLOCK stays as it is: {error}");
    }
    let extra = extra(plan)?;
    let no_new_privileges = caps::no_new_privileges()
        .inspect_err(|error| tracing::warn!("new privileges cannot be ruled out: {error}"))
        .is_ok();
    if let Err(error) = caps::empty_bounding_set() {
        // Without root there is none to give, for "no new privileges" is in force.
        tracing::debug!("the bounding set stays as it is: {error}");
    }
    let filtered = filter::everybody(std::process::id()).install(Reach::AllThreads, Told::InKernelLog);
    let filtered = filtered.and_then(|()| filter::usual().install(Reach::AllThreads, Told::Nobody));
    let seccomp =
        filtered.inspect_err(|error| tracing::warn!("system calls are not filtered: {error}")).is_ok();
    for folder in &plan.folders {
        folder.make();
    }
    let (folders, main_writes) = (plan.folders.clone(), plan.main_writes);
    let prepare = move |role: Role| prepare(role, &folders, main_writes, seccomp, extra);
    let mut prepared = threads::start(prepare.clone())?.to_vec();
    prepared.insert(0, (Role::Collecting, prepare(Role::Collecting)));
    let landlock = prepared.iter().filter(|(role, _)| role.suits_landlock()).all(|(_, left)| left.landlock);
    let in_force = InForce {
        seccomp: seccomp && prepared.iter().all(|(_, left)| left.filtered),
        landlock: landlock.then(landlock::abi).flatten(),
        no_new_privileges,
        capabilities: prepared.iter().map(|(role, left)| (*role, left.capabilities)).collect(),
        folders: plan.folders.clone(),
    };
    tracing::info!("confined: {in_force}");
    Ok(IN_FORCE.get_or_init(|| in_force))
}

/// What is kept beside [`Role::wants`]: by all threads, by the one that writes a recording, by the one that opens events, and by
/// those that write and serve.
#[derive(Clone, Copy, Debug)]
struct Extra {
    all: CapabilitySet,
    collecting: CapabilitySet,
    loading: CapabilitySet,
    working: CapabilitySet,
}

fn extra(plan: &Plan) -> io::Result<Extra> {
    let held = caps::permitted()?;
    let none = CapabilitySet::default();
    let mut extra = Extra { all: none, collecting: none, loading: none, working: none };
    if events::want_admin(held) {
        tracing::info!(
            "CAP_SYS_ADMIN is kept by the thread that opens events: this kernel asks for it while kernel.perf_event_paranoid is \
             above 2"
        );
        extra.loading = CapabilitySet::from_iter([Capability::SysAdmin]);
    }
    // A limit does as well, where it is high enough or may be raised.
    if !priority::permit() {
        extra.all = held.granting(&[Capability::SysNice]);
    }
    if plan.main_writes {
        // Wherever the user said, who runs a recording as root.
        extra.collecting = held.granting(&[Capability::DacOverride]);
    }
    if plan.low_port {
        extra.working = held.granting(&[Capability::NetBindService]);
    }
    for folder in &plan.folders {
        folder.make();
        if !folder.is_own() {
            tracing::info!("CAP_DAC_OVERRIDE is kept, for {} belongs to another user", folder.path.display());
            extra.working = extra.working.with(Capability::DacOverride);
        }
    }
    Ok(extra)
}

/// What is left of a thread.
#[derive(Clone, Copy, Debug)]
struct Left {
    capabilities: CapabilitySet,
    filtered: bool,
    landlock: bool,
}

/// Makes the calling thread one of this role. Its steps take ever less: a filter comes last.
fn prepare(role: Role, folders: &[Folder], main_writes: bool, seccomp: bool, extra: Extra) -> Left {
    let landlock = role.suits_landlock() && {
        // The one that loads writes nothing at all.
        let folders = if role == Role::Working { folders } else { &[] };
        let confined = folders::rules(folders).and_then(|rules| rules.confine());
        confined.inspect_err(|error| tracing::debug!("no Landlock: {error}")).is_ok()
    };
    let capabilities = keep(role, extra)
        .inspect_err(|error| tracing::warn!("capabilities cannot be given up: {error}"))
        .unwrap_or_else(|_| caps::effective().unwrap_or_default());
    let may_write = role == Role::Collecting && main_writes;
    let filtered = seccomp
        && filter::of(role, may_write)
            .install(Reach::ThisThread, Told::InKernelLog)
            .inspect_err(|error| tracing::warn!("system calls are not filtered: {error}"))
            .is_ok();
    Left { capabilities, filtered, landlock }
}

fn keep(role: Role, extra: Extra) -> io::Result<CapabilitySet> {
    let held = caps::permitted()?;
    let own = match role {
        Role::Collecting => extra.collecting,
        Role::Loading => extra.loading,
        Role::Working => extra.working,
        Role::Opening => CapabilitySet::default(),
    };
    let kept = held.granting(role.wants()).or(extra.all).or(own);
    caps::keep_only(kept)
}

/// Leaves the calling thread, which reads the files of strangers and opens none itself, no capability but that to be urgent
/// where it was kept. Does nothing where nothing is confined.
pub fn keep_nothing() {
    let Some(in_force) = in_force() else { return };
    let urgent = [Capability::SysNice];
    let kept =
        in_force.capabilities.first().map_or_else(CapabilitySet::default, |(_, set)| set.granting(&urgent));
    if let Err(error) = caps::keep_only(kept) {
        tracing::warn!("capabilities cannot be given up: {error}");
    }
}

/// Leaves a process that only reads profiles the capabilities to read and write files and to serve, which the user may have
/// given it by running it as root. Programs that it runs get what the user has.
pub fn only_files() {
    use Capability::{DacOverride, DacReadSearch, NetBindService};
    let files = CapabilitySet::from_iter([DacOverride, DacReadSearch, NetBindService]);
    if let Err(error) = caps::keep_only(files) {
        tracing::debug!("capabilities cannot be given up: {error}");
    }
}

/// What each capability of the agent's is for, for those who are to give it.
#[must_use]
pub fn purpose(capability: Capability) -> &'static str {
    match capability {
        Capability::Bpf => "to create BPF maps and load programs",
        Capability::Perfmon => "to sample every process on the host",
        Capability::SysPtrace => "to read the mappings of other users' processes",
        Capability::DacReadSearch => "to read the symbols of binaries that are not world-readable",
        Capability::Syslog => "to see the kernel's addresses and so name its functions",
        Capability::CheckpointRestore => "to read binaries that were deleted or replaced while they run",
        Capability::SysNice => "to serve short tasks first",
        Capability::DacOverride => "to write where another user's permissions forbid it",
        Capability::NetBindService => "to serve at a port below 1024",
        Capability::SysResource => "to raise its own limits",
        Capability::SysAdmin => "in place of BPF, PERFMON and CHECKPOINT_RESTORE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_force(landlock: Option<u32>, folders: Vec<Folder>) -> InForce {
        let capabilities = vec![(Role::Working, CapabilitySet::from_iter([Capability::DacReadSearch]))];
        InForce { seccomp: true, landlock, no_new_privileges: true, capabilities, folders }
    }

    #[test]
    fn what_is_in_force_is_one_line() {
        let line = in_force(Some(6), Vec::new()).to_string();
        assert_eq!(line, "seccomp, Landlock 6, no new privileges; working: CAP_DAC_READ_SEARCH");
        assert!(in_force(None, Vec::new()).to_string().contains("no Landlock"));
    }

    #[test]
    fn folders_are_outside_only_where_something_keeps_them_there() {
        let folder = tempfile::tempdir().unwrap();
        let inside = Folder::of_files(&folder.path().join("out"));
        let outside = [inside.clone(), Folder::of_files(&folder.path().join("elsewhere"))];
        assert_eq!(in_force(Some(1), vec![inside.clone()]).outside(&outside), Some(&outside[1]));
        assert_eq!(in_force(Some(1), vec![inside.clone()]).outside(&outside[..1]), None);
        assert_eq!(in_force(None, vec![inside]).outside(&outside), None);
    }

    #[test]
    fn nobody_who_parses_has_what_loads_programs() {
        for role in Role::ALL {
            let loads =
                role.wants().contains(&Capability::Bpf) || role.wants().contains(&Capability::Perfmon);
            assert_eq!(loads, role == Role::Loading, "{role:?}");
        }
        assert_eq!(Role::Working.wants(), [Capability::DacReadSearch]);
    }
}
