//! The rows of a table, sorted and filtered. Pure.

use std::cmp::Reverse;
use std::collections::HashMap;

use profiler_common::layout::ProcessKey;
use profiler_common::outcome::{Kind, Outcome};
use regex::Regex;

use super::history::Part;
use super::sums::{Cost, Function, Names, Sums};

/// What a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Functions, of all processes or of one.
    Functions(Option<ProcessKey>),
    /// Processes.
    Processes,
    /// A function between its callers and callees, in all processes or in one.
    Calls(Option<ProcessKey>, Function),
}

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// Own time; of processes all of it.
    #[default]
    Flat,
    /// Time with all that was called.
    Cum,
    Name,
    Process,
}

/// What a row leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Function(Function),
    Process(ProcessKey),
}

/// How a row stands to the function that a table of calls is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    None,
    Caller,
    Itself,
    Callee,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) target: Target,
    pub(super) role: Role,
    /// Of a process both are its CPU time; of callers and callees `cum` is that of the calls, and `flat` 0.
    pub(super) cost: Cost,
    pub(super) name: String,
    /// The process that most of it is of, with its number and how many others there are; of a process what it spends
    /// most of its own time on.
    pub(super) beside: String,
    /// Of a process, the share of its stacks that are complete, in percent.
    pub(super) complete: Option<u64>,
}

/// The rows of a table.
pub(super) fn rows(part: &Part, names: &Names, view: View, sort: Sort, filter: Option<&Regex>) -> Vec<Row> {
    let wanted =
        |row: &Row| filter.is_none_or(|regex| regex.is_match(&row.name) || regex.is_match(&row.beside));
    let mut rows: Vec<Row> = match view {
        View::Functions(process) => functions(part, names, process),
        View::Processes => part.processes.iter().map(|(key, sums)| process(*key, sums, names)).collect(),
        View::Calls(process, function) => return calls(part, names, process, function, filter),
    };
    rows.retain(wanted);
    rows.sort_by(|left, right| {
        let by_cost = |row: &Row| (Reverse(row.cost.flat), Reverse(row.cost.cum));
        let by_cum = |row: &Row| (Reverse(row.cost.cum), Reverse(row.cost.flat));
        let first = match sort {
            Sort::Flat => by_cost(left).cmp(&by_cost(right)),
            Sort::Cum => by_cum(left).cmp(&by_cum(right)),
            Sort::Name => left.name.cmp(&right.name),
            Sort::Process => left.beside.cmp(&right.beside),
        };
        first.then_with(|| by_cost(left).cmp(&by_cost(right))).then_with(|| left.name.cmp(&right.name))
    });
    rows
}

/// The processes that a view is about.
fn chosen(part: &Part, process: Option<ProcessKey>) -> impl Iterator<Item = (&ProcessKey, &Sums)> {
    part.processes.iter().filter(move |(key, _)| process.is_none_or(|process| process == **key))
}

fn functions(part: &Part, names: &Names, process: Option<ProcessKey>) -> Vec<Row> {
    struct Sum<'p> {
        cost: Cost,
        most: (Cost, ProcessKey, &'p str),
        processes: usize,
    }
    let mut sums: HashMap<Function, Sum<'_>> = HashMap::new();
    for (key, process) in chosen(part, process) {
        for (function, cost) in &process.functions {
            let own = (*cost, *key, process.name.as_str());
            let sum = sums.entry(*function).or_insert(Sum { cost: Cost::default(), most: own, processes: 0 });
            sum.cost.add(*cost);
            sum.processes += 1;
            let rank = |(cost, key, _): (Cost, ProcessKey, &str)| (cost.flat, cost.cum, Reverse(key));
            if rank(own) > rank(sum.most) {
                sum.most = own;
            }
        }
    }
    let row = |(function, sum): (Function, Sum<'_>)| {
        let (_, key, name) = sum.most;
        let others = if sum.processes > 1 { format!(" +{}", sum.processes - 1) } else { String::new() };
        Row {
            target: Target::Function(function),
            role: Role::None,
            cost: sum.cost,
            name: names.get(function).to_string(),
            beside: format!("{name} {}{others}", key.pid),
            complete: None,
        }
    };
    sums.into_iter().map(row).collect()
}

fn process(key: ProcessKey, sums: &Sums, names: &Names) -> Row {
    let hottest = sums.functions.iter().max_by_key(|(function, cost)| (cost.flat, Reverse(**function)));
    let ticks = |kinds: &[Kind]| -> u64 {
        let of = |outcome: &&Outcome| kinds.contains(&outcome.kind());
        Outcome::ALL
            .iter()
            .zip(sums.outcomes)
            .filter(|(outcome, _)| of(outcome))
            .map(|(_, ticks)| ticks)
            .sum()
    };
    let all = ticks(&[Kind::Complete, Kind::Truncated, Kind::StackLost]);
    Row {
        target: Target::Process(key),
        role: Role::None,
        cost: Cost { flat: sums.total, cum: sums.total },
        name: format!("{} {}", sums.name, key.pid),
        beside: hottest.map(|(function, _)| names.get(*function).to_string()).unwrap_or_default(),
        complete: (100 * ticks(&[Kind::Complete])).checked_div(all),
    }
}

