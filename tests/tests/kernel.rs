//! Time in the kernel: the kernel's frames stand on the user frames that led there.

use profiler_tests::chain::{Chain, WHOLE};
use profiler_tests::stats::assert_at_least;
use profiler_tests::{Pprof, Profiler, Program, Session, Stack, Target, pprof};

fn in_kernel(stack: &Stack) -> bool {
    stack.leaf().is_some_and(|leaf| leaf.mapping == "[kernel.kallsyms]")
}

#[test]
fn kernel_samples_carry_the_whole_user_stack() {
    let session = Session::begin();
    let program = Program::Pie;
    let target = Target::start(&program.build(), &["syscall"]);
    let pid = target.pid_label();
    Profiler::new(session.folder(), ["record", "-p", &pid, "-d", "5s", "-F", "99", "-o", "x.pb.gz"])
        .run()
        .assert_success();
    let profile = Pprof::read(&session.path("x.pb.gz"));
    let report = target.stop();

    let kernel: Vec<&Stack> = profile.stacks.iter().filter(|s| in_kernel(s)).collect();
    let samples = pprof::samples(kernel.iter().copied());
    let chain = Chain::of(program);
    let whole = pprof::samples(kernel.iter().copied().filter(|s| chain.is_whole(s)));
    let shown = pprof::describe(kernel.iter().copied().filter(|s| !chain.is_whole(s)), 5);
    assert_at_least(&format!("user stack under the kernel's\n{shown}"), whole, samples, WHOLE);

    // Time in the kernel is the program's system time.
    let (user, system) = (report.number("process", "user_ns"), report.number("process", "system_ns"));
    let all = profile.samples(|_| true);
    let share = system as f64 / (user + system) as f64;
    let (found, slack) = (samples as f64 / all as f64, 0.03);
    let bound = profiler_tests::stats::share_bound(all, share) + slack;
    assert!(
        (found - share).abs() <= bound,
        "{found:.3} of samples in the kernel, rusage says {share:.3} +- {bound:.3}"
    );

    let named =
        pprof::samples(kernel.iter().copied().filter(|s| s.leaf().is_some_and(|l| !l.name.is_empty())));
    assert_at_least("kernel leaves with a name", named, samples, WHOLE);
    let read =
        pprof::samples(kernel.iter().copied().filter(|s| s.names().iter().any(|n| n.contains("read"))));
    assert_at_least("kernel stacks that show the read", read, samples, 0.9);
}

#[test]
fn kernel_frames_stand_on_top() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["syscall"]);
    let pid = target.pid_label();
    Profiler::new(session.folder(), ["record", "-p", &pid, "-d", "2s", "-o", "x.pb.gz"])
        .run()
        .assert_success();
    let profile = Pprof::read(&session.path("x.pb.gz"));
    for stack in &profile.stacks {
        let first_user = stack.frames.iter().position(|f| !f.is_kernel()).unwrap_or(stack.frames.len());
        let mixed = stack.frames[first_user..].iter().any(|f| f.is_kernel());
        profile.check(!mixed, &format!("a kernel frame under a user frame: {stack:?}"));
    }
}
