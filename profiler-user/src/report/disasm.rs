//! What each instruction of some functions costs: google/pprof's `-disasm` (its report/report.go, `PrintAssembly`). Pure:
//! the instructions are put beside it later, by whoever can read the program.

use std::collections::{BTreeMap, HashMap, HashSet};

use regex::Regex;

use super::header::Header;
use super::numbers::Numbers;
use super::subject::{Lens, ReportError, Subject};
use crate::profile::ids::Rows;
use crate::profile::proto::{Location, Profile};
use crate::profile::text;

/// The addresses of the programs that have something of what was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct DisasmReport {
    /// The profile, the value and its total.
    pub header: Header,
    /// Options that matched nothing.
    pub unmatched: Vec<&'static str>,
    /// Writes the values.
    pub numbers: Numbers,
    /// In the profile's order.
    pub mappings: Vec<Mapped>,
}

/// A mapping with the values of its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Path of the file; empty where it is not known.
    pub path: String,
    /// Its build-id; empty where it is not known.
    pub build_id: String,
    /// First address.
    pub start: u64,
    /// Offset in the file that `start` shows.
    pub offset: u64,
    /// By address in the process.
    pub addresses: BTreeMap<u64, Cost>,
}

/// What an address costs, and what the profile knows about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Value of the samples that end here.
    pub flat: i64,
    /// Value of the samples with this address anywhere in their stack, each counted once.
    pub cum: i64,
    /// The function that the address lies in, not one that was inlined there.
    pub function: String,
    /// The source file of it.
    pub file: String,
    /// The line in it.
    pub line: i64,
    /// Whether the function was asked for.
    pub wanted: bool,
}

/// A function's code: where it lies in its file, and its instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Its name in the symbol table.
    pub symbol: String,
    /// First address, as the file counts them.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// What is added to the process's addresses to get the file's, wrapping.
    pub bias: u64,
    /// Address and text of each instruction, or why there are none.
    pub instructions: Result<Vec<(u64, String)>, String>,
}

/// A function with the cost of each instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routine {
    /// Its name.
    pub function: String,
    /// The file that it is in.
    pub path: String,
    /// Sum over its instructions.
    pub flat: i64,
    /// Sum over its instructions; samples with several of them count several times.
    pub cum: i64,
    /// Why the text of instructions is missing, if it is.
    pub no_code: Option<String>,
    /// By address, as the file counts them where it is known, else as the process does.
    pub instructions: Vec<Instruction>,
}

/// An instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instruction {
    /// Its address.
    pub address: u64,
    /// What it does; empty where that is not at hand.
    pub text: String,
    /// `function file:line` as far as it is known and differs from the instruction before; else empty.
    pub place: String,
    /// Value of the samples that end here.
    pub flat: i64,
    /// Value of the samples with this instruction in their stack.
    pub cum: i64,
}

/// Finds the functions of a mapping by the addresses that were asked for; an error says why there are none.
pub type Look<'r> = &'r mut dyn FnMut(&Mapped) -> Result<Vec<Code>, String>;

