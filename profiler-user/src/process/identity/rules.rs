//! Rules over what is known of a process, which change its labels or leave it out: Prometheus's relabel_config
//! (<https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config>). Pure.

use std::{collections::BTreeMap, str::FromStr};

use md5::{Digest, Md5};
use regex::Regex;
use serde::Deserialize;

use crate::{
    profile::labels::{LabelFilter, LabelFilterError},
    units,
};

/// Labels that the profiler itself gives to samples, and no rule changes.
const OWN: [&str; 4] = ["process", "pid", "thread", "host"];

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    /// Sets the target to the replacement where the regex matches; removes it where that is empty.
    #[default]
    Replace,
    /// Sets the target to the sources in small letters.
    Lowercase,
    /// Sets the target to the sources in capitals.
    Uppercase,
    /// Sets the target to a hash of the sources, modulo the rule's modulus: splits processes into equal shares.
    HashMod,
    /// Leaves the process out unless the regex matches.
    Keep,
    /// Leaves the process out where the regex matches.
    Drop,
    /// Leaves the process out unless the sources are the target's value.
    KeepEqual,
    /// Leaves the process out where they are.
    DropEqual,
    /// Copies labels whose names match, to names that the replacement tells.
    LabelMap,
    /// Removes labels whose names match.
    LabelDrop,
    /// Removes labels whose names do not match.
    LabelKeep,
}

/// One rule, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Labels whose values are joined and looked at.
    #[serde(default)]
    source_labels: Vec<String>,
    /// What they are joined by.
    #[serde(default = "semicolon")]
    separator: String,
    /// The label that is changed.
    #[serde(default)]
    target_label: String,
    /// What must match the whole of it.
    #[serde(default = "anything")]
    regex: String,
    /// The new value, with the regex's groups as `$1` or `${name}`.
    #[serde(default = "first_group")]
    replacement: String,
    /// How many shares `hashmod` makes.
    #[serde(default)]
    modulus: u64,
    /// What is done.
    #[serde(default)]
    action: Action,
}

fn semicolon() -> String {
    ";".to_owned()
}

fn anything() -> String {
    "(.*)".to_owned()
}

fn first_group() -> String {
    "$1".to_owned()
}

impl FromStr for Rule {
    type Err = String;

    /// A TOML table in one line, with or without its braces: `source_labels = ["unit"], target_label = "service"`.
    fn from_str(text: &str) -> Result<Rule, String> {
        let rule: Rule = units::table(text)?;
        rule.compiled()?;
        Ok(rule)
    }
}

impl Rule {
    fn compiled(&self) -> Result<Compiled, String> {
        // As Prometheus has it: the regex matches the whole text, and a dot also the end of a line.
        let regex = Regex::new(&format!("^(?s:{})$", self.regex))
            .map_err(|error| format!("{:?} is not a regex: {error}", self.regex))?;
        let wants_target = !matches!(
            self.action,
            Action::Keep | Action::Drop | Action::LabelMap | Action::LabelDrop | Action::LabelKeep
        );
        if wants_target && self.target_label.is_empty() {
            return Err(
                format!("a rule whose action is {:?} needs a target_label", self.action).to_lowercase()
            );
        }
        if self.action == Action::HashMod && self.modulus == 0 {
            return Err("a rule whose action is hashmod needs a modulus above 0".to_owned());
        }
        let sets = wants_target && !matches!(self.action, Action::KeepEqual | Action::DropEqual);
        if sets && OWN.contains(&self.target_label.as_str()) {
            return Err(format!("the label {} is the profiler's own: no rule sets it", self.target_label));
        }
        if sets && !self.target_label.contains('$') && !is_name(&self.target_label) {
            return Err(format!(
                "{:?} cannot be a label: letters, digits and _, no digit at first",
                self.target_label
            ));
        }
        Ok(Compiled { rule: self.clone(), regex })
    }
}

fn is_name(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.bytes().all(word) && !name.starts_with(|char: char| char.is_ascii_digit())
}

#[derive(Clone, Debug)]
struct Compiled {
    rule: Rule,
    regex: Regex,
}

/// Names and values, while rules are applied.
pub(super) type Labels = BTreeMap<String, String>;

