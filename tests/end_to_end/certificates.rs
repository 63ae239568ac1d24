//! Which certificates of upstreams are believed: one server a case, one proxy for all of them.
//!
//! Every bad server is then met again under an exception for its host. There it must answer, so that a refusal
//! is known to be about its certificate and not about a server that could not have answered anyway.

use std::sync::Arc;

use crate::common::forge::{self, Draft, Hash, Key, Made, Response, Said, days, der, now, oid, sequence};
use crate::common::upstream::ok;
use crate::common::{Divulge, Route, Upstream, within};

/// What must happen to a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Must {
    Pass,
    /// 502, and an exception for the host lets it pass.
    Refuse,
    /// 502 whatever exception there is.
    RefuseAlways,
}

struct Case {
    name: &'static str,
    host: String,
    config: Arc<rustls::ServerConfig>,
    must: Must,
    /// What the answer says of the reason.
    why: &'static str,
}

#[derive(Default)]
struct Cases {
    list: Vec<Case>,
    /// PEM, for `--upstream-ca`.
    roots: String,
    /// DER, for `--crl`.
    crls: Vec<Vec<u8>>,
}

const HOST: &str = "api.example.com";

impl Cases {
    fn trust(&mut self, root: &Made) {
        self.roots.push_str(&root.pem());
    }

    /// A trusted root.
    fn root(&mut self, draft: Draft) -> Made {
        let root = draft.by_itself();
        self.trust(&root);
        root
    }

    fn add(
        &mut self,
        name: &'static str,
        host: &str,
        chain: &[&Made],
        staple: Option<Vec<u8>>,
        must: Must,
        why: &'static str,
    ) {
        let key = &chain[0].key;
        let chain: Vec<Vec<u8>> = chain.iter().map(|made| made.der.clone()).collect();
        let config = forge::server(&chain, key, staple);
        self.list.push(Case { name, host: host.to_owned(), config, must, why });
    }

    /// Lets the last server speak nothing newer.
    fn only_tls12(&mut self) {
        if let Some(case) = self.list.last_mut() {
            let mut config = rustls::ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
                .with_no_client_auth()
                .with_cert_resolver(case.config.cert_resolver.clone());
            config.alpn_protocols = case.config.alpn_protocols.clone();
            case.config = Arc::new(config);
        }
    }

    fn good(&mut self, name: &'static str, host: &str, chain: &[&Made]) {
        self.add(name, host, chain, None, Must::Pass, "");
    }

    fn bad(&mut self, name: &'static str, host: &str, chain: &[&Made], why: &'static str) {
        self.add(name, host, chain, None, Must::Refuse, why);
    }
}

/// A root, a CA under it: what most chains here begin with.
fn chain(cases: &mut Cases, root: &str) -> (Made, Made) {
    let root = cases.root(Draft::ca(root));
    let ca = Draft::ca("Issuing CA").by(&root);
    (root, ca)
}

fn leaf() -> Draft {
    Draft::leaf(&[HOST])
}

