//! Loading the BPF object with everything that is known about this kernel and this run.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Map, MapData, MapError, RingBuf},
    programs::{PerfEvent, Program, ProgramError, RawTracePoint},
};
use profiler_common::{
    layout::{Selected, TaskLayout},
    unwind::{pool::MAX_RULES, rule::Rule},
};
use tokio::sync::mpsc;

use super::{
    Capture, Cutter, Error, Options, Sideband, Sizes, Window, btf, clocks::Clocks, drain::Drain,
    error::is_permission, fill, loader, measure, programs, tables::KernelTables, thread,
};
use crate::{
    budget::Maps,
    sys::{
        self,
        caps::{self, Capability},
        kernel_code::UserReads,
        limits::{self, Limit},
        shared::{Access, SharedArray},
    },
    unwind::Tables,
};

/// Bytes with the alignment that an ELF file's structures want.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

#[cfg(target_arch = "x86_64")]
static ALIGNED: &Aligned<[u8]> =
    &Aligned(*include_bytes!("../../../profiler-ebpf/object/x86_64/profiler.bpf.o"));
#[cfg(target_arch = "aarch64")]
static ALIGNED: &Aligned<[u8]> =
    &Aligned(*include_bytes!("../../../profiler-ebpf/object/aarch64/profiler.bpf.o"));

/// The BPF object as it is built from profiler-ebpf.
static OBJECT: &[u8] = &ALIGNED.0;

/// A loaded program that does not tick yet.
pub struct Session {
    ebpf: Ebpf,
    options: Options,
    sizes: Sizes,
    own_exec_id: u32,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("options", &self.options)
            .field("sizes", &self.sizes)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Loads the program and creates its maps.
    ///
    /// # Errors
    /// Missing privilege, a kernel without what is needed, or too little memory for the maps.
    pub fn load(options: Options) -> Result<Self, Error> {
        raise_memlock();
        // What has to be known before the first tick only; it takes as long as half of the rest.
        let freezes = std::thread::Builder::new()
            .spawn(refuse_to_freeze)
            .map_err(Error::system("starting a thread that reads the kernel's code"))?;
        let layout = btf::task_layout()?;
        let mut loader = loader::without_type_information();
        // A first, small instance only measures; then its constants are known and the real one is loaded.
        let tiny = Sizes { cpus: 1, blocks_per_cpu: 1, stacks: 1, counts: 1, processes: 1, pool_elements: 1 };
        let first = Constants::new(&options, tiny, layout);
        let mut probe = load_object(&mut loader, &options, &first)?;
        let measured = measure::run(&mut probe)?;
        drop(probe);
        let layout = TaskLayout { user_registers: measured.user_registers, ..layout };
        let cpus = sys::cpus::present().map_err(Error::system("reading the list of CPUs"))?;
        let sizes = Sizes::new(&options, cpus.iter().max().map_or(1, |cpu| cpu + 1));
        tracing::debug!(?layout, ?sizes, "loading the BPF object");
        let constants = Constants::new(&options, sizes, layout);
        let mut ebpf = load_object(&mut loader, &options, &constants)?;
        programs::load(&mut ebpf, options.no_bpf_loop)?;
        freezes.join().unwrap_or_else(|_| {
            let source = io::Error::other("the thread panicked");
            Err(Error::System { what: "reading the kernel's code", source })
        })?;
        Ok(Self { ebpf, options, sizes, own_exec_id: measured.exec_id })
    }

    /// The sizes of the maps.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// The exec id of this process, which a child has, too, until it executes something.
    #[must_use]
    pub fn own_exec_id(&self) -> u32 {
        self.own_exec_id
    }

    /// Bytes of the maps, as the kernel accounts for them, and how much this process's resident set shows of them, because
    /// they are read in place. Ask before anything is taken.
    #[must_use]
    pub fn map_bytes(&self) -> Maps {
        let mut maps = Maps::default();
        for (name, map) in self.ebpf.maps() {
            let (Map::Array(data)
            | Map::HashMap(data)
            | Map::LruHashMap(data)
            | Map::PerCpuArray(data)
            | Map::ProgramArray(data)
            | Map::RingBuf(data)) = map
            else {
                continue;
            };
            let bytes = sys::map::accounted_bytes(data.fd().as_fd());
            let part = match name {
                "POOL" | "RULES" | "PROCESS_TABLES" => &mut maps.tables,
                "ARENA" | "STACKS_0" | "STACKS_1" => &mut maps.stacks,
                "COUNTS_0" | "COUNTS_1" => &mut maps.counts,
                "MESSAGES" => &mut maps.messages,
                _ => &mut maps.others,
            };
            *part += bytes;
            maps.in_place += match name {
                "POOL" | "RULES" | "ARENA" => bytes,
                // Its data are mapped twice in a row (ringbuf_map_alloc, kernel/bpf/ringbuf.c).
                "MESSAGES" => 2 * bytes,
                _ => 0,
            };
        }
        maps
    }

