//! The command line: what there is to say, and the help that teaches it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

mod proofs;
mod records;

pub use self::proofs::{Audit, Purge, Purged, VerifyReceipt, Why};
pub use self::records::{Backup, Restore, RestoreTerms, Ring};

const EXAMPLES: &str = "\
Begin:
  custodian init --store room/store --keys room/keys --jwks issuer/jwks.json \\
      --issuer https://id.example --audience mail --socket /run/mail/custody.sock
  STRONGROOM_TOKEN=.. custodian login --save       who am I, and until when
  custodian doctor                                 is all well?

Where it works: on a running service through its Unix socket (--socket), or on a closed store, which it opens itself
(--store, --keys, --jwks, --issuer, --audience). If both are known, it asks the service if one answers. Either way your
token decides what you may do.

Your token is taken from STRONGROOM_TOKEN, or from the file that `login --save` wrote; never from the command line, where
other users of the machine could see it. It needs the role `strongroom.custodian`.

Exit codes: 0 done; 1 usage, or a request that is wrong in itself; 2 refused (denied, not found, in conflict, revoked,
expired); 3 unreachable, or the outcome is unknown: try again; 4 something does not verify: look before you go on.";

const INIT: &str = "\
custodian init --store room/store --keys room/keys --jwks issuer/jwks.json --issuer https://id.example --audience mail

With root keys in a vault (OpenBao, HashiCorp Vault), an AppRole or an agent's token; secrets stay in their files:
  --vault address=https://vault.example:8200,ca=ca.pem,root=contoso:contoso-key,role-id=..,secret-id-file=secret-id
  --vault address=https://vault.example:8200,ca=ca.pem,root=a:key-a,root=b:key-b,token-file=/run/agent/token
Also: mount=transit, namespace=.., login-mount=approle, and plain-http-on-loopback=true for an agent on 127.0.0.1.";

