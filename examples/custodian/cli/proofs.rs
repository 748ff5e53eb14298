//! Commands on trails, purges and receipts.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Whose trail: the store's own unless said otherwise.
#[derive(Args)]
pub struct TrailOf {
    /// That of this tenant, for its own custodians
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// That of this tenant, for custodians of the service
    #[arg(long, value_name = "NAME", conflicts_with = "tenant")]
    pub of: Option<String>,
    /// That of a tenant who may be gone, as the store's trail names it
    #[arg(long, value_name = "HEX", conflicts_with_all = ["tenant", "of"])]
    pub incarnation: Option<String>,
}

#[derive(Subcommand)]
pub enum Audit {
    /// Shows events of a trail
    Show {
        #[command(flatten)]
        whose: TrailOf,
        /// The number of the first
        #[arg(long, value_name = "N", default_value_t = 0)]
        from: u64,
        /// At most so many, and at most 1,000
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Verifies a trail where it is, or an exported one without the store and without a token
    #[command(after_help = "custodian audit verify --tenant contoso --earlier kept.note\n\
                            custodian audit verify contoso.jsonl --key 'strongroom/..+8 hex digits+base64'")]
    Verify {
        /// An exported trail
        trail: Option<PathBuf>,
        #[command(flatten)]
        whose: TrailOf,
        /// The key that signs the exported trail, as `audit key` says; without it its own checkpoint is believed
        #[arg(long, value_name = "KEY", requires = "trail")]
        key: Option<String>,
        /// A checkpoint that was kept: shows that nothing before it was cut or rewritten since
        #[arg(long, value_name = "FILE")]
        earlier: Option<PathBuf>,
    },
    /// Writes a trail as lines of JSON into a new file
    Export {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        whose: TrailOf,
    },
    /// Prints the signed head of a trail, to be kept elsewhere
    Checkpoint {
        #[command(flatten)]
        whose: TrailOf,
    },
    /// Prints whose signature the checkpoints of a trail bear
    Key {
        #[command(flatten)]
        whose: TrailOf,
    },
}

const PURGE: &str = "\
Two custodians of the tenant, a cooling-off (a week unless the rules say otherwise), then a signed receipt:
  custodian purge request contoso --reason 'the contract has ended'    all access ends at once
  custodian purge approve contoso --reason 'so it has'                 another person
  custodian purge execute contoso --yes --wait                         when its time has come; or the store does it
  custodian purge receipt contoso receipt.note
  custodian purge trail contoso trail.jsonl
  custodian purge verify receipt.note trail.jsonl --key KEY            anywhere; KEY as `purge key contoso` says";

/// Destroys a tenant's keys for good, with proof: for its own custodians
#[derive(Subcommand)]
#[command(after_help = PURGE)]
pub enum Purge {
    /// Asks for the purge: all access ends at once, and nothing is destroyed yet
    #[command(after_help = "custodian purge request contoso --reason 'the contract has ended'")]
    Request {
        #[command(flatten)]
        why: Why,
    },
    /// Approves the purge that another custodian has asked for
    #[command(after_help = "custodian purge approve contoso --reason 'so it has'")]
    Approve {
        #[command(flatten)]
        why: Why,
    },
    /// Takes the purge back and opens the tenant again, as long as nothing is destroyed
    #[command(after_help = "custodian purge cancel contoso --reason 'they stay'")]
    Cancel {
        #[command(flatten)]
        why: Why,
    },
    /// How far a purge has come
    #[command(
        after_help = "custodian purge status contoso --wait    until the keys are destroyed and there is a receipt"
    )]
    Status {
        #[command(flatten)]
        whose: Purged,
        /// Waits until the purge is carried out and has its receipt
        #[arg(long)]
        wait: bool,
    },
    /// Carries the purge out: destroys the keys, searches the store for them, signs a receipt
    #[command(after_help = "custodian purge execute contoso --yes --wait")]
    Execute {
        /// The tenant
        tenant: String,
        /// That this is what you want
        #[arg(long)]
        yes: bool,
        /// Waits until its time has come, for as long as your token is good
        #[arg(long)]
        wait: bool,
        /// Also tries every 32 bytes of the store as a key: about a second for each megabyte
        #[arg(long)]
        exhaustive: bool,
    },
    /// Every purge that was asked for, for custodians of the service
    #[command(after_help = "custodian purge list --json")]
    List,
    /// Carries out every purge whose time has come, for custodians of the service
    #[command(after_help = "custodian purge run    the store does the same once a minute")]
    Run {
        /// That this is what you want
        #[arg(long)]
        yes: bool,
    },
    /// Prints the receipt of a purge, or writes it into a new file
    #[command(after_help = "custodian purge receipt contoso receipt.note")]
    Receipt {
        #[command(flatten)]
        whose: Purged,
        /// The file
        file: Option<PathBuf>,
        /// Which receipt; the last unless said otherwise
        #[arg(long, value_name = "N")]
        number: Option<u32>,
    },
    /// Prints whose signature the receipts of a purge bear
    #[command(after_help = "custodian purge key contoso > receipts.key")]
    Key {
        #[command(flatten)]
        whose: Purged,
    },
    /// Writes the trail of a purged tenant into a new file
    #[command(after_help = "custodian purge trail contoso trail.jsonl")]
    Trail {
        #[command(flatten)]
        whose: Purged,
        /// The file
        file: PathBuf,
    },
    /// Searches every file of the store again, and issues another receipt
    #[command(after_help = "custodian purge prove contoso    after what was found has been removed")]
    Prove {
        #[command(flatten)]
        whose: Purged,
    },
    /// Declares on the record that an escrow that the receipt lists is destroyed
    #[command(after_help = "custodian purge declare contoso 3 --reason 'both sticks shredded'")]
    Declare {
        #[command(flatten)]
        whose: Purged,
        /// The number of the escrow in the receipt
        escrow: u64,
        /// Why, for others to read
        #[arg(long)]
        reason: String,
    },
    /// Asks the root keys again, and issues another receipt if something has changed
    #[command(after_help = "custodian purge finalize contoso    once root versions and escrows are destroyed")]
    Finalize {
        #[command(flatten)]
        whose: Purged,
    },
    /// Verifies a receipt, without the store and without a token
    #[command(after_help = VERIFY)]
    Verify(VerifyReceipt),
}

/// Of whom, and why.
#[derive(Args)]
pub struct Why {
    /// The tenant
    pub tenant: String,
    /// Why, for others to read
    #[arg(long)]
    pub reason: String,
}

/// A tenant that was purged, or is to be.
#[derive(Args)]
pub struct Purged {
    /// The tenant
    pub tenant: String,
    /// As a custodian of the service, and not of the tenant
    #[arg(long)]
    pub as_service: bool,
}

pub const VERIFY: &str = "\
custodian verify receipt.note trail.jsonl --key 'strongroom/..+8 hex digits+base64'
custodian verify receipt.note --key receipts.key    the receipt alone, the key in a file

Exit code 0: the receipt is the store's own, the trail vouches for it, and the purge is proven. 4: something does not
verify, or the receipt itself says that the purge is not proven.";

/// What is held against what.
#[derive(Args)]
pub struct VerifyReceipt {
    /// The receipt
    pub receipt: PathBuf,
    /// The exported trail of the tenant
    pub trail: Option<PathBuf>,
    /// The key that signs, as `purge key` says, or a file with it
    #[arg(long, value_name = "KEY")]
    pub key: String,
}
