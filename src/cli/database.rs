//! Commands that only need the database, and what such commands share.

use super::output::{CliResult, print};
use crate::{
    app::{self, ServerDatabase},
    config::Config,
    crypto::password::PasswordCost,
    db::migrations,
    service::Services,
};

/// `migrate`: applies pending migrations.
pub(super) async fn migrate(config: &Config) -> CliResult {
    let database = ServerDatabase::open_for_command(config).await?;
    let applied = async { migrations::run(&database.connect(config)?).await }.await;
    database.close().await;
    let applied = applied?;
    if applied.is_empty() {
        return print("The database is up to date.\n");
    }
    print(&applied.iter().map(|name| format!("Applied {name}\n")).collect::<String>())
}

/// Runs `work` with the use cases over the migrated database.
pub(super) async fn with_services<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Services) -> CliResult<T>,
) -> CliResult<T> {
    let database = ServerDatabase::open_for_command(config).await?;
    let done = async {
        let pool = database.connect(config)?;
        migrations::run(&pool).await?;
        work(&app::services(config, pool, app::ambient(), PasswordCost::default())?).await
    }
    .await;
    database.close().await;
    done
}
