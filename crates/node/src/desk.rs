//! What may be asked of a running node, in the API's words: one place for the HTTP door and for the program itself.

use crate::api::{self, FleetStatus, Ordered, Refusal, TokenIssued, TokenRequest, Verification};
use crate::driver::{Gone, Handle};
use crate::identity::{Authority, RequestedKey, wall_clock};
use crate::join::{JoinLine, JoinTerms};
use crate::tls::{Peer, Tls};
use crate::vouching::Authorities;
use content::fact::{JournalName, Position};
use content::{AppName, ContentId, FleetId, Label, NodeId, PieceNo, Rate, ReleaseId, Role, Signed, TokenId};
use engine::door::{Answer, Request};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::ReadError;

/// The longest that a join line may be valid: a week.
const MAX_VALID: Duration = Duration::from_secs(7 * 24 * 3600);

/// Facts of a journal in one answer.
const PAGE: u32 = 500;

/// Takes requests to the engine and brings back answers.
#[derive(Clone)]
pub(crate) struct Desk {
    /// The way to the engine.
    pub(crate) handle: Handle,
    /// What is always true of a status from here.
    pub(crate) me: FleetStatus,
    /// This node's role.
    pub(crate) role: Role,
    /// Its side of TLS.
    pub(crate) tls: Arc<Tls>,
    /// The fleet.
    pub(crate) fleet: FleetId,
    /// Where others reach this node; empty when it does not know.
    pub(crate) addresses: Vec<SocketAddr>,
    /// What makes certificates; only an origin has any.
    pub(crate) authorities: Option<Arc<Authorities>>,
}

impl From<Gone> for Refusal {
    fn from(gone: Gone) -> Self {
        Self::Failed { why: gone.to_string() }
    }
}

fn unexpected() -> Refusal {
    Refusal::Failed { why: "the engine gave an answer to another question".to_owned() }
}

fn invalid(why: impl std::fmt::Display) -> Refusal {
    Refusal::Invalid { why: why.to_string() }
}

/// A signed document from base64.
fn signed_from(text: &str) -> Result<Signed, Refusal> {
    Signed::decode(&data_encoding::BASE64.decode(text.as_bytes()).map_err(invalid)?).map_err(invalid)
}

impl Desk {
    async fn ask(&self, request: Request) -> Result<Answer, Refusal> {
        match self.handle.ask(request).await? {
            Answer::Refused(refusal) => Err(refusal.into()),
            answer => Ok(answer),
        }
    }

    /// Where everything stands.
    pub(crate) async fn status(&self) -> Result<FleetStatus, Refusal> {
        match self.ask(Request::Status).await? {
            Answer::Status(status) => {
                let status = FleetStatus { now: Some(wall_clock().0), ..FleetStatus::of(*status, &self.me) };
                Ok(FleetStatus { vouching: self.vouching(&status), ..status })
            }
            _ => Err(unexpected()),
        }
    }

    /// A signed release that was published here.
    pub(crate) async fn release(&self, release: &str) -> Result<Signed, Refusal> {
        let release: ReleaseId = release.parse().map_err(invalid)?;
        match self.ask(Request::Release { release }).await? {
            Answer::Release(signed) => Ok(signed),
            _ => Err(unexpected()),
        }
    }

    /// A page or a piece of a content that this node holds.
    pub(crate) async fn piece(&self, content: &str, piece: &str) -> Result<Arc<Vec<u8>>, Refusal> {
        let (content, piece): (ContentId, u32) =
            (content.parse().map_err(invalid)?, piece.parse().map_err(|_| invalid("a piece has a number"))?);
        if !self.admits().await {
            let why = "this certificate was revoked: whoever has it is let in no more".to_owned();
            return Err(Refusal::NotAllowed { why });
        }
        self.handle.read(content, PieceNo(piece)).await?.map_err(|error| match error {
            ReadError::Missing => {
                Refusal::Unknown { why: format!("piece {piece} of content {content} is not held here") }
            }
            other => Refusal::Failed { why: other.to_string() },
        })
    }

    /// Has every node read again what is live.
    pub(crate) async fn verify(&self, app: &str) -> Result<Verification, Refusal> {
        self.read_live(Request::Verify { app: AppName::new(app).map_err(invalid)? }).await
    }

    /// Has every node read again what is live, and lay out anew what differs.
    pub(crate) async fn repair(&self, app: &str) -> Result<Verification, Refusal> {
        self.read_live(Request::Repair { app: AppName::new(app).map_err(invalid)? }).await
    }

    async fn read_live(&self, request: Request) -> Result<Verification, Refusal> {
        match self.ask(request).await? {
            Answer::Verified { nodes } => Ok(Verification { nodes: nodes.into_iter().map(Into::into).collect() }),
            _ => Err(unexpected()),
        }
    }

    /// Facts of a journal, from a position on.
    pub(crate) async fn journal(&self, journal: &str, from: [&str; 2]) -> Result<api::JournalPage, Refusal> {
        let journal = self.named(journal)?;
        let [generation, index] = from.map(|number| number.parse().map_err(invalid));
        let from = Position { generation: generation?, index: index? };
        match self.ask(Request::Journal { journal, from, most: PAGE }).await? {
            Answer::Journal { entries, stands } => {
                let entries = entries.into_iter().map(Into::into).collect();
                Ok(api::JournalPage { entries, stands: stands.into() })
            }
            _ => Err(unexpected()),
        }
    }

