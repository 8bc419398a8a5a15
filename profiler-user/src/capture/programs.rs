//! Loading the programs that a tick runs, and telling them which one follows.

use std::{collections::HashMap, io, thread, time::Instant};

use aya::{
    Ebpf,
    maps::ProgramArray,
    programs::{PerfEvent, Program},
};

use super::{
    Error,
    load::{map_error, missing_map, program, program_error},
};

/// Walks with bpf_loop (Linux 5.17).
const WALK: &str = "on_walk";
/// Does the same without, for a hundred times the verifier's work.
const WALK_IN_RUNS: &str = "on_walk_in_runs";
/// Copies stacks with bpf_loop.
const DEFER: &str = "on_defer";
/// Does the same without, up to the first gap of a stack.
const DEFER_TO_GAP: &str = "on_defer_to_gap";

/// Loads the programs. `no_bpf_loop` is for tests: it takes what kernels without bpf_loop get.
pub(super) fn load(ebpf: &mut Ebpf, no_bpf_loop: bool) -> Result<(), Error> {
    let mut programs: HashMap<&str, &mut Program> = ebpf.programs_mut().collect();
    let mut take = |name: &'static str| {
        let program =
            programs.remove(name).ok_or_else(|| Error::Object(format!("the program {name} is missing")))?;
        <&mut PerfEvent>::try_from(program)
            .map(|program| (name, program))
            .map_err(|error| program_error(name, error))
    };
    let (tick, count) = (take("on_tick")?, take("on_count")?);
    let (walk, walk_without) = (take(WALK)?, take(WALK_IN_RUNS)?);
    let (defer, defer_without) = (take(DEFER)?, take(DEFER_TO_GAP)?);
    // The verifier takes as long for this one as for all the others; it works for several at a time where it is asked with
    // privilege (bpf_check, kernel/bpf/verifier.c).
    let (walk, defer) = thread::scope(|scope| {
        let load_defer = || load_either(defer, defer_without, no_bpf_loop);
        // Not `scope.spawn`, which panics where there may be no more threads.
        let defer = thread::Builder::new()
            .spawn_scoped(scope, load_defer)
            .map_err(Error::system("starting a thread that loads a BPF program"))?;
        load_one(tick)?;
        load_one(count)?;
        let walk = load_either(walk, walk_without, no_bpf_loop)?;
        let defer = defer.join().unwrap_or_else(|_| {
            Err(Error::System {
                what: "loading a BPF program",
                source: io::Error::other("the thread panicked"),
            })
        })?;
        Ok((walk, defer))
    })?;
    chain(ebpf, [walk, "on_count", defer])
}

/// A program of the object, with its name.
type Named<'a> = (&'static str, &'a mut PerfEvent);

/// Loads the one of the two that the kernel takes; its name.
fn load_either(
    (name, with_loop): Named<'_>,
    without: Named<'_>,
    no_bpf_loop: bool,
) -> Result<&'static str, Error> {
    if !no_bpf_loop {
        match load_one((name, with_loop)) {
            Ok(()) => return Ok(name),
            // Whatever the kernel said: if it is not about bpf_loop, it says the same again.
            Err(error) => tracing::info!("the kernel does not take {name}: {error}"),
        }
    }
    let (name, _) = without;
    load_one(without).map(|()| name)
}

fn load_one((name, program): Named<'_>) -> Result<(), Error> {
    let started = Instant::now();
    program.load().map_err(|error| program_error(name, error))?;
    if let Ok(info) = program.info() {
        let ms = started.elapsed().as_millis();
        // Kernels tell since 5.16.
        match info.verified_instruction_count().filter(|&count| count > 0) {
            Some(count) => tracing::info!("{name}: {count} instructions verified in {ms} ms"),
            None => tracing::info!("{name}: verified in {ms} ms"),
        }
    }
    Ok(())
}

/// Tells the programs which ones to go on with. The array forgets them when its last descriptor is closed.
fn chain(ebpf: &mut Ebpf, names: [&str; 3]) -> Result<(), Error> {
    for (place, name) in (0..).zip(names) {
        let next: &mut PerfEvent = program(ebpf, name)?;
        let fd = next
            .fd()
            .and_then(|fd| fd.try_clone().map_err(Into::into))
            .map_err(|error| program_error(name, error))?;
        let map = ebpf.map_mut("PROGRAMS").ok_or_else(|| missing_map("PROGRAMS"))?;
        let mut programs = ProgramArray::try_from(map).map_err(map_error)?;
        programs.set(place, &fd, 0).map_err(map_error)?;
    }
    Ok(())
}
