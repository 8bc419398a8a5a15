//! Work on many files at once, with results in the order of the files.

use std::sync::mpsc::sync_channel;
use std::thread;

/// More threads than this gain nothing: results are merged one after the other.
const MOST_THREADS: usize = 8;

/// How many results of one thread wait for their turn, besides the one that it works on. So memory does not grow with
/// the number of items.
const AHEAD: usize = 2;

/// Calls `make` for every item, on as many threads as there are CPUs, and `take` with each result, here and in order.
pub(super) fn in_order<I: Sync, R: Send>(
    items: &[I],
    make: impl Fn(&I) -> R + Sync,
    mut take: impl FnMut(&I, R),
) {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let threads = cpus.min(MOST_THREADS).min(items.len());
    if threads < 2 {
        items.iter().for_each(|item| take(item, make(item)));
        return;
    }
    let make = &make;
    thread::scope(|scope| {
        // Thread n makes every n-th item, so the results wait where they are looked for.
        let results: Vec<_> = (0..threads)
            .map(|first| {
                let (sender, receiver) = sync_channel(AHEAD);
                let mine = items.iter().skip(first).step_by(threads);
                scope.spawn(move || {
                    for item in mine {
                        if sender.send(make(item)).is_err() {
                            return;
                        }
                    }
                });
                receiver
            })
            .collect();
        for (item, receiver) in items.iter().zip(results.iter().cycle()) {
            if let Ok(result) = receiver.recv() {
                take(item, result);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order() {
        for len in [0, 1, 2, 3, 100] {
            let items: Vec<usize> = (0..len).collect();
            let mut taken = Vec::new();
            let make = |&item: &usize| {
                // The first ones take longest.
                thread::sleep(std::time::Duration::from_micros(if item % 3 == 0 { 300 } else { 0 }));
                item * 2
            };
            in_order(&items, make, |&item, result| taken.push((item, result)));
            assert_eq!(taken, items.iter().map(|&item| (item, item * 2)).collect::<Vec<_>>());
        }
    }
}
