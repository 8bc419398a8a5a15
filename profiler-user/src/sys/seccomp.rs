//! seccomp filters: which system calls a thread, and the threads that it starts later, may make.
//!
//! A filter is a classic BPF program over `struct seccomp_data` (seccomp(2)). It is made of one rule for each system call: a
//! tree of comparisons finds the rule in eight steps, and kernels since 5.11 do not even run it for calls that are always
//! allowed. Filters add up: of several that a thread has, the strictest answer counts.

use std::io;

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libc::{sock_filter, sock_fprog};

/// What becomes of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is made.
    Allow,
    /// It is not made, and fails with this errno.
    Refuse(i32),
    /// The process ends (SIGSYS), and the kernel's log says which call it was.
    Kill,
}

impl Action {
    fn value(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Refuse(errno) => libc::SECCOMP_RET_ERRNO | (errno.cast_unsigned() & libc::SECCOMP_RET_DATA),
            Self::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

/// What is to be done with a system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The same whatever its arguments are.
    Always(Action),
    /// One thing where these bits of an argument's lower half are set so, another one where not.
    Bits {
        /// The argument's number, from 0.
        argument: u8,
        /// Which bits count.
        mask: u32,
        /// What they are to be.
        value: u32,
        /// What is done where they are so.
        then: Action,
        /// What else.
        otherwise: Action,
    },
    /// One thing where an argument's lower half is one of these, another one where not.
    OneOf {
        /// The argument's number, from 0.
        argument: u8,
        /// At the most some 200.
        values: Vec<u32>,
        /// What is done where it is.
        then: Action,
        /// What else.
        otherwise: Action,
    },
}

/// The calling convention that this was built for (`include/uapi/linux/audit.h`).
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const CONVENTION: u32 = 4;
/// The lower half of the argument: both architectures are little-endian.
fn lower_half(argument: u8) -> u32 {
    16 + 8 * u32::from(argument)
}

/// Rules by the number of the system call.
#[derive(Clone, Debug)]
pub struct Filter {
    rules: Vec<(u32, Rule)>,
    others: Action,
}

impl Filter {
    /// One that does this with every system call. Calls of another convention (32-bit ones of a 64-bit process) end the process.
    #[must_use]
    pub fn new(others: Action) -> Self {
        Self { rules: Vec::new(), others }
    }

    /// Sets the rule for these system calls, in place of what they had.
    pub fn set(&mut self, calls: &[libc::c_long], rule: &Rule) {
        for number in calls.iter().filter_map(|&number| u32::try_from(number).ok()) {
            match self.rules.binary_search_by_key(&number, |(known, _)| *known) {
                Ok(at) => self.rules[at].1 = rule.clone(),
                Err(at) => self.rules.insert(at, (number, rule.clone())),
            }
        }
    }

    /// Ranges of numbers without a gap, each with its rule.
    fn ranges(&self) -> Vec<(u32, Rule)> {
        let others = Rule::Always(self.others);
        let mut ranges = vec![(0, others.clone())];
        let mut add = |from: u32, rule: &Rule| match ranges.last_mut() {
            Some((start, last)) if *start == from => *last = rule.clone(),
            Some((_, last)) if last == rule => {}
            _ => ranges.push((from, rule.clone())),
        };
        for (number, rule) in &self.rules {
            add(*number, rule);
            add(number + 1, &others);
        }
        // What replaced the start of a range may equal the one before it.
        ranges.dedup_by(|later, earlier| later.1 == earlier.1);
        ranges
    }

    /// The program.
    fn compile(&self) -> Vec<sock_filter> {
        let mut program =
            vec![load(CONVENTION), jump(BPF_JEQ, ARCHITECTURE, 1, 0), ret(Action::Kill), load(NUMBER)];
        // No call at all: what a tracer makes of one that is to be skipped (seccomp(2)).
        program.extend([jump(BPF_JEQ, u32::MAX, 0, 1), ret(Action::Allow)]);
        // x32 has numbers of its own, above this bit.
        #[cfg(target_arch = "x86_64")]
        program.extend([jump(BPF_JGE, 0x4000_0000, 0, 1), ret(Action::Kill)]);
        program.extend(tree(&self.ranges()));
        program
    }

