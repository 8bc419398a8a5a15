//! The time from starting `profiler record` to the first complete stack of a program of 200 MB.

use std::fmt::Write as _;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::log::Start;
use crate::Session;
use crate::profiler::{self, Profiler};
use crate::programs;
use crate::session::cache_folder;
use crate::target::Target;

/// Functions in the program, 512 bytes each: with what describes how to unwind them, more than 200 MB.
const FUNCTIONS: u32 = 90 * ENTERED;

/// Functions that it enters.
const ENTERED: u32 = 4096;

/// Which files are in memory when the profiler starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// All of them.
    Warm,
    /// Of the program only what it runs: nothing of what describes how to unwind it.
    ColdProgram,
    /// Likewise, and nothing of the profiler.
    ColdProfiler,
}

impl Cache {
    /// All of them.
    pub const ALL: [Cache; 3] = [Cache::Warm, Cache::ColdProgram, Cache::ColdProfiler];

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Cache::Warm => "all in the page cache",
            Cache::ColdProgram => "unwind information on disk",
            Cache::ColdProfiler => "that and the profiler on disk",
        }
    }
}

/// The program, built once.
///
/// It goes from function to function, ten calls deep, which ones a random number says: 4,096 of them, evenly over all of
/// its code. No function has a frame pointer, and each changes the stack pointer three times.
pub fn build() -> PathBuf {
    let source = cache_folder().join("large.s");
    let text = source_text();
    if std::fs::read_to_string(&source).is_ok_and(|there| there == text) {
        // The name of what is built hashes the source, not when it was written.
    } else {
        std::fs::write(&source, text).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
    }
    let built = programs::build("gcc", &["-no-pie".to_owned()], &source, "large");
    let size = built.metadata().expect("the program that was just built").len();
    assert!(size >= 200_000_000, "{} has {size} bytes only", built.display());
    built
}

fn source_text() -> String {
    // rdi: calls that are left; rsi: a random number (xorshift). Both survive the call in registers that callees save.
    let step = "mov %rsi, %rax\n shl $13, %rax\n xor %rax, %rsi\n mov %rsi, %rax\n shr $7, %rax\n xor %rax, %rsi\n \
                mov %rsi, %rax\n shl $17, %rax\n xor %rax, %rsi\n";
    let mut text = String::from(".text\n.p2align 9\nfunctions:\n");
    let _ = write!(
        text,
        ".rept {FUNCTIONS}\n.p2align 9\n.cfi_startproc\n push %rbx\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset rbx, 0\n \
         push %r12\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r12, 0\n sub $40, %rsp\n.cfi_adjust_cfa_offset 40\n \
         mov %rdi, %rbx\n mov $20, %ecx\n1: {step} dec %ecx\n jnz 1b\n test %rbx, %rbx\n jz 2f\n lea -1(%rbx), %rdi\n \
         mov %rsi, %rax\n and ${}, %eax\n imul ${}, %rax, %rax\n lea functions(%rip), %rdx\n add %rdx, %rax\n \
         call *%rax\n2: add $40, %rsp\n.cfi_adjust_cfa_offset -40\n pop %r12\n.cfi_adjust_cfa_offset -8\n \
         .cfi_restore r12\n pop %rbx\n.cfi_adjust_cfa_offset -8\n.cfi_restore rbx\n ret\n.cfi_endproc\n.endr\n",
        ENTERED - 1,
        FUNCTIONS / ENTERED * 512
    );
    text.push_str(
        ".globl main\nmain:\n.cfi_startproc\n push %rbp\n.cfi_adjust_cfa_offset 8\n lea ready(%rip), %rdi\n call puts\n \
         mov stdout(%rip), %rdi\n call fflush\n mov $88172645463325252, %rsi\n3: mov $10, %edi\n call functions\n \
         jmp 3b\n.cfi_endproc\n.section .rodata\nready: .asciz \"ready\"\n.section .note.GNU-stack,\"\",@progbits\n",
    );
    text
}

/// Runs the program, lets it settle, and records it.
pub fn measure(session: &Session, program: &Path, cache: Cache) -> Start {
    let target = Target::start(program, &[]);
    std::thread::sleep(std::time::Duration::from_millis(500));
    if cache != Cache::Warm {
        forget(program);
    }
    if cache == Cache::ColdProfiler {
        forget(profiler::binary());
    }
    let pid = target.pid_label();
    // Without the cache on disk: the first run on a host has none.
    let args = ["-vv", "record", "-p", &pid, "-d", "1s", "--unwind-cache-size", "0", "-o", "x.pb.gz"];
    let profiler = Profiler::new(session.folder(), args);
    let started = SystemTime::now();
    let run = profiler.run();
    run.assert_success();
    Start::read(&run.stderr, started, target.pid())
}

/// Takes a file out of the page cache, but for what processes have mapped and touched.
fn forget(path: &Path) {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.sync_all().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    // SAFETY: the descriptor is open; no memory is involved.
    let result = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert!(result == 0, "{}: {}", path.display(), std::io::Error::from_raw_os_error(result));
}
