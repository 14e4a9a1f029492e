//! Backups: taking, checking and restoring them, and the upgrade that works by the same means.

use super::{
    database::newer,
    output::{CliResult, format_time, print, print_result},
};
use crate::{
    app::{self, Ledger},
    config::Config,
    db::migrations,
    domain::backup::Manifest,
};

/// `backup`: takes a backup.
pub(super) async fn back_up(config: &Config, target: &str) -> CliResult {
    let manifest = app::back_up(config, target).await?;
    let mut text = format!("Backed up to {target}: {}.\n", contents(&manifest));
    text += &left_out(&manifest);
    text += &newer(&migrations::unknown(&manifest.migrations)?);
    text += &format!(
        "The keys are not in the backup. Keep them apart from it: security.sealing_keys{} and \
         mail.signing_key. Keep the ledger of erasures (storage.erasure_ledger) too.\n",
        match manifest.sealing_keys.join(", ") {
            none if none.is_empty() => String::new(),
            ids => format!(" (with the ids {ids})"),
        }
    );
    let printed = print_result(&format!("the backup to {target} is whole"), &text);
    if manifest.lost().is_empty() {
        return printed;
    }
    let ids = manifest.lost().iter().map(|id| id.0.to_string()).collect::<Vec<_>>();
    Err(format!(
        "the backup lacks {} attachments, because the storage has lost them, has other content or \
         cannot read them: {}. Bring them back into the storage, from an earlier backup for example, \
         and take another backup. This one has everything else and can be restored",
        ids.len(),
        ids.join(", ")
    )
    .into())
}

/// Names what is not of Ticketwire and not in a backup, as the end of a text.
fn left_out(manifest: &Manifest) -> String {
    match manifest.left_out.join(", ") {
        none if none.is_empty() => none,
        names => format!("Left out, because it is not of Ticketwire: {names}.\n"),
    }
}

/// Describes the attachments that a backup lacks, as the end of a text.
fn lacking(manifest: &Manifest) -> String {
    match manifest.lost().len() {
        0 => String::new(),
        count => format!("Attachments that were lost before the backup was taken: {count}.\n"),
    }
}

/// `verify-backup`: checks a backup.
pub(super) async fn verify(config: &Config, source: &str) -> CliResult {
    let manifest = app::verify_backup(config, source).await?;
    print(&format!(
        "The backup is whole: {}. It was taken at {} by Ticketwire {} with the schema {}.\n{}{}",
        contents(&manifest),
        format_time(manifest.created_at),
        manifest.program,
        manifest.schema,
        left_out(&manifest),
        lacking(&manifest)
    ))
}

/// `restore`: restores a backup into an empty installation.
pub(super) async fn restore(config: &Config, source: &str, without_ledger: bool) -> CliResult {
    let restored = app::restore(config, source, without_ledger).await?;
    let mut text = format!(
        "Restored the backup of {}: {}. Attachments that were copied: {}.\n",
        format_time(restored.manifest.created_at),
        contents(&restored.manifest),
        restored.files
    );
    text += &left_out(&restored.manifest);
    text += &lacking(&restored.manifest);
    for name in &restored.migrated {
        text += &format!("Applied {name}\n");
    }
    text += &format!(
        "All live streams will start again. Accounts that were erased again: {}. Texts and \
         files that were redacted again: {}. Mails that were not sent when the backup was taken, and may have been sent since: {}. They are not sent \
         again; see `ticketwire mail list --state expired`.\n",
        restored.erased, restored.redacted, restored.held_back
    );
    text += &describe(&restored.ledger);
    if restored.lacks_keys {
        text += &format!(
            "{} has none of the keys of this backup, whose ids are {}. The server does not start until \
             it has. If they are lost, run `ticketwire accept-sealing-keys`.\n",
            app::place_of_sealing_keys(config),
            restored.manifest.sealing_keys.join(", ")
        );
    }
    print_result("the backup is restored", &text)
}

/// Describes the ledger of erasures that a restore has used.
fn describe(ledger: &Ledger) -> String {
    let folder = ledger.folder.display();
    let text = format!(
        "The ledger of erasures in {folder} had {} entries before the restore.\n",
        ledger.entries
    );
    let warning = match (ledger.exists, ledger.missing) {
        (_, missing @ 1..) => format!("it lacked {missing} erasures and redactions of the backup"),
        (false, 0) => "it did not exist".to_owned(),
        (true, 0) => return text,
    };
    text + &format!(
        "WARNING: {warning}. What was erased since the backup is back, unless it is in the ledger. \
         If there is another ledger, set storage.erasure_ledger to it and run `ticketwire \
         restored` before you start a server.\n"
    )
}

/// `upgrade-database`: upgrades the embedded database to a newer major version of Postgres.
pub(super) async fn upgrade_database(config: &Config) -> CliResult {
    let upgraded = app::upgrade_database(config).await?;
    let text = format!(
        "Upgraded the embedded database from Postgres {} to {}: {} rows. The former database is in \
         {}. Remove it when the server has run well.\n",
        upgraded.from,
        upgraded.to,
        upgraded.rows,
        upgraded.aside.display()
    );
    print_result("the embedded database is upgraded", &text)
}

/// Describes the contents of a backup.
fn contents(manifest: &Manifest) -> String {
    format!(
        "{} rows of {} tables, {} attachments, {} bytes",
        manifest.rows(),
        manifest.tables.len(),
        manifest.files(),
        manifest.bytes()
    )
}
