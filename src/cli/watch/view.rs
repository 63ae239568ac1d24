//! The board on a terminal: panels and keys.

use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table, TableState};

use super::board::{Board, shown};

/// What the user has chosen to see.
#[derive(Debug, Default)]
pub(super) struct View {
    focus: Panel,
    /// Of flows, findings, unread.
    positions: [TableState; 3],
    filter: String,
    /// The filter is being typed.
    typing: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Panel {
    Flows,
    #[default]
    Findings,
    Unread,
}

const PANELS: [Panel; 3] = [Panel::Flows, Panel::Findings, Panel::Unread];
const PAGE: u16 = 10;

impl View {
    /// Acts on a key. True to leave.
    pub(super) fn press(&mut self, key: KeyEvent, board: &mut Board) -> bool {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return true;
        }
        if self.typing {
            match key.code {
                KeyCode::Enter => self.typing = false,
                KeyCode::Esc => {
                    self.typing = false;
                    self.filter.clear();
                }
                KeyCode::Backspace => {
                    self.filter.pop();
                }
                KeyCode::Char(c) if !c.is_control() && self.filter.len() < 200 => self.filter.push(c),
                _ => {}
            }
            self.positions = Default::default();
            return false;
        }
        let position = &mut self.positions[self.focus as usize];
        match key.code {
            KeyCode::Char('q') => return true,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('p') | KeyCode::Char(' ') => {
                board.paused = !board.paused;
                board.missed = 0;
            }
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(PANELS.len() - 1),
            KeyCode::Down | KeyCode::Char('j') => position.select_next(),
            KeyCode::Up | KeyCode::Char('k') => position.select_previous(),
            KeyCode::PageDown => position.scroll_down_by(PAGE),
            KeyCode::PageUp => position.scroll_up_by(PAGE),
            KeyCode::Home | KeyCode::Char('g') => position.select_first(),
            KeyCode::End | KeyCode::Char('G') => position.select_last(),
            _ => {}
        }
        false
    }

    fn turn(&mut self, by: usize) {
        self.focus = PANELS[(self.focus as usize + by) % PANELS.len()];
    }

    pub(super) fn draw(&mut self, board: &Board, frame: &mut Frame<'_>) {
        let rows = [Constraint::Length(2), Constraint::Fill(2), Constraint::Fill(3), Constraint::Length(1)];
        let [head, upper, lower, foot] = Layout::vertical(rows).areas(frame.area());
        let [flows, unread] = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(upper);
        frame.render_widget(Paragraph::new(summary(board)), head);
        self.draw_flows(board, frame, flows);
        self.draw_unread(board, frame, unread);
        self.draw_findings(board, frame, lower);
        frame.render_widget(Paragraph::new(self.help(board)), foot);
    }

    fn draw_flows(&mut self, board: &Board, frame: &mut Frame<'_>, area: Rect) {
        let rows: Vec<Row<'_>> = board
            .flows
            .iter()
            .filter(|flow| self.takes(&[&flow.host, &flow.request, &flow.verdict]))
            .map(|flow| {
                Row::new([
                    Cell::from(flow.time.as_str()),
                    Cell::from(flow.host.as_str()),
                    Cell::from(flow.request.as_str()),
                    Cell::from(bytes(flow.sent)),
                    Cell::from(share(flow.read, flow.sent)),
                    Cell::from(flow.findings.to_string()),
                    Cell::from(flow.verdict.as_str()).style(verdict_style(&flow.verdict)),
                ])
            })
            .collect();
        let widths = [
            Constraint::Length(8),
            Constraint::Fill(2),
            Constraint::Fill(3),
            Constraint::Length(8),
            Constraint::Length(5),
            Constraint::Length(5),
            Constraint::Length(9),
        ];
        let header = ["time", "host", "request", "sent", "read", "found", "verdict"];
        self.table(frame, area, Panel::Flows, "flows", header, rows, &widths);
    }

    fn draw_findings(&mut self, board: &Board, frame: &mut Frame<'_>, area: Rect) {
        let rows: Vec<Row<'_>> = board
            .findings
            .iter()
            .filter(|found| self.takes(&[&found.host, &found.kind, &found.location, &found.action, &found.severity]))
            .map(|found| {
                Row::new([
                    Cell::from(found.time.as_str()),
                    Cell::from(found.severity.as_str()).style(severity_style(&found.severity)),
                    Cell::from(found.kind.as_str()),
                    Cell::from(found.host.as_str()),
                    Cell::from(found.location.as_str()),
                    Cell::from(found.value.as_str()),
                    Cell::from(found.action.as_str()),
                ])
            })
            .collect();
        let widths = [
            Constraint::Length(8),
            Constraint::Length(8),
            Constraint::Length(16),
            Constraint::Fill(2),
            Constraint::Fill(4),
            Constraint::Fill(2),
            Constraint::Length(12),
        ];
        let header = ["time", "severity", "kind", "host", "location", "value", "action"];
        self.table(frame, area, Panel::Findings, "findings", header, rows, &widths);
    }