    /// Takes the stream of what the program tells and asks at once, to be read by [`Message`](super::Message).
    ///
    /// # Errors
    /// When it was taken already.
    pub fn take_messages(&mut self) -> Result<RingBuf<MapData>, Error> {
        let map = self.ebpf.take_map("MESSAGES").ok_or_else(|| missing_map("MESSAGES"))?;
        RingBuf::try_from(map).map_err(map_error)
    }

    /// The unwind tables that the program reads, still empty. Made once.
    ///
    /// # Errors
    /// When the maps cannot be shared.
    pub fn tables(&self) -> Result<Tables<SharedArray, KernelTables>, Error> {
        let shared = |name: &str, bytes: usize| {
            SharedArray::map(map_fd(&self.ebpf, name)?, bytes / 8, Access::ReadWrite)
                .map_err(Error::system("sharing the unwind tables' memory"))
        };
        let bytes = self.sizes.pool_bytes();
        let (pool, rules) = (shared("POOL", bytes)?, shared("RULES", MAX_RULES * size_of::<Rule>())?);
        let owned = |name: &str| {
            map_fd(&self.ebpf, name)?.try_clone_to_owned().map_err(Error::system("duplicating a descriptor"))
        };
        let kernel = KernelTables::new(owned("PROCESS_TABLES")?, owned("PROCESSES")?);
        Ok(Tables::new(pool, bytes, rules, kernel))
    }

    /// Starts the stream of what happens to processes beside the samples. Take it before [`Session::start`].
    ///
    /// # Errors
    /// When a perf event cannot be opened or its ring not be mapped.
    pub fn take_sideband(&mut self) -> Result<Sideband, Error> {
        Sideband::open()
    }

    /// Takes the stream of the program's log messages; `None` where the object has none.
    ///
    /// # Errors
    /// When the log's map cannot be used.
    pub fn take_log(&mut self) -> Result<aya_log::EbpfLogger<&'static dyn log::Log>, aya_log::Error> {
        aya_log::EbpfLogger::init(&mut self.ebpf)
    }

    /// Selects a process for sampling.
    ///
    /// # Errors
    /// When the selection is full.
    pub fn select(&self, pid: u32, selected: Selected) -> Result<(), Error> {
        let map = sys_map(&self.ebpf, "SELECTED")?;
        let mut value = [0; 16];
        value[..8].copy_from_slice(&selected.start_ns.to_ne_bytes());
        value[8..12].copy_from_slice(&selected.skip_exec_id.to_ne_bytes());
        value[12..].copy_from_slice(&selected.with_children.to_ne_bytes());
        map.update(&pid.to_ne_bytes(), &value, sys::map::Update::Any)
            .map_err(Error::system("selecting a process for sampling"))
    }

    /// Starts ticking. Windows arrive in `windows`; the last one after [`Capture::stop`].
    ///
    /// # Errors
    /// When a perf event cannot be opened or a map not be read.
    pub fn start(mut self, windows: mpsc::Sender<Window>) -> Result<(Capture, Cutter), Error> {
        if self.options.follow_children {
            attach(&mut self.ebpf, "on_fork", "sched_process_fork")?;
            attach(&mut self.ebpf, "on_free", "sched_process_free")?;
        }
        let drain = Drain::new(&self.ebpf, &self.sizes, &self.options)?;
        let tick: &mut PerfEvent = program(&mut self.ebpf, "on_tick")?;
        let fd = tick.fd().map_err(|error| program_error("on_tick", error))?;
        let fd = fd.as_fd().try_clone_to_owned().map_err(Error::system("duplicating a descriptor"))?;
        let clocks = Clocks::open(fd, self.options.frequency_hz)?;
        let first_look = fill::first_look(&self.sizes, &self.options);
        let (bells, cutter) = thread::Bells::new()?;
        let capture =
            thread::start(self.ebpf, clocks, drain, self.options.window, first_look, bells, windows)?;
        Ok((capture, cutter))
    }
}