/// Keeps the keys of a strongroom's tenants: makes, suspends and deletes tenants, rotates their keys, changes who must
/// consent, backs up and restores, and reads no record.
#[derive(Parser)]
#[command(name = "custodian", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub settings: Settings,
    /// Checks rights and validity, says what would change, and changes nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Prints one JSON document instead of words
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// What would otherwise have to be typed each time: `init` writes it into a file.
#[derive(Args, Default)]
pub struct Settings {
    /// The file of settings; `custodian.json` here, else in ~/.config/strongroom, unless said otherwise
    #[arg(long, global = true, value_name = "FILE", env = "STRONGROOM_CONFIG")]
    pub config: Option<PathBuf>,
    /// The store's folder, to work on it closed
    #[arg(long, global = true, value_name = "FOLDER")]
    pub store: Option<PathBuf>,
    /// The folder of the root keys
    #[arg(long, global = true, value_name = "FOLDER")]
    pub keys: Option<PathBuf>,
    /// The public keys of the issuer of your token
    #[arg(long, global = true, value_name = "FILE")]
    pub jwks: Option<PathBuf>,
    /// The issuer, as the token's `iss` says
    #[arg(long, global = true, value_name = "URL")]
    pub issuer: Option<String>,
    /// The service, as the token's `aud` says
    #[arg(long, global = true, value_name = "NAME")]
    pub audience: Option<String>,
    /// The tenant claim of the service's own people [default: service]
    #[arg(long, global = true, value_name = "TENANT")]
    pub service: Option<String>,
    /// The service's root key [default: service]
    #[arg(long, global = true, value_name = "NAME")]
    pub root: Option<String>,
    /// The folder of a region; may be given several times
    #[arg(long = "region", global = true, value_name = "NAME=FOLDER")]
    pub regions: Vec<String>,
    /// A vault with root keys; `init --help` has an example. May be given several times
    #[arg(long = "vault", global = true, value_name = "WHAT=HOW,..")]
    pub vaults: Vec<String>,
    /// The Unix socket of a running service
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Where `login --save` keeps the token [default: beside the settings]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Writes the settings that are given into a file, so that nobody types them again
    #[command(after_help = INIT)]
    Init {
        /// Replaces a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Shows who your token says you are, and until when
    Login {
        /// Of this tenant's own custodians
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        /// Keeps the token in the token file (mode 0600), once it has been accepted
        #[arg(long)]
        save: bool,
    },
    /// How the store is, or a tenant's keys
    Status {
        /// The keys of this tenant, for its own custodians
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
    },
    /// Looks over folders, rings, escrow, root keys, what is unfinished, and the clock
    Doctor,
    /// Root keys
    #[command(subcommand)]
    Root(Root),
    /// Tenants, for custodians of the service
    #[command(subcommand)]
    Tenant(Tenant),
    /// Whose consent a tenant's keys need, for its own custodians
    #[command(subcommand)]
    Policy(Policy),
    /// Makes a new generation of a tenant's own key, for its own custodians
    #[command(
        after_help = "Records that are there stay readable. With --roots the root keys wrap a fresh secret instead, \
                            and no record is touched."
    )]
    Rotate {
        /// The tenant
        tenant: String,
        /// A new epoch under the newest versions of the tenant's root keys, and the same generation
        #[arg(long)]
        roots: bool,
    },
    /// Whether anything of a tenant opens, and how soon a refusal of its root keys ends that; for its own custodians
    #[command(after_help = "custodian access contoso    no root key is asked")]
    Access {
        /// The tenant
        tenant: String,
    },
    /// Takes all access to a tenant's records away at once, for its own custodians; destroys nothing
    #[command(after_help = "custodian revoke contoso --reason 'a stolen laptop'\n\n\
                      Sessions and scans end, keys leave memory, nobody is admitted, also after a restart, until a \
                      custodian of the tenant restores access. The service's custodians cannot.")]
    Revoke {
        #[command(flatten)]
        why: Why,
    },
    /// Gives access back that was revoked, for the tenant's own custodians
    #[command(after_help = "custodian restore contoso --reason 'it was found'\n\
                      custodian restore contoso --reason 'it was found' --propose    where the rules ask for two: \
                      another one says `custodian policy apply contoso N`")]
    Restore {
        #[command(flatten)]
        why: Why,
        /// Proposes it to another custodian
        #[arg(long)]
        propose: bool,
    },
    /// Counts a tenant's records by the generation of the key that seals them, for its own custodians
    #[command(after_help = "custodian census contoso    reads every row, and no record")]
    Census {
        /// The tenant
        tenant: String,
    },
    /// Moves a tenant's records to the newest generation of its key while everybody works, for its own custodians
    #[command(
        after_help = "custodian reseal contoso --rate 20000000    20 MB in a second, to leave room for others\n\n\
                      What is interrupted goes on with the same command, and in the background of a running service. \
                      --wait moves nothing itself: it waits until the store, which rotates by age, is done."
    )]
    Reseal {
        /// The tenant
        tenant: String,
        /// Bytes that it may read and write in a second
        #[arg(long, value_name = "BYTES", conflicts_with = "wait")]
        rate: Option<u64>,
        /// Waits for what the store does in the background
        #[arg(long)]
        wait: bool,
    },
    /// Destroys the key of a generation that nothing needs any more, for the tenant's own custodians
    #[command(after_help = "custodian rotate contoso; custodian reseal contoso; custodian retire contoso\n\n\
                      The proof that no record needs a key is known until the store is closed. So on a closed store this \
                      moves and counts the records first, as it does with --reseal.")]
    Retire {
        /// The tenant
        tenant: String,
        /// The generation; every one that can go unless said otherwise
        generation: Option<u32>,
        /// Moves the records to the newest generation first
        #[arg(long)]
        reseal: bool,
    },
    /// Destroys a tenant's keys for good, with proof: for its own custodians
    #[command(subcommand)]
    Purge(Purge),
    /// Verifies the receipt of a purge against an exported trail, without the store and without a token
    #[command(after_help = proofs::VERIFY)]
    Verify(VerifyReceipt),
    /// Makes a recovery key: its secret half into a new file, what to seal escrows to on the screen
    RecoveryKey {
        /// The file, which must not be there
        file: PathBuf,
    },
    /// Escrows of the rings: sealed to recovery keys, or to `STRONGROOM_PASSPHRASE`
    #[command(subcommand)]
    Ring(Ring),
    /// Backups of the store
    #[command(subcommand)]
    Backup(Backup),
    /// Brings a tenant, a cell or a store back from a backup
    #[command(subcommand)]
    RestoreBackup(Restore),
    /// Trails of what custodians have done
    #[command(subcommand)]
    Audit(Audit),
    /// Prints completions for a shell
    #[command(after_help = "bash:  custodian completion bash > ~/.local/share/bash-completion/completions/custodian")]
    Completion {
        /// The shell
        shell: Shell,
    },
}

