//! `/debug/pprof/symbol`: names of addresses, as `go tool pprof` asks for them where a profile has none.
//!
//! Kernel addresses are the same for all; those of a process need its pid. Profiles of this profiler have names already, so
//! that nobody asks but people.

use std::fmt::Write;

/// Addresses that are named in one answer.
const MOST: usize = 10_000;

/// The pid in a query, and the addresses: `pid=7&0x1+0x2`.
pub(super) fn parts(query: &str) -> (Option<u32>, &str) {
    let (mut pid, mut wanted) = (None, "");
    for part in query.split('&') {
        match part.strip_prefix("pid=") {
            Some(number) => pid = number.parse().ok(),
            None => wanted = part,
        }
    }
    (pid, wanted)
}

/// The addresses in `0x1+0x2+…`.
pub(super) fn addresses(wanted: &str) -> Vec<u64> {
    let address = |text: &str| u64::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok();
    wanted.trim().split('+').filter_map(address).take(MOST).collect()
}

/// The answer: that there are names, and a line for every address that has one.
pub(super) fn answer(addresses: &[u64], names: &[Option<String>]) -> String {
    let mut text = "num_symbols: 1\n".to_owned();
    for (address, name) in addresses.iter().zip(names) {
        if let Some(name) = name {
            // A name may be anything; a line is one.
            let name: String = name.chars().filter(|char| !char.is_control()).collect();
            let _ = writeln!(text, "{address:#x} {name}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_nonsense_is_left_out() {
        assert_eq!(addresses(" 0x10+ff+nonsense+0x1\n"), [0x10, 0xff, 0x1]);
        for wanted in ["", "+", "zz+yy"] {
            assert!(addresses(wanted).is_empty());
        }
        assert_eq!(addresses(&"1+".repeat(2 * MOST)).len(), MOST);
    }

    #[test]
    fn a_query_has_a_pid_and_addresses() {
        assert_eq!(parts("pid=7&0x1+0x2"), (Some(7), "0x1+0x2"));
        assert_eq!(parts("0x1+0x2"), (None, "0x1+0x2"));
        assert_eq!(parts("pid=x"), (None, ""));
        assert_eq!(parts(""), (None, ""));
    }

    #[test]
    fn there_is_a_line_for_each_address_with_a_name() {
        let names = [Some("a::b".to_owned()), None, Some("c\n0x3 d".to_owned())];
        assert_eq!(answer(&[1, 2, 0x2f], &names), "num_symbols: 1\n0x1 a::b\n0x2f c0x3 d\n");
        assert_eq!(answer(&[], &[]), "num_symbols: 1\n");
    }
}
