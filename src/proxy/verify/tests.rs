//! What cannot be met from outside: the CA that `run` keeps in memory, whose key no test can get at.

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Refusal, TrustParts, UpstreamVerifier};
use crate::ca::Authority;

fn verifier(roots: &[CertificateDer<'static>], own: &[CertificateDer<'static>]) -> UpstreamVerifier {
    UpstreamVerifier::new(TrustParts { roots: roots.to_vec(), own: own.to_vec(), crls: Vec::new() })
}

#[test]
fn a_ca_in_memory_is_never_believed_even_if_everybody_trusts_it() {
    let authority = Authority::in_memory().unwrap();
    let roots = authority.certificates();
    let leaf = authority.leaf_past_scope("api.example.com");
    let name = ServerName::try_from("api.example.com").unwrap();
    let judge = |verifier: &UpstreamVerifier, leaf: &CertificateDer<'static>, sent: &[CertificateDer<'static>]| {
        verifier.judge(leaf, sent, &name, &[], UnixTime::now())
    };
    for sent in [&[], roots] {
        assert!(matches!(judge(&verifier(roots, roots), &leaf, sent), Err(Refusal::OwnCa)));
        // The chain is good in all else.
        judge(&verifier(roots, &[]), &leaf, sent).unwrap();
    }
    // Of another process, which has a CA of its own.
    let other = Authority::in_memory().unwrap();
    let theirs = other.leaf_past_scope("api.example.com");
    assert!(matches!(judge(&verifier(roots, roots), &theirs, &[]), Err(Refusal::Path(_))));
}

#[test]
fn any_ca_that_divulge_made_is_known_by_its_name() {
    let ours = Authority::in_memory().unwrap();
    assert!(crate::ca::is_one_of_ours(&ours.certificates()[0]));
    assert!(!crate::ca::is_one_of_ours(&ours.leaf_past_scope("api.example.com")));
    assert!(!crate::ca::is_one_of_ours(&CertificateDer::from(vec![0x30, 0])));
}

#[test]
fn a_chain_that_was_proved_holds_as_long_as_it_is_valid_for_its_names_alone() {
    let authority = Authority::in_memory().unwrap();
    let (roots, leaf) = (authority.certificates(), authority.leaf_past_scope("api.example.com"));
    let verifier = verifier(roots, &[]);
    let judge = |leaf: &CertificateDer<'static>, host: &'static str, now: u64| {
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        verifier.judge(leaf, &[], &ServerName::try_from(host).unwrap(), &[], at)
    };
    let now = UnixTime::now().as_secs();
    let validity = super::proven::validity(&super::parse(&leaf).unwrap());
    let (from, until) = (*validity.start() as u64, *validity.end() as u64);
    for round in 0..2 {
        judge(&leaf, "api.example.com", now).unwrap();
        let kept = verifier.proven.holds(&super::Proven::digest(&leaf, &[]), UnixTime::now());
        assert!(kept, "{round}");
        for (host, when) in [("www.example.com", now), ("api.example.com", until + 1), ("api.example.com", from - 1)] {
            assert!(matches!(judge(&leaf, host, when), Err(Refusal::Path(_))), "{host} {when}");
        }
    }
    // One bit of the signature.
    let mut forged = leaf.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert!(matches!(judge(&CertificateDer::from(forged), "api.example.com", now), Err(Refusal::Path(_))));
    // With the same bytes otherwise divided it is another chain.
    let (a, b) = leaf.split_at(leaf.len() / 2);
    let halves = [CertificateDer::from(a.to_vec()), CertificateDer::from(b.to_vec())];
    assert_ne!(super::Proven::digest(&leaf, &[]), super::Proven::digest(&halves[0], &halves[1..]));
}