fn good_chains(cases: &mut Cases) {
    let (root, ca) = chain(cases, "Root of the good");
    cases.good("a server under a CA under a root", HOST, &[&leaf().by(&ca), &ca]);
    let (old, strict) = (leaf().by(&ca), leaf().must_staple().by(&ca));
    cases.add("TLS 1.2", HOST, &[&old, &ca], None, Must::Pass, "");
    cases.only_tls12();
    let staple = Response::new(&strict, &ca, Said::Good).der();
    cases.add("must-staple in TLS 1.2", HOST, &[&strict, &ca], Some(staple), Must::Pass, "");
    cases.only_tls12();
    cases.good("a server right under a root", HOST, &[&leaf().by(&root)]);
    cases.good("an IPv4 address", "192.0.2.7", &[&Draft::leaf(&["192.0.2.7"]).by(&ca), &ca]);
    cases.good("an IPv6 address", "2001:db8::7", &[&Draft::leaf(&["2001:db8::7"]).by(&ca), &ca]);
    cases.good("a wildcard", HOST, &[&Draft::leaf(&["*.example.com"]).by(&ca), &ca]);
    cases.good("a wildcard under a country", "api.example.co.uk", &[&Draft::leaf(&["*.example.co.uk"]).by(&ca), &ca]);
    cases.good("a name in other letters", HOST, &[&Draft::leaf(&["API.Example.COM"]).by(&ca), &ca]);
    cases.good("no extended key usage at all", HOST, &[&leaf().without(oid::EXTENDED_KEY_USAGE).by(&ca), &ca]);
    cases.good(
        "several extended key usages",
        HOST,
        &[&leaf().usages(&[oid::CLIENT_AUTH, oid::SERVER_AUTH]).by(&ca), &ca],
    );
    let stranger = Draft::ca("Stranger").by_itself();
    cases.good("a chain out of order, with its root and a stranger", HOST, &[&leaf().by(&ca), &root, &stranger, &ca]);
    let silent = Draft::ca("Silent CA").without(oid::KEY_USAGE).by(&root);
    cases.good("a CA that says nothing of its key usage", HOST, &[&leaf().by(&silent), &silent]);
    let expired = Draft::ca("Issuing CA").key(ca.key.clone()).valid(-90, -2).by(&root);
    cases.good("an expired and a valid certificate of one CA", HOST, &[&leaf().by(&ca), &expired, &ca]);

    let rsa_root = cases.root(Draft::ca("RSA root").key(Key::rsa_2048()));
    let rsa_leaf = leaf().key(Key::rsa_2048()).by(&rsa_root);
    cases.good("RSA of 2048 bits", HOST, &[&rsa_leaf]);
    // Nobody relies on what a root says of itself.
    let sha1_root = cases.root(Draft::ca("SHA-1 root").key(Key::rsa_2048()).hash(Hash::Sha1));
    cases.good("a root that signed itself with SHA-1", HOST, &[&leaf().by(&sha1_root)]);

    let short = Draft::ca("Short CA").path_length(0).by(&root);
    cases.good("a path as long as it may be", HOST, &[&leaf().by(&short), &short]);
    let bound = Draft::ca("Bound CA").constraints(&[der(0x82, &[b"example.com"])], &[]).by(&root);
    cases.good("name constraints that are met", HOST, &[&leaf().by(&bound), &bound]);

    let pinned = leaf().subject("Pinned").by_itself();
    cases.trust(&pinned);
    cases.good("a server's own certificate, trusted by name", HOST, &[&pinned]);
}

fn validity(cases: &mut Cases) {
    let (root, ca) = chain(cases, "Root of the timed");
    let (expired, early) = ((-90, -1), (1, 90));
    for (name, when, why) in
        [("an expired server", expired, "has expired"), ("a server of tomorrow", early, "not valid yet")]
    {
        cases.bad(name, HOST, &[&leaf().valid(when.0, when.1).by(&ca), &ca], why);
    }
    for (name, when, why) in [("an expired CA", expired, "has expired"), ("a CA of tomorrow", early, "not valid yet")] {
        let ca = Draft::ca("Timed CA").valid(when.0, when.1).by(&root);
        cases.bad(name, HOST, &[&leaf().by(&ca), &ca], why);
    }
    for (name, when, why) in
        [("an expired root", expired, "has expired"), ("a root of tomorrow", early, "not valid yet")]
    {
        let root = cases.root(Draft::ca(name).valid(when.0, when.1));
        cases.bad(name, HOST, &[&leaf().by(&root)], why);
    }
    cases.bad("a validity that ends before it begins", HOST, &[&leaf().valid(5, -5).by(&ca), &ca], "not valid");
}

