//! Reading the kernel's own code, to see which of two versions of a function it has.
//!
//! Some defects of kernels show nowhere but in their code, and distributions mend them without another version number. The
//! code is read by a BPF program, for which the profiler has the privilege anyway; where it lies is in /proc/kallsyms.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader},
    os::fd::{AsFd, AsRawFd},
};

use super::{
    bpf::{self, Instruction, MapSpec, MapType, ProgramType},
    map::Map,
};

/// The most that is read of a function, bytes. A power of two.
const MOST: usize = 4096;

/// Whether reading user memory in a tick can freeze the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserReads {
    /// It cannot.
    Safe,
    /// It can: see [`user_reads`].
    MayFreeze,
    /// The kernel's code could not be read, or is for a processor whose calls are not known here.
    Unknown,
}

/// Looks for the defect that "mm: Fix copy_from_user_nofault()" mended (Linux 6.4, 6.3.10, 6.1.36).
///
/// `copy_from_user_nofault`, which is what bpf_probe_read_user calls, had the target checked by `__check_object_size`, and that
/// looked for the target's vmalloc area under a lock since "mm/usercopy: Detect vmalloc overruns" (5.18). A tick that
/// interrupts the lock's holder then waits for ever. What mended it has the look-up left out in there, which no call shows, and
/// `copy_from_user_nofault` ask `nmi_uaccess_okay` first, which one does.
#[must_use]
pub fn user_reads() -> UserReads {
    if !cfg!(target_arch = "x86_64") {
        return UserReads::Unknown;
    }
    let Ok(symbols) = File::open("/proc/kallsyms").map(|file| Symbols::read(BufReader::new(file))) else {
        return UserReads::Unknown;
    };
    judge(&symbols, |symbol| read(symbol).ok())
}

const COPY: &str = "copy_from_user_nofault";
const CHECK: &str = "__check_object_size";
/// Part of `__check_object_size`, unless the compiler has put it into that.
const CHECK_HEAP: &str = "check_heap_object";
const LOOK_UP: &str = "find_vmap_area";
/// What the mended function asks first.
const MENDED: &str = "nmi_uaccess_okay";
const NAMES: [&str; 5] = [COPY, CHECK, CHECK_HEAP, LOOK_UP, MENDED];

fn judge(symbols: &Symbols, code: impl Fn(Symbol) -> Option<Vec<u8>>) -> UserReads {
    let Some(copy) = symbols.get(COPY) else {
        return UserReads::Unknown;
    };
    // Without either there is nothing to call.
    let (Some(check), Some(look_up)) = (symbols.get(CHECK), symbols.get(LOOK_UP)) else {
        return UserReads::Safe;
    };
    let calls = |caller: Symbol, callee: Symbol| {
        code(caller).map(|code| calls(&code, caller.address, callee.address))
    };
    match calls(copy, check) {
        Some(true) => {}
        Some(false) => return UserReads::Safe,
        None => return UserReads::Unknown,
    }
    if let Some(mended) = symbols.get(MENDED) {
        match calls(copy, mended) {
            Some(true) => return UserReads::Safe,
            Some(false) => {}
            // Reading may fail at one time and not at another.
            None => return UserReads::Unknown,
        }
    }
    for caller in [Some(check), symbols.get(CHECK_HEAP)].into_iter().flatten() {
        match calls(caller, look_up) {
            Some(true) => return UserReads::MayFreeze,
            Some(false) => {}
            None => return UserReads::Unknown,
        }
    }
    UserReads::Safe
}

/// Whether x86_64 code that lies at `address` calls or jumps to `callee`: e8 or e9 with the distance from the next instruction
/// (Intel SDM, volume 2). Instructions are not told apart; that a distance is right by chance has a probability of 2^-32.
fn calls(code: &[u8], address: u64, callee: u64) -> bool {
    // endbr64 may be jumped over.
    const ENDBR: u64 = 4;
    code.windows(5).enumerate().any(|(at, bytes)| {
        let [opcode @ (0xe8 | 0xe9), distance @ ..] = bytes else { return false };
        let Ok(distance) = <[u8; 4]>::try_from(distance) else { return false };
        let next = address.wrapping_add(at as u64 + 5);
        let to = next.wrapping_add_signed(i64::from(i32::from_le_bytes(distance)));
        to == callee || (*opcode == 0xe8 && to == callee.wrapping_add(ENDBR))
    })
}

/// Where a function of the kernel's lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Symbol {
    address: u64,
    bytes: usize,
}