/// Callers, the function itself, callees; each group by its weight.
fn calls(
    part: &Part,
    names: &Names,
    process: Option<ProcessKey>,
    function: Function,
    filter: Option<&Regex>,
) -> Vec<Row> {
    let mut own = Cost::default();
    let (mut callers, mut callees): (HashMap<Function, i64>, HashMap<Function, i64>) = Default::default();
    for (_, process) in chosen(part, process) {
        own.add(process.functions.get(&function).copied().unwrap_or_default());
        for (&(from, to), &weight) in &process.calls {
            for (side, one, other) in [(&mut callers, to, from), (&mut callees, from, to)] {
                if one == function {
                    let sum = side.entry(other).or_default();
                    *sum = sum.saturating_add(weight);
                }
            }
        }
    }
    let row = |function, cost, role| Row {
        target: Target::Function(function),
        role,
        cost,
        name: names.get(function).to_string(),
        beside: String::new(),
        complete: None,
    };
    let group = |side: HashMap<Function, i64>, role| {
        let row = |(other, cum)| row(other, Cost { flat: 0, cum }, role);
        let mut rows: Vec<Row> = side.into_iter().map(row).collect();
        rows.retain(|row| filter.is_none_or(|regex| regex.is_match(&row.name)));
        rows.sort_by(|left, right| {
            (Reverse(left.cost.cum), &left.name).cmp(&(Reverse(right.cost.cum), &right.name))
        });
        rows
    };
    let mut rows = group(callers, Role::Caller);
    rows.push(row(function, own, Role::Itself));
    rows.extend(group(callees, Role::Callee));
    rows
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::window;
    use super::super::history::{History, Scope};
    use super::*;

    fn history() -> History {
        let mut history = History::new(1_000_000_000);
        history.add(&window(&[(1, "api"), (2, "worker")]));
        history.add(&window(&[(2, "worker")]));
        history
    }

    fn shown(view: View, sort: Sort, filter: Option<&str>) -> Vec<String> {
        let history = history();
        let filter = filter.map(|pattern| Regex::new(pattern).unwrap());
        rows(&history.part(Scope::Total), &history.names, view, sort, filter.as_ref())
            .into_iter()
            .map(|row| {
                let Cost { flat, cum } = row.cost;
                let role = match row.role {
                    Role::None => "",
                    Role::Caller => "<",
                    Role::Itself => "=",
                    Role::Callee => ">",
                };
                format!("{role}{} {} {} [{}]", row.name, flat / 1_000_000, cum / 1_000_000, row.beside)
            })
            .collect()
    }

    #[test]
    fn functions_of_all_and_of_one() {
        assert_eq!(
            shown(View::Functions(None), Sort::Flat, None),
            [
                "inlined 90 150 [worker 2 +1]",
                "[[vdso]] 60 60 [worker 2 +1]",
                "work 30 180 [worker 2 +1]",
                "main 0 180 [worker 2 +1]"
            ]
        );
        let api = ProcessKey { pid: 1, exec_id: 0, start_ns: 1 };
        assert_eq!(
            shown(View::Functions(Some(api)), Sort::Cum, Some("^w|main")),
            ["work 10 60 [api 1]", "main 0 60 [api 1]"]
        );
        assert_eq!(shown(View::Functions(None), Sort::Name, None)[1], "inlined 90 150 [worker 2 +1]");
    }

    #[test]
    fn processes_with_what_they_do() {
        assert_eq!(
            shown(View::Processes, Sort::Flat, None),
            ["worker 2 120 120 [inlined]", "api 1 60 60 [inlined]"]
        );
        assert_eq!(shown(View::Processes, Sort::Name, None)[0], "api 1 60 60 [inlined]");
        assert_eq!(shown(View::Processes, Sort::Flat, Some("api")).len(), 1);
        let history = history();
        let rows = rows(&history.part(Scope::Last), &history.names, View::Processes, Sort::Flat, None);
        assert_eq!((rows.len(), rows[0].complete), (1, Some(100)));
    }

    #[test]
    fn a_function_between_its_callers_and_callees() {
        let history = history();
        let part = history.part(Scope::Total);
        let all = rows(&part, &history.names, View::Functions(None), Sort::Flat, None);
        let Target::Function(work) = all.iter().find(|row| row.name == "work").unwrap().target else {
            panic!()
        };
        assert_eq!(
            shown(View::Calls(None, work), Sort::Flat, None),
            ["<main 0 180 []", "=work 30 180 []", ">inlined 0 150 []"]
        );
        assert_eq!(shown(View::Calls(None, work), Sort::Flat, Some("nothing")), ["=work 30 180 []"]);
    }
}
