//! A mail service to play with: an identity provider beside it, two tenants in it, and a load on it when asked.

mod load;
mod sample;
mod stage;
mod vault;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mail_service::import::Report;
use mail_service::serve::Failure;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use load::LoadOptions;
use stage::{Stage, TENANTS};

/// Starts an OpenBao and the mail service beside each other on this machine, with two tenants; ends both.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Until Ctrl-C: prints the address and who may sign in.
    Service {
        /// The port of the page; 0 for a free one.
        #[arg(long, env = "PORT", default_value_t = 8080)]
        port: u16,
        /// One line of JSON in place of the text.
        #[arg(long)]
        json: bool,
    },
    /// Measures throughput and latency per tenant, at rest and while one tenant floods.
    Load(LoadOptions),
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(Failure::from).and_then(|runtime| match Cli::parse().command {
        Command::Service { port, json } => service(&runtime, port, json),
        Command::Load(options) => load::run(&runtime, &options),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn service(runtime: &Runtime, port: u16, as_json: bool) -> Result<(), Failure> {
    let Some(mut stage) = Stage::set(&stage::beside()?, port)? else {
        return skipped();
    };
    let mut imported = Vec::new();
    for tenant in TENANTS {
        imported.push((tenant, stage.import_sample(tenant)?));
    }
    if as_json {
        println!("{}", stage.as_json());
    } else {
        show(&stage, &imported);
    }
    runtime.block_on(async {
        let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        Ok::<_, Failure>(())
    })?;
    stage.end()
}

fn show(stage: &Stage, imported: &[(&str, Report)]) {
    for (tenant, Report { imported, refused, .. }) in imported {
        println!("{tenant}: {imported} messages of the sample imported, {} refused", refused.len());
    }
    println!("\nMail is at {}\n\nSign in as", stage.address);
    for user in &stage.users {
        println!("  {:10} {:6} {}", user.tenant, user.name, user.password);
    }
    println!("\nHealth, readiness and metrics: {}", stage.admin);
    println!("Logs: {}\nCustody: {}\nCtrl-C ends it.", stage.log().display(), stage.custody().display());
}

/// Where nobody reads along, what was not tried must not pass for what was.
fn skipped() -> Result<(), Failure> {
    let reason = "SKIPPED: there is no OpenBao. Run .ci/openbao, or put its `bao` on the path or into STRONGROOM_BAO.";
    match std::env::var_os("CI") {
        Some(_) => Err(reason.into()),
        None => {
            println!("{reason}");
            Ok(())
        }
    }
}
