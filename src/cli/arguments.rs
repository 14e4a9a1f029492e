//! The commands and flags, with their `--help` texts.

use std::path::PathBuf;

use clap::{
    ArgGroup, Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use clap_complete::Shell;
use uuid::Uuid;

use crate::domain::{
    account::{Locale, Role},
    clock::Timestamp,
    delivery::DeliveryState,
    service_token::Scope,
};

/// A support desk as a GraphQL server with live subscriptions.
///
/// Without a command, it runs the server, like `ticketwire serve`. The other commands can be used
/// while the server is running.
///
/// Settings come from a file (--config, `TICKETWIRE_CONFIG`, ./ticketwire.toml or
/// /etc/ticketwire/ticketwire.toml), then from the environment (such as `DATABASE_URL` or
/// `TICKETWIRE_LISTEN`), then from flags. Each source overrides the ones before. `ticketwire config
/// reference` lists all settings.
#[derive(Parser)]
#[command(name = "ticketwire", version)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, value_name = "FILE", global = true, display_order = 100)]
    pub(super) config: Option<PathBuf>,
    /// The folder of the embedded database and its keys, mails and attachments.
    #[arg(long, value_name = "FOLDER", global = true, display_order = 101)]
    pub(super) data_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) serve: ServeArgs,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Run the server.
    ///
    /// Applies pending database migrations first, unless `database.migrate` is off. If no database
    /// is configured (`DATABASE_URL`), it runs an embedded Postgres with demo data.
    Serve(ServeArgs),
    /// Apply pending database migrations.
    ///
    /// `ticketwire serve` does this at every start, unless `database.migrate` is off. Use this
    /// command to migrate beforehand. It migrates whatever that setting is.
    Migrate,
    /// Have all live streams start again after a restore that the server cannot notice.
    ///
    /// A restored dump, point-in-time recovery and failover are noticed. A snapshot of the files is
    /// not, if no server was running: run this after bringing it back and before clients connect.
    /// Each client then reads its data again, once. Accounts that were erased after the backup are
    /// erased again, which the server also does when it starts. Running it without need does no other
    /// harm.
    Restored,
    /// Accept the configured sealing keys after the former ones were lost.
    ///
    /// The server does not start with keys that its database was not used with. The embedded database
    /// gets a new key if the file of its key is missing. Authenticators and
    /// recovery codes that were set up with the lost keys stay unusable: reset the second factors of
    /// their owners. Mails with codes, links and security notices that are still queued are lost.
    AcceptSealingKeys,
    /// Accept the configured storage after all attachments have moved to it.
    ///
    /// Nodes neither store nor delete files in a storage that is not the one in which the
    /// installation keeps its attachments: it may be the folder of a disk that is not mounted. Files
    /// that the new storage lacks cannot be read any more.
    AcceptStorage,
    /// Print the GraphQL schema.
    Schema,
    /// List the settings, or show those in effect.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Create accounts, change their roles, reset their second factors, and erase them.
    #[command(subcommand)]
    User(UserCommand),
    /// Manage the tokens that other systems, such as a control panel, use to call the API.
    #[command(subcommand)]
    ServiceToken(ServiceTokenCommand),
    /// Check the database, the nodes, the mail server and the storage of attachments.
    ///
    /// Prints the result of every check, and what to do about each failure. Exits with 0 if all is
    /// well, 1 if a check failed, and 2 if the configuration cannot be read.
    Doctor {
        /// Print the results as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Test the mail server, send failed mails again, and switch mail on or off.
    #[command(subcommand)]
    Mail(MailCommand),
    /// Manage the events of which people could not be notified.
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Back up the database and the attachments while the server runs.
    ///
    /// The database is copied in one consistent snapshot, the attachments after it. Keys are not in
    /// the backup: keep them apart from it. A backup that fails or is interrupted leaves nothing
    /// that could be taken for a whole one. If the storage has lost attachments, or cannot read up
    /// to 20 of them, the backup of the rest is kept, and the command fails and names them.
    Backup {
        /// A folder that does not exist yet, a file that does not exist yet and whose name ends in
        /// `.tar`, both in a folder that exists, or `s3://BUCKET/PREFIX` on the server of `storage.s3`.
        target: String,
    },
    /// Restore a backup into an empty installation.
    ///
    /// Checks the backup first, and accepts one of an older version. Stop all servers before. If
    /// it is interrupted, run it again with the same backup: no server starts until it is done.
    /// Afterwards all live streams start again, accounts that were erased since the backup are
    /// erased again, and mails that were queued in the backup are not sent, because they may have
    /// been sent since.
    Restore {
        /// The folder, the file or `s3://BUCKET/PREFIX` of the backup.
        source: String,
        /// Restore even if the ledger of erasures lacks erasures or redactions of the backup.
        ///
        /// What was erased since the backup comes back.
        #[arg(long)]
        without_ledger: bool,
    },
    /// Upgrade the embedded database to a newer major version of Postgres.
    ///
    /// Needs the programs of both versions: the old ones wherever they are installed, the new ones
    /// in `embedded.bin_dir`, or the newest that are installed, or from npm. Stop the server before.
    /// The former database stays in the data folder under another name.
    UpgradeDatabase,
    /// Check that a backup is whole, without a database.
    ///
    /// Reads all of it. Fails if anything is missing or damaged.
    VerifyBackup {
        /// The folder, the file or `s3://BUCKET/PREFIX` of the backup.
        source: String,
    },
    /// Write the files that a package contains next to the binary.
    #[command(subcommand, hide = true)]
    Generate(GenerateCommand),
}