#[derive(Subcommand)]
pub enum Root {
    /// Makes a root key in the folder of root keys, or a new version of one
    #[command(
        after_help = "A running service takes it in by itself. Then `custodian root rotate NAME` moves the tenants."
    )]
    New {
        /// The root key
        name: String,
    },
    /// The root keys in the folder of root keys, with their versions
    List,
    /// Proves a root key, and says what it allows
    Check {
        /// The root key
        name: String,
    },
    /// Moves every tenant that depends on a root key to its newest version
    #[command(
        after_help = "No record is touched. A tenant whose root keys cannot all be reached stays as it is and is \
                            listed; the same command tries it again, and goes on after an interruption."
    )]
    Rotate {
        /// The root key
        name: String,
        /// At most so many tenants in a second
        #[arg(long, value_name = "N")]
        per_second: Option<u32>,
    },
}

#[derive(Subcommand)]
pub enum Tenant {
    /// Makes a tenant for which tokens of ISSUER speak whose tenant claim is CLAIM
    #[command(
        after_help = "custodian tenant create contoso https://id.example 8d1f.. --any-of contoso-a --any-of contoso-b"
    )]
    Create {
        /// Its name: 1 to 63 of a-z, 0-9, `-`, `_`, `.`
        name: String,
        /// The issuer, as `iss` says
        // By its own name it would be the setting `--issuer`, that of the custodians.
        #[arg(id = "tenants_issuer", value_name = "ISSUER")]
        issuer: String,
        /// The tenant claim
        claim: String,
        /// One more that speaks for it
        #[arg(long = "speaker", value_names = ["ISSUER", "CLAIM"], num_args = 2)]
        speakers: Vec<String>,
        /// Keeps it in this region
        #[arg(long, value_name = "REGION")]
        in_region: Option<String>,
        /// Gives it a cell that it shares with nobody
        #[arg(long)]
        own_cell: bool,
        #[command(flatten)]
        policy: PolicyTerms,
    },
    /// Every tenant, its state and who may speak for it
    List,
    /// One tenant
    Show {
        /// Its name
        name: String,
    },
    /// Ends its sessions and admits no more; its records stay
    Suspend {
        /// Its name
        name: String,
    },
    /// Admits its sessions again
    Resume {
        /// Its name
        name: String,
    },
    /// Destroys its keys and wipes its records, for ever
    Delete {
        /// Its name
        name: String,
        /// That this is what you want
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
pub struct PolicyTerms {
    /// Root keys that together open the tenant's keys, by commas; given several times, any one of them does
    #[arg(long, value_name = "ROOT[,ROOT]")]
    pub any_of: Vec<String>,
    /// A root key for an outage of all others, and for when they are lost
    #[arg(long, value_name = "ROOT", requires = "recovery_limit", requires = "any_of")]
    pub recovery: Option<String>,
    /// For how long at most it serves in an outage
    #[arg(long, value_name = "SECONDS", requires = "recovery")]
    pub recovery_limit: Option<u64>,
    /// After how long root keys are asked again
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub refresh: u64,
    /// After how long without an answer keys leave memory
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub hard_expiry: u64,
}

#[derive(Subcommand)]
pub enum Policy {
    /// The policy, the rules, and what is proposed
    Show {
        /// The tenant
        tenant: String,
    },
    /// Proposes another policy; it holds when it is applied
    #[command(after_help = "Two keys of the customer's, any of which opens:   --any-of contoso-a --any-of contoso-b\n\
                            Double key, neither opens alone:                  --any-of service,contoso")]
    Propose {
        /// The tenant
        tenant: String,
        /// Why, for others to read
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        policy: PolicyTerms,
    },
    /// Proposes other rules among the tenant's custodians
    ProposeRules {
        /// The tenant
        tenant: String,
        /// Why, for others to read
        #[arg(long)]
        reason: String,
        /// Whoever proposes may not apply
        #[arg(long)]
        two_custodians: bool,
        /// How long a purge can be taken back
        #[arg(long, value_name = "SECONDS", default_value_t = 604_800)]
        cooling_off: u64,
        /// After which age the store rotates the tenant's key by itself
        #[arg(long, value_name = "SECONDS")]
        rotate_keys_after: Option<u64>,
    },
    /// Proposes another policy because the root keys are lost; another custodian applies it, and the recovery root opens
    /// the keys for that, on the record
    #[command(after_help = "custodian policy recover contoso --any-of new-key --reason 'both vaults burned'")]
    Recover {
        /// The tenant
        tenant: String,
        /// Why, for others to read
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        policy: PolicyTerms,
    },
    /// Does what was proposed
    Apply {
        /// The tenant
        tenant: String,
        /// The number of the proposal
        proposal: u32,
    },
    /// Takes a proposal back
    Withdraw {
        /// The tenant
        tenant: String,
        /// The number of the proposal
        proposal: u32,
    },
}