    /// Where a journal stands.
    pub(crate) async fn stands(&self, journal: &str) -> Result<api::Position, Refusal> {
        let (journal, from) = (self.named(journal)?, Position { generation: 1, index: 0 });
        match self.ask(Request::Journal { journal, from, most: 0 }).await? {
            Answer::Journal { stands, .. } => Ok(stands.into()),
            _ => Err(unexpected()),
        }
    }

    fn named(&self, journal: &str) -> Result<JournalName, Refusal> {
        match journal {
            "fleet" => Ok(JournalName::Fleet),
            "datacenter" => Ok(JournalName::Datacenter(Label::new(&self.me.datacenter).map_err(invalid)?)),
            other => Err(Refusal::Unknown { why: format!("there is no journal {other}") }),
        }
    }

    /// This desk, for a member who asks with its certificate.
    pub(crate) fn for_member(&self, node: NodeId) -> Self {
        Self { handle: Handle { by: Some(node), ..self.handle.clone() }, ..self.clone() }
    }

    /// Takes a signed order.
    pub(crate) async fn order(&self, request: &api::OrderRequest) -> Result<Ordered, Refusal> {
        let bytes = data_encoding::BASE64.decode(request.order.as_bytes()).map_err(invalid)?;
        let order = Signed::decode(&bytes).map_err(invalid)?;
        match self.ask(Request::Order { order }).await? {
            Answer::Ordered { order, epoch } => Ok(Ordered { order: order.to_string(), epoch }),
            _ => Err(unexpected()),
        }
    }