impl Compiled {
    /// Applies the rule; `false` where the process is left out.
    fn apply(&self, labels: &mut Labels) -> bool {
        let Rule { source_labels, separator, target_label, replacement, action, .. } = &self.rule;
        let value = |name: &String| labels.get(name).map_or("", String::as_str);
        let source = source_labels.iter().map(value).collect::<Vec<_>>().join(separator);
        match action {
            Action::Keep => return self.regex.is_match(&source),
            Action::Drop => return !self.regex.is_match(&source),
            Action::KeepEqual => return source == value(target_label),
            Action::DropEqual => return source != value(target_label),
            Action::Lowercase => set(labels, target_label, source.to_lowercase()),
            // A modulus of 0 is refused when the rule is read.
            Action::HashMod => {
                let share = hash(&source).checked_rem(self.rule.modulus).unwrap_or_default();
                set(labels, target_label, share.to_string());
            }
            Action::Uppercase => set(labels, target_label, source.to_uppercase()),
            Action::Replace => {
                if let Some(groups) = self.regex.captures(&source) {
                    let expanded = |template: &str| {
                        let mut text = String::new();
                        groups.expand(template, &mut text);
                        text
                    };
                    set(labels, &expanded(target_label), expanded(replacement));
                }
            }
            Action::LabelMap => {
                let renamed: Vec<_> = labels
                    .iter()
                    .filter(|(name, _)| self.regex.is_match(name))
                    .map(|(name, value)| {
                        (self.regex.replace(name, replacement.as_str()).into_owned(), value.clone())
                    })
                    .collect();
                for (name, value) in renamed {
                    set(labels, &name, value);
                }
            }
            Action::LabelDrop => labels.retain(|name, _| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name, _| self.regex.is_match(name)),
        }
        true
    }
}

/// Prometheus's hash: the last eight bytes of the MD5 sum, big end first (its model/relabel/relabel.go, sum64).
fn hash(text: &str) -> u64 {
    Md5::digest(text).iter().skip(8).fold(0, |sum, &byte| (sum << 8) | u64::from(byte))
}

/// Sets a label; an empty value is none. What is no name of a label, and what is the profiler's own, is left alone.
fn set(labels: &mut Labels, name: &str, value: String) {
    if !is_name(name) || OWN.contains(&name) {
        return;
    }
    if value.is_empty() {
        labels.remove(name);
    } else {
        labels.insert(name.to_owned(), value);
    }
}

/// All rules, and the filters behind them.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Compiled>,
    include: Vec<LabelFilter>,
    exclude: Vec<LabelFilter>,
}

/// Why rules cannot be applied.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RulesError {
    /// A rule that is none.
    #[error("{0}")]
    Rule(String),
    /// A filter that is none.
    #[error(transparent)]
    Filter(#[from] LabelFilterError),
}

impl Rules {
    /// From rules, which are applied in turn, and filters over the labels that they leave. A process is sampled where one of
    /// `include` lets it pass, or there is none, and none of `exclude` does.
    ///
    /// # Errors
    /// A regex that is none, a rule that lacks something, a filter that says nothing.
    pub fn new(rules: &[Rule], include: &[String], exclude: &[String]) -> Result<Rules, RulesError> {
        let filters = |texts: &[String]| texts.iter().map(|text| text.parse()).collect::<Result<_, _>>();
        let rules = rules.iter().map(|rule| rule.compiled().map_err(RulesError::Rule));
        Ok(Rules {
            rules: rules.collect::<Result<_, _>>()?,
            include: filters(include)?,
            exclude: filters(exclude)?,
        })
    }

