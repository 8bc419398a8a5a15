//! Interning stacks: from the scratch words to a reference into the arena.

use aya_ebpf::{bindings::BPF_NOEXIST, maps::HashMap};
use profiler_common::{
    hash,
    layout::CpuState,
    outcome::Outcome,
    stack::{CHUNK_WORDS, MAX_CHUNKS, MAX_WORDS, StackRef},
};

use crate::{
    maps,
    walk::{hide, reveal},
};

/// How many places are tried for a stack whose hash is taken by another one.
const ATTEMPTS: u64 = 4;

/// Finds the stack in the scratch words in the arena, or puts it there.
#[inline(always)]
pub fn intern(stacks: &HashMap<u64, u32>, state: &mut CpuState, bank: u64, cpu: u32) -> StackRef {
    let hash = reveal(&state.walk.hash);
    let per_cpu = u64::from(maps::CHUNKS_PER_CPU.load());
    let mut stored = false;
    let mut place = 0_u32;
    for attempt in 0..ATTEMPTS {
        let key = hash::probe(hash, attempt) & maps::HASH_MASK.load();
        // SAFETY: entries are only removed while their bank is not in use.
        if let Some(&found) = unsafe { stacks.get(key) } {
            if same(state, found) {
                return StackRef(found);
            }
            continue;
        }
        if !stored {
            if cpu >= maps::CPUS.load() || state.next_chunk + chunks(state) > per_cpu {
                return StackRef::lost(Outcome::StackTableFull);
            }
            let part = bank * u64::from(maps::CPUS.load()) + u64::from(cpu);
            place = (part * per_cpu + state.next_chunk) as u32;
            if !store(state, place) {
                return StackRef::lost(Outcome::StackTableFull);
            }
            stored = true;
        }
        if stacks.insert(key, place, u64::from(BPF_NOEXIST)).is_ok() {
            state.next_chunk += chunks(state);
            return StackRef(place);
        }
        // Either the table is full, or another CPU was faster with this key: then its stack may be this one.
        // SAFETY: as above.
        match unsafe { stacks.get(key) } {
            Some(&found) if same(state, found) => return StackRef(found),
            Some(_) => {}
            None => return StackRef::lost(Outcome::StackTableFull),
        }
    }
    StackRef::lost(Outcome::StackCollision)
}

/// Chunks of the stack in the scratch words. Read anew for each loop, for the verifier's sake.
#[inline(always)]
fn chunks(state: &CpuState) -> u64 {
    reveal(&state.walk.words).div_ceil(CHUNK_WORDS as u64)
}

/// Whether the stack at `place` is the one in the scratch words. Its chunk count is part of its header.
#[inline(always)]
fn same(state: &mut CpuState, place: u32) -> bool {
    let chunks = chunks(state);
    hide(&mut state.walk.difference, 0);
    for chunk in 0..MAX_CHUNKS {
        if chunk as u64 >= chunks {
            break;
        }
        let Some(stored) = maps::ARENA.get(place.wrapping_add(chunk as u32)) else {
            return false;
        };
        let mut difference = 0;
        for word in 0..CHUNK_WORDS {
            difference |= stored[word] ^ state.words[(chunk * CHUNK_WORDS + word) & (MAX_WORDS - 1)];
        }
        if difference != 0 {
            hide(&mut state.walk.difference, 1);
            break;
        }
    }
    reveal(&state.walk.difference) == 0
}

/// Copies the scratch words to the arena.
#[inline(always)]
fn store(state: &CpuState, place: u32) -> bool {
    let chunks = chunks(state);
    for chunk in 0..MAX_CHUNKS {
        if chunk as u64 >= chunks {
            break;
        }
        let Some(target) = maps::ARENA.get_ptr_mut(place.wrapping_add(chunk as u32)) else {
            return false;
        };
        for word in 0..CHUNK_WORDS {
            // SAFETY: the map gave a pointer to a whole chunk. This part of the arena belongs to this CPU, whose
            // ticks do not nest, and nobody reads the chunk before its place is published in the stack map.
            unsafe { (*target)[word] = state.words[(chunk * CHUNK_WORDS + word) & (MAX_WORDS - 1)] };
        }
    }
    true
}