    /// Takes a signed directive.
    pub(crate) async fn direct(&self, request: &api::DirectiveRequest) -> Result<(), Refusal> {
        let bytes = data_encoding::BASE64.decode(request.directive.as_bytes()).map_err(invalid)?;
        let directive = Signed::decode(&bytes).map_err(invalid)?;
        match self.ask(Request::Direct { directive }).await? {
            Answer::Noted => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Follows a trust root from now on.
    pub(crate) async fn root(&self, request: &api::RootRequest) -> Result<(), Refusal> {
        let root = signed_from(&request.root)?;
        self.note(Request::Root { root }).await
    }

    /// Takes known documents with more signatures.
    pub(crate) async fn countersign(&self, request: &api::CountersignRequest) -> Result<(), Refusal> {
        let documents = request.documents.iter().map(|text| signed_from(text)).collect::<Result<_, _>>()?;
        self.note(Request::Countersign { documents }).await
    }

    /// Makes an operator's certificate.
    pub(crate) async fn certify(&self, request: &api::OperatorRequest) -> Result<api::OperatorCertificate, Refusal> {
        let authority = self.authority()?;
        let asked = data_encoding::BASE64.decode(request.request.as_bytes()).map_err(invalid)?;
        let key = RequestedKey::of_request(&asked).map_err(invalid)?;
        let enrol = Request::EnrolOperator { node: key.node(), name: request.name.clone() };
        match self.ask(enrol).await? {
            Answer::Enrolled { role: Role::Operator, .. } => {
                let failed = |why: crate::identity::IdentityError| Refusal::Failed { why: why.to_string() };
                let leaf = authority.issue(&key, Role::Operator, wall_clock()).map_err(failed)?;
                Ok(api::OperatorCertificate { certificate: data_encoding::BASE64.encode(&leaf) })
            }
            _ => Err(unexpected()),
        }
    }

    /// What makes certificates now.
    pub(crate) fn authority(&self) -> Result<Arc<Authority>, Refusal> {
        self.authorities()?.require_issuing()
    }

    fn authorities(&self) -> Result<&Authorities, Refusal> {
        let only = || Refusal::NotAllowed { why: "only an origin makes certificates".to_owned() };
        self.authorities.as_deref().ok_or_else(only)
    }

    /// Refuses whoever shows a certificate of a CA that is to be given up, and was not let in as what it says: that CA's key may be stolen.
    pub(crate) async fn require_vouched(&self, peer: Peer) -> Result<(), Refusal> {
        match peer.ca == Some(self.authorities()?.newest()) {
            true => Ok(()),
            false => self.note(Request::Vouch { node: peer.node, role: peer.role }).await,
        }
    }

    /// Gives the certificate of the CA to which the fleet is to change.
    pub(crate) async fn prepare(&self, request: &api::AuthorityRequest) -> Result<api::AuthorityMade, Refusal> {
        self.require_admission().await?;
        let certificate = self.authorities()?.prepare(self.tls.believed().len(), request.lost)?;
        Ok(api::AuthorityMade { certificate: data_encoding::BASE64.encode(&certificate) })
    }

    /// How far the fleet's change to another CA is.
    fn vouching(&self, status: &FleetStatus) -> Option<api::Vouching> {
        let authorities = self.authorities.as_ref()?;
        let newest = authorities.newest();
        let is_left = |node: &&api::NodeStatus| {
            let shown = node.node.parse().ok().and_then(|node| self.tls.shown_by(node));
            node.role == api::Role::Agent && shown != Some(newest)
        };
        let named = self.tls.believed().len();
        let left = if named > 1 {
            status.nodes.iter().filter(is_left).map(|node| node.name.clone()).collect()
        } else {
            Vec::new()
        };
        Some(api::Vouching { newest: newest.to_string(), named, lacks_key: authorities.issuing().is_none(), left })
    }

    /// Lets an operator in no more whom the newest root does not name.
    pub(crate) async fn dismiss(&self, request: &api::DismissRequest) -> Result<(), Refusal> {
        self.note(Request::Dismiss { name: request.name.clone() }).await
    }

    async fn note(&self, request: Request) -> Result<(), Refusal> {
        match self.ask(request).await? {
            Answer::Noted => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Whether whoever asks may still read.
    pub(crate) async fn admits(&self) -> bool {
        self.require_admission().await.is_ok()
    }

    /// Refuses whoever was revoked.
    pub(crate) async fn require_admission(&self) -> Result<(), Refusal> {
        let from = Position { generation: 1, index: 0 };
        self.ask(Request::Journal { journal: JournalName::Fleet, from, most: 0 }).await.map(drop)
    }

    /// Makes a join line.
    pub(crate) async fn issue(&self, terms: &JoinTerms) -> Result<JoinLine, Refusal> {
        if self.role != Role::Origin {
            return Err(Refusal::NotAllowed { why: "only an origin makes join lines".to_owned() });
        }
        if terms.role == Role::Operator {
            return Err(Refusal::NotAllowed { why: "an operator does not join by a line".to_owned() });
        }
        if terms.role == Role::Origin {
            return Err(invalid("a fleet has one origin for now, which founded it; make a join line for agents"));
        }
        if self.addresses.is_empty() {
            return Err(invalid(
                "no address is known at which others reach this origin: it listens on all of this machine's, and none of \
                 them leads out; start it with `tiding up --advertise ADDRESS:PORT`",
            ));
        }
        if terms.uses == 0 || terms.valid.is_zero() || terms.valid > MAX_VALID {
            return Err(invalid(
                "a join line is for one node or more, and for a while, a week at most; give other --uses or --valid",
            ));
        }
        self.authority()?;
        let line = JoinLine::new(terms, self.addresses.clone(), self.tls.shows(), self.fleet, wall_clock());
        let (token, secret) = (line.token_id(), line.secret_hash());
        let (uses, expires, role, labels) = (line.uses, line.expires, line.role, line.labels.clone());
        match self.ask(Request::IssueToken { token, secret, uses, expires, role, labels }).await? {
            Answer::Noted => Ok(line),
            _ => Err(unexpected()),
        }
    }

    /// Makes a join line for an operator's request.
    pub(crate) async fn issue_asked(&self, request: &TokenRequest) -> Result<TokenIssued, Refusal> {
        let terms = JoinTerms {
            uses: request.uses,
            valid: Duration::from_secs(request.valid_seconds),
            role: request.role.into(),
            labels: api::labels_from_text(&request.labels).map_err(invalid)?,
        };
        let line = self.issue(&terms).await?;
        Ok(TokenIssued { token: line.token_id().to_string(), line: line.to_string() })
    }

    /// Lets a node in no more that is gone for good.
    pub(crate) async fn forget(&self, node: &str) -> Result<(), Refusal> {
        let node: NodeId = node.parse().map_err(invalid)?;
        match self.ask(Request::Forget { node }).await? {
            Answer::Noted => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Bounds how fast pieces move.
    pub(crate) async fn limit(&self, request: &api::LimitRequest) -> Result<(), Refusal> {
        let scope = api::scope_from_text(&request.scope).map_err(invalid)?;
        match self.ask(Request::Limit { scope, rate: request.rate.map(Rate) }).await? {
            Answer::Noted => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Takes a join line back.
    pub(crate) async fn revoke(&self, token: &str) -> Result<(), Refusal> {
        let token: TokenId = token.parse().map_err(invalid)?;
        match self.ask(Request::RevokeToken { token }).await? {
            Answer::Noted => Ok(()),
            _ => Err(unexpected()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{answering, desk};

    async fn issued(desk: Desk, role: Role) -> Result<JoinLine, String> {
        let terms = JoinTerms { role, ..JoinTerms::default() };
        desk.issue(&terms).await.map_err(|refusal| refusal.to_string())
    }

    #[tokio::test]
    async fn no_line_is_made_that_leads_nowhere_or_makes_what_can_never_start() {
        let desk = || desk(answering(|_| Answer::Noted).0);
        assert!(issued(desk(), Role::Agent).await.is_ok());
        let unknown = issued(Desk { addresses: Vec::new(), ..desk() }, Role::Agent).await.expect_err("nowhere");
        assert!(unknown.contains("; start it with `tiding up --advertise"), "{unknown}");
        let origin = issued(desk(), Role::Origin).await.expect_err("no second origin");
        assert!(origin.contains("one origin for now"), "{origin}");
    }
}
