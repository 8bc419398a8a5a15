//! Sets the profiler's stacks beside those of `perf record --call-graph dwarf`, taken at the same time of the same process.
//!
//! Both tools say of a frame in which file and where in it the code lies. What function that is gets decided here, from
//! the file, so that paths are compared and not the tools' ways of naming; names are compared on their own.

pub mod code;
pub mod names;
pub mod paths;
pub mod perf;
pub mod report;
pub mod workload;

use std::path::Path;

use crate::compare::code::Code;
use crate::compare::paths::{Counted, Walked};
use crate::pprof::{Frame, Pprof, Stack};
use crate::profiler::Profiler;

/// What both tools saw of one run.
#[derive(Debug)]
pub struct Observed {
    /// The profiler's stacks.
    pub ours: Vec<Walked>,
    /// perf's stacks.
    pub perf: Vec<Walked>,
}

/// Lets both tools sample a running process for some seconds at so many hertz.
pub fn observe(folder: &Path, pid: u32, seconds: u32, hertz: u32) -> Observed {
    let data = folder.join("perf.data");
    let recording = perf::record(&data, pid, seconds, hertz);
    let (hertz, duration, pid) = (hertz.to_string(), format!("{seconds}s"), pid.to_string());
    let args = ["record", "-F", &hertz, "-d", &duration, "-p", &pid, "-o", "x.pb.gz"];
    Profiler::new(folder, args).run().assert_success();
    recording.finish();
    let profile = Pprof::read(&folder.join("x.pb.gz"));
    let ours = profile.stacks.iter().map(walked).collect();
    Observed { ours, perf: perf::script(&data) }
}

/// The user frames of a sample of ours. What was inlined is left out, as `perf script --no-inline` does.
fn walked(stack: &Stack) -> Walked {
    let user = stack.frames.iter().filter(|frame| !frame.is_kernel() && !frame.inlined && !is_remark(frame));
    let places = user.map(|frame| code::Place {
        object: frame.mapping.clone(),
        offset: frame.offset,
        name: frame.name.clone(),
    });
    Walked { places: places.collect(), samples: stack.samples }
}

/// A frame that is no code but says why the stack is not whole.
pub(crate) fn is_remark(frame: &Frame) -> bool {
    frame.is_remark() && frame.address == 0 && frame.mapping.is_empty()
}

/// Groups the stacks of both by path.
pub fn count(observed: &Observed) -> (Counted, Counted, Code) {
    let mut code = Code::default();
    let ours = Counted::of(&observed.ours, &mut code);
    let perf = Counted::of(&observed.perf, &mut code);
    (ours, perf, code)
}
