//! Savepoints: a part of a transaction that can be rolled back alone.

use diesel_async::{AnsiTransactionManager, TransactionManager as _};

use super::{Connection, DbError};

/// Begins a savepoint in the current transaction.
pub async fn begin(db: &mut Connection) -> Result<(), DbError> {
    Ok(AnsiTransactionManager::begin_transaction(db).await?)
}

/// Makes what happened since the last savepoint part of the transaction.
pub async fn release(db: &mut Connection) -> Result<(), DbError> {
    Ok(AnsiTransactionManager::commit_transaction(db).await?)
}

/// Undoes what happened since the last savepoint. The transaction can continue, even if a
/// statement has failed.
pub async fn roll_back(db: &mut Connection) -> Result<(), DbError> {
    Ok(AnsiTransactionManager::rollback_transaction(db).await?)
}
