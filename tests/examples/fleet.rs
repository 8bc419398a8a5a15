//! What windows take on their way, and how fast those of many agents are taken:
//! `fleet AGENTS WINDOWS SECONDS JSON-FILE|-`. `cargo xtask bench fleet` runs it.
#![expect(clippy::panic, reason = "a chore fails by panicking, and its message is the user's")]

use profiler_tests::overhead::workload::Workload;
use profiler_tests::{Session, swarm};

/// What 64 CPUs have at 19 Hz, on each CPU of this host.
fn hertz() -> u32 {
    let cpus = u32::try_from(profiler_tests::cpu::online_cpus()).unwrap_or(1).max(1);
    (64 * 19 / cpus).clamp(19, 999)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [agents, windows, seconds, json_file] = &args[..] else { panic!("four arguments") };
    let number = |text: &str| -> u32 { text.parse().unwrap_or_else(|_| panic!("{text} is no number")) };
    let (agents, windows) = (number(agents) as usize, number(windows) as usize);
    let seconds = number(seconds);
    let session = Session::begin();
    eprintln!("recording a busy host");
    let (services, usual) = {
        let _workload = Workload::services(session.folder());
        (swarm::recorded(&session, hertz(), seconds), swarm::recorded(&session, 19, seconds))
    };
    let with_compiler = {
        let _workload = Workload::start(session.folder());
        swarm::recorded(&session, hertz(), seconds)
    };
    let hosts = [("services", services), ("services and a compiler", with_compiler)].map(|(name, window)| {
        let sizes = swarm::sizes(&session, name, &window);
        swarm::Host { name, window, sizes }
    });
    let swarms: Vec<_> = swarm::WAYS
        .iter()
        .filter(|way| way.is_for_many())
        .map(|way| {
            eprintln!("{agents} agents to {}", way.name);
            swarm::swarm(&session, way, &usual, agents, windows)
        })
        .collect();
    print!("{}", swarm::table(&hosts, &swarms));
    if json_file != "-"
        && let Err(error) = std::fs::write(json_file, format!("{:#}\n", swarm::json(&hosts, &swarms)))
    {
        panic!("cannot write {json_file}: {error}");
    }
}
