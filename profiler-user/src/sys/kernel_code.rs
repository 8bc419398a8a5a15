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
    let read_symbols = |known: fn(&Symbols) -> bool| {
        File::open("/proc/kallsyms").map(|file| Symbols::read(BufReader::with_capacity(1 << 16, file), known))
    };
    let code = |symbol| read(symbol).ok();
    // Most kernels are found not to have it by functions that are in the first third of the file.
    let decided = read_symbols(Symbols::has_copy).map(|symbols| judge_copy(&symbols, code));
    match decided {
        Ok(Some(decided)) => decided,
        Ok(None) => read_symbols(|_| false).map_or(UserReads::Unknown, |symbols| judge(&symbols, code)),
        Err(_) => UserReads::Unknown,
    }
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
    if let Some(decided) = judge_copy(symbols, &code) {
        return decided;
    }
    let (Some(check), Some(look_up)) = (symbols.get(CHECK), symbols.get(LOOK_UP)) else {
        return UserReads::Safe;
    };
    for caller in [Some(check), symbols.get(CHECK_HEAP)].into_iter().flatten() {
        match code(caller).map(|code| calls(&code, caller.address, look_up.address)) {
            Some(true) => return UserReads::MayFreeze,
            Some(false) => {}
            None => return UserReads::Unknown,
        }
    }
    UserReads::Safe
}

/// What the copying function's own calls say; `None` where it depends on what the functions do that it calls.
fn judge_copy(symbols: &Symbols, code: impl Fn(Symbol) -> Option<Vec<u8>>) -> Option<UserReads> {
    let Some(copy) = symbols.get(COPY) else {
        return Some(UserReads::Unknown);
    };
    // Without either there is nothing to call.
    let (Some(check), Some(_)) = (symbols.get(CHECK), symbols.get(LOOK_UP)) else {
        return Some(UserReads::Safe);
    };
    // Reading may fail at one time and not at another.
    let Some(code) = code(copy) else {
        return Some(UserReads::Unknown);
    };
    let calls = |callee: Symbol| calls(&code, copy.address, callee.address);
    let is_safe = !calls(check) || symbols.get(MENDED).is_some_and(calls);
    is_safe.then_some(UserReads::Safe)
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
    /// Where the next one begins.
    end: Option<u64>,
}

impl Symbol {
    /// Bytes that are read of it.
    fn bytes(self) -> usize {
        let bytes = self.end.and_then(|end| usize::try_from(end - self.address).ok());
        bytes.map_or(MOST, |bytes| bytes.min(MOST))
    }
}

/// The functions that matter here.
#[derive(Default)]
struct Symbols(HashMap<&'static str, Symbol>);

impl Symbols {
    /// Reads what /proc/kallsyms has of them, until no more of them has to be known. A function ends where the next one begins.
    fn read(mut lines: impl BufRead, is_enough: impl Fn(&Self) -> bool) -> Self {
        let mut symbols = Self::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            if let Ok(0) | Err(_) = lines.read_until(b'\n', &mut line) {
                return symbols;
            }
            let mut words = line.trim_ascii_end().split(u8::is_ascii_whitespace);
            let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            // What follows the name is a module, and modules are last.
            if words.next().is_some() {
                return symbols;
            }
            let address =
                std::str::from_utf8(address).ok().and_then(|word| u64::from_str_radix(word, 16).ok());
            let Some(address @ 1..) = address else { continue };
            let mut has_ended = false;
            for known in symbols.0.values_mut().filter(|known| known.address < address) {
                has_ended |= known.end.is_none();
                known.end = Some(known.end.map_or(address, |end| end.min(address)));
            }
            if has_ended && is_enough(&symbols) {
                return symbols;
            }
            if let Some(known) = NAMES.into_iter().find(|known| known.as_bytes() == name) {
                symbols.0.entry(known).or_insert(Symbol { address, end: None });
            }
        }
    }

    /// Whether all is known that [`judge_copy`] wants.
    fn has_copy(&self) -> bool {
        let is_known = |name| self.get(name).is_some_and(|symbol| symbol.end.is_some());
        [COPY, CHECK, LOOK_UP, MENDED].into_iter().all(is_known)
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
    let bytes = i32::try_from(symbol.bytes()).map_err(io::Error::other)?;
    let size = Instruction::set(2, bytes);
    let code = [a, b, size, c, d, Instruction::call(PROBE_READ_KERNEL), Instruction::exit()];
    let program = bpf::prog_load(ProgramType::RawTracepoint, "kernel_code", &code)?;
    if bpf::run_once(program.as_fd(), |_| [])? != 0 {
        return Err(io::Error::from_raw_os_error(libc::EFAULT));
    }
    let mut value = vec![0; MOST];
    Map::new(map.as_fd())?.lookup(&0_u32.to_ne_bytes(), &mut value)?;
    value.truncate(symbol.bytes());
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
        Symbols::read(text.as_bytes(), |_| false)
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
        assert_eq!(
            symbols.get(COPY),
            Some(Symbol { address: 0xffff_ffff_8100_0100, end: Some(0xffff_ffff_8100_0140) })
        );
        assert_eq!(
            symbols.get(LOOK_UP),
            Some(Symbol { address: 0xffff_ffff_8100_01c0, end: Some(0xffff_ffff_8100_0200) })
        );
    }

    #[test]
    fn no_more_is_read_than_is_needed_for_the_copy() {
        let symbols = Symbols::read(LAYOUT.as_bytes(), Symbols::has_copy);
        assert!(symbols.has_copy());
        let until_enough = &LAYOUT[..LAYOUT.find(" T other").unwrap()];
        assert!(
            !Symbols::read(until_enough.as_bytes(), Symbols::has_copy).has_copy(),
            "the last one has no end"
        );
        assert_eq!(symbols.get(MENDED).unwrap().bytes(), 0x40);
        assert_eq!(Symbol { address: 0, end: None }.bytes(), MOST);
        let code = |calls: &'static [&str]| {
            let callees: Vec<u64> = calls.iter().map(|name| symbols.get(name).unwrap().address).collect();
            judge_copy(&symbols, |symbol| Some(code(symbol, &callees)))
        };
        assert_eq!(code(&[CHECK, MENDED]), Some(UserReads::Safe));
        assert_eq!(code(&[MENDED]), Some(UserReads::Safe));
        assert_eq!(code(&[CHECK]), None);
        assert_eq!(judge_copy(&symbols, |_| None), Some(UserReads::Unknown));
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
        let symbols = Symbols::read(BufReader::new(File::open("/proc/kallsyms").unwrap()), Symbols::has_copy);
        let copy = symbols.get(COPY).unwrap();
        let code = read(copy).unwrap();
        assert!(code.len() == copy.bytes() && code.iter().any(|&byte| byte != 0), "{copy:?}: {code:x?}");
        assert_eq!(user_reads(), UserReads::Safe);
    }
}
