//! The keys and files that a group of writes uses.

use std::collections::HashSet;

use crate::{
    db::event::Terms,
    domain::ids::{AccountId, AttachmentId},
};

/// Idempotency keys and files that calls of a group use. One statement can use each once.
#[derive(Default)]
pub(super) struct UsedTerms {
    keys: HashSet<(AccountId, String)>,
    files: HashSet<AttachmentId>,
}

impl UsedTerms {
    /// Adds what a call uses. Returns `false`, and adds nothing, if an earlier call or the call
    /// itself uses some of it already.
    pub(super) fn add(&mut self, terms: &Terms<'_>) -> bool {
        let key = terms.claim.map(|claim| (claim.account, claim.key.as_str().to_owned()));
        let files = terms.files.map_or(&[][..], |files| files.ids);
        let distinct = files.iter().collect::<HashSet<_>>();
        let is_free = distinct.len() == files.len()
            && !files.iter().any(|file| self.files.contains(file))
            && !key.as_ref().is_some_and(|key| self.keys.contains(key));
        if is_free {
            self.keys.extend(key);
            self.files.extend(files);
        }
        is_free
    }
}
