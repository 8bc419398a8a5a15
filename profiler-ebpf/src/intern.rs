//! Interning stacks: from the scratch words to a reference into the arena.

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_probe_read_kernel, maps::HashMap};
use profiler_common::{
    hash,
    layout::{CpuState, StoredStack},
    outcome::Outcome,
    stack::{BLOCK_CHUNKS, Block, CHUNK_WORDS, MAX_CHUNKS, SHORT_CHUNKS, StackRef, place},
};

use crate::{maps, walk::reveal};

/// How many places are tried for a stack whose hash is taken by another one.
const ATTEMPTS: u64 = 4;
const CHUNK_BYTES: u64 = (CHUNK_WORDS * size_of::<u64>()) as u64;

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
    let next = place(state.next_chunk, chunks);
    if cpu >= maps::CPUS.load() || next + chunks > per_cpu {
        return StackRef::lost(Outcome::StackTableFull);
    }
    let part = bank * u64::from(maps::CPUS.load()) + u64::from(cpu);
    let chunk = (part * per_cpu + next) as u32;
    if !store(state, chunk) {
        return StackRef::lost(Outcome::StackTableFull);
    }
    let stack = StoredStack { check, chunk, reserved: 0 };
    if stacks.insert(key, stack, u64::from(BPF_NOEXIST)).is_ok() {
        state.next_chunk = next + chunks;
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
fn store(state: &CpuState, chunk: u32) -> bool {
    let Some(block) = maps::ARENA.get_ptr_mut(chunk / BLOCK_CHUNKS as u32) else {
        return false;
    };
    let words = reveal(&state.walk.words);
    let at = (u64::from(chunk) % BLOCK_CHUNKS) * CHUNK_BYTES;
    // The verifier adds up the most that each can be.
    if words <= SHORT_CHUNKS * CHUNK_WORDS as u64 {
        copy(block, at, state, words, SHORT_CHUNKS)
    } else {
        copy(block, at, state, words, MAX_CHUNKS as u64)
    }
}

/// Copies so many words, `longest` chunks at the most, to `at` in a block, at least so much before its end.
#[inline(always)]
fn copy(block: *mut Block, at: u64, state: &CpuState, words: u64, longest: u64) -> bool {
    let bytes = words * size_of::<u64>() as u64;
    if at > (BLOCK_CHUNKS - longest) * CHUNK_BYTES || bytes > longest * CHUNK_BYTES {
        return false;
    }
    // SAFETY: `at` lies in the block. This part of the arena belongs to this CPU, whose ticks do not nest, and nobody
    // reads the block there before the place is published in the stack map.
    let target = unsafe { block.cast::<u8>().add(at as usize) };
    // SAFETY: from `at` on there are more than `bytes` bytes left, and the scratch words are as many; they are kernel memory.
    unsafe { bpf_probe_read_kernel(target.cast(), bytes as u32, state.words.as_ptr().cast()) == 0 }
}
