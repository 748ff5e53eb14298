//! What a person sees: headings, findings, progress bars. Progress and colour only on a terminal.
#![expect(clippy::cast_precision_loss, reason = "figures for people are rounded")]

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Where the demonstration is told: standard output, or standard error when the output is for a machine.
pub struct Screen {
    json: bool,
    colour: bool,
    step: Cell<u32>,
}

/// The few ways to set a text apart.
#[derive(Clone, Copy)]
pub enum Ink {
    Bold,
    Dim,
    Good,
}

impl Screen {
    pub fn new(json: bool) -> Self {
        let is_terminal = if json { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, colour: is_terminal && !no_colour, step: Cell::new(0) }
    }

    /// A line. What cannot be written (a closed pipe) is nobody's loss.
    pub fn line(&self, text: &str) {
        let _ = if self.json { writeln!(std::io::stderr(), "{text}") } else { writeln!(std::io::stdout(), "{text}") };
    }

    /// The next step of the demonstration.
    pub fn heading(&self, text: &str) {
        self.step.set(self.step.get() + 1);
        self.line(&format!("\n{}", self.ink(Ink::Bold, &format!("{:>2}  {text}", self.step.get()))));
    }

    /// Something that was found to be so.
    pub fn found(&self, text: &str) {
        self.line(&format!("    {} {text}", self.ink(Ink::Good, "✓")));
    }

    /// Something worth knowing.
    pub fn note(&self, text: &str) {
        self.line(&format!("      {}", self.ink(Ink::Dim, text)));
    }

    pub fn ink(&self, ink: Ink, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Bold => 1,
            Ink::Dim => 2,
            Ink::Good => 32,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// A bar over `bytes`, on standard error, shown only on a terminal.
    pub fn bar(&self, what: &str, bytes: usize) -> ProgressBar {
        let colour = if self.colour { ".green/dim" } else { "" };
        let template = format!("      {{msg}} {{bar:32{colour}}} {{decimal_bytes}}/{{decimal_total_bytes}} {{eta}}");
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(bytes as u64).with_style(style).with_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

/// A number with its thousands set apart: 1,234,567.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes in the unit that leaves few digits.
pub fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{} B", thousands(count)),
        10_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..10_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.1} GB", count as f64 / 1e9),
    }
}

/// A span in the unit that leaves few digits.
pub fn span(span: Duration) -> String {
    let secs = span.as_secs_f64();
    if secs < 0.001 {
        format!("{:.0} µs", secs * 1e6)
    } else if secs < 1.0 {
        format!("{:.1} ms", secs * 1e3)
    } else {
        format!("{secs:.2} s")
    }
}