fn names(cases: &mut Cases) {
    let (_, ca) = chain(cases, "Root of the named");
    let mut named = |name: &'static str, host: &str, names: &[&str], why| {
        cases.bad(name, host, &[&Draft::leaf(names).by(&ca), &ca], why);
    };
    named("another host", HOST, &["other.example.com"], "not for this host");
    named("the parent domain", HOST, &["example.com"], "not for this host");
    named("another IPv4 address", "192.0.2.7", &["192.0.2.8"], "not for this host");
    named("another IPv6 address", "2001:db8::7", &["2001:db8::8"], "not for this host");
    named("an IPv4 address for an IPv6 one that maps it", "::ffff:192.0.2.7", &["192.0.2.7"], "not for this host");
    named("a name for an address", "192.0.2.7", &[HOST], "not for this host");
    named("an address for a name", HOST, &["192.0.2.7"], "not for this host");
    named("the wildcard *", HOST, &["*"], "not for this host");
    named("the wildcard *.com", "example.com", &["*.com"], "not for this host");
    named("the wildcard *.co.uk", "example.co.uk", &["*.co.uk"], "whole registry");
    named("the wildcard *.com.au", "example.com.au", &["*.com.au"], "whole registry");
    named("a wildcard within a label", "foo.example.com", &["f*.example.com"], "not for this host");
    named("a wildcard in the middle", HOST, &["api.*.com"], "not for this host");
    named("two wildcards", HOST, &["*.*.com"], "not for this host");
    named("a wildcard over two labels", "a.api.example.com", &["*.example.com"], "not for this host");
    named("a wildcard for the domain itself", "example.com", &["*.example.com"], "not for this host");
    named("a wildcard address", "192.0.2.7", &["*.0.2.7"], "not for this host");
    named("a name with a dot behind", HOST, &["api.example.com."], "not for this host");
    named("a name with a space", HOST, &["api.example.com "], "not for this host");
    named("a NUL in a name", HOST, &["api.example.com\0.evil.example"], "control byte");
    named("a NUL in one of two names", HOST, &[HOST, "api.example.com\0.evil.example"], "control byte");

    let spelled = sequence(&[&der(0x82, &[b"192.0.2.7"])]);
    let spelled = leaf().put(oid::SUBJECT_ALT_NAME, false, spelled).by(&ca);
    cases.bad("an address spelled as a DNS name", "192.0.2.7", &[&spelled, &ca], "not for this host");
    let common = leaf().without(oid::SUBJECT_ALT_NAME).subject(HOST).by(&ca);
    cases.bad("a common name alone", HOST, &[&common, &ca], "names no host");
    let common = leaf().without(oid::SUBJECT_ALT_NAME).subject("192.0.2.7").by(&ca);
    cases.bad("an address as common name alone", "192.0.2.7", &[&common, &ca], "names no host");
    let common = Draft::leaf(&["other.example.com"]).subject(HOST).by(&ca);
    cases.bad("a common name beside other names", HOST, &[&common, &ca], "not for this host");
    let mail = leaf().put(oid::SUBJECT_ALT_NAME, false, sequence(&[&der(0x81, &[b"a@api.example.com"])])).by(&ca);
    cases.bad("a mail address and a URI", HOST, &[&mail, &ca], "not for this host");
    let forged = leaf().subject("api.example.com\0.evil.example").by(&ca);
    cases.bad("a NUL in the common name", HOST, &[&forged, &ca], "control byte");
}

fn trust(cases: &mut Cases) {
    let (root, ca) = chain(cases, "Root");
    let alone = "no chain leads to a trusted root";
    cases.bad("a server that signed itself", HOST, &[&leaf().by_itself()], alone);
    let own = leaf().put(oid::BASIC_CONSTRAINTS, true, sequence(&[&[1, 1, 0xff]])).by_itself();
    cases.bad("a server that signed itself, and is a CA", HOST, &[&own], "");
    let stranger = Draft::ca("Stranger").by_itself();
    cases.bad("an unknown root", HOST, &[&leaf().by(&stranger)], alone);
    cases.bad("an unknown root that is sent along", HOST, &[&leaf().by(&stranger), &stranger], alone);
    let forged = Draft::ca("Root").by_itself();
    cases.bad("a root of a trusted name and another key", HOST, &[&leaf().by(&forged), &forged], "not its issuer's");
    let forged = Draft::ca("Issuing CA").by_itself();
    cases.bad("a CA of a known name and another key", HOST, &[&leaf().by(&forged), &ca], "not its issuer's");
    cases.bad("a missing intermediate", HOST, &[&leaf().by(&ca)], alone);
    let second = Draft::ca("Second CA").by(&ca);
    cases.bad("a gap in the chain", HOST, &[&leaf().by(&second), &second], alone);
    cases.bad("a tampered server", HOST, &[&leaf().by(&ca).tampered(), &ca], "not its issuer's");
    let tampered = Draft::ca("Tampered CA").by(&root).tampered();
    cases.bad("a tampered CA", HOST, &[&leaf().by(&tampered), &tampered], "not its issuer's");
}

