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
