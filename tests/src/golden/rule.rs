//! Rules as text: `cfa=rsp+16 fp=*(cfa-16)`.

use std::fmt::Write;

use profiler_common::unwind::rule::{Rule, fp, kind, ra};

use super::Machine;

/// Rules that are their kind alone.
const SPECIAL: [(u8, &str); 6] = [
    (kind::GAP, "gap"),
    (kind::END, "end"),
    (kind::UNSUPPORTED, "unsupported"),
    (kind::FRAME_POINTER, "frame-pointer"),
    (kind::OTHER_STACK, "other-stack"),
    (kind::SIGNAL, "signal"),
];

/// How an entry of a procedure linkage table begins.
const PLT: &str = "plt pushed-from=";

/// The return address lies in the word behind that of the frame pointer.
const IN_RECORD: &str = "in-record";

/// A rule as text. Panics where the text would not say it all.
pub(super) fn text(rule: &Rule, machine: Machine) -> String {
    let text = write(rule, machine);
    assert!(parse(&text, machine) == Some(*rule), "{text:?} is not all of {rule:?}");
    text
}

fn write(rule: &Rule, machine: Machine) -> String {
    let place = |register, offset| place(register, offset, machine);
    if let Some((_, name)) = SPECIAL.iter().find(|(kind, _)| *kind == rule.kind) {
        return (*name).to_owned();
    }
    if rule.kind == kind::PLT {
        return format!("{PLT}{}", rule.cfa_add);
    }
    let mut text = format!("cfa={}", place(rule.cfa_register, rule.cfa_offset));
    if rule.kind == kind::DEREF {
        text = format!("cfa=*({}){:+}", place(rule.cfa_register, rule.cfa_offset), rule.cfa_add);
    }
    match rule.fp {
        fp::AT_CFA => write!(text, " fp=*(cfa{:+})", rule.fp_offset).unwrap(),
        fp::AT_REGISTER => write!(text, " fp=*({})", place(rule.fp_register, rule.fp_offset)).unwrap(),
        fp::UNDEFINED => text.push_str(" fp=undefined"),
        _ => {}
    }
    match rule.ra {
        ra::REGISTER => write!(text, " ra={}", name(rule.ra_register, machine)).unwrap(),
        ra::IN_RECORD => write!(text, " ra={IN_RECORD}").unwrap(),
        _ if machine.has_link() => write!(text, " ra=*(cfa{:+})", rule.cfa_add).unwrap(),
        _ => {}
    }
    text
}

/// Reads back what [`text`] wrote.
pub(super) fn parse(text: &str, machine: Machine) -> Option<Rule> {
    let parse_place = |text| parse_place(text, machine);
    if let Some((kind, _)) = SPECIAL.iter().find(|(_, name)| *name == text) {
        return Some(Rule::special(*kind));
    }
    if let Some(from) = text.strip_prefix(PLT) {
        return Some(Rule { cfa_add: from.parse().ok()?, ..Rule::special(kind::PLT) });
    }
    let mut rule = Rule::special(kind::OFFSET);
    for word in text.split(' ') {
        match word.split_once('=')? {
            ("cfa", value) => match value.strip_prefix("*(") {
                Some(value) => {
                    let (at, add) = value.split_once(')')?;
                    rule.kind = kind::DEREF;
                    rule.cfa_add = add.parse().ok()?;
                    (rule.cfa_register, rule.cfa_offset) = parse_place(at)?;
                }
                None => (rule.cfa_register, rule.cfa_offset) = parse_place(value)?,
            },
            ("fp", "undefined") => rule.fp = fp::UNDEFINED,
            ("fp", value) => {
                let at = value.strip_prefix("*(")?.strip_suffix(')')?;
                match at.strip_prefix("cfa") {
                    Some(offset) => {
                        rule.fp = fp::AT_CFA;
                        rule.fp_offset = offset.parse().ok()?;
                    }
                    None => {
                        rule.fp = fp::AT_REGISTER;
                        (rule.fp_register, rule.fp_offset) = parse_place(at)?;
                    }
                }
            }
            ("ra", IN_RECORD) => rule.ra = ra::IN_RECORD,
            ("ra", value) => match value.strip_prefix("*(cfa") {
                Some(offset) => rule.cfa_add = offset.strip_suffix(')')?.parse().ok()?,
                None => {
                    rule.ra = ra::REGISTER;
                    rule.ra_register = number(value, machine)?;
                }
            },
            _ => return None,
        }
    }
    Some(rule)
}

/// A register and an offset from it.
fn place(register: u8, offset: i32, machine: Machine) -> String {
    format!("{}{offset:+}", name(register, machine))
}

fn parse_place(text: &str, machine: Machine) -> Option<(u8, i32)> {
    let (name, offset) = text.split_at(text.find(['+', '-'])?);
    Some((number(name, machine)?, offset.parse().ok()?))
}

fn name(register: u8, machine: Machine) -> &'static str {
    let names = machine.registers();
    names[usize::from(register) % names.len()]
}

fn number(name: &str, machine: Machine) -> Option<u8> {
    u8::try_from(machine.registers().iter().position(|register| *register == name)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back() {
        let offset = Rule::offset(7, 16);
        let deref = Rule { kind: kind::DEREF, cfa_add: 8, ..Rule::offset(6, -8) };
        let texts = [
            (Rule::END, "end"),
            (Rule { cfa_add: 11, ..Rule::special(kind::PLT) }, "plt pushed-from=11"),
            (offset, "cfa=rsp+16"),
            (Rule { fp: fp::AT_CFA, fp_offset: -16, ..offset }, "cfa=rsp+16 fp=*(cfa-16)"),
            (Rule { fp: fp::AT_REGISTER, fp_register: 6, ..deref }, "cfa=*(rbp-8)+8 fp=*(rbp+0)"),
            (
                Rule { fp: fp::UNDEFINED, ra: ra::REGISTER, ra_register: 5, ..offset },
                "cfa=rsp+16 fp=undefined ra=rdi",
            ),
        ];
        for (rule, expected) in texts {
            assert_eq!(text(&rule, Machine::X86_64), expected);
        }
        let leaf = Rule { ra: ra::REGISTER, ra_register: 30, ..Rule::offset(31, 0) };
        let record = Rule { fp: fp::AT_CFA, fp_offset: -32, ra: ra::IN_RECORD, ..Rule::offset(31, 32) };
        let texts = [
            (leaf, "cfa=sp+0 ra=x30"),
            (record, "cfa=sp+32 fp=*(cfa-32) ra=in-record"),
            (Rule { cfa_add: -16, ..Rule::offset(31, 16) }, "cfa=sp+16 ra=*(cfa-16)"),
            (Rule::END, "end"),
        ];
        for (rule, expected) in texts {
            assert_eq!(text(&rule, Machine::Aarch64), expected);
        }
    }

    #[test]
    fn what_is_no_rule_is_none() {
        for text in ["", "cfa", "cfa=rsp", "cfa=xyz+8", "cfa=*(rbp-8", "fp=*(cfa)", "cfa=rsp+8 more"] {
            assert_eq!(parse(text, Machine::X86_64), None, "{text:?}");
        }
    }
}