#[derive(Subcommand)]
pub(super) enum GenerateCommand {
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the manual pages into a folder.
    Man {
        /// The folder, which is created if it does not exist.
        folder: PathBuf,
    },
}

#[derive(Args, Clone, Default)]
pub(super) struct ServeArgs {
    /// The address and port to listen on. Port 0 picks a free port.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) listen: Option<String>,
    /// Apply no migrations: start only if none is pending.
    ///
    /// The same as `database.migrate = false`.
    #[arg(long)]
    pub(super) no_migrate: bool,
}

#[derive(Subcommand)]
pub(super) enum ConfigCommand {
    /// Print every setting with its environment variable and default, as a Markdown table.
    Reference,
    /// Print every setting with the value that is in effect and its source, as TOML.
    ///
    /// The source is `default`, `file`, `environment` or `flag`. Secrets are masked. Whether a server would
    /// start with them is checked by `ticketwire doctor`.
    Show,
}

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Create an account.
    ///
    /// Asks for the password on the terminal, or reads it with --password-stdin.
    Create {
        /// The e-mail address that the person signs in with.
        #[arg(long)]
        email: String,
        /// The name that others see.
        #[arg(long)]
        name: String,
        /// The role of the person.
        #[arg(long, value_enum, default_value = "customer")]
        role: RoleArg,
        /// The language of mails to the person.
        #[arg(long, value_enum, default_value = "en")]
        locale: LocaleArg,
        /// Read the password from the first line of standard input instead of asking for it.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Change the role of an account and end its sessions.
    SetRole {
        /// The e-mail address of the account.
        email: String,
        /// The new role.
        #[arg(value_enum)]
        role: RoleArg,
    },
    /// Remove all second factors of a person who has lost them.
    ///
    /// Ends the person's sessions and notifies them by mail. They can then sign in with their
    /// password alone.
    ResetSecondFactor {
        /// The e-mail address of the account.
        email: String,
    },
    /// Erase an account permanently.
    ///
    /// Replaces the name and the address of the person wherever they are stored, deletes their
    /// secrets and ends their sessions. Tickets and events stay. The address and the external id can
    /// be used for another account afterwards. A restored backup does not bring the account back
    /// (see `storage.erasure_ledger`).
    Erase {
        /// The e-mail address of the account.
        email: String,
        /// Whether what the person wrote and uploaded stays or is redacted.
        #[arg(long, value_enum)]
        conversations: ConversationsArg,
    },
}

/// What becomes of the texts and files of an erased account.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ConversationsArg {
    /// They stay.
    Keep,
    /// They are redacted.
    Redact,
}

#[derive(Subcommand)]
pub(super) enum ServiceTokenCommand {
    /// Create a service token and print it.
    ///
    /// Store the token: it cannot be shown again.
    Create {
        /// A name to recognise the token by, such as `panel`.
        #[arg(long)]
        name: String,
        /// A permission of the token. Repeat the flag for several permissions.
        #[arg(long, value_enum, required = true)]
        scope: Vec<ScopeArg>,
        /// After how many days the token expires. Without it, the token does not expire.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3_650))]
        expires_in_days: Option<u16>,
    },
    /// List all service tokens, the newest first, with their scopes and last use.
    List,
    /// Revoke a service token, which stops working immediately.
    Revoke {
        /// The id of the token, as `ticketwire service-token list` shows it.
        #[arg(value_parser = parse_id)]
        id: Uuid,
    },
}