fn issuers(cases: &mut Cases) {
    let (root, ca) = chain(cases, "Root of the issuers");
    let mut under = |name: &'static str, draft: Draft, why| {
        let ca = draft.by(&root);
        cases.bad(name, HOST, &[&leaf().by(&ca), &ca], why);
    };
    let draft = || Draft::ca("Odd CA");
    under("a CA without basicConstraints", draft().without(oid::BASIC_CONSTRAINTS), "is no CA");
    under("a CA that says that it is none", draft().put(oid::BASIC_CONSTRAINTS, true, sequence(&[])), "is no CA");
    under("a server that signs another", leaf(), "is no CA");
    under("a CA without keyCertSign", draft().put(oid::KEY_USAGE, true, vec![3, 2, 1, 2]), "keyCertSign");
    under("a CA for clients only", draft().usages(&[oid::CLIENT_AUTH]), "not for TLS servers");
    under("a CA for programs only", draft().usages(&[oid::CODE_SIGNING]), "not for TLS servers");
    under("a CA with an unknown critical extension", draft().put(oid::UNKNOWN, true, vec![5, 0]), "");
    under("a CA of version 1", draft().version(None), "");
    under(
        "a CA that may not speak for the host",
        draft().constraints(&[der(0x82, &[b"example.org"])], &[]),
        "may not speak for",
    );
    under(
        "a CA that may speak for all but the host",
        draft().constraints(&[], &[der(0x82, &[b"example.com"])]),
        "may not speak for",
    );
    under("a CA that may speak for no name", draft().constraints(&[], &[der(0x82, &[])]), "may not speak for");

    let network = der(0x87, &[&[192, 0, 2, 0, 255, 255, 255, 0]]);
    let ca_of_network = draft().constraints(&[], &[network]).by(&root);
    let address = Draft::leaf(&["192.0.2.7"]).by(&ca_of_network);
    cases.bad("a CA that may not speak for the address", "192.0.2.7", &[&address, &ca_of_network], "may not speak for");
    let bound = draft().constraints(&[der(0x82, &[b"api.example.com"])], &[]).by(&root);
    let wild = Draft::leaf(&["*.example.com"]).by(&bound);
    cases.bad("a wildcard wider than its CA", HOST, &[&wild, &bound], "may not speak for");

    let short = draft().path_length(0).by(&root);
    let below = Draft::ca("CA below").by(&short);
    cases.bad("a path longer than a CA allows", HOST, &[&leaf().by(&below), &below, &short], "path length");
    let mut rooted = |name: &'static str, draft: Draft, longer: bool, why| {
        let root = cases.root(draft.subject(name));
        if longer {
            let ca = Draft::ca("Under it").by(&root);
            cases.bad(name, HOST, &[&leaf().by(&ca), &ca], why);
        } else {
            cases.bad(name, HOST, &[&leaf().by(&root)], why);
        }
    };
    rooted("a path longer than the root allows", draft().path_length(0), true, "path length");
    rooted("a root without basicConstraints", draft().without(oid::BASIC_CONSTRAINTS), false, "is not a CA");
    rooted("a root of version 1", draft().version(None), false, "is not a CA");
    rooted("a root without keyCertSign", draft().put(oid::KEY_USAGE, true, vec![3, 2, 1, 2]), false, "keyCertSign");
    rooted(
        "a root with an unknown critical extension",
        draft().put(oid::UNKNOWN, true, vec![5, 0]),
        false,
        "not known",
    );
    rooted("a root for clients only", draft().usages(&[oid::CLIENT_AUTH]), false, "not for TLS servers");
    rooted(
        "a root that may not speak for the host",
        draft().constraints(&[der(0x82, &[b"example.org"])], &[]),
        true,
        "may not speak for",
    );

    let mut server = |name: &'static str, draft: Draft, why| cases.bad(name, HOST, &[&draft.by(&ca), &ca], why);
    server("a server for clients only", leaf().usages(&[oid::CLIENT_AUTH]), "not for TLS servers");
    server("a server for programs only", leaf().usages(&[oid::CODE_SIGNING]), "not for TLS servers");
    server("a server that may not sign", leaf().put(oid::KEY_USAGE, true, vec![3, 2, 5, 0x20]), "digitalSignature");
    server("a server for nothing", leaf().usages(&[]), "not for TLS servers");
    server("a CA's certificate as a server's", Draft::ca(HOST).names(&[HOST]), "is a CA's certificate");
    // Under an exception, too: TLS itself needs to read the certificate.
    let mut always = |name, draft: Draft| cases.add(name, HOST, &[&draft.by(&ca), &ca], None, Must::RefuseAlways, "");
    always("a server with an unknown critical extension", leaf().put(oid::UNKNOWN, true, vec![5, 0]));
    let mut twice = leaf();
    twice.extensions.push((oid::SUBJECT_ALT_NAME, false, sequence(&[&der(0x82, &[HOST.as_bytes()])])));
    always("a server with an extension twice", twice);
}