    fn draw_unread(&mut self, board: &Board, frame: &mut Frame<'_>, area: Rect) {
        let mut hosts: Vec<_> =
            board.unread.iter().filter(|(host, unread)| self.takes(&[host, &unread.reason])).collect();
        hosts.sort_by_key(|(_, unread)| std::cmp::Reverse(unread.bytes));
        let rows: Vec<Row<'_>> = hosts
            .into_iter()
            .map(|(host, unread)| {
                let cells = [host.clone(), bytes(unread.bytes), unread.times.to_string(), unread.reason.clone()];
                Row::new(cells.map(Cell::from))
            })
            .collect();
        let widths = [Constraint::Fill(3), Constraint::Length(8), Constraint::Length(5), Constraint::Fill(2)];
        self.table(frame, area, Panel::Unread, "unread", ["host", "bytes", "times", "last reason"], rows, &widths);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one table")]
    fn table<'a, const N: usize>(
        &mut self,
        frame: &mut Frame<'_>,
        area: Rect,
        panel: Panel,
        title: &str,
        header: [&'a str; N],
        rows: Vec<Row<'a>>,
        widths: &[Constraint],
    ) {
        let focused = self.focus == panel;
        let border = if focused { Style::new().fg(Color::Cyan) } else { Style::new().dim() };
        let block = Block::bordered().title(format!(" {title} ({}) ", rows.len())).border_style(border);
        let table = Table::new(rows, widths.iter().copied())
            .header(Row::new(header).style(Style::new().add_modifier(Modifier::BOLD)))
            .row_highlight_style(if focused { Style::new().reversed() } else { Style::new() })
            .block(block);
        frame.render_stateful_widget(table, area, &mut self.positions[panel as usize]);
    }

    /// Whether a row with these texts passes the filter, case aside.
    fn takes(&self, texts: &[&str]) -> bool {
        if self.filter.is_empty() {
            return true;
        }
        let wanted = self.filter.to_lowercase();
        texts.iter().any(|text| text.to_lowercase().contains(&wanted))
    }

    fn help(&self, board: &Board) -> Line<'_> {
        let mut spans = Vec::new();
        if self.typing {
            spans.push(Span::from(format!("/{}▏", self.filter)).bold());
            spans.push(Span::from("  Enter keeps it, Esc clears it").dim());
            return Line::from(spans);
        }
        if !self.filter.is_empty() {
            spans.push(Span::from(format!("filter: {}  ", self.filter)).bold());
        }
        if board.paused {
            spans.push(Span::from(format!("paused, {} missed  ", board.missed)).yellow());
        }
        spans.push(Span::from("q quit  Tab panel  ↑↓ scroll  / filter  p pause").dim());
        Line::from(spans)
    }
}

/// Two lines: what serves, and totals.
fn summary(board: &Board) -> Vec<Line<'static>> {
    let status = &board.status;
    let mut first = vec![Span::from("divulge ").bold()];
    if board.ended {
        first.push(Span::from("has ended; this is the last that was seen").red().bold());
    } else if status.listen.is_empty() {
        first.push(Span::from("connected").dim());
    } else {
        let (listen, policy, on_error) = (shown(&status.listen), shown(&status.policy), shown(&status.on_error));
        let up = duration(status.uptime_s);
        first.push(Span::from(format!("on {listen}  policy {policy}  on error {on_error}  up {up}")));
    }
    let totals = &board.totals;
    let second = vec![
        Span::from(format!("flows {} ({} active)  ", status.flows, status.active)),
        Span::from(format!("tunnelled {}  unread {}  ", status.tunnelled, bytes(status.unread_bytes))),
        Span::from(format!("findings seen {}: ", totals.findings)),
        Span::from(format!("{} high ", totals.high)).style(severity_style("high")),
        Span::from(format!("{} medium ", totals.medium)).style(severity_style("medium")),
        Span::from(format!("{} low  ", totals.low)),
        Span::from(format!("edited {}  withheld {}", totals.edited, totals.withheld)),
    ];
    vec![Line::from(first), Line::from(second)]
}

fn severity_style(severity: &str) -> Style {
    match severity {
        "high" => Style::new().fg(Color::Red),
        "medium" => Style::new().fg(Color::Yellow),
        _ => Style::new(),
    }
}

fn verdict_style(verdict: &str) -> Style {
    match verdict {
        "withheld" => Style::new().fg(Color::Red),
        "edited" => Style::new().fg(Color::Green),
        _ => Style::new(),
    }
}

/// `512 B`, `1.5 KiB`, `20 MiB`
fn bytes(count: u64) -> String {
    let mut amount = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if amount < 1024.0 {
            let digits = usize::from(unit != "B" && amount < 10.0);
            return format!("{amount:.digits$} {unit}");
        }
        amount /= 1024.0;
    }
    format!("{amount:.0} TiB")
}

/// How much of what was sent was read, never rounded up to all of it.
fn share(read: u64, sent: u64) -> String {
    match sent {
        0 => String::new(),
        _ if read >= sent => "100%".to_owned(),
        _ => format!("{}%", u128::from(read) * 100 / u128::from(sent)),
    }
}

/// `3d 04h`, `2h 05m`, `4m 10s`
fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    if days > 0 {
        format!("{days}d {hours:02}h")
    } else if hours > 0 {
        format!("{hours}h {minutes:02}m")
    } else {
        format!("{minutes}m {:02}s", seconds % 60)
    }
}
