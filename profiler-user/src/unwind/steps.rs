//! Rules over a range of addresses.

use std::ops::Range;

use profiler_common::unwind::rule::Rule;

/// A list of addresses and the rules that hold from there on; addresses rise, neighbouring rules differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps(Vec<(u64, Rule)>);

impl Steps {
    /// A rule from `address` on. Addresses may only rise; at an address once more, the later rule holds.
    pub(super) fn push(&mut self, address: u64, rule: Rule) {
        while self.0.last().is_some_and(|&(last, _)| last >= address) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|&(_, last)| last != rule) {
            self.0.push((address, rule));
        }
    }

    pub(super) fn append(&mut self, other: &Self) {
        for &(address, rule) in &other.0 {
            self.push(address, rule);
        }
    }

    pub(super) fn has_gap(&self) -> bool {
        self.0.iter().any(|&(_, rule)| rule == Rule::GAP)
    }

    /// The same with another rule in place of gaps.
    pub(super) fn with_gaps_as(&self, filling: Rule) -> Self {
        let mut filled = Self::default();
        for &(address, rule) in &self.0 {
            filled.push(address, if rule == Rule::GAP { filling } else { rule });
        }
        filled
    }

    /// The same with each rule changed.
    pub(super) fn map(&self, change: impl Fn(Rule) -> Rule) -> Self {
        let mut changed = Self::default();
        for &(address, rule) in &self.0 {
            changed.push(address, change(rule));
        }
        changed
    }

    /// The same with another list's rules in the gaps.
    pub(super) fn with_gaps_from(&self, other: &Self) -> Self {
        let mut filled = Self::default();
        let (mut own, mut others) = (self.0.iter().peekable(), other.0.iter().peekable());
        let (mut rule, mut filling) = (Rule::GAP, Rule::GAP);
        loop {
            let address = match (own.peek(), others.peek()) {
                (Some(one), Some(two)) => one.0.min(two.0),
                (Some(one), None) | (None, Some(one)) => one.0,
                (None, None) => return filled,
            };
            if let Some(&(_, new)) = own.next_if(|step| step.0 == address) {
                rule = new;
            }
            if let Some(&(_, new)) = others.next_if(|step| step.0 == address) {
                filling = new;
            }
            filled.push(address, if rule == Rule::GAP { filling } else { rule });
        }
    }

    /// The part in a window, with gaps before the first step and at the start.
    pub(super) fn inside(&self, window: &Range<u64>) -> Self {
        let mut inside = Self::default();
        inside.push(window.start, Rule::GAP);
        for &(address, rule) in self.0.iter().take_while(|step| step.0 < window.end) {
            inside.push(address.max(window.start), rule);
        }
        inside
    }

    pub(super) fn as_slice(&self) -> &[(u64, Rule)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(list: &[(u64, Rule)]) -> Steps {
        let mut steps = Steps::default();
        for &(address, rule) in list {
            steps.push(address, rule);
        }
        steps
    }

    const ONE: Rule = Rule::offset(7, 8);
    const TWO: Rule = Rule::offset(7, 16);

    #[test]
    fn equal_neighbours_are_one_and_later_rules_win() {
        assert_eq!(steps(&[(1, ONE), (2, ONE), (3, TWO)]).as_slice(), [(1, ONE), (3, TWO)]);
        assert_eq!(steps(&[(1, ONE), (2, TWO), (2, ONE), (3, TWO)]).as_slice(), [(1, ONE), (3, TWO)]);
        assert_eq!(steps(&[(1, ONE), (3, TWO), (2, Rule::GAP)]).as_slice(), [(1, ONE), (2, Rule::GAP)]);
    }

    #[test]
    fn gaps_are_filled_and_nothing_else() {
        let own = steps(&[(10, Rule::GAP), (20, ONE), (30, Rule::GAP), (40, TWO)]);
        assert!(own.has_gap());
        let other = steps(&[(10, TWO), (15, Rule::GAP), (18, ONE), (33, TWO)]);
        let filled = own.with_gaps_from(&other);
        assert_eq!(filled.as_slice(), [(10, TWO), (15, Rule::GAP), (18, ONE), (33, TWO)]);
        let end = own.with_gaps_as(Rule::END);
        assert_eq!(end.as_slice(), [(10, Rule::END), (20, ONE), (30, Rule::END), (40, TWO)]);
        assert!(!end.has_gap());
    }
}
