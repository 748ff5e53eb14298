//! Mail for many tenants: serves it, and brings in mail from elsewhere.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mail_service::import::{self, ImportOptions};
use mail_service::observe::{self, Collector};
use mail_service::serve::{Failure, Options, Setup};
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

/// Mail for many tenants who do not trust each other, or you.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the API and the page, until SIGTERM or Ctrl-C.
    Serve(Box<Options>),
    /// Brings mail from an mbox file or a maildir into a service that serves.
    Import(ImportOptions),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(options) => serve(&options).map(|()| ExitCode::SUCCESS),
        Command::Import(options) => import::run(&options),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

fn serve(options: &Options) -> Result<(), Failure> {
    let collector = options.collector.as_ref().map(Collector::new).transpose()?;
    let (subscriber, observed) = observe::begin(std::io::stdout, LevelFilter::INFO, collector);
    tracing::subscriber::set_global_default(subscriber)?;
    observe::quiet_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let running = Setup::of(options)?.begin().await?;
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        running.end().await;
        Ok::<_, Failure>(())
    })?;
    // What a request left behind in a thread of its own ends before the store's folder is released.
    drop(runtime);
    observed.end();
    Ok(())
}