fn signatures(cases: &mut Cases) {
    let root = cases.root(Draft::ca("Old root").key(Key::rsa_2048()));
    let weak = "not trusted (MD5, SHA-1";
    for (name, hash) in [("a server signed with MD5", Hash::Md5), ("a server signed with SHA-1", Hash::Sha1)] {
        cases.bad(name, HOST, &[&leaf().hash(hash).by(&root)], weak);
    }
    for (name, hash) in [("a CA signed with MD5", Hash::Md5), ("a CA signed with SHA-1", Hash::Sha1)] {
        let ca = Draft::ca("Old CA").hash(hash).by(&root);
        cases.bad(name, HOST, &[&leaf().by(&ca), &ca], weak);
    }
    let md5 = cases.root(Draft::ca("MD5 root").key(Key::rsa_2048()).hash(Hash::Md5));
    cases.bad("a root that signed itself with MD5", HOST, &[&leaf().by(&md5)], "signed itself with MD5");
    let small = || Draft::ca("Small CA").key(Key::rsa_1024());
    let ca = small().by(&root);
    cases.bad("a CA with RSA of 1024 bits", HOST, &[&leaf().by(&ca), &ca], "");
    let small_root = cases.root(small().subject("Small root"));
    cases.bad("a root with RSA of 1024 bits", HOST, &[&leaf().by(&small_root)], "");
    let ca = Draft::ca("CA of a small root").by(&small_root);
    cases.bad("a root with RSA of 1024 bits, further up", HOST, &[&leaf().by(&ca), &ca], "");
    // Under an exception, too: TLS itself takes no such signature.
    let server = leaf().key(Key::rsa_1024()).by(&root);
    cases.add("a server with RSA of 1024 bits", HOST, &[&server], None, Must::RefuseAlways, "");

    // The certificate is good, but the server has another key.
    let stolen = Made { key: Key::ec(), ..leaf().by(&root) };
    cases.add("a server without the key of its certificate", HOST, &[&stolen], None, Must::RefuseAlways, "");
    let v1 = leaf().version(None).subject(HOST).by(&root);
    cases.add("a server of version 1", HOST, &[&v1], None, Must::RefuseAlways, "");
}

fn staples(cases: &mut Cases) {
    let (root, ca) = chain(cases, "Root of the stapled");
    let other_ca = Draft::ca("Other CA").by(&root);
    let responder =
        |usages: &[&[u8]]| Draft::leaf(&[]).without(oid::SUBJECT_ALT_NAME).subject("Responder").usages(usages);
    let appointed = responder(&[oid::OCSP_SIGNING]).by(&ca);
    let plain = leaf().by(&ca);
    let strict = leaf().must_staple().by(&ca);
    let say = |said| Response::new(&plain, &ca, said);

    let mut passes = |name, leaf: &Made, staple| cases.add(name, HOST, &[leaf, &ca], Some(staple), Must::Pass, "");
    passes("a staple that says good", &plain, say(Said::Good).der());
    passes("must-staple, with one that says good", &strict, Response::new(&strict, &ca, Said::Good).der());
    passes("a staple of a responder whom the CA appointed", &plain, say(Said::Good).signed_by(&appointed).der());

    cases.bad("must-staple without a staple", HOST, &[&strict, &ca], "demands a stapled");
    cases.add(
        "a staple that says revoked",
        HOST,
        &[&plain, &ca],
        Some(say(Said::Revoked).der()),
        Must::RefuseAlways,
        "revoked",
    );
    let old = say(Said::Revoked).valid(-9, -2).der();
    cases.add("an old staple that says revoked", HOST, &[&plain, &ca], Some(old), Must::RefuseAlways, "revoked");
    let mut refused =
        |name, leaf: &Made, staple, why| cases.add(name, HOST, &[leaf, &ca], Some(staple), Must::Refuse, why);
    refused("a staple that does not know the certificate", &plain, say(Said::Unknown).der(), "does not know");
    refused("an expired staple", &plain, say(Said::Good).valid(-9, -2).der(), "has expired");
    refused(
        "must-staple with an expired staple",
        &strict,
        Response::new(&strict, &ca, Said::Good).valid(-9, -2).der(),
        "has expired",
    );
    refused("a staple of tomorrow", &plain, say(Said::Good).valid(1, 5).der(), "not valid yet");
    refused(
        "a staple for another certificate",
        &plain,
        Response::new(&strict, &ca, Said::Good).der(),
        "another certificate",
    );
    refused(
        "a staple for that number of another CA",
        &plain,
        Response::new(&plain, &other_ca, Said::Good).signed_by(&appointed).der(),
        "another certificate",
    );
    let mut tampered = say(Said::Good).der();
    let last = tampered.len() - 3;
    tampered[last] ^= 1;
    refused("a tampered staple", &plain, tampered, "signed by nobody");
    refused("a staple of another CA", &plain, say(Said::Good).signed_by(&other_ca).der(), "signed by nobody");
    let server = responder(&[oid::SERVER_AUTH]).by(&ca);
    refused(
        "a staple of a server of the same CA",
        &plain,
        say(Said::Good).signed_by(&server).der(),
        "signed by nobody",
    );
    let stranger = responder(&[oid::OCSP_SIGNING]).by(&other_ca);
    refused(
        "a staple of another CA's responder",
        &plain,
        say(Said::Good).signed_by(&stranger).der(),
        "signed by nobody",
    );
    let expired = responder(&[oid::OCSP_SIGNING]).valid(-9, -2).by(&ca);
    refused("a staple of an expired responder", &plain, say(Said::Good).signed_by(&expired).der(), "signed by nobody");
    refused("a staple that says to try later", &strict, sequence(&[&[0x0a, 1, 3]]), "error of the responder");
    refused("a staple that is none", &plain, b"good".to_vec(), "malformed");
}

