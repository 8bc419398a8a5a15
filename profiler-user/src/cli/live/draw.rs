//! The screen.

use std::time::Duration;

use profiler_common::outcome::Kind;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row as TableRow, Table, TableState};

use super::history::{Part, Scope};
use super::rows::{Role, Row, Sort, View};
use super::state::State;
use super::sums::Names;
use crate::report::measure::{AUTO, label};
use crate::report::text::safe;

/// Shares from which rows stand out, in percent of one CPU.
const HOT: f64 = 50.0;
const WARM: f64 = 10.0;

/// What does not change.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) host: String,
    pub(super) frequency_hz: u32,
    pub(super) refresh: Duration,
    pub(super) last: Duration,
    pub(super) colours: Colours,
}

/// Whether the screen may be in colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    Yes,
    No,
}

/// What is shown.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub(super) setting: &'a Setting,
    pub(super) part: &'a Part,
    pub(super) names: &'a Names,
    pub(super) rows: &'a [Row],
    /// A warning of the profiler itself.
    pub(super) warning: Option<&'a str>,
}

/// Lines that are not the table's rows.
const AROUND: u16 = 6;

/// How many rows fit.
pub(super) fn page(height: u16) -> usize {
    usize::from(height.saturating_sub(AROUND)).max(1)
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, shown: &Shown<'_>) {
    let area = frame.area();
    let [head, outcomes, place, table, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Min(2),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(headline(state, shown), head);
    frame.render_widget(Paragraph::new(ends(shown.part)), outcomes);
    frame.render_widget(Paragraph::new(vec![Line::raw(""), whereabouts(state, shown)]), place);
    draw_table(frame, table, state, shown);
    frame.render_widget(footer(state, shown), foot);
    if state.help {
        draw_help(frame, area, shown.setting);
    }
}

impl Setting {
    fn style(&self, style: Style) -> Style {
        match self.colours {
            Colours::Yes => style,
            // Bold and reversed are no colours.
            Colours::No => Style { fg: None, bg: None, ..style },
        }
    }
}

fn headline<'a>(state: &State, shown: &Shown<'_>) -> Paragraph<'a> {
    let Setting { host, frequency_hz, refresh, last, .. } = shown.setting;
    let seconds = shown.part.duration_ns / 1_000_000_000;
    let over = match state.scope {
        Scope::Last => format!("last {} s", last.as_secs()),
        Scope::Total => {
            format!("since start, {:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
        }
    };
    let mut line = vec![
        Span::styled("profiler live", Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!("  {}  {frequency_hz} Hz, every {} s  ", safe(host), refresh.as_secs_f64())),
        Span::styled(over, Style::new().add_modifier(Modifier::BOLD)),
    ];
    if state.paused {
        let style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD | Modifier::REVERSED);
        line.push(Span::styled("  PAUSED ", shown.setting.style(style)));
    }
    Paragraph::new(Line::from(line))
}

/// How the samples ended: what is shown can be trusted as far as this says.
pub(super) fn ends(part: &Part) -> String {
    if part.duration_ns == 0 {
        return "waiting for the first window".to_owned();
    }
    let samples = part.ticks(&[Kind::Complete, Kind::Truncated, Kind::StackLost]);
    let complete = part.ticks(&[Kind::Complete]);
    let share = if samples == 0 { 0.0 } else { 100.0 * complete as f64 / samples as f64 };
    let missed = part.missed();
    let lost = part.ticks(&[Kind::SampleLost]).saturating_sub(missed);
    format!(
        "{:.2} CPUs used by {} processes; {samples} samples, {share:.1}% complete, {lost} lost, {missed} ticks missed",
        cpus(part.total(), part.duration_ns),
        part.processes.len()
    )
}

/// CPUs that a time is, over a time.
fn cpus(ns: i64, duration_ns: u64) -> f64 {
    if duration_ns == 0 { 0.0 } else { ns as f64 / duration_ns as f64 }
}

