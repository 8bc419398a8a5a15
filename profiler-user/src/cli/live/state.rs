//! What is looked at, and what keys do to it. Pure.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use regex::{Regex, RegexBuilder};

use super::history::Scope;
use super::rows::{Row, Sort, Target, View};

/// Views behind the current one that are remembered.
const MOST_BACK: usize = 64;

/// Longest filter.
const MOST_LETTERS: usize = 200;

/// What is to be done that is not for the state itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing but drawing.
    Draw,
    /// The end.
    Quit,
    /// Write all stacks to a file.
    Save,
    /// Begin to count again.
    Reset,
}

/// What is looked at.
#[derive(Debug)]
pub(super) struct State {
    pub(super) view: View,
    back: Vec<View>,
    pub(super) sort: Sort,
    pub(super) scope: Scope,
    pub(super) filter: Option<Regex>,
    /// A filter that is being typed.
    pub(super) typing: Option<String>,
    pub(super) paused: bool,
    pub(super) help: bool,
    /// What happened last, until the next key.
    pub(super) message: Option<String>,
    /// The row that the user has chosen, wherever it moves; none for the first.
    chosen: Option<Target>,
    /// Where it was last.
    pub(super) place: usize,
}

impl State {
    pub(super) fn new() -> State {
        State {
            view: View::Functions(None),
            back: Vec::new(),
            sort: Sort::default(),
            scope: Scope::default(),
            filter: None,
            typing: None,
            paused: false,
            help: false,
            message: None,
            chosen: None,
            place: 0,
        }
    }

    /// Finds the chosen row again among new ones.
    pub(super) fn follow(&mut self, rows: &[Row]) {
        let moved = self.chosen.and_then(|chosen| rows.iter().position(|row| row.target == chosen));
        self.place = moved.unwrap_or(self.place).min(rows.len().saturating_sub(1));
    }

    fn choose(&mut self, rows: &[Row], place: usize) {
        self.place = place.min(rows.len().saturating_sub(1));
        // At the top the eye stays on what is hottest.
        self.chosen = rows.get(self.place).map(|row| row.target).filter(|_| self.place > 0);
    }

    fn enter(&mut self, view: View) {
        if self.back.len() == MOST_BACK {
            self.back.remove(0);
        }
        self.back.push(self.view);
        self.show(view);
    }

    fn show(&mut self, view: View) {
        self.view = view;
        (self.chosen, self.place) = (None, 0);
        // What found a process need not match its functions.
        self.filter = None;
    }

    /// Does what a key says; `rows` are those shown, `page` how many fit.
    pub(super) fn key(&mut self, key: KeyEvent, rows: &[Row], page: usize) -> Effect {
        self.message = None;
        if key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('c')) {
            return Effect::Quit;
        }
        if self.typing.is_some() {
            self.type_filter(key.code);
            return Effect::Draw;
        }
        if self.help {
            self.help = false;
            return if key.code == KeyCode::Char('q') { Effect::Quit } else { Effect::Draw };
        }
        match key.code {
            KeyCode::Char('q') => return Effect::Quit,
            KeyCode::Char('w') => return Effect::Save,
            KeyCode::Char('r') => return Effect::Reset,
            KeyCode::Char('h' | '?') | KeyCode::F(1) => self.help = true,
            KeyCode::Char(' ') => self.paused = !self.paused,
            KeyCode::Char('t') => {
                self.scope = if self.scope == Scope::Last { Scope::Total } else { Scope::Last };
            }
            KeyCode::Char('/') => {
                self.typing =
                    Some(self.filter.as_ref().map(|regex| regex.as_str().to_owned()).unwrap_or_default());
            }
            KeyCode::Char('s') => {
                self.sort = match self.sort {
                    Sort::Flat => Sort::Cum,
                    Sort::Cum => Sort::Name,
                    Sort::Name => Sort::Process,
                    Sort::Process => Sort::Flat,
                };
            }
            KeyCode::Char('F') => self.sort = Sort::Flat,
            KeyCode::Char('C') => self.sort = Sort::Cum,
            KeyCode::Char('N') => self.sort = Sort::Name,
            KeyCode::Char('P') => self.sort = Sort::Process,
            KeyCode::Char('f') => self.top(View::Functions(None)),
            KeyCode::Char('p') => self.top(View::Processes),
            KeyCode::Tab => self.top(match self.view {
                View::Processes => View::Functions(None),
                View::Functions(_) | View::Calls(..) => View::Processes,
            }),
            KeyCode::Enter | KeyCode::Right => self.drill(rows),
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => self.go_back(),
            KeyCode::Up | KeyCode::Char('k') => self.choose(rows, self.place.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.choose(rows, self.place + 1),
            KeyCode::PageUp => self.choose(rows, self.place.saturating_sub(page)),
            KeyCode::PageDown => self.choose(rows, self.place + page),
            KeyCode::Home | KeyCode::Char('g') => self.choose(rows, 0),
            KeyCode::End | KeyCode::Char('G') => self.choose(rows, usize::MAX),
            _ => {}
        }
        Effect::Draw
    }

