//! Package databases as those who say whether something is known software.

use super::{Content, Digests, Prove};
use crate::proof::package::{Claim, Digest, Packages, Verdict};

impl Prove for Packages {
    /// A link that no package has is proved by its end, where it is one of an alternative's, or bears the name of the
    /// unit that it enables ([`crate::proof::package::Checked::proof`]).
    fn prove(&mut self, path: &[u8], content: &Content<'_>) -> Verdict {
        let Content::File(digests) = content else { return self.check(path).proof(path) };
        let claims = self.claims(path);
        let at_hand = |claim: &Claim| matches!(claim.digest, None | Some(Digest::Md5(_) | Digest::Sha256(_)));
        // What rpm and apk go by besides is computed for them.
        if !claims.iter().all(at_hand) {
            return self.check(path).verdict;
        }
        match self.judge(&claims, |claim| fits(claim, digests)) {
            // The manager's own books of a package: they say whose it is, and of nothing what must be in it.
            Verdict::Unowned => match self.script(path).and_then(|script| script.package) {
                Some(package) => Verdict::Claimed { package },
                None => Verdict::Unowned,
            },
            verdict => verdict,
        }
    }
}

/// Whether a file is what a claim says; `None` where it does not say.
fn fits(claim: &Claim, digests: &Digests) -> Option<bool> {
    match (&claim.digest, &claim.target) {
        (Some(Digest::Md5(expected)), _) => Some(*expected == digests.md5),
        (Some(Digest::Sha256(expected)), _) => Some(*expected == digests.sha256),
        (Some(_), _) | (None, Some(_)) => Some(false),
        (None, None) => None,
    }
}