fn lists(cases: &mut Cases) {
    let root = cases.root(Draft::ca("Listing root"));
    let ca = Draft::ca("Listing CA").by(&root);
    let bad_ca = Draft::ca("Revoked CA").by(&root);
    let (fine, revoked, once) = (leaf().by(&ca), leaf().by(&ca), leaf().by(&ca));
    cases.crls.push(root.crl(&[&bad_ca.serial], -1, 5));
    // Two of one CA: what the older revoked stays so.
    cases.crls.push(ca.crl(&[&once.serial], -9, -2));
    cases.crls.push(ca.crl(&[&revoked.serial], -1, 5));
    cases.good("a server that no list names", HOST, &[&fine, &ca]);
    cases.add("a server that a list names", HOST, &[&revoked, &ca], None, Must::RefuseAlways, "is revoked");
    cases.add("a server that an older list names", HOST, &[&once, &ca], None, Must::RefuseAlways, "is revoked");
    cases.add("a CA that a list names", HOST, &[&leaf().by(&bad_ca), &bad_ca], None, Must::RefuseAlways, "is revoked");
    let expired = leaf().valid(-9, -1).by(&ca);
    cases.crls.push(ca.crl(&[&expired.serial], -1, 5));
    cases.add("an expired server that a list names", HOST, &[&expired, &ca], None, Must::RefuseAlways, "");

    let plain = Draft::ca("CA of a list of version 1").by(&root);
    let (fine, revoked) = (leaf().by(&plain), leaf().by(&plain));
    cases.crls.push(plain.crl_with(&[&revoked.serial], -1, 5, &[]));
    cases.good("a server that no list of version 1 names", HOST, &[&fine, &plain]);
    let chain = [&revoked, &plain];
    cases.add("a server that a list of version 1 names", HOST, &chain, None, Must::RefuseAlways, "is revoked");
    let stale = Draft::ca("CA of an old list").by(&root);
    cases.crls.push(stale.crl(&[], -9, -2));
    cases.bad("a CA whose list has expired", HOST, &[&leaf().by(&stale), &stale], "which has expired");
    let robbed = Draft::ca("CA of a forged list").by(&root);
    cases.crls.push(Draft::ca("CA of a forged list").by_itself().crl(&[], -1, 5));
    cases.bad("a CA whose list another has signed", HOST, &[&leaf().by(&robbed), &robbed], "another's signature");
    let renewed = Draft::ca("CA with two keys").by(&root);
    cases.crls.push(Draft::ca("CA with two keys").by_itself().crl(&[], -1, 5));
    cases.crls.push(renewed.crl(&[], -1, 5));
    cases.good("a CA with lists of an older and its own key", HOST, &[&leaf().by(&renewed), &renewed]);
    let numbered = leaf().by(&renewed);
    cases.crls.push(Draft::ca("Elsewhere").by_itself().crl(&[&numbered.serial], -1, 5));
    cases.good("a server whose number another CA's list names", HOST, &[&numbered, &renewed]);
}