/// Where this cannot be found out, for want of privilege, the one for BPF will be missing, too.
fn refuse_to_freeze() -> Result<(), Error> {
    match sys::kernel_code::user_reads() {
        UserReads::MayFreeze => Err(Error::MayFreeze),
        UserReads::Safe => Ok(()),
        UserReads::Unknown => {
            tracing::debug!("whether reading user memory can freeze this kernel cannot be seen");
            Ok(())
        }
    }
}

/// Loads everything as a recording would, and lets go of it again.
///
/// # Errors
/// What [`Session::load`] says, and what opening the clocks says.
pub fn check_load() -> Result<(), Error> {
    let mut session = Session::load(Options::default())?;
    let tick: &mut PerfEvent = program(&mut session.ebpf, "on_tick")?;
    let fd = tick.fd().map_err(|error| program_error("on_tick", error))?;
    let fd = fd.as_fd().try_clone_to_owned().map_err(Error::system("duplicating a descriptor"))?;
    Clocks::open(fd, 1).map(drop)
}

/// What an instance of the object is told, in the form in which the loader borrows it.
struct Constants {
    select: u32,
    period_ns: u64,
    chunks_per_cpu: u32,
    sizes: Sizes,
    layout: TaskLayout,
}

impl Constants {
    fn new(options: &Options, sizes: Sizes, layout: TaskLayout) -> Self {
        Self {
            select: u32::from(options.select),
            period_ns: options.period_ns(),
            chunks_per_cpu: sizes.chunks_per_cpu(),
            sizes,
            layout,
        }
    }
}

fn load_object<'a>(
    loader: &mut EbpfLoader<'a>,
    options: &'a Options,
    constants: &'a Constants,
) -> Result<Ebpf, Error> {
    let Constants { select, period_ns, chunks_per_cpu, sizes, layout } = constants;
    loader
        .map_max_entries("COUNTS_0", sizes.counts)
        .map_max_entries("COUNTS_1", sizes.counts)
        .map_max_entries("STACKS_0", sizes.stacks)
        .map_max_entries("STACKS_1", sizes.stacks)
        .map_max_entries("ARENA", sizes.arena_blocks())
        .map_max_entries("PROCESSES", sizes.processes)
        .map_max_entries("PROCESS_TABLES", sizes.processes)
        .map_max_entries("POOL", sizes.pool_elements)
        .map_max_entries("MESSAGES", options.message_bytes)
        .map_max_entries("SELECTED", if options.select { 65_536 } else { 1 })
        .override_global("CHUNKS_PER_CPU", chunks_per_cpu, true)
        .override_global("CPUS", &sizes.cpus, true)
        .override_global("PERIOD_NS", period_ns, true)
        .override_global("SELECT", select, true)
        .override_global("HASH_MASK", &options.hash_mask, true)
        .override_global("TASK_TGID", &layout.tgid, true)
        .override_global("TASK_PID", &layout.pid, true)
        .override_global("TASK_FLAGS", &layout.flags, true)
        .override_global("TASK_MM", &layout.mm, true)
        .override_global("TASK_STACK", &layout.stack, true)
        .override_global("TASK_COMM", &layout.comm, true)
        .override_global("TASK_GROUP_LEADER", &layout.group_leader, true)
        .override_global("TASK_START_BOOTTIME", &layout.start_boottime, true)
        .override_global("TASK_SELF_EXEC_ID", &layout.self_exec_id, true)
        .override_global("TASK_PARENT_EXEC_ID", &layout.parent_exec_id, true)
        .override_global("TASK_REAL_PARENT", &layout.real_parent, true)
        .override_global("TASK_SAS_SS_SP", &layout.sas_ss_sp, true)
        .override_global("TASK_SAS_SS_SIZE", &layout.sas_ss_size, true)
        .override_global("TASK_THREAD_POINTER", &layout.thread_pointer, true)
        .override_global("TASK_LAST_ARRIVAL", &layout.last_arrival, true)
        .override_global("TASK_NIVCSW", &layout.nivcsw, true)
        .override_global("EVENT_CLOCK", &layout.event_clock, true)
        .override_global("MM_START_STACK", &layout.start_stack, true)
        .override_global("MM_ARG_START", &layout.arg_start, true)
        .override_global("MM_END_CODE", &layout.end_code, true)
        .override_global("MM_EXE_FILE", &layout.exe_file, true)
        .override_global("USER_REGISTERS", &layout.user_registers, true);
    loader.load(OBJECT).map_err(object_error)
}

