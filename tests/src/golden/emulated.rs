//! A program for another architecture, which QEMU runs and stops at a breakpoint: what is asked for goes through the
//! protocol of gdb's remote targets, over a Unix socket.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where Debian's packages for cross compilation have the libraries for aarch64.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";
/// How long QEMU and the program may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// SIGTRAP, as gdb numbers signals: a breakpoint.
const TRAP: u8 = 5;

/// A program under QEMU. Dropping it ends both.
#[derive(Debug)]
pub struct Emulated {
    qemu: Child,
    gdb: UnixStream,
    /// Where the socket is.
    _folder: tempfile::TempDir,
}

/// A mapping of the program.
#[derive(Debug, Clone)]
pub struct Area {
    /// First address.
    pub start: u64,
    /// First address behind.
    pub end: u64,
    /// Place in the file.
    pub offset: u64,
    /// The file; empty for memory without one.
    pub path: String,
}

impl Emulated {
    /// Starts a program on a processor of this name, which stands at its first instruction.
    pub fn start(processor: &str, program: &Path, args: &[&str]) -> Emulated {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("gdb");
        let qemu = Command::new("qemu-aarch64-static")
            .arg("-g")
            .arg(&socket)
            .args(["-L", LIBRARIES])
            .args(["-cpu", processor])
            .arg(program)
            .args(args)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run qemu-aarch64-static (Debian: qemu-user-static): {e}"));
        let begun = Instant::now();
        let gdb = loop {
            match UnixStream::connect(&socket) {
                Ok(gdb) => break gdb,
                Err(e) => assert!(begun.elapsed() < PATIENCE, "QEMU does not listen: {e}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        gdb.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut emulated = Emulated { qemu, gdb, _folder: folder };
        let stopped = emulated.ask("?");
        assert!(stopped.starts_with('T') || stopped.starts_with('S'), "not stopped at its start: {stopped}");
        emulated
    }

    /// Lets the program run up to an address. Signals are delivered on the way.
    pub fn run_to(&mut self, address: u64) {
        let set = self.ask(&format!("Z0,{address:x},4"));
        assert_eq!(set, "OK", "a breakpoint at {address:#x}");
        let mut signal = TRAP;
        while {
            let go = if signal == TRAP { "c".to_owned() } else { format!("C{signal:02x}") };
            let stopped = self.ask(&go);
            let number = stopped.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
            let by_signal = stopped.starts_with('T') || stopped.starts_with('S');
            signal = number
                .filter(|_| by_signal)
                .unwrap_or_else(|| panic!("the program ended before it came to {address:#x}: {stopped}"));
            signal != TRAP
        } {}
        let cleared = self.ask(&format!("z0,{address:x},4"));
        assert_eq!(cleared, "OK");
    }

    /// The general registers by DWARF number, and the program counter behind them.
    pub fn registers(&mut self) -> Vec<u64> {
        let bytes = self.ask("g");
        let words = bytes.as_bytes().chunks_exact(16).take(33);
        words.map(|digits| word(digits).unwrap_or_else(|| panic!("no registers: {bytes}"))).collect()
    }

    /// The word at an address, where it can be read.
    pub fn word(&mut self, address: u64) -> Option<u64> {
        let bytes = self.ask(&format!("m{address:x},8"));
        word(bytes.as_bytes())
    }

    /// The program's memory. QEMU has it at the very addresses that the program knows, but lets nothing of it be executed.
    pub fn areas(&self) -> Vec<Area> {
        let path = format!("/proc/{}/maps", self.qemu.id());
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let area = |line: &str| {
            let mut fields = line.split_ascii_whitespace();
            let (start, end) = fields.next()?.split_once('-')?;
            let (_access, offset) = (fields.next()?, fields.next()?);
            let number = |digits| u64::from_str_radix(digits, 16).ok();
            Some(Area {
                start: number(start)?,
                end: number(end)?,
                offset: number(offset)?,
                path: fields.nth(2).unwrap_or_default().to_owned(),
            })
        };
        text.lines().filter_map(area).collect()
    }

    /// Sends a request and gives back the answer.
    fn ask(&mut self, request: &str) -> String {
        let sum = request.bytes().fold(0_u8, u8::wrapping_add);
        let mut packet = String::new();
        write!(packet, "${request}#{sum:02x}").unwrap();
        let answer = self.gdb.write_all(packet.as_bytes()).and_then(|()| self.answer());
        answer.unwrap_or_else(|e| panic!("QEMU does not answer {request}: {e}"))
    }

    fn answer(&mut self) -> io::Result<String> {
        // What comes before says that the request has arrived.
        while self.byte()? != b'$' {}
        let mut answer = String::new();
        loop {
            match self.byte()? {
                b'#' => break,
                byte => answer.push(char::from(byte)),
            }
        }
        let _sum = (self.byte()?, self.byte()?);
        self.gdb.write_all(b"+")?;
        Ok(answer)
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.gdb.read_exact(&mut byte)?;
        Ok(byte[0])
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// A word in the order of memory, as 16 hexadecimal digits.
fn word(digits: &[u8]) -> Option<u64> {
    let digits: &[u8; 16] = digits.try_into().ok()?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().map(u64::swap_bytes)
}
