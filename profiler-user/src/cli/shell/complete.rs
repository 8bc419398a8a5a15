//! What the tabulator key offers: commands, options and their values, names of functions.

use super::command::{self, COMMANDS, Kind as CommandKind};
use super::options::{self, Kind, OPTIONS};

/// At most so many are offered.
const MOST: usize = 200;

/// What can be completed.
#[derive(Debug)]
pub(super) struct Words {
    functions: Vec<String>,
    values: Vec<String>,
}

/// What may stand in the line from a place on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// Where the word begins, in bytes.
    pub(super) start: usize,
    /// What it may be.
    pub(super) words: Vec<String>,
}

impl Words {
    /// The functions' names and those of the profile's values.
    pub(super) fn new<'n>(functions: impl Iterator<Item = &'n str>, values: &[String]) -> Words {
        let mut functions: Vec<String> =
            functions.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        functions.sort_unstable();
        functions.dedup();
        Words { functions, values: values.to_vec() }
    }

    /// What the word that `line` ends with may be.
    pub(super) fn offer(&self, line: &str) -> Offer {
        let start = line.rfind(char::is_whitespace).map_or(0, |space| {
            space + line.get(space..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
        });
        let word = line.get(start..).unwrap_or_default();
        let before: Vec<&str> = line.get(..start).unwrap_or_default().split_whitespace().collect();
        match before.as_slice() {
            [] => match word.split_once('=') {
                Some((name, value)) => self.values_of(name, value, start + name.len() + 1),
                None => Offer { start, words: self.first_words(word) },
            },
            ["help"] => {
                let names = names().chain(choices()).filter(|name| name.starts_with(word));
                Offer { start, words: names.map(str::to_owned).collect() }
            }
            [first, ..] => {
                let name = first.trim_end_matches(|letter: char| letter.is_ascii_digit());
                let takes = |kind| !matches!(kind, CommandKind::Tags | CommandKind::Comments);
                if !command::find(name).is_some_and(|command| takes(command.kind)) || word.starts_with('>') {
                    return Offer { start, words: Vec::new() };
                }
                let sign = usize::from(word.starts_with('-'));
                let mut words = self.functions(word.get(sign..).unwrap_or_default());
                if sign == 1 && !word.is_empty() && "-cum".starts_with(word) {
                    return Offer { start, words: vec!["-cum".to_owned()] };
                }
                words.truncate(MOST);
                Offer { start: start + sign, words }
            }
        }
    }

    /// Commands with a space behind them, options with an equals sign.
    fn first_words(&self, word: &str) -> Vec<String> {
        let commands = COMMANDS.iter().map(|command| format!("{} ", command.name));
        let others = ["help ", "options", "quit", "exit"].map(str::to_owned);
        let options = OPTIONS.iter().map(|option| match option.kind {
            Kind::Bool => option.name.to_owned(),
            _ => format!("{}=", option.name),
        });
        let short = choices().map(str::to_owned).chain(self.values.iter().cloned());
        let all = commands.chain(others).chain(options).chain(short);
        let mut words: Vec<String> = all.filter(|name| name.starts_with(word)).collect();
        words.sort_unstable();
        words
    }

    fn values_of(&self, name: &str, value: &str, start: usize) -> Offer {
        let words = match options::find(name.trim()) {
            Some((option, None)) => match option.kind {
                Kind::Regex => return Offer { start, words: self.functions(value) },
                Kind::Choice(choices) => choices.iter().map(|&choice| choice.to_owned()).collect(),
                Kind::Bool => vec!["false".to_owned(), "true".to_owned()],
                Kind::Index => self.values.clone(),
                Kind::Text | Kind::Match | Kind::Count | Kind::Share | Kind::Divisor => Vec::new(),
            },
            _ => Vec::new(),
        };
        Offer { start, words: words.into_iter().filter(|word| word.starts_with(value)).collect() }
    }

    /// Functions that begin with what is typed, or else those that hold it; as regexes.
    fn functions(&self, typed: &str) -> Vec<String> {
        let matching = |holds: fn(&str, &str) -> bool| {
            let escaped = self.functions.iter().map(|name| escaped(name));
            let found = escaped
                .zip(&self.functions)
                .filter(|(regex, name)| holds(regex, typed) || holds(name, typed));
            found.map(|(regex, _)| regex).take(MOST).collect::<Vec<_>>()
        };
        let beginning = matching(|name, typed| name.starts_with(typed));
        if beginning.is_empty() { matching(|name, typed| name.contains(typed)) } else { beginning }
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|command| command.name).chain(OPTIONS.iter().map(|option| option.name))
}

fn choices() -> impl Iterator<Item = &'static str> {
    OPTIONS
        .iter()
        .flat_map(|option| match option.kind {
            Kind::Choice(values) => values,
            _ => &[],
        })
        .copied()
}

/// A regex that matches a name: words end at spaces, and names of Go and C++ are full of what means something else in
/// a regex.
fn escaped(name: &str) -> String {
    let mut regex = String::with_capacity(name.len());
    for letter in name.chars() {
        if letter.is_whitespace() {
            regex.push('.');
        } else {
            if r"\.+*?()|[]{}^$".contains(letter) {
                regex.push('\\');
            }
            regex.push(letter);
        }
    }
    regex
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        let names = ["main.work", "main.(*T).Read", "std::vector<int, int>::push", "work", "main.work"];
        Words::new(names.into_iter(), &["samples".to_owned(), "cpu".to_owned()])
    }

    fn offered(line: &str) -> (usize, Vec<String>) {
        let Offer { start, words } = words().offer(line);
        (start, words)
    }

    #[test]
    fn commands_options_and_values() {
        assert_eq!(
            offered("tr"),
            (0, vec!["traces ".into(), "tree ".into(), "trim".into(), "trim_path=".into()])
        );
        assert_eq!(offered("gran"), (0, vec!["granularity=".into()]));
        assert_eq!(offered("granularity=fi"), (12, vec!["filefunctions".into(), "files".into()]));
        assert_eq!(offered("sample_index=c"), (13, vec!["cpu".into()]));
        assert_eq!(offered("help tre"), (5, vec!["tree".into()]));
        assert_eq!(offered("sam"), (0, vec!["sample_index=".into(), "samples".into()]));
    }

    #[test]
    fn functions_become_regexes_that_match_them() {
        assert_eq!(offered("list main.("), (5, vec![r"main\.\(\*T\)\.Read".into()]));
        assert_eq!(offered("top -wo"), (5, vec!["work".into()]));
        assert_eq!(offered("top10 main"), (6, vec![r"main\.\(\*T\)\.Read".into(), r"main\.work".into()]));
        assert_eq!(offered("peek push"), (5, vec!["std::vector<int,.int>::push".into()]), "in the middle");
        assert_eq!(offered("focus=main.w"), (6, vec![r"main\.work".into()]));
        assert_eq!(offered("tree -cu"), (5, vec!["-cum".into()]));
        for name in ["main.(*T).Read", "std::vector<int, int>::push", "a|b[c]{d}^$\\?+"] {
            let regex = regex::Regex::new(&format!("^{}$", escaped(name))).unwrap();
            assert!(regex.is_match(name), "{name}");
        }
        assert!(offered("tags main").1.is_empty());
        assert!(offered("nothing main").1.is_empty());
        assert_eq!(offered("top Ünïcode ü").1, Vec::<String>::new());
    }
}
