//! The tool of key custodians. It turns a command into a request to the desk of a store, which a running service answers
//! over its Unix socket, or which it answers itself when it opens the closed store: either way the custodian's token
//! decides. What needs no store (a drill, the verification of an exported trail) is done here.
//!
//! ```sh
//! cargo run --example custodian -- --help
//! ```

mod asking;
mod cli;
mod door;
mod failure;
mod offline;
mod orders;
mod output;
mod parts;
mod settings;
mod steps;
mod vaults;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use asking::Asker;
use cli::{Audit, Cli, Command, Purge};
use door::Door;
use failure::Failure;
use output::Output;
use parts::Parts;
use settings::Settings;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::from(error.use_stderr());
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    match run(&cli) {
        Ok(output) => output.print(cli.json),
        Err(failure) => output::print_failure(&failure, cli.json),
    }
}

fn run(cli: &Cli) -> Result<Output, Failure> {
    if let Command::Completion { shell } = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "custodian", &mut script);
        return Ok(Output::text(String::from_utf8_lossy(&script).trim_end()));
    }
    let is_new = matches!(cli.command, Command::Init { .. });
    let settings = Settings::read(&cli.settings, is_new)?;
    if let Some(output) = offline::run(cli, &settings)? {
        return Ok(output);
    }
    let (token, door) = (settings.token()?, Door::open(&settings)?);
    let mut asker = Asker { door, token, dry_run: cli.dry_run };
    if let Some(output) = steps::run(&cli.command, &asker)? {
        return Ok(output);
    }
    let acts = orders::acts(&cli.command, &mut asker.door, cli.dry_run)?;
    let mut answers = Vec::with_capacity(acts.len());
    let mut parts = parts_file(&cli.command, cli.dry_run)?;
    for act in acts {
        answers.push(asker.ask_into(act, &mut parts)?);
    }
    parts.keep()?;
    if let Command::Login { save: true, .. } = cli.command {
        save(&settings, &asker.token, cli.dry_run)?;
    }
    Ok(Output::of(answers))
}

/// Where the pieces of a long answer go: into a file that gets its name when it is whole.
fn parts_file(command: &Command, dry_run: bool) -> Result<Parts, Failure> {
    match command {
        Command::Audit(Audit::Export { file, .. }) | Command::Purge(Purge::Trail { file, .. }) if !dry_run => {
            Parts::into(file)
        }
        _ => Ok(Parts::nowhere()),
    }
}

/// Keeps a token that has just been accepted.
fn save(settings: &Settings, token: &str, dry_run: bool) -> Result<(), Failure> {
    if dry_run {
        return Ok(());
    }
    settings::write_private(&settings.token_file, token.as_bytes(), true)
}