    /// Puts it in force for the calling thread and those that it starts later, or for all that there are.
    ///
    /// # Errors
    /// `EACCES` without "no new privileges", `EINVAL` or `ENOSYS` on kernels without seccomp filters, and `ESRCH` where
    /// another thread has filters of its own.
    pub fn install(&self, reach: Reach, told: Told) -> io::Result<()> {
        let mut program = self.compile();
        let length = u16::try_from(program.len()).map_err(io::Error::other)?;
        let program = sock_fprog { len: length, filter: program.as_mut_ptr() };
        // Without it kernels before 5.16 turn on what slows a process down that runs code of strangers. This one
        // runs none; it reads their files.
        let mut flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        if told == Told::InKernelLog {
            flags |= libc::SECCOMP_FILTER_FLAG_LOG;
        }
        if reach == Reach::AllThreads {
            flags |= libc::SECCOMP_FILTER_FLAG_TSYNC;
        }
        // SAFETY: the program is readable for its length, and the kernel copies it.
        let ret = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
        };
        match ret {
            0 => Ok(()),
            // The id of a thread that could not have it.
            1.. => Err(io::Error::from_raw_os_error(libc::ESRCH)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Whose system calls a filter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The calling thread, and those that it starts later.
    ThisThread,
    /// All threads of the process.
    AllThreads,
}

/// Who learns of what a filter refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The kernel's log has it (audit, type 1326).
    InKernelLog,
    /// Nobody but the caller, who knows what to do instead.
    Nobody,
}

/// Whether the kernel has filters with what is needed of them.
#[must_use]
pub fn is_available() -> bool {
    let action = libc::SECCOMP_RET_KILL_PROCESS;
    // SAFETY: the kernel reads the number.
    let ret =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    ret == 0
}

/// Code that never goes on behind its end: a tree of comparisons over ranges.
fn tree(ranges: &[(u32, Rule)]) -> Vec<sock_filter> {
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let Some((pivot, _)) = upper.first().filter(|_| !lower.is_empty()) else {
        return ranges.first().map_or_else(Vec::new, |(_, rule)| leaf(rule));
    };
    let (lower, upper) = (tree(lower), tree(upper));
    let mut code = match u8::try_from(lower.len()) {
        Ok(skipped) => vec![jump(BPF_JGE, *pivot, skipped, 0)],
        // Farther than a comparison jumps.
        Err(_) => vec![jump(BPF_JGE, *pivot, 0, 1), statement(BPF_JMP | BPF_JA, lower.len() as u32)],
    };
    code.extend(lower);
    code.extend(upper);
    code
}

fn leaf(rule: &Rule) -> Vec<sock_filter> {
    match rule {
        Rule::Always(action) => vec![ret(*action)],
        Rule::Bits { argument, mask, value, then, otherwise } => vec![
            load(lower_half(*argument)),
            statement(BPF_ALU | BPF_AND | BPF_K, *mask),
            jump(BPF_JEQ, *value, 0, 1),
            ret(*then),
            ret(*otherwise),
        ],
        Rule::OneOf { argument, values, then, otherwise } => {
            let mut code = vec![load(lower_half(*argument))];
            for (at, value) in values.iter().enumerate() {
                // Over the comparisons that are left, and the answer for none of them.
                let skipped = u8::try_from(values.len() - at).unwrap_or(u8::MAX);
                code.push(jump(BPF_JEQ, *value, skipped, 0));
            }
            code.extend([ret(*otherwise), ret(*then)]);
            code
        }
    }
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn ret(action: Action) -> sock_filter {
    statement(BPF_RET | BPF_K, action.value())
}

fn jump(kind: u32, k: u32, if_so: u8, if_not: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | kind | BPF_K) as u16, jt: if_so, jf: if_not, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO: Action = Action::Refuse(libc::EPERM);

    /// What the program answers: an interpreter of the few instructions that it is made of.
    fn answer(program: &[sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let word = |offset: u32| match offset {
            NUMBER => number,
            CONVENTION => architecture,
            _ => arguments[(offset as usize - 16) / 8] as u32,
        };
        let (mut at, mut accumulator) = (0, 0);
        // The kernel takes no program that jumps back, so this ends.
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let mut branch = |is_so: bool| at += usize::from(if is_so { jt } else { jf });
            match u32::from(code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => accumulator = word(k),
                code if code == BPF_ALU | BPF_AND | BPF_K => accumulator &= k,
                code if code == BPF_JMP | BPF_JEQ | BPF_K => branch(accumulator == k),
                code if code == BPF_JMP | BPF_JGE | BPF_K => branch(accumulator >= k),
                code if code == BPF_JMP | BPF_JA => at += k as usize,
                code if code == BPF_RET | BPF_K => return k,
                code => panic!("instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn every_number_gets_its_rule() {
        // Every third one, so that there are many ranges and jumps are far.
        let mut filter = Filter::new(Action::Refuse(libc::ENOSYS));
        let (allowed, killed): (Vec<_>, Vec<_>) =
            (0..500).filter(|number| number % 3 != 1).partition(|number| number % 3 == 0);
        filter.set(&allowed, &Rule::Always(Action::Allow));
        filter.set(&killed, &Rule::Always(Action::Kill));
        let program = filter.compile();
        assert!(program.len() > 600 && program.len() < 4096, "{}", program.len());
        for number in 0..600 {
            let wanted = match number % 3 {
                0 if number < 500 => Action::Allow,
                2 if number < 500 => Action::Kill,
                _ => Action::Refuse(libc::ENOSYS),
            };
            assert_eq!(answer(&program, ARCHITECTURE, number, [0; 6]), wanted.value(), "{number}");
        }
        assert_eq!(answer(&program, ARCHITECTURE ^ 1, 0, [0; 6]), Action::Kill.value());
        assert_eq!(answer(&program, ARCHITECTURE, u32::MAX, [0; 6]), Action::Allow.value());
        #[cfg(target_arch = "x86_64")]
        assert_eq!(answer(&program, ARCHITECTURE, 0x4000_0000, [0; 6]), Action::Kill.value());
        assert_eq!(answer(&program, ARCHITECTURE, 0x3fff_ffff, [0; 6]), Action::Refuse(libc::ENOSYS).value());
    }

    #[test]
    fn ranges_with_one_rule_are_one() {
        let mut filter = Filter::new(NO);
        filter.set(&(10..90).collect::<Vec<_>>(), &Rule::Always(Action::Allow));
        filter.set(&[50], &Rule::Always(Action::Kill));
        filter.set(&[50], &Rule::Always(Action::Allow));
        filter.set(&[95], &Rule::Always(NO));
        assert_eq!(filter.ranges().iter().map(|(from, _)| *from).collect::<Vec<_>>(), [0, 10, 90]);
    }

    #[test]
    fn arguments_are_looked_at() {
        let mut filter = Filter::new(NO);
        let bits = Rule::Bits {
            argument: 2,
            mask: 0b110,
            value: 0b010,
            then: Action::Allow,
            otherwise: Action::Kill,
        };
        let one_of = Rule::OneOf { argument: 0, values: vec![1, 5, 9], then: Action::Allow, otherwise: NO };
        filter.set(&[7], &bits);
        filter.set(&[8], &one_of);
        let program = filter.compile();
        let ask = |number, arguments| answer(&program, ARCHITECTURE, number, arguments);
        assert_eq!(ask(7, [0, 0, 0b011, 0, 0, 0]), Action::Allow.value());
        assert_eq!(ask(7, [0, 0, 0b110, 0, 0, 0]), Action::Kill.value());
        // The kernel takes such arguments as 32-bit numbers, whatever lies above.
        assert_eq!(ask(8, [0xffff_ffff_0000_0005, 0, 0, 0, 0, 0]), Action::Allow.value());
        for (value, wanted) in [(1, Action::Allow), (9, Action::Allow), (0, NO), (6, NO)] {
            assert_eq!(ask(8, [value, 0, 0, 0, 0, 0]), wanted.value(), "{value}");
        }
    }

    #[test]
    fn a_filter_is_in_force_in_its_thread_alone() {
        assert!(is_available());
        let refused = std::thread::spawn(|| {
            super::super::caps::no_new_privileges().unwrap();
            let mut filter = Filter::new(Action::Allow);
            filter.set(&[libc::SYS_getppid], &Rule::Always(NO));
            filter.install(Reach::ThisThread, Told::Nobody).unwrap();
            // SAFETY: takes nothing.
            let ret = unsafe { libc::syscall(libc::SYS_getppid) };
            (ret, io::Error::last_os_error().raw_os_error())
        });
        assert_eq!(refused.join().unwrap(), (-1, Some(libc::EPERM)));
        // SAFETY: takes nothing.
        assert!(unsafe { libc::syscall(libc::SYS_getppid) } > 0);
    }
}