/// What the table is about.
fn whereabouts<'a>(state: &State, shown: &Shown<'_>) -> Line<'a> {
    let process = |key| {
        let name = shown.part.processes.get(&key).map_or("a process that is gone", |sums| &sums.name);
        format!("{} {}", safe(name), key.pid)
    };
    let about = match state.view {
        View::Functions(None) => "functions of all processes".to_owned(),
        View::Functions(Some(key)) => format!("functions of {}", process(key)),
        View::Processes => "processes".to_owned(),
        View::Calls(whose, function) => {
            let whose = whose.map_or_else(|| "all processes".to_owned(), process);
            format!("callers and callees of {} in {whose}", safe(&shown.names.get(function)))
        }
    };
    let sort = match (state.view, state.sort) {
        (View::Calls(..), _) => "weight",
        (_, Sort::Flat) => "flat",
        (_, Sort::Cum) => "cum",
        (_, Sort::Name) => "name",
        (View::Processes, Sort::Process) => "hottest function",
        (_, Sort::Process) => "process",
    };
    let filter = state.filter.as_ref().map(|regex| format!(", filter /{}/", safe(regex.as_str())));
    Line::raw(format!("{about}, by {sort}{}: {} rows", filter.unwrap_or_default(), shown.rows.len()))
}

fn draw_table(frame: &mut Frame<'_>, area: Rect, state: &State, shown: &Shown<'_>) {
    let duration = shown.part.duration_ns;
    let percent = |ns: i64| format!("{:>7.1}", 100.0 * cpus(ns, duration));
    let time = |ns: i64| format!("{:>9}", label(ns, "nanoseconds", AUTO));
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let (heads, widths): (Vec<&str>, Vec<Constraint>) = match state.view {
        View::Functions(_) => (
            vec!["  flat%", "   cum%", "     flat", "      cum", "process", "function"],
            [7, 7, 9, 9, 24].into_iter().map(Constraint::Length).chain([Constraint::Min(20)]).collect(),
        ),
        View::Processes => (
            vec!["   cpu%", "      cpu", "complete", "process", "hottest function"],
            [7, 9, 8, 26].into_iter().map(Constraint::Length).chain([Constraint::Min(20)]).collect(),
        ),
        View::Calls(..) => (
            vec!["  flat%", "   cum%", "     flat", "      cum", "", "function"],
            [7, 7, 9, 9, 8].into_iter().map(Constraint::Length).chain([Constraint::Min(20)]).collect(),
        ),
    };
    let row = |row: &Row| {
        let (name, beside) = (safe(&row.name).into_owned(), safe(&row.beside).into_owned());
        let (flat, cum) = (row.cost.flat, row.cost.cum);
        let blank_if_call =
            |text: String| if matches!(row.role, Role::Caller | Role::Callee) { String::new() } else { text };
        let cells = match state.view {
            View::Functions(_) => vec![percent(flat), percent(cum), time(flat), time(cum), beside, name],
            View::Processes => {
                let complete = row.complete.map_or_else(String::new, |share| format!("{share:>7}%"));
                vec![percent(cum), time(cum), complete, name, beside]
            }
            View::Calls(..) => {
                let role = match row.role {
                    Role::Caller => "from",
                    Role::Callee => "  calls",
                    Role::Itself | Role::None => "",
                };
                vec![
                    blank_if_call(percent(flat)),
                    percent(cum),
                    blank_if_call(time(flat)),
                    time(cum),
                    role.to_owned(),
                    name,
                ]
            }
        };
        let share = 100.0 * cpus(if row.role == Role::None { flat } else { cum }, duration);
        let style = if row.role == Role::Itself {
            bold
        } else if share >= HOT {
            Style::new().fg(Color::Red)
        } else if share >= WARM {
            Style::new().fg(Color::Yellow)
        } else {
            Style::new()
        };
        TableRow::new(cells).style(shown.setting.style(style))
    };
    let table = Table::new(shown.rows.iter().map(row), widths)
        .header(TableRow::new(heads).style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)))
        .column_spacing(1)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut position = TableState::new().with_selected((!shown.rows.is_empty()).then_some(state.place));
    frame.render_stateful_widget(table, area, &mut position);
}

