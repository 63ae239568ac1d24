//! The two pictures of the page, as SVG that stands in the page itself: who received what, and when.
//!
//! No styles of their own: colours are classes of the page's one style sheet, which its policy knows by digest.

use std::collections::BTreeMap;

use super::clock;
use super::html::escaped;
use super::model::{Flow, Host, Report, rank};
use super::text::plural;
use crate::engine::Severity;
use crate::report::lines::Verdict;

/// Rows and columns that one can still read.
const MOST_HOSTS: usize = 40;
const MOST_KINDS: usize = 48;
const COLUMNS: usize = 96;
const CELL: usize = 24;
const LABEL: usize = 230;

/// Hosts down, kinds across; a cell for what a host received, its colour the severity, its number the findings.
pub(super) fn matrix(report: &Report) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, counted) in report.hosts.iter().flat_map(|host| &host.kinds) {
        *counts.entry(kind).or_default() += counted.count;
    }
    let mut kinds: Vec<&str> = counts.keys().copied().collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(counts[kind]));
    let more_kinds = kinds.len().saturating_sub(MOST_KINDS);
    kinds.truncate(MOST_KINDS);
    kinds.sort_by_key(|kind| (rank(kind), *kind));
    let hosts = busiest(report);
    if kinds.is_empty() {
        return "<p class=\"dim\">Nothing was found.</p>".to_owned();
    }
    let longest = kinds.iter().map(|kind| kind.chars().count()).max().unwrap_or(0).min(28);
    let top = 20 + longest * 5;
    // The last label leans out to the right.
    let (width, height) = (LABEL + kinds.len() * CELL + longest * 4 + 10, top + hosts.len() * CELL + 8);
    let mut svg = start(width, height, "Which host received which kinds of facts, and how often");
    for (column, kind) in kinds.iter().enumerate() {
        let (x, y) = (LABEL + column * CELL + CELL / 2, top - 8);
        svg.push_str(&format!(
            "<text transform=\"translate({x} {y}) rotate(-55)\" class=\"label\">{}</text>",
            escaped(&short(kind, 28))
        ));
    }
    for (row, host) in hosts.iter().enumerate() {
        let y = top + row * CELL;
        if row % 2 == 0 {
            let band = LABEL - 10 + kinds.len() * CELL + 10;
            svg.push_str(&format!("<rect x=\"0\" y=\"{y}\" width=\"{band}\" height=\"{CELL}\" class=\"band\"/>"));
        }
        host_label(host, y, &mut svg);
        for (column, kind) in kinds.iter().enumerate() {
            let Some(counted) = host.kinds.get(*kind) else { continue };
            let x = LABEL + column * CELL;
            // A few are still seen beside thousands.
            let shade = (0.45 + (counted.count as f64).log10() * 0.18).min(1.0);
            let said = format!(
                "{}: {} of {kind}, {}, {}",
                host.label(),
                plural(counted.count, "finding"),
                counted.severity.name(),
                counted.action.name()
            );
            svg.push_str(&format!(
                "<g><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{side}\" height=\"{side}\" rx=\"3\" \
                 fill-opacity=\"{shade:.2}\" class=\"{}\"/><text x=\"{}\" y=\"{}\" class=\"number\">{}</text></g>",
                escaped(&said),
                x + 1,
                y + 1,
                counted.severity.name(),
                x + CELL / 2,
                y + CELL / 2 + 4,
                rough(counted.count),
                side = CELL - 2,
            ));
        }
    }
    svg.push_str("</svg>");
    let mut out = format!("<div class=\"wide\">{svg}</div>{}", legend(false));
    out.push_str(&hidden(report.hosts.len().saturating_sub(hosts.len()), "host"));
    out.push_str(&hidden(more_kinds, "kind"));
    out
}

#[derive(Default)]
struct Moment {
    flows: u64,
    findings: u64,
    edited: u64,
    withheld: u64,
    worst: Option<Severity>,
    first: Option<i64>,
}

