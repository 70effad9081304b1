//! Contents that do not come as most do: what only some want, and what is made here of something else.
//!
//! A content that is *aside* goes down no tree: those who want it ask each other and the source for it. A content that is *held back* is
//! open, and nothing of it is asked for nor wished for, until it was made or the way to make it has failed.

use super::relay::Order;
use super::transfer::Stage;
use super::{ALONE, Alarm, Swarm};
use crate::door::Time;
use content::{Bitmap, ContentId, ContentSpec};

impl Swarm {
    /// Only some want this content.
    pub(crate) fn set_aside(&mut self, content: ContentId) {
        if let Some(transfer) = self.contents.get_mut(&content) {
            (transfer.is_aside, transfer.order) = (true, Order::default());
        }
    }

    /// Wants a content that only some want.
    pub(crate) fn want_aside(&mut self, now: Time, spec: ContentSpec) {
        self.want(now, spec);
        self.set_aside(spec.id());
    }

    /// Takes over a content that was made here, is durable, and only some want.
    pub(crate) fn hold_aside(&mut self, now: Time, spec: ContentSpec) {
        self.hold(spec, now);
        self.set_aside(spec.id());
        self.tell_all(spec.id());
        self.send_more(now);
    }

    /// Wants a content, and asks nobody for it as long as it is held back; what was asked for already need not be sent. What is complete, or
    /// cannot be had, is left as it is.
    pub(crate) fn want_held_back(&mut self, now: Time, spec: ContentSpec) {
        let id = spec.id();
        let is_new = !self.contents.contains_key(&id);
        self.want(now, spec);
        let Some(transfer) = self.contents.get_mut(&id) else { return };
        if matches!(transfer.stage, Stage::Complete | Stage::Completing) {
            return;
        }
        transfer.is_held_back = true;
        for (piece, peer) in std::mem::take(&mut transfer.reserved) {
            self.call_off(now, peer, id, piece);
        }
        let Some(transfer) = self.contents.get_mut(&id) else { return };
        transfer.reconsider();
        if !is_new && transfer.is_open() {
            self.tell_all(id);
        }
    }

    /// A content that is wanted here and not complete.
    pub(crate) fn wanted_spec(&self, content: ContentId) -> Option<ContentSpec> {
        let transfer = self.contents.get(&content)?;
        let is_over = matches!(transfer.stage, Stage::Completing | Stage::Complete | Stage::Failed);
        (!is_over).then_some(transfer.spec)
    }

    /// Whether a content is open here and waits to be made.
    pub(crate) fn awaits(&self, content: ContentId) -> bool {
        self.contents.get(&content).is_some_and(|transfer| transfer.is_held_back && transfer.is_open())
    }

    /// A content is asked for from now on as any other.
    pub(crate) fn hold_back_no_more(&mut self, now: Time, content: ContentId) {
        let order = self.given_order(now);
        let Some(transfer) = self.contents.get_mut(&content).filter(|transfer| transfer.is_held_back) else { return };
        transfer.is_held_back = false;
        // Nothing came by itself meanwhile, which is nobody's fault.
        (transfer.order, transfer.last_arrival) = (order, now);
        if !transfer.is_open() {
            return;
        }
        transfer.reconsider();
        self.alarms.set(Alarm::Stalled(content), now.after(self.settings.patience));
        self.go_on(now, content);
        self.tell_all(content);
        self.watch(now, content, true);
        self.ask_all(now);
        if !self.expects && self.is_alone() {
            self.take_plain_road(now, content, ALONE);
        }
    }

    /// A content that was held back was made here, as far as that is said: the rest of it is asked for.
    pub(crate) fn made(&mut self, now: Time, content: ContentId, have: Bitmap) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        if !transfer.is_open() || matches!(transfer.stage, Stage::Completing | Stage::Complete) {
            return;
        }
        transfer.is_held_back = false;
        transfer.indexed(have);
        self.alarms.ensure(Alarm::Stalled(content), now.after(self.settings.patience));
        self.tell_all_soon(now, content);
        self.unpark(now, content);
        self.go_on(now, content);
        self.ask_all(now);
        self.send_more(now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::super::tests::{NOW, actions, fetching, wants};
    use crate::door::{BufferId, Message};
    use std::collections::BTreeSet;
    use std::time::Duration;

    #[test]
    fn what_was_asked_for_is_called_off_when_a_content_is_held_back() {
        let (mut swarm, content) = fetching(100, 3);
        let asked: BTreeSet<_> = wants(&actions(&mut swarm)).into_iter().collect();
        assert_eq!(asked.len(), 12);
        let spec = swarm.wanted_spec(content).expect("it is wanted");
        swarm.want_held_back(NOW, spec);
        let then = actions(&mut swarm);
        let called_off: BTreeSet<_> = then
            .iter()
            .filter_map(|action| match action {
                Action::Send(to, Message::Cancel { content: of, piece }) if *of == content => Some((*to, *piece)),
                _ => None,
            })
            .collect();
        assert_eq!((called_off, wants(&then)), (asked.clone(), Vec::new()));
        assert_eq!(swarm.footprint().0, 0, "nothing is expected");
        // Time goes by, and nobody is late with it. What was on its way is taken, and is nobody's fault.
        swarm.tick(NOW.after(Duration::from_secs(10)));
        for (nr, (from, piece)) in asked.iter().enumerate() {
            swarm.piece(NOW, *from, content, *piece, BufferId(nr as u64), 65_536);
        }
        let (writes, rest): (Vec<Action>, Vec<Action>) =
            actions(&mut swarm).into_iter().partition(|action| matches!(action, Action::Write(..)));
        assert_eq!((writes.len(), rest), (12, vec![Action::FirstByte(content)]));
        // And it is asked for again when it is to come after all.
        swarm.hold_back_no_more(NOW, content);
        let again = wants(&actions(&mut swarm));
        assert!(again.len() == 12 && again.iter().all(|ask| !asked.contains(ask)), "{again:?}");
    }
}
