//! Interning stacks: from the scratch words to a reference into the arena.

use aya_ebpf::{bindings::BPF_NOEXIST, maps::HashMap};
use profiler_common::{
    hash,
    layout::{CpuState, StoredStack},
    outcome::Outcome,
    stack::{CHUNK_WORDS, MAX_CHUNKS, MAX_WORDS, StackRef},
};

use crate::{maps, walk::reveal};

/// How many places are tried for a stack whose hash is taken by another one.
const ATTEMPTS: u64 = 4;

/// Finds the stack in the scratch words in the arena, or puts it there.
#[inline(always)]
pub fn intern(stacks: &HashMap<u64, StoredStack>, state: &mut CpuState, bank: u64, cpu: u32) -> StackRef {
    let hash = reveal(&state.walk.hash);
    let check = reveal(&state.walk.check);
    let mut key = 0;
    let mut free = false;
    for attempt in 0..ATTEMPTS {
        key = hash::probe(hash, attempt) & maps::HASH_MASK.load();
        // SAFETY: entries are only removed while their bank is not in use.
        match unsafe { stacks.get(key) } {
            Some(found) if found.check == check => return StackRef(found.chunk),
            Some(_) => {}
            None => {
                free = true;
                break;
            }
        }
    }
    if !free {
        return StackRef::lost(Outcome::StackCollision);
    }
    let per_cpu = u64::from(maps::CHUNKS_PER_CPU.load());
    let chunks = reveal(&state.walk.words).div_ceil(CHUNK_WORDS as u64);
    if cpu >= maps::CPUS.load() || state.next_chunk + chunks > per_cpu {
        return StackRef::lost(Outcome::StackTableFull);
    }
    let part = bank * u64::from(maps::CPUS.load()) + u64::from(cpu);
    let chunk = (part * per_cpu + state.next_chunk) as u32;
    if !store(state, chunk) {
        return StackRef::lost(Outcome::StackTableFull);
    }
    let stack = StoredStack { check, chunk, reserved: 0 };
    if stacks.insert(key, stack, u64::from(BPF_NOEXIST)).is_ok() {
        state.next_chunk += chunks;
        return StackRef(chunk);
    }
    // Either the table is full, or another CPU was faster with this key: then its stack may be this one.
    // SAFETY: as above.
    match unsafe { stacks.get(key) } {
        Some(found) if found.check == check => StackRef(found.chunk),
        Some(_) => StackRef::lost(Outcome::StackCollision),
        None => StackRef::lost(Outcome::StackTableFull),
    }
}

/// Copies the scratch words to the arena.
#[inline(always)]
fn store(state: &CpuState, place: u32) -> bool {
    let words = reveal(&state.walk.words);
    for chunk in 0..MAX_CHUNKS {
        if (chunk * CHUNK_WORDS) as u64 >= words {
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
