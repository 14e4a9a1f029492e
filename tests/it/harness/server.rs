//! A server in this process, on a free port, with its own database and clock.

use std::{
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
    sync::Arc,
};

use ticketwire::{
    app::{self, App, Listeners, StartError},
    config::Config,
    crypto::{
        password::{Password, PasswordCost},
        random::SystemRandomness,
    },
    db::{Database, DbError},
    domain::{
        account::{Locale, Role},
        actor::Actor,
        clock::Ambient,
        service_token::Scope,
    },
    service::{
        self, ServiceError, closing, erasure,
        service_token::{self, NewServiceToken},
        staff::{self, NewAccount},
    },
};

use super::{Client, clock::TestClock, postgres::TestDatabase, process::data_dir};

/// The password of every account that tests create.
pub const PASSWORD: &str = "correct horse battery";

/// The sealing key of the tests' servers.
pub const SEALING_KEYS: &str = "the key that the tests of Ticketwire seal with";

/// The cheapest parameters of argon2: the strength of hashes does not matter in these tests.
pub const CHEAP: PasswordCost = PasswordCost { memory_kib: 8, passes: 1 };

/// A running server.
pub struct TestServer {
    app: Option<App>,
    pub database: TestDatabase,
    pub clock: Arc<TestClock>,
}

impl TestServer {
    /// Starts a server on a new database.
    pub async fn start() -> Self {
        let (database, clock) = (TestDatabase::new().await, Arc::default());
        let app = start_app(&database.url, &clock).await;
        Self { app: Some(app), database, clock }
    }

