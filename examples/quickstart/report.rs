//! What was measured and what was refused: as tables for people, as JSON for machines.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people are rounded"
)]

use std::time::Duration;

use serde_json::{Value, json};

use crate::screen::{Ink, Screen, bytes, span, thousands};

/// Everything that the demonstration found.
#[derive(Default)]
pub struct Report {
    pub documents: Value,
    pub phases: Vec<Phase>,
    pub refusals: Vec<Refusal>,
    pub searches: Vec<Search>,
    pub store_bytes: u64,
    pub searched_files: usize,
}

/// One kind of work, measured.
pub struct Phase {
    pub name: &'static str,
    pub records: u64,
    pub bytes: u64,
    pub took: Duration,
    /// When its writes were acknowledged.
    pub durability: &'static str,
}

/// Something that must not work, and what the store answered.
pub struct Refusal {
    pub layer: &'static str,
    pub attempt: &'static str,
    pub answer: String,
}

/// Patterns of one kind, and how often they were found.
pub struct Search {
    pub kind: &'static str,
    pub patterns: usize,
    pub hits_in_store: u64,
    pub hits_in_control: u64,
}

impl Report {
    pub fn print(&self, screen: &Screen) {
        screen.line("");
        self.phases_table().print(screen);
        self.refusals_table().print(screen);
        self.searches_table().print(screen);
    }

    pub fn to_json(&self) -> Value {
        let phase = |phase: &Phase| {
            json!({
                "name": phase.name, "records": phase.records, "bytes": phase.bytes,
                "seconds": phase.took.as_secs_f64(), "durability": phase.durability,
                "records_per_second": per_second(phase.records, phase.took),
                "megabytes_per_second": per_second(phase.bytes, phase.took) / 1e6,
            })
        };
        let refusal =
            |refusal: &Refusal| json!({ "layer": refusal.layer, "attempt": refusal.attempt, "answer": refusal.answer });
        let search = |search: &Search| {
            json!({
                "kind": search.kind, "patterns": search.patterns,
                "hits_in_store": search.hits_in_store, "hits_in_plain_rocksdb": search.hits_in_control,
            })
        };
        json!({
            "documents": self.documents,
            "phases": self.phases.iter().map(phase).collect::<Vec<_>>(),
            "refusals": self.refusals.iter().map(refusal).collect::<Vec<_>>(),
            "store": { "bytes": self.store_bytes, "files": self.searched_files },
            "searches": self.searches.iter().map(search).collect::<Vec<_>>(),
            "ok": true,
        })
    }

    fn phases_table(&self) -> Table {
        let mut table =
            Table::new("What it took", &["", "records", "bytes", "time", "records/s", "MB/s", "durability"]);
        table.right = vec![false, true, true, true, true, true, false];
        for phase in &self.phases {
            let shown = |count: u64, text: String| if count == 0 { String::new() } else { text };
            let (records_rate, bytes_rate) =
                (per_second(phase.records, phase.took), per_second(phase.bytes, phase.took));
            table.row([
                phase.name.to_owned(),
                shown(phase.records, thousands(phase.records)),
                shown(phase.bytes, bytes(phase.bytes)),
                span(phase.took),
                shown(phase.records, thousands(records_rate.round() as u64)),
                shown(phase.bytes, format!("{:.1}", bytes_rate / 1e6)),
                phase.durability.to_owned(),
            ]);
        }
        table
    }

    fn refusals_table(&self) -> Table {
        let mut table = Table::new("What was refused", &["layer", "attempt", "answer"]);
        for refusal in &self.refusals {
            table.row([refusal.layer.to_owned(), refusal.attempt.to_owned(), refusal.answer.clone()]);
        }
        table
    }

    fn searches_table(&self) -> Table {
        let mut table =
            Table::new("What the disk shows", &["searched for", "patterns", "hits in the store", "in plain RocksDB"]);
        table.right = vec![false, true, true, true];
        for search in &self.searches {
            table.row([
                search.kind.to_owned(),
                thousands(search.patterns as u64),
                thousands(search.hits_in_store),
                thousands(search.hits_in_control),
            ]);
        }
        table
    }
}

fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(1e-9)
}

/// A table of text in a frame, its columns as wide as they need to be.
struct Table {
    title: &'static str,
    head: Vec<String>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(title: &'static str, head: &[&str]) -> Self {
        let head: Vec<String> = head.iter().map(|&text| text.to_owned()).collect();
        Self { title, right: vec![false; head.len()], head, rows: vec![] }
    }

    fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    fn print(&self, screen: &Screen) {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.head]).map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let rule = |left: &str, middle: &str, right: &str| {
            let dashes: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
            screen.ink(Ink::Dim, &format!("{left}{}{right}", dashes.join(middle)))
        };
        let bar = screen.ink(Ink::Dim, "│");
        let line = |cells: &[String], ink: Option<Ink>| {
            let cells = cells.iter().zip(&widths).zip(&self.right).map(|((text, width), right)| {
                let padding = " ".repeat(width - text.chars().count());
                let text = ink.map_or_else(|| text.clone(), |ink| screen.ink(ink, text));
                if *right { format!(" {padding}{text} ") } else { format!(" {text}{padding} ") }
            });
            format!("{bar}{}{bar}", cells.collect::<Vec<_>>().join(&bar))
        };
        screen.line(&screen.ink(Ink::Bold, self.title));
        screen.line(&rule("┌", "┬", "┐"));
        screen.line(&line(&self.head, Some(Ink::Bold)));
        screen.line(&rule("├", "┼", "┤"));
        self.rows.iter().for_each(|row| screen.line(&line(row, None)));
        screen.line(&rule("└", "┴", "┘"));
    }
}
