//! Conditions on people by the keys of their names and addresses (`person_key` in the migrations),
//! for which what looks equal is equal.

use diesel::{
    dsl::sql,
    pg::Pg,
    prelude::*,
    sql_types::{Array, Bool, Text},
};

use super::schema::accounts;
use crate::domain::{account::EmailAddress, search::SearchText};

/// A condition that selects the accounts whose name, a later word of it, or address begins with a
/// text.
pub(super) fn begins_with(
    text: &SearchText,
) -> Box<dyn BoxableExpression<accounts::table, Pg, SqlType = Bool>> {
    let pattern = text.as_str().to_owned();
    let condition = sql::<Bool>("(person_key(name) LIKE person_pattern(")
        .bind::<Text, _>(pattern.clone())
        .sql(") OR person_key(name) LIKE '% ' || person_pattern(")
        .bind::<Text, _>(pattern.clone())
        .sql(") OR person_key(email) LIKE person_pattern(")
        .bind::<Text, _>(pattern)
        .sql(") OR email = ANY (")
        .bind::<Array<Text>, _>(spellings(text))
        .sql("))");
    Box::new(condition)
}

/// The spellings of an address, if the text is a whole one: its domain may be encoded.
pub(super) fn spellings(text: &SearchText) -> Vec<String> {
    EmailAddress::parse(text.as_str()).map(|address| address.spellings()).unwrap_or_default()
}
