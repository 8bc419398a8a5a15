//! Delivery to a receiver that follows a script.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};

use super::super::batch::tests::batch;
use super::super::receiver::Sending;
use super::super::split::Limits;
use super::*;
use crate::profile::codec::encode;
use crate::profile::fixture;

/// What the receiver answers next; when the script is over, it takes everything.
type Script = Arc<Mutex<VecDeque<Result<(), Refusal>>>>;

/// What it has, by request.
type Taken = Arc<Mutex<Vec<Vec<String>>>>;

#[derive(Clone)]
struct Scripted {
    script: Script,
    taken: Taken,
    limits: Limits,
    /// Above that many series it finds a request too large.
    most: usize,
    /// Requests with a series whose name begins with this are refused for good.
    poison: &'static str,
    requests: Arc<AtomicUsize>,
}

impl Receiver for Scripted {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn send<'a>(&'a self, batch: &'a Batch, series: &'a [super::super::batch::Series]) -> Sending<'a> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if series.len() > self.most {
                return Err(Refusal::TooLarge { why: "too large".to_owned() });
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
            let poisonous = |one: &super::super::batch::Series| {
                one.label("service").is_some_and(|name| name.starts_with(self.poison))
            };
            if series.iter().any(poisonous) {
                return Err(Refusal::Never { why: "poison".to_owned() });
            }
            self.script.lock().unwrap().pop_front().unwrap_or(Ok(()))?;
            let names = series.iter().map(|one| {
                format!("{}{}", one.label("service").unwrap_or_default(), batch.start_unix_ns % 1000)
            });
            self.taken.lock().unwrap().push(names.collect());
            Ok(())
        })
    }
}

impl Scripted {
    fn of(script: Script) -> Scripted {
        let limits = Limits { request_bytes: 1 << 20, profile_bytes: 1 << 20, series: 200 };
        let (taken, requests) = (Taken::default(), Arc::default());
        Scripted { script, taken, limits, most: 200, poison: "poison", requests }
    }
}

fn later(seconds: Option<u64>) -> Result<(), Refusal> {
    Err(Refusal::Later { after: seconds.map(Duration::from_secs), why: "away".to_owned() })
}

/// Now, so that nothing is too old; the same for a whole run, or the order would be that of the clock.
fn start(number: u64) -> u64 {
    static NOW: OnceLock<u64> = OnceLock::new();
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    NOW.get_or_init(now) * 1_000_000_000 + number
}

struct Bench {
    _folder: tempfile::TempDir,
    delivery: Arc<Delivery>,
    receiver: Scripted,
}

impl Bench {
    fn new(more: &str, script: Vec<Result<(), Refusal>>) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let target: Target = format!(r#"kind = "http", url = "http://h"{more}"#).parse().unwrap();
        let spool = Spool::open(folder.path(), target.bounds()).unwrap();
        let receiver = Scripted::of(Arc::new(Mutex::new(script.into())));
        Bench { _folder: folder, delivery: Delivery::new(target, spool), receiver }
    }

    /// Delivers until nothing waits, or for an hour that passes at once.
    async fn run(&self) -> Vec<Vec<String>> {
        let running = self.delivery.run(Box::new(self.receiver.clone()));
        let done = async {
            while !self.delivery.is_done() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = running => {}
            () = done => {}
            () = tokio::time::sleep(Duration::from_secs(3600)) => {}
        }
        self.receiver.taken.lock().unwrap().clone()
    }

    /// Made, and the sum of what became of it.
    fn balance(&self) -> (u64, u64) {
        let Counters { made, delivered, rejected, expired, full, lost, .. } = &self.delivery.counters;
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (of(made), [delivered, rejected, expired, full, lost].into_iter().map(of).sum())
    }
}

