//! Loading the programs that a tick runs, and telling them which one follows.

use std::time::Instant;

use aya::{
    Ebpf,
    maps::ProgramArray,
    programs::{PerfEvent, ProgramError},
};

use super::{
    Error,
    load::{map_error, missing_map, program, program_error},
};

/// Walks with bpf_loop (Linux 5.17).
const WALK: &str = "on_walk";
/// Does the same without, for a hundred times the verifier's work.
const WALK_IN_RUNS: &str = "on_walk_in_runs";

/// Loads the programs. `no_bpf_loop` is for tests: it takes what kernels without bpf_loop get.
pub(super) fn load(ebpf: &mut Ebpf, no_bpf_loop: bool) -> Result<(), Error> {
    load_one(ebpf, "on_tick").map_err(|error| program_error("on_tick", error))?;
    let walk = match if no_bpf_loop { None } else { Some(load_one(ebpf, WALK)) } {
        Some(Ok(())) => WALK,
        // Whatever the kernel said: if it is not about bpf_loop, it says the same again.
        other => {
            if let Some(Err(error)) = other {
                tracing::info!("the kernel does not take {WALK}, stacks are walked in runs: {error}");
            }
            load_one(ebpf, WALK_IN_RUNS).map_err(|error| program_error(WALK_IN_RUNS, error))?;
            WALK_IN_RUNS
        }
    };
    for name in ["on_count", "on_defer"] {
        load_one(ebpf, name).map_err(|error| program_error(name, error))?;
    }
    chain(ebpf, [walk, "on_count", "on_defer"])
}

fn load_one(ebpf: &mut Ebpf, name: &str) -> Result<(), ProgramError> {
    let Ok(loaded) = program::<PerfEvent>(ebpf, name) else {
        return Err(ProgramError::NotLoaded);
    };
    let started = Instant::now();
    loaded.load()?;
    if let Ok(info) = loaded.info() {
        tracing::info!(
            "{name}: {} instructions verified in {} ms",
            info.verified_instruction_count().unwrap_or(0),
            started.elapsed().as_millis()
        );
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
