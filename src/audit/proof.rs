//! Proofs over a tree: that it holds a leaf, and that it has grown out of an earlier tree. Verification is that of RFC
//! 9162, sections 2.1.3.2 and 2.1.4.2, making that of RFC 6962, sections 2.1.1 and 2.1.2.

use super::tree::{Hash, node_hash};

/// The hashes that lead from one leaf to the root of a tree with these leaf hashes. Empty if there is no such leaf.
#[must_use]
pub fn prove_inclusion(leaves: &[Hash], index: usize) -> Vec<Hash> {
    if leaves.len() < 2 || index >= leaves.len() {
        return Vec::new();
    }
    let (left, right) = split(leaves);
    let (mut proof, sibling) = match index.checked_sub(left.len()) {
        None => (prove_inclusion(left, index), root(right)),
        Some(index) => (prove_inclusion(right, index), root(left)),
    };
    proof.push(sibling);
    proof
}

/// Whether a tree of this size and root has a leaf of this hash at `index`.
#[must_use]
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    let (mut node, mut last) = match size.checked_sub(1) {
        Some(last) if index <= last => (index, last),
        _ => return false,
    };
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            // The last node of a level has no sibling: it is passed up as it is.
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// The hashes that show that the first `earlier` leaves were a tree that has grown into this one.
#[must_use]
pub fn prove_consistency(leaves: &[Hash], earlier: usize) -> Vec<Hash> {
    if earlier == 0 || earlier >= leaves.len() { Vec::new() } else { subproof(leaves, earlier, true) }
}

/// Whether the tree of the first size and root has grown into that of the second.
#[must_use]
pub fn verify_consistency(earlier: (u64, &Hash), later: (u64, &Hash), proof: &[Hash]) -> bool {
    let ((first, first_root), (second, second_root)) = (earlier, later);
    if first >= second || first == 0 {
        let is_same = first == second && first_root == second_root;
        return proof.is_empty() && (is_same || (first == 0 && *first_root == root(&[])));
    }
    // A complete subtree is its own proof.
    let (start, rest) = match (first.is_power_of_two(), proof.split_first()) {
        (true, Some(_)) => (first_root, proof),
        (false, Some((start, rest))) => (start, rest),
        (_, None) => return false,
    };
    let (mut node, mut last) = (first - 1, second - 1);
    let full = node.trailing_ones();
    (node, last) = (node >> full, last >> full);
    let (mut old, mut new) = (*start, *start);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            (old, new) = (node_hash(sibling, &old), node_hash(sibling, &new));
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            new = node_hash(&new, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && old == *first_root && new == *second_root
}

fn subproof(leaves: &[Hash], earlier: usize, is_whole: bool) -> Vec<Hash> {
    if earlier == leaves.len() {
        return if is_whole { Vec::new() } else { vec![root(leaves)] };
    }
    let (left, right) = split(leaves);
    let (mut proof, sibling) = match earlier.checked_sub(left.len()) {
        None | Some(0) => (subproof(left, earlier, is_whole), root(right)),
        Some(earlier) => (subproof(right, earlier, false), root(left)),
    };
    proof.push(sibling);
    proof
}

/// At the largest power of two below their number; there are two or more.
fn split(leaves: &[Hash]) -> (&[Hash], &[Hash]) {
    leaves.split_at(leaves.len().next_power_of_two() / 2)
}

fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => super::tree::Tree::default().root(),
        [leaf] => *leaf,
        leaves => {
            let (left, right) = split(leaves);
            node_hash(&root(left), &root(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::leaf_hash;
    use super::super::tree::tests::{LEAVES, ROOTS};
    use super::*;
    use crate::test_kit::unhex;
    use proptest::prelude::*;

    fn hash(text: &str) -> Hash {
        unhex(text).try_into().unwrap()
    }

    fn leaves(size: usize) -> Vec<Hash> {
        (0..size).map(|number| leaf_hash(&number.to_be_bytes())).collect()
    }

    const LEFT: [&str; 3] = [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ];
    const SIX_TO_EIGHT: [&str; 3] = [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];

    #[test]
    fn the_proofs_are_those_of_certificate_transparency() {
        let leaves: Vec<Hash> = LEAVES.iter().map(|leaf| leaf_hash(&unhex(leaf))).collect();
        assert_eq!(prove_inclusion(&leaves, 0), LEFT.map(hash));
        assert_eq!(prove_consistency(&leaves, 1), LEFT.map(hash));
        assert_eq!(prove_consistency(&leaves, 6), SIX_TO_EIGHT.map(hash));
        assert!(verify_inclusion(&leaves[0], 0, 8, &LEFT.map(hash), &hash(ROOTS[7])));
        assert!(verify_consistency((6, &hash(ROOTS[5])), (8, &hash(ROOTS[7])), &SIX_TO_EIGHT.map(hash)));
        assert!(!verify_consistency((5, &hash(ROOTS[4])), (8, &hash(ROOTS[7])), &SIX_TO_EIGHT.map(hash)));
    }

    #[test]
    fn every_leaf_of_every_tree_is_proven_and_at_no_other_place() {
        for size in 1..=33 {
            let leaves = leaves(size);
            let root = root(&leaves);
            for index in 0..size {
                let proof = prove_inclusion(&leaves, index);
                for claimed in 0..=size {
                    let holds = verify_inclusion(&leaves[index], claimed as u64, size as u64, &proof, &root);
                    assert_eq!(holds, claimed == index, "{index} as {claimed} of {size}");
                }
            }
        }
    }

    #[test]
    fn every_tree_is_consistent_with_those_before_it_and_with_no_other() {
        for size in 0..=33 {
            let leaves = leaves(size);
            let later = root(&leaves);
            for earlier in 0..=size {
                let (proof, before) = (prove_consistency(&leaves, earlier), root(&leaves[..earlier]));
                let holds = |first: u64, root: &Hash, proof: &[Hash]| {
                    verify_consistency((first, root), (size as u64, &later), proof)
                };
                assert!(holds(earlier as u64, &before, &proof), "{earlier} of {size}");
                assert!(!holds(earlier as u64, &[7; 32], &proof), "another root at {earlier} of {size}");
                assert!(!holds(size as u64 + 1, &before, &proof), "shrunk");
                assert!(!holds(earlier as u64, &before, &[&proof[..], &[[0; 32]]].concat()), "a hash too many");
                if let Some((_, short)) = proof.split_last() {
                    assert!(!holds(earlier as u64, &before, short), "a hash too few");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_proof_that_was_edited_proves_nothing(size in 2usize..80, at in any::<proptest::sample::Index>(), edit in 1..=255u8) {
            let leaves = leaves(size);
            let (index, root) = (at.index(size), root(&leaves));
            let mut proof = prove_inclusion(&leaves, index);
            let place = at.index(proof.len() * 32);
            proof[place / 32][place % 32] ^= edit;
            prop_assert!(!verify_inclusion(&leaves[index], index as u64, size as u64, &proof, &root));
            let earlier = 1 + at.index(size - 1);
            let mut proof = prove_consistency(&leaves, earlier);
            let place = at.index(proof.len() * 32);
            proof[place / 32][place % 32] ^= edit;
            let before = super::root(&leaves[..earlier]);
            prop_assert!(!verify_consistency((earlier as u64, &before), (size as u64, &root), &proof));
        }
    }
}
