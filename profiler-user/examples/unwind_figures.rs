//! What the unwind tables of files cost and hold: `cargo run --release --example unwind_figures FILE...`

use std::{collections::HashSet, fs::File, time::Instant};

use profiler_common::unwind::rule::{Rule, fp};
use profiler_user::unwind::{Error, Table};

fn main() {
    println!("   open    1st   all ms  pages     rows  rules unsupported no-fp file");
    for path in std::env::args().skip(1) {
        if let Err(error) = measure(&path) {
            println!("{path}: {error}");
        }
    }
}

fn measure(path: &str) -> Result<(), Error> {
    let start = Instant::now();
    let mut table = Table::open(&File::open(path)?)?;
    let opened = start.elapsed().as_secs_f64() * 1e3;
    // Some page in the middle, as a sample would ask for it.
    let middle = (table.pages().start() + table.pages().end()) / 2;
    let start = Instant::now();
    table.page(middle)?;
    let first = start.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    let (mut pages, mut rows, mut unsupported, mut no_frame_pointer) = (0, 0, 0, 0);
    let mut rules = HashSet::new();
    for number in table.pages() {
        let page = table.page(number)?;
        pages += 1;
        rows += page.len();
        unsupported += page.iter().filter(|row| row.1 == Rule::UNSUPPORTED).count();
        no_frame_pointer += page.iter().filter(|row| row.1.fp == fp::UNDEFINED).count();
        rules.extend(page.into_iter().map(|row| row.1));
    }
    let all = start.elapsed().as_secs_f64() * 1e3;
    let rules = rules.len();
    println!(
        "{opened:7.2} {first:6.2} {all:8.1} {pages:6} {rows:8} {rules:6} {unsupported:11} {no_frame_pointer:5} {path}"
    );
    Ok(())
}
