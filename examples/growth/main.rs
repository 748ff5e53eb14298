//! What it costs to have many tenants: makes stores of growing size, measures them, and draws the curves.
//!
//! ```sh
//! cargo run --example growth
//! LIMIT=1000 OUT=/tmp/growth cargo run --example growth
//! ```
//!
//! | variable | |
//! |---|---|
//! | `LIMIT` | the largest number of tenants; 100,000 unless said otherwise |
//! | `OUT` | where the table and the plots go; a folder of the manual unless said otherwise |
//! | `ONLY` | `scales` or `boxes`: leaves out the other half |
//!
//! Every figure is measured in a process of its own, so that no memory of an earlier one counts.

mod boxes;
mod life;
mod plot;
mod probe;
mod report;
mod scale;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use serde_json::Value;

/// What may go wrong here ends the run.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Set for a child: which measurement it is to make.
const TASK: &str = "STRONGROOM_GROWTH_TASK";

fn main() -> ExitCode {
    let outcome = match std::env::var(TASK) {
        Ok(task) => life::play(&task).map(|figures| println!("{figures}")),
        Err(_) => run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("growth: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    let limit: usize = std::env::var("LIMIT").map_or(Ok(100_000), |text| text.parse())?;
    let default_out = concat!(env!("CARGO_MANIFEST_DIR"), "/src/manual/growth");
    let out = std::env::var_os("OUT").map_or_else(|| default_out.into(), PathBuf::from);
    std::fs::create_dir_all(&out)?;
    let only = std::env::var("ONLY").unwrap_or_default();
    let boxes = if only == "scales" { Vec::new() } else { boxes::measure(limit)? };
    let scales = if only == "boxes" { Vec::new() } else { scale::measure(limit)? };
    report::write(&out, &scales, &boxes)?;
    plot::draw(&out, &scales, &boxes)?;
    eprintln!("{}", std::fs::read_to_string(out.join("figures.md"))?);
    eprintln!("in {}", out.display());
    Ok(())
}

/// Makes one measurement in a process of its own.
fn measure_apart(task: &Value) -> Outcome<Value> {
    eprintln!("  {task}");
    let output = Command::new(std::env::current_exe()?)
        .env(TASK, task.to_string())
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{task} failed").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