#[derive(Subcommand)]
pub(super) enum MailCommand {
    /// Send a test mail and explain what is wrong if it cannot be sent.
    Test {
        /// The e-mail address to send it to.
        address: String,
        /// The language of the mail.
        #[arg(long, value_enum, default_value = "en")]
        locale: LocaleArg,
    },
    /// List mails with their ids and errors, the newest first.
    ///
    /// Without --state, lists those that have failed: refused, given up, unbuildable and expired.
    List {
        /// A state to list. Repeat the flag for several states.
        #[arg(long, value_enum)]
        state: Vec<MailStateArg>,
        /// List at most this many mails.
        #[arg(long, default_value = "100", value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Queue mails again that were refused, given up, unbuildable or expired.
    ///
    /// They then have another 72 hours. Mails with codes, links or security notices cannot be
    /// queued again, because their content was erased.
    #[command(group(ArgGroup::new("which").required(true)))]
    Retry {
        /// The ids of the mails, as `ticketwire mail list` shows them.
        #[arg(value_name = "ID", group = "which", value_parser = parse_id)]
        ids: Vec<Uuid>,
        /// Queue all of them. Those that a restore has held back only with --state expired.
        #[arg(long, group = "which")]
        all: bool,
        /// With --all: only mails in this state. Repeat the flag for several states.
        #[arg(long, requires = "all", conflicts_with = "ids", value_parser = failed_state())]
        state: Vec<MailStateArg>,
        /// With --all: only mails that failed at this time or later, such as
        /// 2026-11-26T08:00:00Z.
        #[arg(long, value_name = "TIME", requires = "all", conflicts_with = "ids", value_parser = parse_time)]
        since: Option<Timestamp>,
    },
    /// Switch the installation's mail on.
    ///
    /// All nodes plan mails from now on; those with `mail.smtp_url` send them. The first start of
    /// such a node does this too, unless mail was switched off.
    Enable,
    /// Switch the installation's mail off.
    ///
    /// No node plans or sends mail from now on. Mails that are queued wait, and expire 72 hours
    /// after they were queued.
    Disable,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum MailStateArg {
    /// Waiting to be sent, or for the next attempt.
    Queued,
    /// Being sent.
    Sending,
    /// Accepted by the mail server.
    Sent,
    /// Permanently rejected by the mail server.
    Refused,
    /// Not accepted within 72 hours.
    GivenUp,
    /// Impossible to compose.
    Unbuildable,
    /// Expired before it could be sent.
    Expired,
    /// Not sent, because the recipient must not receive it any more.
    Cancelled,
}

impl From<MailStateArg> for DeliveryState {
    fn from(state: MailStateArg) -> Self {
        match state {
            MailStateArg::Queued => Self::Queued,
            MailStateArg::Sending => Self::Sending,
            MailStateArg::Sent => Self::Sent,
            MailStateArg::Refused => Self::Refused,
            MailStateArg::GivenUp => Self::GivenUp,
            MailStateArg::Unbuildable => Self::Unbuildable,
            MailStateArg::Expired => Self::Expired,
            MailStateArg::Cancelled => Self::Cancelled,
        }
    }
}

impl From<DeliveryState> for MailStateArg {
    fn from(state: DeliveryState) -> Self {
        match state {
            DeliveryState::Queued => Self::Queued,
            DeliveryState::Sending => Self::Sending,
            DeliveryState::Sent => Self::Sent,
            DeliveryState::Refused => Self::Refused,
            DeliveryState::GivenUp => Self::GivenUp,
            DeliveryState::Unbuildable => Self::Unbuildable,
            DeliveryState::Expired => Self::Expired,
            DeliveryState::Cancelled => Self::Cancelled,
        }
    }
}

#[derive(Subcommand)]
pub(super) enum OutboxCommand {
    /// List the events that could not be processed and were set aside, in their order.
    ///
    /// Shows the id, the number of attempts, the consumer, the position in the event log, when the
    /// event was set aside, and the last error.
    List,
    /// Try events that were set aside again.
    ///
    /// A running server tries them within a few seconds. Those that succeed disappear from the
    /// list; nobody is notified twice.
    #[command(group(ArgGroup::new("which").required(true)))]
    Retry {
        /// The ids of the events, as `ticketwire outbox list` shows them.
        #[arg(value_name = "ID", group = "which", value_parser = parse_id)]
        ids: Vec<Uuid>,
        /// Try all events that were set aside.
        #[arg(long, group = "which")]
        all: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum RoleArg {
    /// Opens tickets and follows them.
    Customer,
    /// Support staff: works on everybody's tickets.
    Agent,
    /// An agent who also manages accounts, categories and service tokens.
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Customer => Self::Customer,
            RoleArg::Agent => Self::Agent,
            RoleArg::Admin => Self::Admin,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum LocaleArg {
    /// English.
    En,
    /// Russian.
    Ru,
}

impl From<LocaleArg> for Locale {
    fn from(locale: LocaleArg) -> Self {
        match locale {
            LocaleArg::En => Self::En,
            LocaleArg::Ru => Self::Ru,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum ScopeArg {
    /// Create and update the accounts of customers.
    ProvisionCustomers,
    /// Create links that sign customers in.
    CreateHandoffs,
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::ProvisionCustomers => Self::ProvisionCustomers,
            ScopeArg::CreateHandoffs => Self::CreateHandoffs,
        }
    }
}

impl From<Scope> for ScopeArg {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::ProvisionCustomers => Self::ProvisionCustomers,
            Scope::CreateHandoffs => Self::CreateHandoffs,
        }
    }
}

/// Returns a parser of the states in which a mail can be queued again.
fn failed_state() -> impl TypedValueParser<Value = MailStateArg> {
    let states = DeliveryState::FAILED.map(MailStateArg::from);
    let names = states.into_iter().filter_map(|state| state.to_possible_value());
    PossibleValuesParser::new(names).try_map(|name| MailStateArg::from_str(&name, false))
}

/// Reads an id.
fn parse_id(text: &str) -> Result<Uuid, String> {
    let example =
        "an id looks like 01a22f8c-5f0e-7c31-9d42-6b8f3e0c7a15: the command `list` shows them";
    text.parse().map_err(|_| example.to_owned())
}

/// Reads a time.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    let example = "write a time with its zone, such as 2026-11-26T08:00:00Z";
    text.parse().map_err(|_| example.to_owned())
}