/// All, or those whose names hold the text of the variable `CASE`.
fn all_cases() -> Cases {
    let mut cases = Cases::default();
    for add in [good_chains, validity, names, trust, issuers, signatures, staples, lists] {
        add(&mut cases);
    }
    if let Ok(text) = std::env::var("CASE") {
        cases.list.retain(|case| case.name.contains(&text));
        assert!(!cases.list.is_empty(), "no case is called {text:?}");
    }
    cases
}

/// Where a case is asked for: a port of its own, since hosts repeat.
fn port(index: usize) -> u16 {
    10_000 + index as u16
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// The status and what the answer says.
async fn ask(divulge: &Divulge, host: &str, port: u16) -> (u16, Option<String>, String) {
    let named = format!("{}:{port}", bracketed(host));
    let mut client = match Route::through(divulge).host(host).port(port).try_tls(&["http/1.1"]).await {
        Ok(client) => client,
        Err(error) => return (0, None, format!("the client's handshake failed: {error}")),
    };
    client.send(format!("GET / HTTP/1.1\r\nHost: {named}\r\n\r\n")).await;
    let response = client.response().await;
    (response.status, response.field("x-divulge-error"), response.text())
}

#[test]
fn every_certificate_is_judged_as_a_careful_client_would() {
    within(std::time::Duration::from_secs(120), async {
        let cases = all_cases();
        let mut upstreams = Vec::new();
        for case in &cases.list {
            let upstream = Upstream::start(Some(case.config.clone()), |mut served| async move {
                while served.request().await.is_some() {
                    served.wire.send(ok("reached")).await;
                }
            });
            upstreams.push(upstream.await);
        }
        let serve = || {
            let mut serve = Divulge::serve().intercept("all").file("--upstream-ca", "roots.pem", &cases.roots);
            for (index, list) in cases.crls.iter().enumerate() {
                // Both forms are taken.
                let text = if index % 2 == 0 { list.clone() } else { forge::pem("X509 CRL", list).into_bytes() };
                serve = serve.file("--crl", &format!("{index}.crl"), text);
            }
            for (index, upstream) in upstreams.iter().enumerate() {
                serve =
                    serve.arg(format!("--connect-to=:{}:{}:{}", port(index), upstream.address.ip(), upstream.port()));
            }
            serve
        };
        let mut wrong = Vec::new();
        let mut strict = serve().start().await;
        for (index, (case, upstream)) in cases.list.iter().zip(&upstreams).enumerate() {
            let (status, error, text) = ask(&strict, &case.host, port(index)).await;
            let fine = match case.must {
                Must::Pass => status == 200,
                Must::Refuse | Must::RefuseAlways => status == 502 && error.is_some() && text.contains(case.why),
            };
            if !fine {
                wrong.push(format!("{}: {:?} {:?}, got {status} {error:?}: {text}", case.name, case.must, case.why));
            }
            if case.must != Must::Pass && !upstream.log.requests().is_empty() {
                wrong.push(format!("{}: the request left all the same", case.name));
            }
        }
        strict.assert_well();
        drop(strict);

        let until = (now() + days(30)).date();
        let mut lenient = serve();
        let mut hosts: Vec<&str> = cases.list.iter().map(|case| case.host.as_str()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        for host in hosts {
            lenient = lenient.arg(format!("--allow-untrusted={}={until}", bracketed(host)));
        }
        let lenient = lenient.start().await;
        for (index, case) in cases.list.iter().enumerate() {
            let (status, _, text) = ask(&lenient, &case.host, port(index)).await;
            let expected = if case.must == Must::RefuseAlways { 502 } else { 200 };
            if status != expected {
                wrong.push(format!("{}, excepted: expected {expected}, got {status}: {text}", case.name));
            }
        }
        let told = lenient.findings();
        let excepted = cases.list.iter().filter(|case| case.must == Must::Refuse).count();
        let noted = told.iter().filter(|line| line["kind"] == "audit.identity").count();
        if noted < excepted {
            wrong.push(format!("{excepted} connections under an exception, {noted} findings"));
        }
        let count = cases.list.len();
        assert!(wrong.is_empty(), "{} of {count} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
        println!("{count} cases");
    });
}
