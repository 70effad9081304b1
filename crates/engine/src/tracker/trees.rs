//! The given order: two trees over the members' places, so that each piece has one way to everyone.
//!
//! The even pieces go down one tree and the odd ones down the other. In the first the even places are inside and the odd ones
//! are leaves, in the second it is the other way round: whoever passes on half of the pieces to two others only receives
//! the other half, and everyone's links are full both ways. Who is inside stands in heap order; a leaf stands where the
//! next one inside will stand and then moves down, so that a member more or less changes a few edges and not the trees.

use crate::door::STRIPES;

/// How many places are inside a tree, and how many are leaves.
fn sizes(stripe: usize, members: usize) -> (usize, usize) {
    let inside = members.saturating_sub(stripe).div_ceil(STRIPES);
    (inside, members - inside)
}

fn inside_place(stripe: usize, inner: usize) -> usize {
    STRIPES * inner + stripe
}

fn leaf_place(stripe: usize, leaf: usize) -> usize {
    STRIPES * leaf + (1 - stripe)
}

/// Where a leaf stands among the children of all that are inside: it began at a slot of its own, below the newest that was inside
/// then, and moved down whenever its slot was needed. So a newcomer is new to newcomers, and nobody meets one after the other.
fn slot(leaf: usize, inside: usize) -> usize {
    let mut slot = if leaf == 0 { 1 } else { 2 * leaf };
    while slot < inside {
        slot = 2 * slot + 1;
    }
    slot
}

/// The leaf that stands at a slot.
fn leaf_at(slot_nr: usize, (inside, leaves): (usize, usize)) -> Option<usize> {
    let mut first = slot_nr;
    while first % 2 == 1 {
        first = (first - 1) / 2;
    }
    let leaf = first / 2;
    (leaf < leaves && slot(leaf, inside) == slot_nr).then_some(leaf)
}

/// The place that receives a stripe from the origin.
pub(super) fn root(stripe: usize, members: usize) -> usize {
    if members > stripe { stripe } else { 0 }
}

/// The place from which another receives a stripe; `None` is the origin.
pub(super) fn parent(stripe: usize, place: usize, members: usize) -> Option<usize> {
    let (inside, _) = sizes(stripe, members);
    let child = match place % STRIPES == stripe {
        true => place / STRIPES,
        false if inside == 0 => return None,
        false => slot(place / STRIPES, inside),
    };
    (child > 0).then(|| inside_place(stripe, (child - 1) / 2))
}

/// The places to which another passes a stripe on.
pub(super) fn children(stripe: usize, place: usize, members: usize) -> Vec<usize> {
    if place % STRIPES != stripe {
        return Vec::new();
    }
    let (inside, leaves) = sizes(stripe, members);
    let first = 2 * (place / STRIPES) + 1;
    let child = |slot: usize| match slot < inside {
        true => Some(inside_place(stripe, slot)),
        false => leaf_at(slot, (inside, leaves)).map(|leaf| leaf_place(stripe, leaf)),
    };
    [first, first + 1].into_iter().filter_map(child).collect()
}

/// The first places of a tree, the root first, then those below it.
pub(super) fn top(stripe: usize, members: usize, most: usize) -> Vec<usize> {
    let mut top = vec![root(stripe, members)];
    let mut at = 0;
    while top.len() < most && at < top.len() {
        top.extend(children(stripe, top[at], members));
        at += 1;
    }
    top.truncate(most);
    top
}

/// The places whose edges may differ when there is a member more or less: the last place, and those next to it.
pub(super) fn touched(members: usize) -> Vec<usize> {
    let Some(last) = members.checked_sub(1) else { return Vec::new() };
    let mut places = vec![last];
    for stripe in 0..STRIPES {
        places.extend(parent(stripe, last, members).into_iter().chain(children(stripe, last, members)));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_reached_once_in_each_tree_by_a_short_way() {
        for members in 1..200 {
            for stripe in 0..STRIPES {
                let mut reached = vec![(root(stripe, members), 1)];
                let mut at = 0;
                while let Some(&(place, depth)) = reached.get(at) {
                    for child in children(stripe, place, members) {
                        assert_eq!(parent(stripe, child, members), Some(place), "{members} {stripe} {child}");
                        reached.push((child, depth + 1));
                    }
                    at += 1;
                }
                assert_eq!(parent(stripe, root(stripe, members), members), None);
                let deepest = reached.iter().map(|(_, depth)| *depth).max().unwrap_or(0);
                let mut places: Vec<usize> = reached.into_iter().map(|(place, _)| place).collect();
                places.sort_unstable();
                assert_eq!(places, (0..members).collect::<Vec<_>>(), "{members} {stripe}");
                assert!(deepest <= members.ilog2() as usize + 2, "{members} {stripe} {deepest}");
            }
        }
    }

    #[test]
    fn nobody_meets_many_while_the_fleet_grows() {
        let mut met = vec![std::collections::BTreeSet::new(); 4000];
        for members in 1..4000 {
            let mut places = touched(members);
            places.extend(touched(members - 1).into_iter().filter(|place| *place < members));
            for place in places {
                for child in (0..STRIPES).flat_map(|stripe| children(stripe, place, members)) {
                    met[place].insert(child);
                    met[child].insert(place);
                }
            }
        }
        let most = met.iter().map(|others| others.len()).max();
        assert!(most <= Some(24), "{most:?}");
    }

    #[test]
    fn nobody_passes_on_more_than_it_receives() {
        for members in 1..100 {
            for place in 0..members {
                let passed: usize = (0..STRIPES).map(|stripe| children(stripe, place, members).len()).sum();
                assert!(passed <= STRIPES);
            }
        }
    }

    #[test]
    fn a_member_more_touches_only_few() {
        let edges = |place: usize, members: usize| {
            let of = |stripe| (parent(stripe, place, members), children(stripe, place, members));
            [of(0), of(1)]
        };
        for members in 1..300 {
            let (before, after) = (touched(members), touched(members + 1));
            for place in 0..members {
                let differs = edges(place, members) != edges(place, members + 1);
                assert!(!differs || before.contains(&place) || after.contains(&place), "{members} {place}");
            }
            assert!(before.len() < 10);
        }
    }
}
