//! The Merkle tree of RFC 6962, section 2.1, of which only the right edge is kept.
//!
//! ```text
//! leaf hash = SHA-256(00 || leaf)      node = SHA-256(01 || left || right)      empty tree = SHA-256()
//! ```

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A hash of a leaf, of a node or of a whole tree.
pub type Hash = [u8; 32];

/// A tree of any size in at most 64 hashes: those of its complete subtrees, largest and leftmost first. The trail grows
/// to the right alone, so that nothing else is ever needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    size: u64,
    peaks: Vec<Hash>,
}

impl Tree {
    /// How many leaves it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf on the right.
    pub fn push(&mut self, leaf: &[u8]) {
        let mut hash = leaf_hash(leaf);
        // Two complete subtrees of one size become one of twice the size: as a carry runs through a binary number.
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().unwrap_or_default();
            hash = node_hash(&left, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The hash of the whole tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let smallest = peaks.next().copied().unwrap_or_else(|| Sha256::digest([]).into());
        peaks.fold(smallest, |right, left| node_hash(left, &right))
    }

    /// Whether it has a peak for every one of the binary digits of its size, as every tree has that was pushed.
    pub(crate) fn is_whole(&self) -> bool {
        self.peaks.len() == self.size.count_ones() as usize
    }
}

/// SHA-256(00 || leaf)
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

pub(super) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The leaves and roots that implementations of RFC 6962 have in common (certificate-transparency, `merkle_tree_test`).
    pub(in crate::audit) const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    pub(in crate::audit) const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    /// The definition of the RFC, to the letter: `MTH(D[n]) = SHA-256(01 || MTH(D[0:k]) || MTH(D[k:n]))`, k the largest
    /// power of two below n.
    pub(in crate::audit) fn naive_root(leaves: &[Vec<u8>]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => leaf_hash(leaf),
            leaves => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&naive_root(left), &naive_root(right))
            }
        }
    }

    #[test]
    fn the_roots_are_those_of_certificate_transparency() {
        let mut tree = Tree::default();
        assert_eq!(
            tree.root().to_vec(),
            crate::test_kit::unhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        );
        for (leaf, root) in LEAVES.into_iter().zip(ROOTS) {
            tree.push(&crate::test_kit::unhex(leaf));
            assert_eq!(tree.root().to_vec(), crate::test_kit::unhex(root), "{} leaves", tree.size());
        }
    }

    proptest! {
        #[test]
        fn a_tree_that_grew_is_the_tree_of_the_definition(
            leaves in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 0..70),
        ) {
            let mut tree = Tree::default();
            leaves.iter().for_each(|leaf| tree.push(leaf));
            prop_assert!(tree.is_whole());
            prop_assert_eq!(tree.root(), naive_root(&leaves));
        }
    }
}
