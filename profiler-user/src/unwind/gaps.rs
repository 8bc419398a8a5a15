//! Code that nothing describes, but that can be unwound all the same.

use std::{fs::File, ops::Range, os::unix::fs::FileExt, sync::Arc};

use profiler_common::unwind::rule::{Rule, kind};

use super::{elf::Part, steps::Steps};

/// Between functions lie a few bytes of padding. A gap of this size is code that no compiler of C made, such as V8's
/// built-in functions: what can be hoped for is that it keeps a chain of frame pointers, and the chain is checked.
const LARGE: u64 = 4096;
/// Bytes of `syscall`, `test`, `jl`, `jz` and `ret` at the most.
const CLONE_BYTES: u64 = 32;
/// DWARF number of rsp.
const RSP: u8 = 7;

/// Bytes behind the entry point that belong to the program's first function where nothing describes it: ld.so's `_start`
/// and `_dl_start_user`, and that of C libraries without call-frame information.
const ENTRY_BYTES: u64 = 128;

/// The code that the gaps are in.
pub(super) struct Code<'a> {
    pub(super) file: &'a Arc<File>,
    /// Loadable segments.
    pub(super) loaded: &'a [Part],
    /// Where a program begins.
    pub(super) entry: u64,
}

/// The same rules with what is known of gaps.
pub(super) fn fill(steps: &Steps, window: &Range<u64>, code: &Code<'_>) -> Steps {
    let mut filled = Steps::default();
    let all = steps.as_slice();
    for (index, &(address, rule)) in all.iter().enumerate() {
        let end = all.get(index + 1).map_or(window.end, |&(next, _)| next);
        let before = index.checked_sub(1).and_then(|before| all.get(before)).map(|&(_, rule)| rule);
        let after = all.get(index + 1).map(|&(_, rule)| rule);
        let rule = match rule {
            Rule::GAP if end.saturating_sub(address) >= LARGE => Rule::FRAME_POINTER,
            Rule::GAP
                if before == Some(Rule::offset(RSP, 8))
                    && after == Some(Rule::END)
                    && end - address <= CLONE_BYTES
                    && code.is_system_call(address) =>
            {
                Rule::special(kind::CLONE)
            }
            rule => rule,
        };
        filled.push(address, rule);
        if (rule == Rule::GAP || rule == Rule::FRAME_POINTER) && (address..end).contains(&code.entry) {
            filled.push(code.entry, Rule::END);
            let behind = code.entry + ENTRY_BYTES;
            if behind < end {
                filled.push(behind, rule);
            }
        }
    }
    filled
}

impl Code<'_> {
    /// Whether the instruction at an address is `syscall`.
    fn is_system_call(&self, address: u64) -> bool {
        let mut code = [0; 2];
        let part = self.loaded.iter().find_map(|part| part.from(address));
        part.is_some_and(|part| {
            self.file.read_exact_at(&mut code, part.offset).is_ok() && code == [0x0f, 0x05]
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn steps(list: &[(u64, Rule)]) -> Steps {
        let mut steps = Steps::default();
        for &(address, rule) in list {
            steps.push(address, rule);
        }
        steps
    }

    fn filled(list: &[(u64, Rule)], end: u64) -> Vec<(u64, Rule)> {
        let mut file = tempfile::tempfile().unwrap();
        // At 0x1010: syscall.
        file.write_all(&[0x90; 16]).unwrap();
        file.write_all(&[0x0f, 0x05, 0xc3]).unwrap();
        let loaded = [Part { address: 0x1000, offset: 0, size: 0x2_0000 }];
        let code = Code { file: &Arc::new(file), loaded: &loaded, entry: 0x1180 };
        fill(&steps(list), &(0x1000..end), &code).as_slice().to_vec()
    }

    #[test]
    fn a_first_function_that_nothing_describes_is_the_end() {
        let call = Rule::offset(RSP, 8);
        let list = [(0x1000, call), (0x1170, Rule::GAP), (0x1240, call)];
        let expected = [list[0], list[1], (0x1180, Rule::END), (0x1200, Rule::GAP), list[2]];
        assert_eq!(filled(&list, 0x2000), expected);
        let described = [(0x1000, call), (0x1190, Rule::GAP), (0x1240, call)];
        assert_eq!(filled(&described, 0x2000), described);
    }

    #[test]
    fn padding_stays_a_gap_and_much_code_keeps_frame_pointers() {
        let call = Rule::offset(RSP, 8);
        let list = [(0x1000, call), (0x1100, Rule::GAP), (0x1110, call), (0x1200, Rule::GAP)];
        assert_eq!(filled(&list, 0x2000), list);
        assert_eq!(filled(&list, 0x3000)[3], (0x1200, Rule::FRAME_POINTER));
    }

    #[test]
    fn the_system_call_that_makes_a_thread_is_known_by_what_surrounds_it() {
        let call = Rule::offset(RSP, 8);
        let clone = [(0x1000, call), (0x1010, Rule::GAP), (0x1020, Rule::END)];
        assert_eq!(filled(&clone, 0x1100)[1], (0x1010, Rule::special(kind::CLONE)));
        let elsewhere = [(0x1000, call), (0x1008, Rule::GAP), (0x1020, Rule::END)];
        assert_eq!(filled(&elsewhere, 0x1100), elsewhere);
        let other = [(0x1000, call), (0x1010, Rule::GAP), (0x1020, call)];
        assert_eq!(filled(&other, 0x1100), other);
    }
}