fn footer<'a>(state: &State, shown: &Shown<'_>) -> Paragraph<'a> {
    let warn = shown.setting.style(Style::new().fg(Color::Yellow));
    if let Some(message) = &state.message {
        return Paragraph::new(Span::styled(safe(message).into_owned(), warn));
    }
    if let Some(typed) = &state.typing {
        return Paragraph::new(format!("filter: /{}_   Enter applies, Esc leaves it", safe(typed)));
    }
    if let Some(warning) = shown.warning {
        return Paragraph::new(Span::styled(safe(warning).into_owned(), warn));
    }
    let keys = "q quit  h help  Tab functions/processes  Enter into  Esc back  / filter  s sort  Space pause  t total  w save";
    Paragraph::new(Span::styled(keys, Style::new().add_modifier(Modifier::DIM)))
}

const HELP: [&str; 16] = [
    "Up Down PgUp PgDn Home End, j k g G   choose a row",
    "Enter, Right    a process's functions; a function's callers and callees",
    "Esc, Backspace, Left                  take the filter back, then go back",
    "Tab, f, p       functions, processes",
    "s, or F C N P   sort by flat, cum, name, process",
    "/               filter by regex; small letters match large ones, too",
    "t               the last seconds, or all since the start",
    "r               begin to count again",
    "Space           pause: look around in what was seen; counting goes on",
    "w               save all stacks since the start as a pprof file",
    "q, Ctrl-C       quit",
    "",
    "flat% is a function's own share of one CPU, cum% with all it called.",
    "complete: the stack reaches the thread's first function; lost: in no profile;",
    "missed: the machine was too late for the tick.",
    "Any key closes this.",
];

fn draw_help(frame: &mut Frame<'_>, area: Rect, setting: &Setting) {
    let last = format!("The last seconds are {}; --last changes that.", setting.last.as_secs());
    let lines: Vec<Line<'_>> = HELP.into_iter().map(Line::raw).chain([Line::raw(last)]).collect();
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2).min(area.height);
    let width = area.width.min(82);
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" keys ")), place);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::history::History;
    use super::super::history::tests::window;
    use super::super::rows::rows;
    use super::*;

    fn screen(state: &State, width: u16) -> String {
        let mut history = History::new(1_000_000_000);
        history.add(&window(&[(1, "api"), (2, "worker\x1b[2J")]));
        let part = history.part(state.scope);
        let rows = rows(&part, &history.names, state.view, state.sort, state.filter.as_ref());
        let setting = Setting {
            host: "box".to_owned(),
            frequency_hz: 99,
            refresh: Duration::from_secs(1),
            last: Duration::from_secs(10),
            colours: Colours::No,
        };
        let shown =
            Shown { setting: &setting, part: &part, names: &history.names, rows: &rows, warning: None };
        let mut terminal = Terminal::new(TestBackend::new(width, 26)).unwrap();
        terminal.draw(|frame| draw(frame, state, &shown)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn all_views_and_the_help() {
        let mut state = State::new();
        let text = screen(&state, 120);
        for part in [
            "profiler live  box  99 Hz, every 1 s  last 10 s",
            "0.12 CPUs used by 2 processes; 12 samples, 100.0% complete, 0 lost, 0 ticks missed",
            "functions of all processes, by flat: 4 rows",
            "    6.0    10.0      60ms     100ms api 1 +1                 inlined",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        state.view = View::Processes;
        state.scope = Scope::Total;
        let text = screen(&state, 120);
        assert!(text.contains("since start, 00:00:01") && text.contains("100% api 1"), "{text}");
        assert!(!text.contains('\x1b') && text.contains("worker\u{fffd}[2J 2"), "{text}");
        state.view = View::Calls(None, 1);
        assert!(screen(&state, 120).contains("callers and callees of"));
        state.help = true;
        assert!(screen(&state, 120).contains("Any key closes this."));
        screen(&state, 12);
        state.message = Some("saved".to_owned());
        (state.help, state.paused) = (false, true);
        let text = screen(&state, 120);
        assert!(text.contains("PAUSED") && text.contains("saved"), "{text}");
    }

    #[test]
    fn before_the_first_window() {
        assert_eq!(ends(&Part::default()), "waiting for the first window");
        assert_eq!((page(26), page(3)), (20, 1));
    }
}
