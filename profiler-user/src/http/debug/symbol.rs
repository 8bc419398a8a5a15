//! `/debug/pprof/symbol`: names of addresses, as `go tool pprof` asks for them where a profile has none.
//!
//! Kernel addresses are the same for all; those of a process need its pid. Profiles of this profiler have names already, so
//! that nobody asks but people.

use std::fmt::Write;

use blazesym::symbolize::{Input, Symbolized, Symbolizer, source};
use blazesym::{Addr, Pid};

use crate::symbol::kernel_names;

/// Addresses that are named in one answer.
const MOST: usize = 10_000;

/// The answer to `0x1+0x2+…`: that there are names, and a line for every address that has one.
pub(super) fn answer(pid: Option<u32>, wanted: &str) -> String {
    let mut text = "num_symbols: 1\n".to_owned();
    let addresses: Vec<Addr> = wanted.trim().split('+').filter_map(address).take(MOST).collect();
    if addresses.is_empty() {
        return text;
    }
    let names = match pid {
        Some(pid) => names_in(pid, &addresses),
        None => kernel_names(&addresses),
    };
    for (address, name) in addresses.iter().zip(names) {
        if let Some(name) = name {
            let _ = writeln!(text, "{address:#x} {name}");
        }
    }
    text
}

fn names_in(pid: u32, addresses: &[Addr]) -> Vec<Option<String>> {
    let mut process = source::Process::new(Pid::from(pid));
    // What is read of debug information knows no bound, and a name does not need it.
    process.debug_syms = false;
    // /tmp/perf-PID.map is whatever anybody has put there: a FIFO that never answers, a terabyte of holes.
    process.perf_map = false;
    let symbolizer = Symbolizer::builder().enable_code_info(false).enable_inlined_fns(false).build();
    let named = symbolizer.symbolize(&source::Source::Process(process), Input::AbsAddr(addresses));
    let name = |symbol: &Symbolized<'_>| symbol.as_sym().map(|symbol| symbol.name.to_string());
    named.unwrap_or_default().iter().map(name).collect()
}

fn address(text: &str) -> Option<Addr> {
    Addr::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has an address and a name.
    #[unsafe(no_mangle)]
    extern "C" fn profiler_test_symbol(number: u64) -> u64 {
        number.wrapping_mul(7)
    }

    #[test]
    fn names_of_a_process() {
        let own = profiler_test_symbol as *const () as usize;
        let text = answer(Some(std::process::id()), &format!("{own:#x}+0x1+nonsense"));
        assert_eq!(text, format!("num_symbols: 1\n{own:#x} profiler_test_symbol\n"));
    }

    #[test]
    fn what_lies_in_the_place_of_a_perf_map_is_not_read() {
        let path = std::env::temp_dir().join(format!("perf-{}.map", std::process::id()));
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the name ends with a zero and outlives the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        // SAFETY: a new page, at a place that the kernel chooses.
        let generated = unsafe {
            let (exec, anonymous) =
                (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            libc::mmap(std::ptr::null_mut(), 4096, exec, anonymous, -1, 0)
        };
        assert_ne!(generated, libc::MAP_FAILED);
        let wanted = format!("{generated:p}");
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(answer(Some(std::process::id()), &wanted)));
        let answered = told.recv_timeout(std::time::Duration::from_secs(20));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(answered.as_deref(), Ok("num_symbols: 1\n"), "it waits for a writer");
    }

    #[test]
    fn nothing_asked_nothing_said() {
        for wanted in ["", "+", "zz+yy"] {
            assert_eq!(answer(None, wanted), "num_symbols: 1\n");
        }
        assert_eq!(answer(Some(u32::MAX), "0x10"), "num_symbols: 1\n", "no such process");
    }
}
