//! The command line: verbs, and what they print.

mod doctor;
mod service_token;

use std::{
    error::Error,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use self::service_token::ServiceTokenCommand;
use crate::{
    app::{self, App, Store},
    config::{Config, LogFormat},
    crypto::password::{Password, PasswordCost},
    db::migrations,
    domain::{
        account::{Locale, Role},
        actor::Actor,
        session::Origin,
    },
    graphql,
    service::{
        ServiceError, Services, account, demo, second_factor,
        staff::{self, NewAccount},
    },
};

/// A support desk as a GraphQL server.
///
/// Without a command it serves. The configuration comes from a file
/// (--config, TICKETWIRE_CONFIG or ./ticketwire.toml), then from the environment
/// (TICKETWIRE_LISTEN, DATABASE_URL, …), then from flags.
#[derive(Parser)]
#[command(name = "ticketwire", version)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Where data is kept, among it the embedded database.
    #[arg(long, value_name = "FOLDER", global = true)]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server, on an embedded Postgres with demo data where no DATABASE_URL is set.
    Serve(ServeArgs),
    /// Bring the database's schema up to date.
    Migrate,
    /// Print the GraphQL schema.
    Schema,
    /// Manage accounts.
    #[command(subcommand)]
    User(UserCommand),
    /// Manage what machines sign in with.
    #[command(subcommand)]
    ServiceToken(ServiceTokenCommand),
    /// Check the database, its schema and the mail server, and say what is wrong.
    Doctor,
    /// Try the mail server.
    #[command(subcommand)]
    Mail(MailCommand),
}

#[derive(Subcommand)]
enum MailCommand {
    /// Send a mail to an address, and say exactly what is wrong where it fails.
    Test {
        /// Where to.
        address: String,
        /// The language of the mail.
        #[arg(long, value_enum, default_value = "en")]
        locale: LocaleArg,
    },
}

#[derive(Args, Clone, Default)]
struct ServeArgs {
    /// The address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
}

