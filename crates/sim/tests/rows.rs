//! Rows of the list of faults, each in worlds where its fault is sure: no promise is broken, and it really struck.

use tiding_sim::{Kind, Plan, Report, Strike, sweep};

/// Worlds of each row.
const WORLDS: u64 = 16;

/// Sweeps worlds that have these kinds of fault, and one that is drawn.
fn worlds_with(always: &[Kind]) -> Report {
    swept(Plan { always: always.to_vec(), kinds: (1, 1), ..Plan::default() })
}

fn swept(plan: Plan) -> Report {
    let report = sweep(0..WORLDS, 2, &plan, usize::MAX);
    assert!(report.failures.is_empty(), "{report}");
    report
}

fn assert_struck(report: &Report, strikes: &[Strike]) {
    for strike in strikes {
        assert!(report.strikes.of(*strike) > 0, "{strike:?} never struck:\n{report}");
    }
}

#[test]
fn c1_peers_that_send_corrupt_pieces_are_convicted_and_everyone_arrives() {
    let report = worlds_with(&[Kind::Corrupter]);
    assert_struck(&report, &[Strike::CorruptPiece, Strike::Convicted]);
}

#[test]
fn c1_who_was_convicted_is_not_dealt_with_after_a_restart_either() {
    let report = worlds_with(&[Kind::Corrupter, Kind::CrashAgents, Kind::CrashAgents, Kind::CrashAgents]);
    assert_struck(&report, &[Strike::Convicted, Strike::ShunnedAfterRestart]);
}

#[test]
fn c5_three_in_ten_who_claim_what_they_have_not_stop_nobody() {
    let report = worlds_with(&[Kind::Liar, Kind::Liar]);
    assert_struck(&report, &[Strike::Lie]);
}

#[test]
fn b6_what_goes_one_way_only_stops_nobody_for_good() {
    let report = worlds_with(&[Kind::OneWay, Kind::OneWay]);
    assert_struck(&report, &[Strike::OneWayPartition]);
}

#[test]
fn b13_messages_that_come_again_over_later_connections_have_one_effect() {
    let report = worlds_with(&[Kind::Duplicates, Kind::Resets, Kind::Replay]);
    assert_struck(&report, &[Strike::Duplicate, Strike::Reset, Strike::ReplayedOrder]);
}

#[test]
fn b2_machines_that_are_cut_off_are_missed_and_come_back() {
    let report = worlds_with(&[Kind::Partition, Kind::Partition, Kind::Partition]);
    assert_struck(&report, &[Strike::Partition]);
}

#[test]
fn c6_agents_that_corrupt_everything_are_convicted_and_everyone_else_arrives() {
    let report = worlds_with(&[Kind::Corrupter, Kind::Corrupter, Kind::WrongLength]);
    assert_struck(&report, &[Strike::CorruptPiece, Strike::WrongLength, Strike::Convicted]);
}

#[test]
fn d1_an_origin_that_loses_its_power_in_a_deploy_loses_nothing() {
    let report = worlds_with(&[Kind::CrashOrigin, Kind::CrashOrigin]);
    assert_struck(&report, &[Strike::OriginCrash, Strike::OriginCrashMidDeploy]);
}

#[test]
fn d5_of_two_deploys_at_once_one_is_ordered_and_the_other_is_told() {
    let report = swept(Plan { rivals: true, kinds: (1, 2), ..Plan::default() });
    assert_struck(&report, &[Strike::TwoAtOnce, Strike::Conflict]);
}

#[test]
fn a9_rot_is_noticed_and_repaired() {
    let report = worlds_with(&[Kind::Rot, Kind::Rot, Kind::Rot]);
    assert_struck(&report, &[Strike::BitRot, Strike::RotNoticed]);
}

#[test]
fn g1_g2_forged_and_old_orders_change_nothing() {
    let report = worlds_with(&[Kind::Forgery, Kind::Replay]);
    assert_struck(&report, &[Strike::Forgery, Strike::ReplayedOrder]);
}
