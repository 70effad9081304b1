//! Changing the fleet's CA while everything runs: the root key names another one beside it, everyone renews, and the root key names it alone.
//!
//! Either step may be cut off anywhere; the same command goes on. A CA says who may talk and never what runs, so neither a lost nor a stolen one
//! changes that meanwhile.

use crate::api::Vouching;
use crate::client::ClientError;
use crate::identity::{self, Identity, pin_of};
use crate::people::{self, Desk, PeopleError};
use content::Root;
use rustls::pki_types::CertificateDer;
use std::path::Path;

/// Where a change of the CA stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changing {
    /// The version of the trust root that is in force.
    pub root: u64,
    /// How many agents there are.
    pub agents: usize,
    /// Those that have not shown a certificate of the new CA.
    pub left: Vec<String>,
}

/// Has the origin make a CA, and brings the root that names it beside those that there are. A change that is under way goes on.
pub async fn begin(operator_home: &Path, root_key: Option<&Path>, lost: bool) -> Result<Changing, PeopleError> {
    people::root_key(root_key.unwrap_or(operator_home))?;
    let desk = Desk::open(operator_home, root_key).await?;
    let made = desk.client.prepare_authority(lost).await?;
    if !identity::is_authority(&CertificateDer::from(made.as_slice())) {
        return Err(ClientError::Protocol("what it made is no CA".to_owned()).into());
    }
    let mut version = desk.newest().version;
    let named = named(&desk)?;
    if named.last() != Some(&made) {
        let mut authorities = named;
        authorities.retain(|one| *one != made);
        authorities.push(made);
        let (root, signed) = desk.following(Root { authorities, ..desk.newest().clone() })?;
        desk.bring(&signed).await?;
        version = root.version;
    }
    changing(&desk, version).await
}

/// Brings the root that names the new CA alone: from then on whoever has only a certificate of an earlier one is refused. Nobody is left behind
/// but as many as it is said.
pub async fn finish(operator_home: &Path, root_key: Option<&Path>, leave: usize) -> Result<Changing, PeopleError> {
    people::root_key(root_key.unwrap_or(operator_home))?;
    let desk = Desk::open(operator_home, root_key).await?;
    let named = named(&desk)?;
    let Some((newest, [_, ..])) = named.split_last() else {
        if desk.newest().authorities.is_empty() {
            let why = "the fleet has one CA, and changes to no other; `tiding ca rotate` begins that";
            return Err(PeopleError::Refused(why.to_owned()));
        }
        return changing(&desk, desk.newest().version).await;
    };
    let Changing { left, .. } = changing(&desk, 0).await?;
    let pin = pin_of(&CertificateDer::from(newest.as_slice())).to_string();
    let vouching = vouching(&desk).await?;
    if vouching.newest != pin || vouching.lacks_key {
        let why = "the origin has not got the key of the CA that would be left; say `tiding ca rotate --lost` first";
        return Err(PeopleError::Refused(why.to_owned()));
    }
    let own = Identity::load(operator_home)?;
    if own.is_superseded() || own.newest().as_ref() != newest.as_slice() {
        let why = "this operator's own certificate is of the CA that would be given up, and could not be renewed; say the same command again";
        return Err(PeopleError::Refused(why.to_owned()));
    }
    if left.len() != leave {
        return Err(PeopleError::Refused(too_many(&left, leave)));
    }
    let (root, signed) = desk.following(Root { authorities: vec![newest.clone()], ..desk.newest().clone() })?;
    desk.bring(&signed).await?;
    match changing(&desk, root.version).await {
        // It cuts who has shown an old certificate, which may be this very connection.
        Err(PeopleError::Client(ClientError::Unreachable(_))) => Ok(Changing { root: root.version, agents: 0, left }),
        outcome => outcome.map(|changing| Changing { left, ..changing }),
    }
}

fn too_many(left: &[String], leave: usize) -> String {
    const FEW: usize = 5;
    let more = left.len().saturating_sub(FEW);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    let names = left[..left.len().min(FEW)].join(", ") + &rest;
    match left.len() {
        0 => format!("none would be left behind, and --leave says {leave}; say it without"),
        count => format!(
            "{count} would be left behind and had to join anew, as they have not shown a certificate of the new CA: {names}; wait for them, \
             `tiding forget` those that are gone for good, or say --leave {count}"
        ),
    }
}

/// The CAs that are believed now, as this operator knows: those that the newest root names, or the one that its keys came with.
fn named(desk: &Desk) -> Result<Vec<Vec<u8>>, PeopleError> {
    let named = &desk.newest().authorities;
    match named.is_empty() {
        true => Ok(vec![Identity::load(&desk.home)?.ca().to_vec()]),
        false => Ok(named.clone()),
    }
}

async fn vouching(desk: &Desk) -> Result<Vouching, PeopleError> {
    let old = "the origin's software is too old to change the CA; update it there";
    desk.client.status().await?.vouching.ok_or_else(|| PeopleError::Refused(old.to_owned()))
}

async fn changing(desk: &Desk, root: u64) -> Result<Changing, PeopleError> {
    let status = desk.client.status().await?;
    let agents = status.nodes.iter().filter(|node| node.role == crate::api::Role::Agent).count();
    Ok(Changing { root, agents, left: status.vouching.map(|vouching| vouching.left).unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_would_be_left_behind_is_named_and_counted() {
        let names = |count: usize| (0..count).map(|nr| format!("web-{nr}")).collect::<Vec<_>>();
        let said = too_many(&names(7), 0);
        assert!(said.contains("web-4 and 2 more") && !said.contains("web-5") && said.ends_with("--leave 7"), "{said}");
        assert!(too_many(&names(0), 2).contains("--leave says 2"));
    }
}
