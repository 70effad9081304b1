//! To whom the files of a release belong here, when it names somebody: looked up on this node, and nowhere else.

use crate::Store;
use crate::disk::Disk;
use crate::keep::refused;
use content::Release;
use content::attributes::{Attribute, Attributes};
use content::owner::Owner;
use engine::door::JobError;
use std::fmt;
use std::io;

/// Users and groups of a machine.
pub trait Accounts: fmt::Debug + Send + Sync {
    /// The number of a user and of its group; `None` when there is no such user.
    fn user(&self, name: &str) -> io::Result<Option<(u32, u32)>>;
    /// The number of a group.
    fn group(&self, name: &str) -> io::Result<Option<u32>>;
}

/// A machine without names.
#[derive(Debug)]
pub struct Nobody;

impl Accounts for Nobody {
    fn user(&self, _: &str) -> io::Result<Option<(u32, u32)>> {
        Ok(None)
    }

    fn group(&self, _: &str) -> io::Result<Option<u32>> {
        Ok(None)
    }
}

impl<D: Disk> Store<D> {
    /// The attributes of a release with whom it names for all of it; refused where that is not possible here.
    pub(crate) fn owned(&self, attributes: Attributes, release: &Release) -> Result<Attributes, JobError> {
        let Some(owner) = &release.instructions.owner else { return Ok(attributes) };
        let (uid, gid) = self.look_up(owner)?;
        if !self.shelves.options.apply_owners && uid != self.uid {
            return Err(refused(format!(
                "the release is to belong to {owner}, and this agent runs as user {}, which cannot give files away; run it as root, or as that \
                 user",
                self.uid
            )));
        }
        Ok(Attributes(attributes.0.into_iter().map(|attribute| Attribute { uid, gid, ..attribute }).collect()))
    }

    fn look_up(&self, owner: &Owner) -> Result<(u32, u32), JobError> {
        let accounts = &self.shelves.options.accounts;
        let failed = |why: io::Error| JobError::Disk { why: format!("looking {owner} up: {why}") };
        let none = |what, name: &str, how| {
            refused(format!(
                "there is no {what} {name} here, to whom the release is to belong; make it ({how} --system {name}), then deploy again"
            ))
        };
        let user = match Owner::number(&owner.user) {
            Some(uid) => (uid, None),
            None => {
                let found = accounts.user(&owner.user).map_err(failed)?;
                let (uid, gid) = found.ok_or_else(|| none("user", &owner.user, "useradd"))?;
                (uid, Some(gid))
            }
        };
        let gid = match &owner.group {
            None => user.1,
            Some(group) => match Owner::number(group) {
                Some(gid) => Some(gid),
                None => Some(accounts.group(group).map_err(failed)?.ok_or_else(|| none("group", group, "groupadd"))?),
            },
        };
        gid.map(|gid| (user.0, gid)).ok_or_else(|| refused("a user by number has no group of its own"))
    }
}
