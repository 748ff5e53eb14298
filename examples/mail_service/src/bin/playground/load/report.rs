//! What was measured, as a table or as JSON.

use std::time::Duration;

use mail_service::serve::Failure;
use serde_json::{Value, json};

/// What one connection, or one tenant, was answered.
#[derive(Default)]
pub struct Tally {
    /// Microseconds of every answer that was no refusal.
    took_us: Vec<u64>,
    throttled: u64,
    failed: u64,
}

/// What one tenant was answered in one measurement.
pub struct Row {
    tenant: &'static str,
    per_second: f64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
    throttled: u64,
    failed: u64,
}

/// All measurements.
pub struct Report {
    seconds: u64,
    rows: Vec<(&'static str, Row)>,
}

impl Tally {
    pub fn count(&mut self, status: u16, took: Duration) {
        match status {
            200..=299 => self.took_us.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
            429 => self.throttled += 1,
            _ => self.failed += 1,
        }
    }

    pub fn take(&mut self, other: Self) {
        let Self { took_us, throttled, failed } = other;
        self.took_us.extend(took_us);
        self.throttled += throttled;
        self.failed += failed;
    }

    pub fn row(mut self, tenant: &'static str, span: Duration) -> Row {
        self.took_us.sort_unstable();
        let count = self.took_us.len();
        let at =
            |part: usize| self.took_us.get((count * part / 1000).min(count.saturating_sub(1))).copied().unwrap_or(0);
        let per_second = f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / span.as_secs_f64();
        let Self { throttled, failed, .. } = self;
        Row { tenant, per_second, p50_us: at(500), p99_us: at(990), max_us: at(1000), throttled, failed }
    }
}

impl Report {
    pub fn new(seconds: u64) -> Self {
        Self { seconds, rows: Vec::new() }
    }

    pub fn add(&mut self, name: &'static str, rows: Vec<Row>) {
        self.rows.extend(rows.into_iter().map(|row| (name, row)));
    }

    /// # Errors
    /// If requests failed: what was measured is then no measurement.
    pub fn check(&self) -> Result<(), Failure> {
        let failed: u64 = self.rows.iter().map(|(_, row)| row.failed).sum();
        if failed == 0 { Ok(()) } else { Err(format!("{failed} requests have failed").into()) }
    }

    pub fn show(&self, as_json: bool) {
        if as_json {
            let rows: Vec<Value> = self.rows.iter().map(|(name, row)| row.json(name)).collect();
            return println!("{}", json!({"seconds": self.seconds, "rows": rows}));
        }
        println!(
            "{} s each; of ten requests seven read a message, two list a folder, one writes (synced)",
            self.seconds
        );
        println!(
            "{:16} {:9} {:>11} {:>9} {:>9} {:>9} {:>10} {:>7}",
            "", "tenant", "answers/s", "p50 ms", "p99 ms", "max ms", "told wait", "failed"
        );
        for (name, row) in &self.rows {
            let Row { tenant, per_second, p50_us, p99_us, max_us, throttled, failed } = row;
            println!(
                "{name:16} {tenant:9} {per_second:>11.1} {:>9} {:>9} {:>9} {throttled:>10} {failed:>7}",
                ms(*p50_us),
                ms(*p99_us),
                ms(*max_us)
            );
        }
    }
}

impl Row {
    fn json(&self, name: &str) -> Value {
        let Self { tenant, per_second, p50_us, p99_us, max_us, throttled, failed } = self;
        json!({
            "measurement": name, "tenant": tenant, "answers_per_second": per_second, "p50_us": p50_us, "p99_us": p99_us,
            "max_us": max_us, "told_to_wait": throttled, "failed": failed,
        })
    }
}

fn ms(us: u64) -> String {
    format!("{}.{:02}", us / 1000, us % 1000 / 10)
}