#[derive(Subcommand)]
enum UserCommand {
    /// Make an account. The password is asked for, or read from standard input.
    Create {
        /// The e-mail address that it signs in with.
        #[arg(long)]
        email: String,
        /// The name that others see.
        #[arg(long)]
        name: String,
        /// What it may do.
        #[arg(long, value_enum, default_value = "customer")]
        role: RoleArg,
        /// The language that it is addressed in.
        #[arg(long, value_enum, default_value = "en")]
        locale: LocaleArg,
        /// Read the password from standard input (its first line) without asking.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Give an account another role. Its sessions end.
    SetRole {
        /// The e-mail address that it signs in with.
        email: String,
        /// What it may do from now on.
        #[arg(value_enum)]
        role: RoleArg,
    },
    /// Remove all second factors of somebody who has lost them. Their sessions end, and
    /// they are told by mail.
    ResetSecondFactor {
        /// The e-mail address that it signs in with.
        email: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleArg {
    Customer,
    Agent,
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
enum LocaleArg {
    En,
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

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// What went wrong, in words for people.
    pub async fn run(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let command = self.command.unwrap_or(Command::Serve(self.serve));
        if matches!(command, Command::Schema) {
            return print(&graphql::sdl());
        }
        let mut flags = Vec::new();
        if let Some(folder) = self.data_dir {
            flags.push((
                "data_dir",
                folder.into_os_string().into_string().map_err(|_| "--data-dir is not UTF-8")?,
            ));
        }
        if let Command::Serve(ServeArgs { listen: Some(listen) }) = &command {
            flags.push(("listen", listen.clone()));
        }
        let config = Config::load(self.config.as_deref(), &flags)?;
        start_logging(&config)?;
        match command {
            Command::Serve(_) => serve(&config).await,
            Command::Migrate => migrate(&config).await,
            Command::Schema => Ok(()),
            Command::Doctor => doctor::run(&config).await,
            Command::Mail(MailCommand::Test { address, locale }) => {
                doctor::mail_test(&config, &address, locale.into()).await
            }
            Command::User(UserCommand::Create { email, name, role, locale, password_stdin }) => {
                let password = Some(read_password(password_stdin)?);
                let (role, locale) = (role.into(), locale.into());
                create_user(&config, NewAccount { email, name, role, locale, password }).await
            }
            Command::User(UserCommand::SetRole { email, role }) => {
                set_role(&config, &email, role.into()).await
            }
            Command::User(UserCommand::ResetSecondFactor { email }) => {
                reset_second_factor(&config, &email).await
            }
            Command::ServiceToken(command) => service_token::run(&config, command).await,
        }
    }
}

/// Writes to standard output; a reader that hangs up is no failure.
fn print(text: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Libraries that log what passes through them at their finest levels: tokens,
/// texts, statements with their values. These levels stay off, whatever is asked for.
const TALKATIVE: [&str; 5] =
    ["tungstenite", "tokio_tungstenite", "tokio_postgres", "hyper", "async_graphql"];

fn start_logging(config: &Config) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut filter =
        EnvFilter::try_new(&config.log.filter).map_err(|error| format!("`log.filter`: {error}"))?;
    for library in TALKATIVE {
        filter = filter.add_directive(format!("{library}=info").parse()?);
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match config.log.format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    }
}

async fn serve(config: &Config) -> Result<(), Box<dyn Error + Send + Sync>> {
    // Installed first: a signal in mid-start is heard, and the start undone.
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut stopped = std::pin::pin!(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    let store = tokio::select! {
        store = Store::open(config) => store?,
        () = &mut stopped => return Ok(()),
    };
    let served = async {
        let database = store.connect(config)?;
        let app = tokio::select! {
            app = App::start(config, database, app::ambient(), PasswordCost::default()) => app?,
            () = &mut stopped => return Ok(()),
        };
        print(&welcome(config, &app, &store)?)?;
        stopped.await;
        tracing::info!("stopping");
        app.stop().await;
        Ok(())
    };
    let result = served.await;
    store.close().await;
    result
}

fn welcome(
    config: &Config,
    app: &App,
    store: &Store,
) -> Result<String, Box<dyn Error + Send + Sync>> {
    let address = app.address();
    let mut text = String::from("Ticketwire is ready.\n\n");
    if config.playground {
        text += &format!("  Playground   http://{address}/\n");
    }
    text += &format!(
        "  GraphQL      http://{address}/graphql\n  Live         ws://{address}/graphql (graphql-transport-ws)\n"
    );
    if let Some(admin) = app.admin_address() {
        text += &format!("  Metrics      http://{admin}/metrics\n");
    }
    if app.has_mailbox() {
        text += &format!("  Mailbox      http://{address}/mailbox (no mail is sent)\n");
    }
    if store.is_demo() {
        text += &format!("\n  Demo accounts, all with the password {}\n", demo::PASSWORD);
        for account in demo::accounts()? {
            let role = format!("{:?}", account.role).to_lowercase();
            text += &format!("    {role:<10} {:<32} {}\n", account.email, account.name);
        }
    }
    text += "\nStop it with Ctrl-C.\n";
    Ok(text)
}

async fn migrate(config: &Config) -> Result<(), Box<dyn Error + Send + Sync>> {
    let store = Store::open_for_command(config).await?;
    let ran = async { migrations::run(&store.connect(config)?).await }.await;
    store.close().await;
    let ran = ran?;
    if ran.is_empty() {
        return print("The database is up to date.\n");
    }
    print(&ran.iter().map(|name| format!("Ran {name}\n")).collect::<String>())
}

/// Does something with the use cases over the migrated database.
async fn with_services<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Services) -> Result<T, Box<dyn Error + Send + Sync>>,
) -> Result<T, Box<dyn Error + Send + Sync>> {
    let store = Store::open_for_command(config).await?;
    let done = async {
        let database = store.connect(config)?;
        migrations::run(&database).await?;
        work(&app::services(config, database, app::ambient(), PasswordCost::default())?).await
    }
    .await;
    store.close().await;
    done
}

/// What went wrong, in the words that the use case has for people.
fn explained(error: ServiceError) -> Box<dyn Error + Send + Sync> {
    match error {
        ServiceError::Invalid(errors) => {
            errors.into_iter().map(|error| error.message).collect::<Vec<_>>().join("\n").into()
        }
        other => other.into(),
    }
}

async fn create_user(config: &Config, new: NewAccount) -> Result<(), Box<dyn Error + Send + Sync>> {
    let account = with_services(config, async |services| {
        staff::create(&Actor::System, services, new).await.map_err(explained)
    })
    .await?;
    print(&format!("Made the account {} ({:?}).\n", account.email, account.role))
}

async fn set_role(
    config: &Config,
    email: &str,
    role: Role,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let account = with_services(config, async |services| {
        staff::set_role_by_email(&Actor::System, services, email, role).await.map_err(explained)
    })
    .await?;
    print(&format!("{} is {:?} now, and has to sign in again.\n", account.email, account.role))
}

async fn reset_second_factor(
    config: &Config,
    email: &str,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let account = with_services(config, async |services| {
        let account =
            account::by_email(&Actor::System, services, email).await.map_err(explained)?;
        second_factor::reset(&Actor::System, services, account.id, &Origin::default())
            .await
            .map_err(explained)
    })
    .await?;
    print(&format!("{} has no second factor now, and has to sign in again.\n", account.email))
}

/// The password, never from the command line: other users of the machine see that.
fn read_password(from_stdin: bool) -> Result<Password, Box<dyn Error + Send + Sync>> {
    if !from_stdin {
        if !io::stdin().is_terminal() {
            return Err("there is no terminal to ask for the password on: pass --password-stdin and the password on standard input".into());
        }
        let first = rpassword::prompt_password("Password: ")?;
        if rpassword::prompt_password("Again: ")? != first {
            return Err("the two passwords differ".into());
        }
        return Ok(Password::new(first));
    }
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(Password::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
