//! Deploys through real engines in a fleet in memory: the whole trip, and what may happen on the way.

mod fleet;

use fleet::*;
use tiding_engine::door::*;

#[test]
fn a_deploy_reaches_everyone_and_the_origin_sends_one_copy() {
    for seed in 0..4 {
        let mut fleet = Fleet::new(8, seed);
        let release = release("v1", 160);
        let signed = sign_release(&release);
        let publisher = fleet.deploy(&release, &order(1, &signed, None));
        let began = fleet.now;
        fleet.run_until("everyone confirms", |fleet| fleet.all_confirmed(id_of(&signed)));
        eprintln!(
            "{} ms, {} copies, {} messages",
            (fleet.now - began) / 1_000_000,
            fleet.copies(release.content),
            fleet.messages
        );
        assert!(matches!(fleet.answer(publisher, 1), Some(Answer::Ordered { epoch: 1, .. })));
        assert!(fleet.copies(release.content) <= 1.2, "{} copies", fleet.copies(release.content));
        for nr in fleet.agents() {
            let twice = fleet.nodes[nr].got_pieces.values().filter(|n| **n > 1).count();
            assert!(twice <= 5, "{twice} pieces came twice");
            assert!(!fleet.nodes[nr].events.iter().any(|e| matches!(e, Event::Convicted { .. } | Event::Late { .. })));
        }
    }
}