/// Sums up the addresses of the mappings that have a function whose name matches. A regex that reads as a number (with
/// 0x in hexadecimal) also stands for the function at this address.
///
/// # Errors
/// The profile is inconsistent, does not have the value that is asked for, or nothing matches.
pub fn disasm(profile: &Profile, lens: &Lens, regex: &Regex) -> Result<DisasmReport, ReportError> {
    let subject = Subject::new(profile, lens)?;
    let profile = &*subject.profile;
    let (locations, functions, mappings) =
        (Rows::locations(profile)?, Rows::functions(profile)?, Rows::mappings(profile)?);
    // By row of the location: flat and cum, and the sample that it was last counted for.
    let mut sums: Vec<(i64, i64, Option<usize>)> = vec![(0, 0, None); profile.location.len()];
    for (number, (sample, value)) in subject.weighted().into_iter().enumerate() {
        for (depth, &id) in sample.location_id.iter().enumerate() {
            let Some((flat, cum, last)) = locations.get(id).and_then(|row| sums.get_mut(row)) else {
                continue;
            };
            if depth == 0 {
                *flat = flat.saturating_add(value);
            }
            if *last != Some(number) {
                *last = Some(number);
                *cum = cum.saturating_add(value);
            }
        }
    }
    let address = address(regex.as_str());
    let cost = |location: &Location, flat, cum| {
        // The last line is that of the symbol; those before it were inlined.
        let line = location.line.last();
        let function = line.and_then(|line| profile.function.get(functions.get(line.function_id)?));
        let name = function.map_or("", |function| text(profile, function.name));
        let file = function.map_or("", |function| text(profile, function.filename));
        Cost {
            flat,
            cum,
            function: name.to_owned(),
            file: lens.paths.trimmed(file).to_owned(),
            line: line.map_or(0, |line| line.line),
            wanted: (!name.is_empty() && regex.is_match(name)) || address == Some(location.address),
        }
    };
    let mut found: BTreeMap<usize, Mapped> = BTreeMap::new();
    for (location, &(flat, cum, _)) in profile.location.iter().zip(&sums) {
        if (flat, cum) == (0, 0) || lens.negative.drops(flat, cum) {
            continue;
        }
        // What has no mapping is one of its own, without a file.
        let row = mappings.get(location.mapping_id);
        let mapped = found.entry(row.unwrap_or(usize::MAX)).or_insert_with(|| {
            let mapping = row.and_then(|row| profile.mapping.get(row)).cloned().unwrap_or_default();
            Mapped {
                path: text(profile, mapping.filename).to_owned(),
                build_id: text(profile, mapping.build_id).to_owned(),
                start: mapping.memory_start,
                offset: mapping.file_offset,
                addresses: BTreeMap::new(),
            }
        });
        let cost = cost(location, flat, cum);
        let known = mapped.addresses.entry(location.address).or_insert_with(|| Cost {
            flat: 0,
            cum: 0,
            ..cost.clone()
        });
        known.flat = known.flat.saturating_add(cost.flat);
        known.cum = known.cum.saturating_add(cost.cum);
        known.wanted |= cost.wanted;
    }
    let wanted = |mapped: &Mapped| mapped.addresses.values().any(|cost| cost.wanted);
    let mappings: Vec<Mapped> = found.into_values().filter(wanted).collect();
    if mappings.is_empty() {
        return Err(ReportError::NoMatch(regex.as_str().to_owned()));
    }
    let Subject { header, unmatched, numbers, .. } = subject;
    Ok(DisasmReport { header, unmatched, numbers, mappings })
}

fn address(written: &str) -> Option<u64> {
    match written.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => written.parse().ok(),
    }
}

/// The functions that were asked for, by name, with what `look` finds of their code.
pub fn routines(report: &DisasmReport, look: Look<'_>) -> Vec<Routine> {
    let mut all = Vec::new();
    for mapped in &report.mappings {
        match look(mapped) {
            Ok(codes) => {
                let mut seen: HashSet<u64> = HashSet::new();
                for code in &codes {
                    all.push(with_code(mapped, code, &mut seen));
                }
                // What lies outside of all symbols.
                let rest = |address: &u64, cost: &Cost| cost.wanted && !seen.contains(address);
                all.extend(without_code(mapped, rest, "no symbol of the file covers these addresses"));
            }
            Err(why) => all.extend(without_code(mapped, |_, cost| cost.wanted, &why)),
        }
    }
    all.sort_by(|left, right| {
        let first = |routine: &Routine| routine.instructions.first().map(|instruction| instruction.address);
        (&left.function, first(left)).cmp(&(&right.function, first(right)))
    });
    all
}

/// Gives the values of addresses to the instructions that they lie in.
fn with_code(mapped: &Mapped, code: &Code, seen: &mut HashSet<u64>) -> Routine {
    let inside: Vec<(u64, u64, &Cost)> = mapped
        .addresses
        .iter()
        .map(|(&address, cost)| (address.wrapping_add(code.bias), address, cost))
        .filter(|(own, ..)| (code.start..code.end).contains(own))
        .collect();
    seen.extend(inside.iter().map(|&(_, address, _)| address));
    let name = inside.iter().map(|(.., cost)| &cost.function).find(|name| !name.is_empty());
    let mut routine = Routine {
        function: name.unwrap_or(&code.symbol).clone(),
        path: mapped.path.clone(),
        flat: inside.iter().fold(0, |sum, (.., cost)| sum.saturating_add(cost.flat)),
        cum: inside.iter().fold(0, |sum, (.., cost)| sum.saturating_add(cost.cum)),
        no_code: code.instructions.as_ref().err().cloned(),
        instructions: Vec::new(),
    };
    let Ok(instructions) = &code.instructions else {
        routine.instructions = plain(inside.iter().map(|&(own, _, cost)| (own, cost)));
        return routine;
    };
    let mut inside = inside.into_iter().map(|(own, _, cost)| (own, cost)).peekable();
    let mut last = String::new();
    for (number, (address, text)) in instructions.iter().enumerate() {
        let next = instructions.get(number + 1).map_or(u64::MAX, |&(next, _)| next);
        let mut instruction = Instruction { address: *address, text: text.clone(), ..Instruction::default() };
        while let Some((_, cost)) = inside.next_if(|&(own, _)| own < next) {
            instruction.flat = instruction.flat.saturating_add(cost.flat);
            instruction.cum = instruction.cum.saturating_add(cost.cum);
            if instruction.place.is_empty() {
                instruction.place = place(cost);
            }
        }
        // The same again says nothing.
        if instruction.place == last {
            instruction.place.clear();
        } else if !instruction.place.is_empty() {
            last.clone_from(&instruction.place);
        }
        routine.instructions.push(instruction);
    }
    routine
}