/// Hosts down, time across; a dot for the requests of a moment, its colour the worst of what they held.
pub(super) fn timeline(report: &Report) -> String {
    let hosts = busiest(report);
    let rows: BTreeMap<&str, usize> = hosts.iter().enumerate().map(|(row, host)| (host.name.as_str(), row)).collect();
    let clock = report.millis().filter(|(from, to)| to > from);
    let mut moments: BTreeMap<(usize, usize), Moment> = BTreeMap::new();
    for (index, flow) in report.flows.iter().enumerate() {
        let Some(&row) = rows.get(flow.host.as_str()) else { continue };
        let column = match (clock, flow.millis) {
            (Some((from, to)), Some(at)) => ((at - from) as f64 / (to - from) as f64 * (COLUMNS - 1) as f64) as usize,
            // Without a clock, or where all was inspected at once, the order is all there is.
            _ => index * COLUMNS / report.flows.len().max(1),
        };
        moments.entry((row, column.min(COLUMNS - 1))).or_default().add(flow);
    }
    if moments.is_empty() {
        return "<p class=\"dim\">No requests.</p>".to_owned();
    }
    let step = 8;
    let (width, height) = (LABEL + COLUMNS * step + 40, hosts.len() * CELL + 40);
    let mut svg = start(width, height, "When which host received requests");
    for (row, host) in hosts.iter().enumerate() {
        let y = row * CELL;
        host_label(host, y, &mut svg);
        let (from, to, middle) = (LABEL, LABEL + COLUMNS * step, y + CELL / 2);
        svg.push_str(&format!("<line x1=\"{from}\" y1=\"{middle}\" x2=\"{to}\" y2=\"{middle}\" class=\"lane\"/>"));
    }
    for ((row, column), moment) in &moments {
        let (x, y) = (LABEL + column * step + step / 2, row * CELL + CELL / 2);
        let radius = (3.0 + (moment.flows as f64).sqrt()).min(10.0);
        let class = moment.worst.map_or("none", Severity::name);
        let ring = match moment {
            Moment { withheld: 1.., .. } => " withheld",
            Moment { edited: 1.., .. } => " edited",
            _ => "",
        };
        svg.push_str(&format!(
            "<g><title>{}</title><circle cx=\"{x}\" cy=\"{y}\" r=\"{radius:.1}\" class=\"{class}{ring}\"/></g>",
            escaped(&moment.said())
        ));
    }
    let y = hosts.len() * CELL + 22;
    let ends = match clock {
        Some((from, to)) => {
            let length = format!("{} in all", clock::duration(to - from));
            [clock::of_day(from), length, clock::of_day(to)]
        }
        None => ["first".to_owned(), "in order".to_owned(), "last".to_owned()],
    };
    for (text, (x, anchor)) in
        ends.iter().zip([(LABEL, "start"), (LABEL + COLUMNS * step / 2, "middle"), (LABEL + COLUMNS * step, "end")])
    {
        svg.push_str(&format!(
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" class=\"label dimmed\">{}</text>",
            escaped(text)
        ));
    }
    svg.push_str("</svg>");
    let mut out = format!("<div class=\"wide\">{svg}</div>{}", legend(true));
    out.push_str(&hidden(report.hosts.len().saturating_sub(hosts.len()), "host"));
    out
}

impl Moment {
    fn add(&mut self, flow: &Flow) {
        self.flows += 1;
        self.findings += flow.findings;
        self.edited += u64::from(flow.verdict == Some(Verdict::Edited));
        self.withheld += u64::from(flow.verdict == Some(Verdict::Withheld));
        self.worst = self.worst.max(flow.worst);
        self.first = self.first.or(flow.millis);
    }

    fn said(&self) -> String {
        let mut said = format!("{}, {}", plural(self.flows, "request"), plural(self.findings, "finding"));
        if let Some(first) = self.first {
            said.insert_str(0, &format!("{}: ", clock::of_day(first)));
        }
        for (count, word) in [(self.edited, "edited"), (self.withheld, "withheld")] {
            if count > 0 {
                said.push_str(&format!(", {count} {word}"));
            }
        }
        said
    }
}

/// Those that received most, in the order of the page.
fn busiest(report: &Report) -> Vec<&Host> {
    let mut hosts: Vec<&Host> = report.hosts.iter().collect();
    hosts.sort_by_key(|host| std::cmp::Reverse((host.findings, host.requests)));
    hosts.truncate(MOST_HOSTS);
    hosts
}

fn host_label(host: &Host, y: usize, svg: &mut String) {
    svg.push_str(&format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" class=\"label\"><title>{}</title>{}</text>",
        LABEL - 12,
        y + CELL / 2 + 4,
        escaped(host.label()),
        escaped(&short(host.label(), 32))
    ));
}

fn start(width: usize, height: usize, title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
         aria-label=\"{title}\"><title>{title}</title>"
    )
}

fn legend(rings: bool) -> String {
    let mut out = String::from("<p class=\"legend\">");
    let mut classes = vec![("high", "high"), ("medium", "medium"), ("low", "low")];
    if rings {
        classes.extend([("none", "nothing found"), ("none edited", "edited"), ("none withheld", "withheld")]);
    }
    for (class, word) in classes {
        out.push_str(&format!(
            "<span><svg viewBox=\"0 0 14 14\" width=\"14\" height=\"14\" aria-hidden=\"true\">\
             <circle cx=\"7\" cy=\"7\" r=\"5\" class=\"{class}\"/></svg> {word}</span> "
        ));
    }
    out.push_str("</p>");
    out
}

pub(super) fn hidden(count: usize, word: &str) -> String {
    if count == 0 {
        return String::new();
    }
    format!("<p class=\"dim\">and {} more {word}{}</p>", count, if count == 1 { "" } else { "s" })
}

/// How much of what was sent was read, as a bar.
pub(super) fn coverage(read: u64, sent: u64) -> String {
    const WIDTH: f64 = 90.0;
    let part = if sent == 0 { 1.0 } else { read.min(sent) as f64 / sent as f64 };
    format!(
        "<svg viewBox=\"0 0 90 8\" width=\"90\" height=\"8\" class=\"bar\" aria-hidden=\"true\">\
         <rect width=\"90\" height=\"8\" rx=\"2\" class=\"gap\"/>\
         <rect width=\"{:.1}\" height=\"8\" rx=\"2\" class=\"read\"/></svg>",
        part * WIDTH
    )
}

fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let (head, tail) = (most / 2 - 1, most / 2);
    let start: String = text.chars().take(head).collect();
    let end: Vec<char> = text.chars().rev().take(tail).collect();
    format!("{start}…{}", end.into_iter().rev().collect::<String>())
}

/// `950`, `1k`, `12k`, `3M`: what fits a cell.
fn rough(count: u64) -> String {
    match count {
        ..1000 => count.to_string(),
        1000..1_000_000 => format!("{}k", count / 1000),
        _ => format!("{}M", count / 1_000_000),
    }
}