/// The functions that matter here.
struct Symbols(HashMap<&'static str, Symbol>);

impl Symbols {
    /// Reads what /proc/kallsyms has of them. A function ends where the next one begins.
    fn read(lines: impl BufRead) -> Self {
        let mut found: HashMap<&'static str, u64> = HashMap::new();
        let mut next: HashMap<&'static str, u64> = HashMap::new();
        for line in lines.lines().map_while(Result::ok) {
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            // What follows the name is a module, and modules are last.
            if words.next().is_some() {
                break;
            }
            let Ok(address @ 1..) = u64::from_str_radix(address, 16) else { continue };
            for (known, start) in &found {
                if address > *start {
                    let end = next.entry(known).or_insert(address);
                    *end = address.min(*end);
                }
            }
            if let Some(known) = NAMES.into_iter().find(|known| *known == name) {
                found.entry(known).or_insert(address);
            }
        }
        let symbol = |(name, address): (&'static str, u64)| {
            let bytes = next.get(name).map_or(MOST, |end| usize::try_from(end - address).unwrap_or(MOST));
            (name, Symbol { address, bytes: bytes.min(MOST) })
        };
        Self(found.into_iter().map(symbol).collect())
    }

    fn get(&self, name: &str) -> Option<Symbol> {
        self.0.get(name).copied()
    }
}

/// Reads the kernel's memory there.
fn read(symbol: Symbol) -> io::Result<Vec<u8>> {
    /// bpf_probe_read_kernel (enum bpf_func_id; 5.5).
    const PROBE_READ_KERNEL: i32 = 113;
    let map = bpf::map_create(&MapSpec {
        map_type: MapType::Array,
        key_size: 4,
        value_size: MOST as u32,
        max_entries: 1,
        flags: 0,
        name: "kernel_code",
    })?;
    let [a, b] = Instruction::set_map_value(1, map.as_raw_fd());
    let [c, d] = Instruction::set_wide(3, symbol.address);
    let bytes = i32::try_from(symbol.bytes).map_err(io::Error::other)?;
    let size = Instruction::set(2, bytes);
    let code = [a, b, size, c, d, Instruction::call(PROBE_READ_KERNEL), Instruction::exit()];
    let program = bpf::prog_load(ProgramType::RawTracepoint, "kernel_code", &code)?;
    if bpf::run_once(program.as_fd(), |_| [])? != 0 {
        return Err(io::Error::from_raw_os_error(libc::EFAULT));
    }
    let mut value = vec![0; MOST];
    Map::new(map.as_fd())?.lookup(&0_u32.to_ne_bytes(), &mut value)?;
    value.truncate(symbol.bytes);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000100 T copy_from_user_nofault
ffffffff81000100 t an_alias
ffffffff81000140 T __check_object_size
ffffffff81000180 t check_heap_object
ffffffff810001c0 T find_vmap_area
ffffffff81000200 T nmi_uaccess_okay
ffffffff81000240 T other
ffffffffc0000000 t find_vmap_area\t[module]
";

    fn symbols(text: &str) -> Symbols {
        Symbols::read(text.as_bytes())
    }

    /// Code that calls those functions, each by the distance from behind the call.
    fn code(from: Symbol, callees: &[u64]) -> Vec<u8> {
        let mut code = vec![0xf3, 0x0f, 0x1e, 0xfa];
        for callee in callees {
            let next = from.address + code.len() as u64 + 5;
            code.push(0xe8);
            code.extend((callee.wrapping_sub(next) as u32).to_le_bytes());
        }
        code
    }

    fn judged(calls: &[(&str, &[&str])]) -> UserReads {
        let symbols = symbols(LAYOUT);
        judge(&symbols, |symbol| {
            let (name, _) = symbols.0.iter().find(|(_, of)| **of == symbol)?;
            let callees =
                calls.iter().find(|(caller, _)| caller == name).map_or(&[][..], |(_, callees)| callees);
            let callees: Vec<u64> = callees.iter().filter_map(|c| Some(symbols.get(c)?.address)).collect();
            Some(code(symbol, &callees))
        })
    }

    #[test]
    fn functions_end_where_the_next_one_begins() {
        let symbols = symbols(LAYOUT);
        assert_eq!(symbols.get(COPY), Some(Symbol { address: 0xffff_ffff_8100_0100, bytes: 0x40 }));
        assert_eq!(symbols.get(LOOK_UP), Some(Symbol { address: 0xffff_ffff_8100_01c0, bytes: 0x40 }));
    }

    #[test]
    fn a_look_up_under_a_lock_in_the_copy_is_the_defect() {
        assert_eq!(judged(&[(COPY, &[CHECK]), (CHECK, &[LOOK_UP])]), UserReads::MayFreeze);
        assert_eq!(
            judged(&[(COPY, &[CHECK]), (CHECK, &[CHECK_HEAP]), (CHECK_HEAP, &[LOOK_UP])]),
            UserReads::MayFreeze
        );
    }

    #[test]
    fn the_defect_is_mended_where_the_copy_asks_whether_it_may() {
        assert_eq!(judged(&[(COPY, &[MENDED, CHECK]), (CHECK, &[LOOK_UP])]), UserReads::Safe);
    }

    #[test]
    fn a_check_without_look_up_is_none_nor_a_look_up_that_the_copy_does_not_make() {
        assert_eq!(judged(&[(COPY, &[CHECK])]), UserReads::Safe);
        assert_eq!(judged(&[(CHECK, &[LOOK_UP])]), UserReads::Safe);
    }

    #[test]
    fn what_cannot_be_seen_is_not_known() {
        assert_eq!(judge(&symbols(""), |_| None), UserReads::Unknown);
        assert_eq!(judge(&symbols(LAYOUT), |_| None), UserReads::Unknown);
        let without_check = LAYOUT.replace(CHECK, "something_else");
        assert_eq!(judge(&symbols(&without_check), |_| None), UserReads::Safe);
    }

    #[test]
    fn the_running_kernels_code_can_be_read() {
        let symbols = File::open("/proc/kallsyms").map(|file| Symbols::read(BufReader::new(file))).unwrap();
        let copy = symbols.get(COPY).unwrap();
        let code = read(copy).unwrap();
        assert!(code.len() == copy.bytes && code.iter().any(|&byte| byte != 0), "{copy:?}: {code:x?}");
        assert_eq!(user_reads(), UserReads::Safe);
    }
}