/// Addresses by function, where the program is not at hand.
fn without_code(mapped: &Mapped, wanted: impl Fn(&u64, &Cost) -> bool, why: &str) -> Vec<Routine> {
    let mut by_name: HashMap<&str, Vec<(u64, &Cost)>> = HashMap::new();
    for (address, cost) in mapped.addresses.iter().filter(|(address, cost)| wanted(address, cost)) {
        by_name.entry(&cost.function).or_default().push((*address, cost));
    }
    let routine = |(function, costs): (&str, Vec<(u64, &Cost)>)| Routine {
        function: if function.is_empty() { "<unknown>".to_owned() } else { function.to_owned() },
        path: mapped.path.clone(),
        flat: costs.iter().fold(0, |sum, (_, cost)| sum.saturating_add(cost.flat)),
        cum: costs.iter().fold(0, |sum, (_, cost)| sum.saturating_add(cost.cum)),
        no_code: Some(why.to_owned()),
        instructions: plain(costs.into_iter()),
    };
    by_name.into_iter().map(routine).collect()
}

fn plain<'c>(costs: impl Iterator<Item = (u64, &'c Cost)>) -> Vec<Instruction> {
    costs
        .map(|(address, cost)| Instruction {
            address,
            text: String::new(),
            place: place(cost),
            flat: cost.flat,
            cum: cost.cum,
        })
        .collect()
}

fn place(cost: &Cost) -> String {
    let file = if cost.file.is_empty() { "" } else { super::node::base(&cost.file) };
    match (file.is_empty(), cost.line) {
        (true, _) => cost.function.clone(),
        (false, 0) => format!("{} {file}", cost.function),
        (false, line) => format!("{} {file}:{line}", cost.function),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;

    fn counts() -> Lens {
        Lens { sample_index: Some("samples".to_owned()), ..Lens::default() }
    }

    fn report(pattern: &str) -> DisasmReport {
        disasm(&fixture::two_threads(), &counts(), &Regex::new(pattern).unwrap()).unwrap()
    }

    #[test]
    fn addresses_by_the_function_that_they_lie_in() {
        let report = report("^work$");
        let routines = routines(&report, &mut |_| Err("not at hand".to_owned()));
        assert_eq!(routines.len(), 1);
        let work = &routines[0];
        // 3 and 2 through the inlined call, 1 at the line without it.
        assert_eq!((work.function.as_str(), work.flat, work.cum), ("work", 4, 6));
        assert_eq!(work.no_code.as_deref(), Some("not at hand"));
        let values: Vec<(i64, i64)> = work.instructions.iter().map(|one| (one.flat, one.cum)).collect();
        assert_eq!(values, [(3, 5), (1, 1)]);
    }

    #[test]
    fn values_go_to_the_instruction_that_an_address_lies_in() {
        let report = report("^work$");
        let first = *report.mappings[0].addresses.iter().find(|(_, cost)| cost.wanted).unwrap().0;
        let mut look = |_: &Mapped| {
            Ok(vec![Code {
                symbol: "work".to_owned(),
                start: 0x10,
                end: 0x10_0000,
                bias: 0x20_u64.wrapping_sub(first),
                instructions: Ok(vec![
                    (0x10, "push".to_owned()),
                    (0x1f, "call".to_owned()),
                    (0x22, "ret".to_owned()),
                ]),
            }])
        };
        let routines = routines(&report, &mut look);
        let work = routines.iter().find(|routine| routine.function == "work").unwrap();
        let call = &work.instructions[1];
        assert_eq!((call.flat, call.cum, call.text.as_str()), (3, 5, "call"));
        assert!(call.place.starts_with("work work.c:"), "{}", call.place);
        assert_eq!(work.instructions[0].cum, 0);
    }

    #[test]
    fn what_matches_nothing() {
        let regex = Regex::new("nobody").unwrap();
        let error = disasm(&fixture::two_threads(), &Lens::default(), &regex).unwrap_err();
        assert_eq!(error, ReportError::NoMatch("nobody".to_owned()));
        assert_eq!((address("0x1f"), address("12"), address("main")), (Some(0x1f), Some(12), None));
    }
}
