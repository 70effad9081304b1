//! A publisher: holds what it publishes, brings it to an origin, and stays until the order stands in the journal.

use crate::door::{Answer, ClientId, Config, Message, Refusal, Request, Submitted, Time, Wish};
use crate::tracker::Origins;
use crate::{Engine, Side, release_of, swarm};
use content::fact::Offer;
use content::{ContentId, NodeId, Order, OrderId, Signed};

/// What a publisher has that others have not.
pub(crate) struct PublisherSide {
    pub(crate) origins: Origins,
    /// What is to be brought, until it is ordered or refused.
    waiting: Vec<Submission>,
    /// Patches that it has of what it brings.
    offers: Vec<Offer>,
}

/// A release and an order, on their way to an origin.
struct Submission {
    client: ClientId,
    id: OrderId,
    release: Signed,
    order: Signed,
    wish: Wish,
}

impl PublisherSide {
    pub(crate) fn new(config: &Config, now: Time) -> Self {
        Self {
            origins: Origins::new(config.origins.clone(), config.redial, now),
            waiting: Vec::new(),
            offers: Vec::new(),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.origins.deadline()
    }
}

impl Engine {
    /// What is brought may come as a patch of something else.
    pub(crate) fn recover_publisher(&mut self, offers: Vec<Offer>) {
        if let Side::Publisher(publisher) = &mut self.side {
            publisher.offers = offers;
        }
    }

    pub(crate) fn request_of_publisher(&mut self, client: ClientId, request: Request) {
        let Request::Deploy { release, order, wish } = request else {
            let why = "this is a publisher; ask an origin".to_owned();
            return self.refuse(client, Refusal::NotAllowed(why));
        };
        let Side::Publisher(publisher) = &mut self.side else { return };
        let submission = Submission { client, id: OrderId(order.payload_digest()), release, order, wish };
        let messages = submission.messages(&publisher.offers);
        publisher.waiting.push(submission);
        let origins: Vec<NodeId> = publisher.origins.connected().collect();
        let known = |origin: &&NodeId| self.peers.get(origin).is_some_and(|peer| peer.is_known);
        if let Some(origin) = origins.iter().find(known) {
            let origin = *origin;
            messages.into_iter().for_each(|message| self.send(origin, message));
        }
    }

    /// Brings everything that waits to an origin that is here (again): the same statements, so that they have one effect.
    pub(crate) fn submit_all(&mut self, origin: NodeId) {
        let Side::Publisher(publisher) = &self.side else { return };
        let messages: Vec<Message> =
            publisher.waiting.iter().flat_map(|waiting| waiting.messages(&publisher.offers)).collect();
        messages.into_iter().for_each(|message| self.send(origin, message));
    }

    /// What is published cannot be read as it was any more: nobody else has it, so there is nothing to wait for.
    pub(crate) fn content_news_of_publisher(&mut self, news: &swarm::Action) {
        let (Side::Publisher(publisher), swarm::Action::Incomplete(_)) = (&mut self.side, news) else { return };
        for given_up in std::mem::take(&mut publisher.waiting) {
            let why =
                "the source changed after it was read, or cannot be read any more; nothing was ordered: deploy again";
            self.refuse(given_up.client, Refusal::Failed(why.to_owned()));
        }
    }

    pub(crate) fn message_to_publisher(&mut self, _now: Time, message: Message) {
        let Message::Verdict { order, outcome } = message else { return };
        let Side::Publisher(publisher) = &mut self.side else { return };
        if outcome == Ok(Submitted::Spreading) {
            return;
        }
        for decided in publisher.waiting.extract_if(.., |waiting| waiting.id == order).collect::<Vec<_>>() {
            let answer = match &outcome {
                Ok(_) => decided.ordered(),
                Err(refusal) => Answer::Refused(refusal.clone()),
            };
            self.answer(decided.client, answer);
        }
    }
}

impl Submission {
    /// What it says of itself stands before it.
    fn messages(&self, offers: &[Offer]) -> Vec<Message> {
        let submit = Message::Submit { release: self.release.clone(), order: self.order.clone() };
        let wishes = (self.wish != Wish::Auto).then_some(Message::Wishes { order: self.id, wish: self.wish });
        let target = release_of(&self.release).map(|(_, release)| release.content.id());
        let of_it = |target: &ContentId| offers.iter().filter(|offer| offer.target == *target).copied().collect();
        let offers =
            target.map(|target| (target, of_it(&target))).filter(|(_, offers): &(_, Vec<Offer>)| !offers.is_empty());
        let offers = offers.map(|(target, offers)| Message::Offers { target, offers, is_awaited: false });
        wishes.into_iter().chain(offers).chain([submit]).collect()
    }

    fn ordered(&self) -> Answer {
        let epoch = Order::decode(&self.order.payload).map_or(0, |order| order.epoch);
        Answer::Ordered { order: self.id, epoch }
    }
}