    /// Whether there is nothing to apply.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether labels are changed by what else is known of a process.
    pub(super) fn want_facts(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Applies them; `false` where the process is left out. Names that begin with two underscores are facts for the rules, and
    /// taken out at the end.
    pub(super) fn apply(&self, labels: &mut Labels) -> bool {
        if !self.rules.iter().all(|rule| rule.apply(labels)) {
            return false;
        }
        let passes = |filter: &LabelFilter| filter.passes_labels(|name| labels.get(name).map(String::as_str));
        if (!self.include.is_empty() && !self.include.iter().any(passes)) || self.exclude.iter().any(passes) {
            return false;
        }
        labels.retain(|name, _| !name.starts_with("__") && !OWN.contains(&name.as_str()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// What is left of some labels; `None` for a process that is left out.
    fn after(rules: &[&str]) -> Option<Labels> {
        let mut labels = labels(&[
            ("service", "Shop"),
            ("unit", "shop@7.service"),
            ("process", "shopd"),
            ("__arguments__", "shopd --port 80"),
            ("__environment_TEAM", "blue"),
        ]);
        let rules: Vec<Rule> = rules.iter().map(|text| text.parse().unwrap()).collect();
        Rules::new(&rules, &[], &[]).unwrap().apply(&mut labels).then_some(labels)
    }

    fn kept(rules: &[&str], wanted: &[(&str, &str)]) {
        assert_eq!(after(rules), Some(labels(wanted)), "{rules:?}");
    }

    #[test]
    fn every_action() {
        let unit = ("unit", "shop@7.service");
        kept(&[], &[("service", "Shop"), unit]);
        kept(
            &[
                r#"source_labels = ["unit"], regex = "(.+)@(.+)\\.service", target_label = "service", replacement = "$1-${2}""#,
            ],
            &[("service", "shop-7"), unit],
        );
        kept(
            &[r#"source_labels = ["__environment_TEAM"], target_label = "team""#],
            &[("service", "Shop"), ("team", "blue"), unit],
        );
        kept(
            &[r#"source_labels = ["unit"], regex = "shop", target_label = "x""#],
            &[("service", "Shop"), unit],
        );
        kept(&[r#"target_label = "service", replacement = """#], &[unit]);
        kept(&[r#"{ target_label = "a", replacement = "b" }"#], &[("a", "b"), ("service", "Shop"), unit]);
        kept(
            &[r#"action = "lowercase", source_labels = ["service"], target_label = "service""#],
            &[("service", "shop"), unit],
        );
        kept(
            &[r#"action = "uppercase", source_labels = ["service"], target_label = "service""#],
            &[("service", "SHOP"), unit],
        );
        // MD5 of "blue" is 48d6215903dff56238e52e8891380c8f.
        let share = 0x38e5_2e88_9138_0c8f_u64 % 10;
        kept(
            &[
                r#"action = "hashmod", source_labels = ["__environment_TEAM"], target_label = "share", modulus = 10"#,
            ],
            &[("service", "Shop"), ("share", &share.to_string()), unit],
        );
        kept(
            &[r#"action = "labelmap", regex = "__environment_(.+)", replacement = "env_$1""#],
            &[("env_TEAM", "blue"), ("service", "Shop"), unit],
        );
        kept(&[r#"action = "labeldrop", regex = "un.*""#], &[("service", "Shop")]);
        kept(&[r#"action = "labelkeep", regex = "unit""#], &[unit]);
        let arguments =
            r#"source_labels = ["process", "__arguments__"], separator = "|", regex = "shopd\\|.*--port 80""#;
        for (action, stays) in [("keep", true), ("drop", false)] {
            assert_eq!(after(&[&format!("action = {action:?}, {arguments}")]).is_some(), stays);
        }
        for (action, stays) in [("keepequal", false), ("dropequal", true)] {
            let rule =
                format!("action = {action:?}, source_labels = [\"process\"], target_label = \"service\"");
            assert_eq!(after(&[&rule]).is_some(), stays, "{rule}");
        }
    }

    #[test]
    fn rules_follow_each_other() {
        kept(
            &[
                r#"action = "lowercase", source_labels = ["service"], target_label = "__tmp""#,
                r#"source_labels = ["__tmp"], target_label = "service", replacement = "my-$1""#,
                r#"action = "labeldrop", regex = "unit""#,
            ],
            &[("service", "my-shop")],
        );
    }

    #[test]
    fn nothing_is_set_that_is_no_label() {
        let unchanged = [("service", "Shop"), ("unit", "shop@7.service")];
        kept(&[r#"source_labels = ["unit"], target_label = "${1}", replacement = "x""#], &unchanged);
        kept(&[r#"source_labels = ["process"], target_label = "pi$1", regex = "shop(d)""#], &unchanged);
    }

    #[test]
    fn filters_see_what_the_rules_leave() {
        let passes = |include: &[&str], exclude: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            let rule: Rule = r#"source_labels = ["process"], target_label = "service""#.parse().unwrap();
            let rules = Rules::new(&[rule], &owned(include), &owned(exclude)).unwrap();
            rules.apply(&mut labels(&[("service", "x"), ("process", "shopd")]))
        };
        assert!(passes(&[], &[]));
        assert!(passes(&["service=shopd"], &[]));
        assert!(passes(&["service=y", "process=~^shop,service=~d$"], &[]));
        assert!(!passes(&["service=x"], &[]));
        assert!(!passes(&["service=shopd"], &["process=shopd"]));
        assert!(passes(&[], &["process=shopd,service=x"]));
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |text: &str| text.parse::<Rule>().unwrap_err();
        assert_eq!(error("regex = \"a\""), "a rule whose action is replace needs a target_label");
        assert_eq!(error("target_label = \"pid\""), "the label pid is the profiler's own: no rule sets it");
        assert!(error("target_label = \"a-b\"").contains("cannot be a label"));
        assert!(error("target_label = \"a\", regex = \"(\"").contains("is not a regex"));
        assert!(error("targetlabel = \"a\"").contains("targetlabel"));
        assert_eq!(
            error("target_label = \"a\", action = \"hashmod\""),
            "a rule whose action is hashmod needs a modulus above 0"
        );
        assert!(error("target_label = \"a\", action = \"hashmode\"").contains("hashmode"));
    }
}