#[tokio::test(start_paused = true)]
async fn the_oldest_first_and_each_once() {
    let bench = Bench::new("", vec![later(None), Ok(()), later(None), later(Some(900)), later(None)]);
    for number in [2, 0, 1] {
        bench.delivery.put(batch(start(number), &["a", "b"]));
    }
    let begin = tokio::time::Instant::now();
    assert_eq!(bench.run().await, [["a0", "b0"], ["a1", "b1"], ["a2", "b2"]]);
    assert!(begin.elapsed() >= Duration::from_secs(900), "as long as the receiver asked for");
    assert_eq!(bench.balance(), (6, 6));
    assert_eq!(bench.delivery.counters.retries.load(Ordering::Relaxed), 4);
    assert_eq!(bench.delivery.counters.waiting[0].load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn pieces_until_they_fit_and_none_twice() {
    let mut bench = Bench::new("", vec![Ok(()), later(None), Ok(())]);
    bench.receiver.most = 2;
    bench.delivery.put(batch(start(0), &["a", "b", "c", "d", "e"]));
    assert_eq!(
        bench.run().await,
        [vec!["a0", "b0"], vec!["c0"], vec!["d0", "e0"]].map(|names: Vec<&str>| names)
    );
    assert_eq!(bench.balance(), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_is_counted_and_the_rest_goes_on() {
    let never = Err(Refusal::Never { why: "no".to_owned() });
    let bench = Bench::new("", vec![never]);
    bench.delivery.put(batch(start(0), &["a"]));
    bench.delivery.put(batch(start(1), &["b"]));
    assert_eq!(bench.run().await, [["b1"]]);
    assert_eq!(bench.delivery.counters.rejected.load(Ordering::Relaxed), 1);
    assert_eq!(bench.balance(), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_expires() {
    let bench = Bench::new(r#", spool-age = "1h""#, vec![later(None)]);
    bench.delivery.put(batch(start(0) - 4_000_000_000_000, &["old", "older"]));
    bench.delivery.put(batch(start(0), &["a"]));
    assert_eq!(bench.run().await, [["a0"]]);
    assert_eq!(bench.delivery.counters.expired.load(Ordering::Relaxed), 2);
    assert_eq!(bench.balance(), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn without_room_and_without_a_disk() {
    let bench = Bench::new(r#", spool-size = "1000B""#, vec![]);
    for number in 0..9 {
        bench.delivery.put(batch(start(number), &["a"]));
    }
    let full = bench.delivery.counters.full.load(Ordering::Relaxed);
    assert!((1..9).contains(&full), "{full}");
    assert_eq!(bench.run().await.len() as u64, 9 - full);
    assert_eq!(bench.balance(), (9, 9));

    let bench = Bench::new("", vec![later(None), later(None)]);
    std::fs::remove_dir_all(bench._folder.path()).unwrap();
    for number in 0..6 {
        bench.delivery.put(batch(start(number), &["a"]));
    }
    assert_eq!(bench.delivery.counters.lost.load(Ordering::Relaxed), 2);
    assert_eq!(bench.run().await, [["a0"], ["a1"], ["a2"], ["a3"]]);
    assert_eq!(bench.balance(), (6, 6));
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_is_too_large_arrives_in_halves() {
    let mut bench = Bench::new("", vec![]);
    let mut large = batch(start(0), &["a"]);
    let profile = fixture::two_threads();
    large.series[0].profile = encode(&profile).unwrap();
    bench.receiver.limits.profile_bytes = 1;
    large.series[0].plain_bytes = 2;
    bench.delivery.put(large);
    let taken = bench.run().await;
    let pieces: usize = taken.iter().map(Vec::len).sum();
    assert_eq!(pieces, profile.sample.len(), "down to single samples, which go however large");
    let (made, ended) = bench.balance();
    assert_eq!((made, ended), (pieces as u64, pieces as u64));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_is_counted_and_the_rest_goes_on() {
    let bench = Bench::new("", vec![]);
    bench.delivery.put(batch(start(0), &["a"]));
    let file = std::fs::read_dir(bench._folder.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::write(file, "damaged").unwrap();
    bench.delivery.put(batch(start(1), &["b"]));
    assert_eq!(bench.run().await, [["b1"]]);
    assert_eq!(bench.balance(), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_delivered_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let target: Target = r#"kind = "http", url = "http://h""#.parse().unwrap();
    let spool = |target: &Target| Spool::open(folder.path(), target.bounds()).unwrap();
    let first = Delivery::new(target.clone(), spool(&target));
    first.put(batch(start(0), &["a", "b", "c"]));
    let limits = Limits { request_bytes: 1 << 20, profile_bytes: 1 << 20, series: 1 };
    let script: Script = Arc::new(Mutex::new(vec![Ok(()), later(Some(1000))].into()));
    let receiver = Scripted { limits, ..Scripted::of(script) };
    // Killed while it waits: one has arrived.
    let killed = tokio::time::timeout(Duration::from_secs(10), first.run(Box::new(receiver.clone())));
    assert!(killed.await.is_err());
    drop(first);
    let second = Delivery::new(target.clone(), spool(&target));
    let wait = tokio::time::timeout(Duration::from_secs(10), second.run(Box::new(receiver.clone())));
    assert!(wait.await.is_err());
    assert_eq!(*receiver.taken.lock().unwrap(), [["a0"], ["b0"], ["c0"]]);
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_is_found_and_all_others_arrive() {
    for culprits in [&[0_usize][..], &[17], &[99], &[3, 50], &[0, 1, 98]] {
        let bench = Bench::new("", vec![]);
        let names: Vec<String> =
            (0..100)
                .map(|number| {
                    if culprits.contains(&number) { format!("poison{number}") } else { format!("s{number}") }
                })
                .collect();
        bench.delivery.put(batch(start(0), &names.iter().map(String::as_str).collect::<Vec<_>>()));
        let mut taken: Vec<String> = bench.run().await.concat();
        taken.sort();
        let mut wanted: Vec<String> =
            names.iter().filter(|name| !name.starts_with("poison")).map(|name| format!("{name}0")).collect();
        wanted.sort();
        assert_eq!(taken, wanted, "{culprits:?}");
        assert_eq!(bench.delivery.counters.rejected.load(Ordering::Relaxed), culprits.len() as u64);
        assert_eq!(bench.balance(), (100, 100));
        let requests = bench.receiver.requests.load(Ordering::Relaxed);
        assert!(requests <= 1 + culprits.len() * 14, "{requests} requests for {culprits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_refuses_everything_is_not_asked_for_everything() {
    let mut bench = Bench::new("", vec![]);
    bench.receiver.poison = "";
    bench.delivery.put(batch(start(0), &["a"; 200]));
    assert!(bench.run().await.is_empty());
    assert_eq!(bench.delivery.counters.rejected.load(Ordering::Relaxed), 200);
    assert_eq!(bench.balance(), (200, 200));
    assert!(bench.receiver.requests.load(Ordering::Relaxed) <= 7);
    // More than what is worth to look for: it ends, and all are accounted for.
    let bench = Bench::new("", vec![]);
    let poisonous = |number: usize| number < 100 && number.is_multiple_of(3);
    let names: Vec<&str> = (0..200).map(|number| if poisonous(number) { "poison" } else { "a" }).collect();
    bench.delivery.put(batch(start(0), &names));
    assert!(!bench.run().await.is_empty());
    assert_eq!(bench.balance(), (200, 200));
    assert!(bench.receiver.requests.load(Ordering::Relaxed) <= 65);
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_memory_expires_and_is_counted_at_the_end() {
    let bench = Bench::new(r#", spool-age = "1h""#, vec![]);
    std::fs::remove_dir_all(bench._folder.path()).unwrap();
    bench.delivery.put(batch(start(0) - 4_000_000_000_000, &["old"]));
    bench.delivery.put(batch(start(0), &["a"]));
    assert_eq!(bench.run().await, [["a0"]]);
    assert_eq!(bench.delivery.counters.expired.load(Ordering::Relaxed), 1);
    // One that is on its way when all ends.
    bench.delivery.put(batch(start(1), &["b", "c"]));
    assert_eq!(bench.delivery.counters.waiting[0].load(Ordering::Relaxed), 1);
    bench.delivery.close();
    assert_eq!(bench.delivery.counters.lost.load(Ordering::Relaxed), 2);
    assert_eq!(bench.balance(), (4, 4));
    // What has room by then is on disk.
    std::fs::create_dir_all(bench._folder.path()).unwrap();
    bench.delivery.put(batch(start(2), &["d"]));
    bench.delivery.close();
    assert_eq!(std::fs::read_dir(bench._folder.path()).unwrap().count(), 1);
}