    /// Starts a server with additional settings, as keys and values, on a new database.
    pub async fn start_with(flags: &[(&'static str, String)]) -> Self {
        let (database, clock) = (TestDatabase::new().await, Arc::default());
        let app = start_app_with(&database.url, &clock, flags).await.unwrap();
        Self { app: Some(app), database, clock }
    }

    /// Starts a server with additional settings on an existing database.
    pub async fn start_on(
        database: TestDatabase,
        clock: Arc<TestClock>,
        flags: &[(&'static str, String)],
    ) -> Self {
        let app = start_app_with(&database.url, &clock, flags).await.unwrap();
        Self { app: Some(app), database, clock }
    }

    /// Starts another node with additional settings. Stop it before the server.
    pub async fn another_node(&self, flags: &[(&'static str, String)]) -> Result<App, StartError> {
        start_app_with(&self.database.url, &self.clock, flags).await
    }

    /// Starts a second node on the same database. Stop it before the server.
    pub async fn second_node(&self) -> App {
        start_app(&self.database.url, &self.clock).await
    }

    /// Starts a second node on the same database, which it reaches by another URL. Stop it before the
    /// server.
    pub async fn node_at(&self, url: &str) -> App {
        start_app(url, &self.clock).await
    }

    /// Stops the server and starts another on the same database.
    pub async fn restart(&mut self) {
        self.app.take().unwrap().stop().await;
        self.app = Some(start_app(&self.database.url, &self.clock).await);
    }

    /// Stops the server, runs `work`, and starts another server on the same database.
    pub async fn restart_after(&mut self, work: impl AsyncFnOnce()) {
        self.app.take().unwrap().stop().await;
        work().await;
        self.app = Some(start_app(&self.database.url, &self.clock).await);
    }

    /// Stops the server and starts another on the same database, with additional settings.
    pub async fn restart_with(&mut self, flags: &[(&'static str, String)]) {
        self.app.take().unwrap().stop().await;
        self.app = Some(start_app_with(&self.database.url, &self.clock, flags).await.unwrap());
    }

    /// Stops the server, then reverts and repeats the migration in a folder. The server must be
    /// stopped because migrations lock tables in another order and could deadlock with it.
    pub async fn migrate_again(&mut self, folder: &str) {
        if let Some(app) = self.app.take() {
            app.stop().await;
        }
        let database = self.database.connect().await;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
        for script in ["down.sql", "up.sql"] {
            let script = std::fs::read_to_string(folder.join(script)).unwrap();
            database.batch_execute(&script).await.unwrap();
        }
    }

    /// Stops the server. Its database stays until this value is dropped.
    pub async fn stop_keeping_database(mut self) -> Self {
        self.app.take().unwrap().stop().await;
        self
    }

    /// Stops the server, if it still runs.
    pub async fn stop(mut self) {
        if let Some(app) = self.app.take() {
            app.stop().await;
        }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.app.as_ref().unwrap().address().to_string()
    }

    /// Gets a path from the admin listener; returns the status and the body.
    pub async fn admin(&self, path: &str) -> (u16, String) {
        let response =
            reqwest::get(format!("http://{}{path}", self.admin_address())).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The admin listener's address, `127.0.0.1:port`.
    pub fn admin_address(&self) -> String {
        let address = self.app.as_ref().unwrap().admin_address();
        address.expect("an admin listener").to_string()
    }

    /// A client without a session.
    pub fn anonymous(&self) -> Client {
        Client::new(&self.address(), None)
    }

    /// Creates an account and signs in.
    pub async fn sign_up(&self, name: &str, role: Role) -> Client {
        let email = format!("{}@example.com", name.to_lowercase());
        create_account(&self.database.url, &self.clock, &email, name, role).await;
        self.anonymous().sign_in(&email, PASSWORD).await
    }

    /// Creates a customer and signs in.
    pub async fn customer(&self, name: &str) -> Client {
        self.sign_up(name, Role::Customer).await
    }

    /// Creates an agent and signs in.
    pub async fn agent(&self, name: &str) -> Client {
        self.sign_up(name, Role::Agent).await
    }

    /// A client with a new service token of these scopes.
    pub async fn machine(&self, scopes: &[Scope]) -> Client {
        let database = Database::new(&self.database.url, 2).unwrap();
        let services =
            app::services(&config(), database.clone(), ambient(&self.clock), CHEAP).unwrap();
        let new = NewServiceToken {
            name: "panel".to_owned(),
            scopes: scopes.to_vec(),
            expires_at: None,
            idempotency_key: None,
        };
        let issued = service_token::create(&Actor::System, &services, new).await.unwrap();
        database.close();
        Client::new(&self.address(), issued.secret.map(|secret| secret.expose().to_owned()))
    }

    /// Closes the tickets that have been resolved for this many days, once everything that was
    /// committed is processed; returns how many. The planner of mail locks tickets, and those are not
    /// closed.
    pub async fn close_resolved(&self, after_days: u32) -> usize {
        self.quiet().await;
        self.close_resolved_now(after_days).await
    }

    /// Closes tickets like [`close_resolved`](Self::close_resolved), as the background task of a node
    /// does: at once.
    pub async fn close_resolved_now(&self, after_days: u32) -> usize {
        self.try_to_close_resolved(after_days).await.unwrap()
    }

    /// Does what [`Self::close_resolved_now`] does, and returns the last error.
    pub async fn try_to_close_resolved(&self, after_days: u32) -> Result<usize, ServiceError> {
        let database = Database::new(&self.database.url, 2).unwrap();
        let mut config = config();
        config.tickets.close_resolved_after_days = after_days;
        let services =
            app::services(&config, database.clone(), ambient(&self.clock), CHEAP).unwrap();
        // Boxed, since it is large.
        let closed = Box::pin(closing::close_resolved(&Actor::System, &services)).await;
        database.close();
        closed
    }

    /// Deletes expired rows, as the background task of a node with additional settings does.
    pub async fn prune(&self, settings: &[(&'static str, &str)]) {
        self.try_to_prune(settings).await.unwrap();
    }

    /// Does what [`Self::prune`] does, and returns the first error.
    pub async fn try_to_prune(&self, settings: &[(&'static str, &str)]) -> Result<(), DbError> {
        let mut flags = default_flags();
        flags.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let config = Config::load(Some("/dev/null".as_ref()), &flags).unwrap();
        let database = Database::new(&self.database.url, 2).unwrap();
        let services =
            app::services(&config, database.clone(), ambient(&self.clock), CHEAP).unwrap();
        let pruned = service::prune(&services).await;
        database.close();
        pruned
    }

    /// Erases what is left of erased accounts, as the background task of a node does.
    pub async fn finish_erasures(&self) {
        let database = Database::new(&self.database.url, 2).unwrap();
        let services =
            app::services(&config(), database.clone(), ambient(&self.clock), CHEAP).unwrap();
        erasure::finish(&Actor::System, &services).await.unwrap();
        database.close();
    }

    /// Starts a server whose SQL statements are logged, so that a test can count them.
    pub async fn start_logged() -> Self {
        Self::start_logged_with(&[]).await
    }

    /// Starts a server with additional settings, whose statements are logged.
    pub async fn start_logged_with(flags: &[(&'static str, String)]) -> Self {
        let (database, clock) = (TestDatabase::new().await, Arc::default());
        database.log_statements().await;
        let app = start_app_with(&database.url, &clock, flags).await.unwrap();
        Self { app: Some(app), database, clock }
    }

    /// Starts a server whose query plans are logged. On a busy machine that takes long, so its
    /// searches may take as long as the settings allow.
    pub async fn start_explained(plan_cache_mode: &str) -> Self {
        let (database, clock) = (TestDatabase::new().await, Arc::default());
        database.log_plans(plan_cache_mode).await;
        let flags = [("limits.search_seconds", "30".to_owned())];
        let app = start_app_with(&database.url, &clock, &flags).await.unwrap();
        Self { app: Some(app), database, clock }
    }

    /// Returns the plans of the statements that the server sends during `work`, each with its
    /// statement, except those that follow the event log.
    pub async fn plans_of(&self, work: impl AsyncFnOnce()) -> Vec<String> {
        let before = std::fs::metadata(super::postgres::log_file()).unwrap().len();
        work().await;
        let own = self.database.backends().await;
        let mut log = std::fs::File::open(super::postgres::log_file()).unwrap();
        log.seek(SeekFrom::Start(before)).unwrap();
        let mut logged = String::new();
        log.read_to_string(&mut logged).unwrap();
        let mut plans = Vec::<String>::new();
        let mut is_own = false;
        for line in logged.lines() {
            if line.starts_with('\t') {
                if let Some(plan) = plans.last_mut().filter(|_| is_own) {
                    plan.push_str(line);
                    plan.push('\n');
                }
                continue;
            }
            is_own = line.contains("LOG:  duration")
                && own.iter().any(|pid| line.contains(&format!("[{pid}]")));
            if is_own {
                plans.push(String::new());
            }
        }
        plans.retain(|plan| !plan.contains("pending_events"));
        plans
    }

    /// Waits until as many nodes listen to notifications. A node misses those that were sent before.
    pub async fn listening(&self, nodes: i64) {
        let listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND query LIKE 'LISTEN ticketwire_feed;%' AND state = 'idle'";
        let database = self.database.connect().await;
        while database.query_one(listening, &[]).await.unwrap().get::<_, i64>(0) != nodes {}
    }

    /// Waits until the background tasks have processed everything that was committed: events are in
    /// the feed, and notifications and mails are planned.
    pub async fn quiet(&self) {
        let database = self.database.connect().await;
        let dealt_with = "SELECT NOT EXISTS (SELECT FROM pending_events)
            AND (SELECT pos FROM feed_head) = (SELECT min(pos) FROM consumer_offsets)";
        // Prepared once, for the tests that look at the names of prepared statements.
        let dealt_with = database.prepare(dealt_with).await.unwrap();
        while !database.query_one(&dealt_with, &[]).await.unwrap().get::<_, bool>(0) {}
    }

    /// Returns the statements that the server sends during `work`, except those that follow the
    /// event log or prepare a new connection.
    pub async fn statements_of(&self, work: impl AsyncFnOnce()) -> Vec<String> {
        let others = [
            "pending_events",
            "consumer_offsets",
            "deliveries",
            "WITH texts",
            "SELECT f.pos",
            "feed_epochs\".",
            "feed_head",
            "SELECT pg_type.oid",
            "SELECT t.typname",
            "SELECT enumlabel",
            "pg_stat_activity",
            "INTO nodes",
            "FROM nodes",
            "clock_timestamp()",
            "SET TIME ZONE",
            "SET CLIENT_ENCODING",
            "wal_compression",
        ];
        let mut statements = self.all_statements_of(work).await;
        statements.retain(|line| !others.iter().any(|part| line.contains(part)));
        statements
    }

    /// Returns all statements that the server sends during `work`: the first line of each, as
    /// logged.
    pub async fn all_statements_of(&self, work: impl AsyncFnOnce()) -> Vec<String> {
        let log = || std::fs::read_to_string(super::postgres::log_file()).unwrap();
        self.quiet().await;
        let before = log().len();
        work().await;
        // All tests share one Postgres and therefore its log.
        let own = self.database.backends().await;
        let executed = |line: &&str| {
            line.contains("LOG:  execute")
                && own.iter().any(|pid| line.contains(&format!("[{pid}]")))
        };
        log()[before..].lines().filter(executed).map(str::to_owned).collect()
    }

    /// Returns the names of the tables with a row that contains a text.
    pub async fn tables_with(&self, text: &str) -> Vec<String> {
        let client = self.database.connect().await;
        let tables = "SELECT relname FROM pg_class WHERE relkind = 'r'
            AND relnamespace = 'public'::regnamespace ORDER BY relname";
        let mut found = Vec::new();
        for row in client.query(tables, &[]).await.unwrap() {
            let table = row.get::<_, String>(0);
            let query =
                format!("SELECT EXISTS (SELECT FROM {table} t WHERE strpos(t::text, $1) > 0)");
            if client.query_one(&query, &[&text]).await.unwrap().get(0) {
                found.push(table);
            }
        }
        found
    }

    /// Returns the rows of the main tables as text, to check that nothing has changed.
    pub async fn content(&self) -> String {
        let client = self.database.connect().await;
        let mut content = String::new();
        let tables = [
            "accounts",
            "canned_answers",
            "categories",
            "saved_views",
            "tickets",
            "ticket_invitations",
            "comments",
            "events",
            "idempotency_keys",
        ];
        for table in tables {
            let query = format!(
                "SELECT coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '') FROM {table} t"
            );
            content += &client.query_one(&query, &[]).await.unwrap().get::<_, String>(0);
        }
        content
    }
}

/// Creates an account directly in a database.
pub async fn create_account(
    url: &str,
    clock: &Arc<TestClock>,
    email: &str,
    name: &str,
    role: Role,
) {
    let database = Database::new(url, 2).unwrap();
    let services = app::services(&config(), database.clone(), ambient(clock), CHEAP).unwrap();
    let new = NewAccount {
        email: email.to_owned(),
        name: name.to_owned(),
        role,
        locale: Locale::En,
        password: Some(Password::new(PASSWORD.to_owned())),
    };
    staff::create(&Actor::System, &services, new).await.unwrap();
    database.close();
}

/// The default configuration, on a free port.
pub fn config() -> Config {
    Config::load(Some("/dev/null".as_ref()), &default_flags()).unwrap()
}

fn default_flags() -> Vec<(&'static str, String)> {
    vec![
        ("listen", "127.0.0.1:0".to_owned()),
        ("database.pool_size", "8".to_owned()),
        ("drain_grace_seconds", "0".to_owned()),
        ("security.sealing_keys", SEALING_KEYS.to_owned()),
        ("storage.folder", format!("{}/attachments", env!("CARGO_TARGET_TMPDIR"))),
        ("data_dir", data_dir("none")),
        // The tests' clocks stand still: a minute never ends.
        ("limits.tickets_per_minute", "0".to_owned()),
        ("limits.customer_comments_per_minute", "0".to_owned()),
        ("limits.customer_changes_per_minute", "0".to_owned()),
        ("limits.staff_comments_per_minute", "0".to_owned()),
    ]
}

fn ambient(clock: &Arc<TestClock>) -> Ambient {
    Ambient::new(Arc::clone(clock) as _, Arc::new(SystemRandomness))
}

async fn start_app(url: &str, clock: &Arc<TestClock>) -> App {
    start_app_with(url, clock, &[]).await.unwrap()
}

async fn start_app_with(
    url: &str,
    clock: &Arc<TestClock>,
    flags: &[(&'static str, String)],
) -> Result<App, StartError> {
    let mut all = default_flags();
    all.push(("database.url", url.to_owned()));
    all.push(("data_dir", data_dir(url)));
    // Erasures of one database must not concern those of other tests.
    let name = url.rsplit('/').next().unwrap_or_default();
    let ledger = format!("{}/erasures/{name}", env!("CARGO_TARGET_TMPDIR"));
    all.push(("storage.erasure_ledger", ledger));
    all.extend_from_slice(flags);
    let config = Config::load(Some("/dev/null".as_ref()), &all).unwrap();
    let database = Database::new(url, config.database.pool_size).unwrap();
    let app = match Listeners::reserve(&config) {
        Ok(listeners) => {
            App::start(&config, listeners, database.clone(), ambient(clock), CHEAP).await
        }
        Err(error) => Err(error),
    };
    if app.is_err() {
        database.close();
    }
    app
}