    fn top(&mut self, view: View) {
        self.back.clear();
        self.show(view);
    }

    fn drill(&mut self, rows: &[Row]) {
        let Some(row) = rows.get(self.place) else { return };
        match (self.view, row.target) {
            (_, Target::Process(key)) => self.enter(View::Functions(Some(key))),
            (View::Calls(process, function), Target::Function(other)) if other != function => {
                self.enter(View::Calls(process, other));
            }
            (View::Functions(process), Target::Function(function)) => {
                self.enter(View::Calls(process, function));
            }
            _ => {}
        }
    }

    /// The filter goes first, then the view.
    fn go_back(&mut self) {
        if self.filter.take().is_some() {
            return;
        }
        if let Some(view) = self.back.pop() {
            self.show(view);
        }
    }

    fn type_filter(&mut self, code: KeyCode) {
        let Some(typed) = &mut self.typing else { return };
        match code {
            KeyCode::Char(letter) if typed.len() < MOST_LETTERS => typed.push(letter),
            KeyCode::Backspace => {
                typed.pop();
            }
            KeyCode::Esc => self.typing = None,
            KeyCode::Enter if typed.is_empty() => (self.typing, self.filter) = (None, None),
            // Small letters stand for large ones, too, unless there are large ones.
            KeyCode::Enter => {
                let any_case = !typed.contains(char::is_uppercase);
                match RegexBuilder::new(typed).case_insensitive(any_case).build() {
                    Ok(regex) => (self.typing, self.filter) = (None, Some(regex)),
                    Err(_) => self.message = Some(format!("{typed:?} is no regular expression")),
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::layout::ProcessKey;

    use super::super::rows::Role;
    use super::super::sums::Cost;
    use super::*;

    const KEY: ProcessKey = ProcessKey { pid: 7, exec_id: 0, start_ns: 1 };

    fn row(target: Target) -> Row {
        let (name, beside) = (String::new(), String::new());
        Row { target, role: Role::None, cost: Cost::default(), name, beside, complete: None }
    }

    fn functions(numbers: &[u32]) -> Vec<Row> {
        numbers.iter().map(|&number| row(Target::Function(number))).collect()
    }

    fn press(state: &mut State, rows: &[Row], codes: &[KeyCode]) -> Effect {
        let mut effect = Effect::Draw;
        for &code in codes {
            effect = state.key(KeyEvent::from(code), rows, 10);
        }
        effect
    }

    fn letters(text: &str) -> Vec<KeyCode> {
        text.chars().map(KeyCode::Char).collect()
    }

    #[test]
    fn from_a_process_to_a_function_to_its_callers_and_back() {
        let mut state = State::new();
        let processes = [row(Target::Process(KEY))];
        press(&mut state, &[], &[KeyCode::Tab]);
        assert_eq!(state.view, View::Processes);
        press(&mut state, &processes, &[KeyCode::Enter]);
        assert_eq!(state.view, View::Functions(Some(KEY)));
        press(&mut state, &functions(&[4, 5]), &[KeyCode::Down, KeyCode::Enter]);
        assert_eq!(state.view, View::Calls(Some(KEY), 5));
        press(&mut state, &functions(&[9, 5]), &[KeyCode::Enter]);
        assert_eq!(state.view, View::Calls(Some(KEY), 9));
        press(&mut state, &functions(&[9]), &[KeyCode::Enter]);
        assert_eq!(state.view, View::Calls(Some(KEY), 9), "itself leads nowhere");
        press(&mut state, &[], &[KeyCode::Esc, KeyCode::Esc, KeyCode::Backspace, KeyCode::Left]);
        assert_eq!(state.view, View::Processes);
        press(&mut state, &[], &letters("f"));
        assert_eq!(state.view, View::Functions(None));
        press(&mut state, &[], &[KeyCode::Enter, KeyCode::Esc]);
        assert_eq!(state.view, View::Functions(None), "without rows there is nothing to enter");
    }

    #[test]
    fn the_chosen_row_is_followed_and_the_first_is_not() {
        let mut state = State::new();
        press(&mut state, &functions(&[1, 2, 3]), &[KeyCode::Down]);
        state.follow(&functions(&[2, 1, 3]));
        assert_eq!(state.place, 0);
        state.follow(&functions(&[1, 3, 2]));
        assert_eq!(state.place, 2);
        press(&mut state, &functions(&[1, 3, 2]), &[KeyCode::Home]);
        state.follow(&functions(&[3, 2, 1]));
        assert_eq!(state.place, 0);
        press(&mut state, &functions(&[1, 2, 3]), &[KeyCode::End]);
        assert_eq!(state.place, 2);
        state.follow(&functions(&[1]));
        assert_eq!(state.place, 0);
        press(&mut state, &[], &[KeyCode::PageDown, KeyCode::Up]);
        assert_eq!(state.place, 0);
    }

    #[test]
    fn a_filter_is_typed_applied_and_taken_back() {
        let mut state = State::new();
        press(&mut state, &[], &letters("/sq(rt"));
        assert_eq!(state.typing.as_deref(), Some("sq(rt"), "letters are no commands here");
        press(&mut state, &[], &[KeyCode::Enter]);
        assert!(state.filter.is_none() && state.message.as_ref().unwrap().contains("no regular"));
        press(&mut state, &[], &[KeyCode::Backspace, KeyCode::Backspace, KeyCode::Backspace, KeyCode::Enter]);
        assert!(state.filter.as_ref().unwrap().is_match("SQRT"));
        press(&mut state, &[], &letters("/X"));
        press(&mut state, &[], &[KeyCode::Esc]);
        assert!(state.filter.is_some() && state.typing.is_none());
        press(&mut state, &[], &[KeyCode::Esc]);
        assert!(state.filter.is_none());
    }

    #[test]
    fn switches_and_effects() {
        let mut state = State::new();
        press(&mut state, &[], &letters("t s"));
        assert_eq!((state.scope, state.sort, state.paused), (Scope::Total, Sort::Cum, true));
        press(&mut state, &[], &letters("sss"));
        assert_eq!(state.sort, Sort::Flat);
        press(&mut state, &[], &letters("N"));
        assert_eq!(state.sort, Sort::Name);
        assert_eq!(press(&mut state, &[], &letters("w")), Effect::Save);
        assert_eq!(press(&mut state, &[], &letters("r")), Effect::Reset);
        press(&mut state, &[], &letters("?"));
        assert!(state.help);
        assert_eq!(press(&mut state, &[], &letters("x")), Effect::Draw);
        assert!(!state.help);
        assert_eq!(press(&mut state, &[], &letters("hq")), Effect::Quit);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        press(&mut state, &[], &letters("/"));
        assert_eq!(state.key(control_c, &[], 1), Effect::Quit, "even while a filter is typed");
    }
}
