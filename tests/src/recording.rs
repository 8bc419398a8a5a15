//! Recordings as most tests of stacks make them.

use std::path::Path;

use crate::pprof::{Pprof, samples};
use crate::profiler::Profiler;
use crate::session::Session;
use crate::shape::{LEAST_SAMPLES, is_user, name_libc};
use crate::target::Target;

/// Recordings of the same targets at the most, until there are enough samples of each.
const ATTEMPTS: u32 = 4;

/// Records running programs at 499 Hz, for so long and, where other work on the machine leaves one of them too little time
/// for [`LEAST_SAMPLES`], again.
pub fn of_targets(session: &Session, targets: &[&Target], duration: &str) -> Pprof {
    of_targets_with(session, targets, duration, &[])
}

/// Likewise, with more options.
pub fn of_targets_with(session: &Session, targets: &[&Target], duration: &str, options: &[&str]) -> Pprof {
    let mut args = ["record", "-F", "499", "-o", "x.pb.gz", "-d", duration].map(str::to_owned).to_vec();
    args.extend(options.iter().map(|&option| option.to_owned()));
    for target in targets {
        args.extend(["-p".to_owned(), target.pid_label()]);
    }
    let record = || {
        Profiler::new(session.folder(), &args).run().assert_success();
        Pprof::read(&session.path("x.pb.gz"))
    };
    let mut profile = record();
    let is_short = |profile: &Pprof, target: &&Target| {
        samples(profile.of_pid(target.pid()).into_iter().filter(|stack| is_user(stack))) < LEAST_SAMPLES
    };
    for _ in 1..ATTEMPTS {
        if !targets.iter().any(|target| is_short(&profile, target)) {
            break;
        }
        profile.stacks.extend(record().stacks);
    }
    name_libc(&mut profile);
    profile
}

/// Records the whole host at 499 Hz for as long as `during` takes.
pub fn of_host_during(session: &Session, during: impl FnOnce()) -> Pprof {
    let args = ["record", "-d", "600s", "-F", "499", "-o", "x.pb.gz"];
    let mut recording = Profiler::new(session.folder(), args).start();
    recording.wait_until_sampling();
    during();
    recording.signal(libc::SIGINT);
    recording.finish().assert_success();
    Pprof::read(&session.path("x.pb.gz"))
}

/// Records a command and its children from start to end.
pub fn of_command(session: &Session, hertz: u32, command: &[&str]) -> Pprof {
    let hertz = hertz.to_string();
    let mut args = vec!["record", "-F", &hertz, "-o", "x.pb.gz", "--"];
    args.extend(command);
    Profiler::new(session.folder(), args).run().assert_success();
    let mut profile = Pprof::read(&session.path("x.pb.gz"));
    name_libc(&mut profile);
    profile
}

/// Records a shell that runs `line` for as many copies of a program, one after the other: `$copy` is the path of one, named
/// as the program with a dash and its number, which is `$i` and begins with 0. Of a new file no rule is in the kernel, so that
/// its first samples are walked over copies of their stacks.
pub fn of_copies(session: &Session, hertz: u32, program: &Path, count: u32, line: &str) -> Pprof {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let script = format!(
        "i=0; while [ $i -lt {count} ]; do copy='{}'-$i; cp '{}' \"$copy\"; {line}; i=$((i+1)); done",
        session.path(&name).display(),
        program.display()
    );
    of_command(session, hertz, &["sh", "-c", &script])
}
