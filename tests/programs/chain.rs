//! The chain in Rust. Runs until it is killed.

use std::arch::asm;
use std::hint::black_box;
use std::io::Write;

/// Iterations in one unit of work, as in `common.h`.
const UNIT: u64 = 1500;

#[inline(always)]
fn spin_work(iterations: u64) {
    // SAFETY: the loop touches two registers and the flags, and ends as `iterations` is not 0.
    unsafe {
        asm!(
            ".p2align 5",
            "2:",
            "imul {x}, {x}", "imul {x}, {x}", "imul {x}, {x}", "imul {x}, {x}",
            "imul {x}, {x}", "imul {x}, {x}", "imul {x}, {x}", "imul {x}, {x}",
            "dec {n}",
            "jnz 2b",
            x = inout(reg) 3u64 => _,
            n = inout(reg) iterations => _,
            options(nomem, nostack),
        );
    }
}

#[inline(never)]
fn leaf_heavy(slice: u64) {
    spin_work(black_box(7 * slice * UNIT));
}

#[inline(never)]
fn leaf_light(slice: u64) {
    spin_work(black_box(3 * slice * UNIT));
}

#[inline(never)]
fn chain_12(random: &mut u64) {
    loop {
        *random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let slice = 1 + (*random >> 60);
        leaf_heavy(slice);
        leaf_light(slice);
        if black_box(slice) == 0 {
            return;
        }
    }
}

macro_rules! link {
    ($($name:ident -> $next:ident,)*) => {
        $(
            #[inline(never)]
            fn $name(random: &mut u64) {
                $next(random);
                black_box(&random);
            }
        )*
    };
}

link! {
    chain_11 -> chain_12,
    chain_10 -> chain_11,
    chain_09 -> chain_10,
    chain_08 -> chain_09,
    chain_07 -> chain_08,
    chain_06 -> chain_07,
    chain_05 -> chain_06,
    chain_04 -> chain_05,
    chain_03 -> chain_04,
    chain_02 -> chain_03,
    chain_01 -> chain_02,
}

fn main() {
    println!("ready {}", std::process::id());
    std::io::stdout().flush().expect("stdout is open");
    let mut random = 1;
    chain_01(&mut random);
    black_box(random);
}
