//! Commands on escrows, backups and restores.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Over a socket, folders are the names that the service has given to folders of its own machine.
#[derive(Subcommand)]
pub enum Ring {
    /// All rings, sealed to recovery keys, or to the passphrase in the environment
    Export {
        /// A new file; over a socket, as NAME/FILE
        file: PathBuf,
        /// A recovery key (age1..); may be given several times
        #[arg(long = "recipient", value_name = "KEY")]
        recipients: Vec<String>,
    },
    /// Brings the rings back from an escrow whose own slots are both damaged; whoever is purged does not come back
    #[command(after_help = "With the secret half of a recovery key, or with STRONGROOM_PASSPHRASE:\n\
                            custodian ring import escrows/rings.age --identity recovery.txt --tenant contoso")]
    Import {
        /// The escrow; over a socket, as NAME/FILE
        file: PathBuf,
        /// The secret half of a recovery key; else the passphrase in the environment is taken
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
        /// Only the ring of this tenant; may be given several times
        #[arg(long = "tenant", value_name = "NAME")]
        tenants: Vec<String>,
    },
}

#[derive(Subcommand)]
pub enum Backup {
    /// Makes a backup; what is unchanged is not copied again
    Make {
        /// The folder of backups; over a socket, its name
        folder: PathBuf,
        /// Only this cell
        #[arg(long, value_name = "N", conflicts_with = "tenant")]
        cell: Option<u32>,
        /// Only this tenant
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        /// Though no escrow holds the rings
        #[arg(long)]
        escrow_never: bool,
        /// Though cells have failed or rings are damaged
        #[arg(long)]
        accept_gaps: bool,
    },
    /// The backups in a folder
    List {
        /// The folder of backups; over a socket, its name
        folder: PathBuf,
    },
    /// Reads every byte of a backup
    Verify {
        /// The folder of backups; over a socket, its name
        folder: PathBuf,
        /// Which backup; the newest unless said otherwise
        #[arg(long, value_name = "N")]
        number: Option<u64>,
    },
    /// Restores a backup into an absent folder, opens every record, and removes it; needs no token
    Drill {
        /// The folder of backups
        folder: PathBuf,
        /// The escrow of the rings
        escrow: PathBuf,
        /// The absent folder
        scratch: PathBuf,
        #[command(flatten)]
        terms: RestoreTerms,
    },
}

#[derive(Args)]
pub struct RestoreTerms {
    /// The secret half of a recovery key, to open the escrow; else the passphrase in the environment is taken
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Which backup; the newest unless said otherwise
    #[arg(long, value_name = "N")]
    pub number: Option<u64>,
    /// Though cells, rings or newer backups are missing or damaged
    #[arg(long)]
    pub accept_gaps: bool,
}

/// A store and a cell need no token: only --keys, the escrow and what unseals it.
#[derive(Subcommand)]
pub enum Restore {
    /// A tenant as it was, beside the living ones
    Tenant {
        /// The folder of backups; over a socket, its name
        folder: PathBuf,
        /// The tenant as it was called then
        tenant: String,
        /// What it is to be called
        name: String,
        /// Which backup; the newest unless said otherwise
        #[arg(long, value_name = "N")]
        number: Option<u64>,
    },
    /// The whole store, into an absent or empty --store
    Store {
        /// The folder of backups
        folder: PathBuf,
        /// The escrow of the rings
        escrow: PathBuf,
        #[command(flatten)]
        terms: RestoreTerms,
    },
    /// One cell of the --store, which must be closed
    Cell {
        /// The folder of backups
        folder: PathBuf,
        /// The escrow of the rings
        escrow: PathBuf,
        /// The number of the cell
        cell: u32,
        #[command(flatten)]
        terms: RestoreTerms,
    },
}
