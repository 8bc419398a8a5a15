//! Runs perf, and reads what `perf script` prints.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::code::Place;
use super::paths::Walked;
use crate::programs::must_run;
use crate::target::wait_at_most;

/// The most of a stack that perf can be asked for, bytes: the size of a record is a 16-bit number.
const STACK_BYTES: u32 = 65_528;

/// A `perf record` that runs.
#[derive(Debug)]
pub struct Recording {
    child: Child,
    seconds: u32,
}

/// The command that [`record`] runs, but for its file and the process.
pub fn command(hertz: u32) -> String {
    format!("perf record -e cpu-clock -F {hertz} --call-graph dwarf,{STACK_BYTES}")
}

/// Starts perf on a process.
pub fn record(data: &Path, pid: u32, seconds: u32, hertz: u32) -> Recording {
    let command = command(hertz);
    let mut words = command.split(' ');
    let mut perf = Command::new(words.next().unwrap_or_default());
    // The ring has room for a second of whole records, or samples would be lost.
    perf.args(words).args(["-q", "-m", "64M", "-p", &pid.to_string(), "-o"]).arg(data);
    perf.args(["--", "sleep", &seconds.to_string()]).stdin(Stdio::null());
    let child = perf.spawn().unwrap_or_else(|e| panic!("cannot run perf: {e}"));
    Recording { child, seconds }
}

impl Recording {
    /// Waits until perf has written its file.
    pub fn finish(mut self) {
        let status =
            wait_at_most(&mut self.child, Duration::from_secs(u64::from(self.seconds) + 120), "perf record");
        assert!(status.success(), "perf record: {status}");
    }
}

/// The user frames of all samples, without inlined functions: perf asks addr2line for these.
pub fn script(data: &Path) -> Vec<Walked> {
    parse(&must_run(&mut script_command(data)))
}

/// What prints them.
pub fn script_command(data: &Path) -> Command {
    let mut perf = Command::new("perf");
    perf.args(["script", "--no-inline", "--max-stack", "1024", "-F", "comm,tid,ip,sym,dso", "-i"]).arg(data);
    perf
}

/// perf's version.
pub fn version() -> String {
    must_run(Command::new("perf").arg("--version")).trim().to_owned()
}

/// What `perf script` printed: a sample is a line that begins at the margin, and a line for each frame, leaf first.
pub fn parse(text: &str) -> Vec<Walked> {
    let mut samples: Vec<Walked> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if !line.starts_with(char::is_whitespace) {
            samples.push(Walked { places: Vec::new(), samples: 1 });
        } else if let (Some(sample), Some(place)) = (samples.last_mut(), frame(line)) {
            sample.places.push(place);
        }
    }
    samples
}

/// `  <address> <function> (<file>)`; `None` for kernel frames. Addresses are offsets in the file, where there is one.
fn frame(line: &str) -> Option<Place> {
    let (address, rest) = line.trim().split_once(' ')?;
    let offset = u64::from_str_radix(address, 16).ok()?;
    let (name, object) = rest.rsplit_once(" (")?;
    let object = object.strip_suffix(')')?;
    let is_kernel = object.starts_with("[kernel") || (offset >> 63 == 1 && object != "[unknown]");
    (!is_kernel).then(|| Place { object: object.to_owned(), offset, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_without_their_kernel_frames() {
        let text = "node 7 \n\tffffffff821f3125 irqentry_exit ([kernel.kallsyms])\n\
                    \t  c494da v8::(anonymous namespace)::Invoke<a, b> (/usr/bin/node)\n\n\
                    node 7 \n\tffffffffffffffff [unknown] ([unknown])\n\n";
        let samples = parse(text);
        assert_eq!(samples.len(), 2);
        let [invoke] = &samples[0].places[..] else { panic!("{samples:?}") };
        assert_eq!(
            (invoke.object.as_str(), invoke.offset, invoke.name.as_str()),
            ("/usr/bin/node", 0xc4_94da, "v8::(anonymous namespace)::Invoke<a, b>")
        );
        assert_eq!(samples[1].places[0].object, "[unknown]");
    }
}