/// Before 5.11 the kernel charges map memory to this limit; later it is not looked at, so a failure is none.
fn raise_memlock() {
    if let Err(error) = sys::limits::raise_memlock() {
        tracing::debug!("RLIMIT_MEMLOCK stays as it is: {error}");
    }
}

fn attach(ebpf: &mut Ebpf, name: &str, tracepoint: &str) -> Result<(), Error> {
    let tracepoint_program: &mut RawTracePoint = program(ebpf, name)?;
    tracepoint_program.load().map_err(|error| program_error(name, error))?;
    tracepoint_program.attach(tracepoint).map_err(|error| program_error(name, error))?;
    Ok(())
}

/// A program of the object, as its type.
pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, Error>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or_else(|| Error::Object(format!("the program {name} is missing")))?
        .try_into()
        .map_err(|error| program_error(name, error))
}

/// The raw interface to a map of the object.
pub(super) fn sys_map<'a>(ebpf: &'a Ebpf, name: &str) -> Result<sys::map::Map<'a>, Error> {
    sys::map::Map::new(map_fd(ebpf, name)?).map_err(Error::system("reading a BPF map's properties"))
}

/// The descriptor of a map of the object.
pub(super) fn map_fd<'a>(ebpf: &'a Ebpf, name: &str) -> Result<BorrowedFd<'a>, Error> {
    match ebpf.map(name).ok_or_else(|| missing_map(name))? {
        Map::Array(data) | Map::HashMap(data) | Map::LruHashMap(data) | Map::PerCpuArray(data) => {
            Ok(data.fd().as_fd())
        }
        _ => Err(Error::Object(format!("the map {name} has an unexpected type"))),
    }
}

pub(super) fn missing_map(name: &str) -> Error {
    Error::Object(format!("the map {name} is missing"))
}

/// Turns aya's error into ours: the verifier's log goes to the debug log, not to the user.
pub(super) fn program_error(name: &str, error: ProgramError) -> Error {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            tracing::info!("verifier's log of {name}:\n{verifier_log}");
            // The verifier says EACCES of a program that it does not believe to be safe, and then why. Who lacks privilege is
            // sent away before it begins.
            if verifier_log.to_string().trim().is_empty() || io_error.raw_os_error() == Some(libc::EPERM) {
                return from_io(name, io_error);
            }
            Error::Load { program: name.to_owned(), source: io_error }
        }
        ProgramError::SyscallError(error) => from_io(name, error.io_error),
        other => Error::Object(other.to_string()),
    }
}

fn from_io(name: &str, source: io::Error) -> Error {
    if is_permission(&source) {
        Error::NotPermitted { what: "to load a BPF program", source }
    } else {
        Error::Load { program: name.to_owned(), source }
    }
}

/// Turns aya's error about maps into ours.
pub(super) fn map_error(error: MapError) -> Error {
    match error {
        MapError::CreateError { io_error, .. } if is_permission(&io_error) => {
            // Who has the capability is refused for want of memory that may be locked, by kernels that count maps as that.
            let may = caps::effective().is_ok_and(|held| held.grants(Capability::Bpf));
            match limits::memlock() {
                Ok(Limit { soft, .. }) if may && soft != libc::RLIM_INFINITY => {
                    Error::LockedMemory { kib: soft / 1024, source: io_error }
                }
                _ => Error::NotPermitted { what: "to create a BPF map", source: io_error },
            }
        }
        MapError::CreateError { name, io_error } => Error::Map { map: name, source: io_error },
        MapError::SyscallError(error) => {
            Error::System { what: "a BPF map operation", source: error.io_error }
        }
        other => Error::Object(other.to_string()),
    }
}

fn object_error(error: EbpfError) -> Error {
    match error {
        EbpfError::MapError(error) => map_error(error),
        EbpfError::ProgramError(error) => program_error("object", error),
        EbpfError::BtfError(error) => Error::Object(error.to_string()),
        other => Error::Object(other.to_string()),
    }
}
