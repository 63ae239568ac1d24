//! Sessions of a real TLS library, in every suite that it has, opened with the secrets that its client logs.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, KeyLog, RootCertStore, ServerConfig, ServerConnection, SupportedCipherSuite,
};

use super::tests::{blocks, read_all, sent};

/// A key log in memory.
#[derive(Debug, Default)]
struct Log(Mutex<String>);

impl KeyLog for Log {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.0.lock().unwrap().push_str(&format!("{label} {} {}\n", hex(client_random), hex(secret)));
    }
}

fn pair(suite: SupportedCipherSuite, log: &Arc<Log>) -> (ClientConnection, ServerConnection) {
    let made = rcgen::generate_simple_self_signed(["api.example.com".to_owned()]).unwrap();
    let provider = Arc::new(CryptoProvider { cipher_suites: vec![suite], ..aws_lc_rs::default_provider() });
    let versions = [suite.version()];
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.key_log = log.clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let name = ServerName::try_from("api.example.com").unwrap();
    (ClientConnection::new(Arc::new(client), name).unwrap(), ServerConnection::new(Arc::new(server)).unwrap())
}

/// Both sides on one wire, which keeps what went over it.
struct Wire {
    client: ClientConnection,
    server: ServerConnection,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
}

impl Wire {
    fn settle(&mut self) {
        while self.client.wants_write() || self.server.wants_write() {
            let (mut up, mut down) = (Vec::new(), Vec::new());
            while self.client.wants_write() {
                self.client.write_tls(&mut up).unwrap();
            }
            while self.server.wants_write() {
                self.server.write_tls(&mut down).unwrap();
            }
            for (mut bytes, client) in [(&up[..], false), (&down[..], true)] {
                while !bytes.is_empty() {
                    if client {
                        self.client.read_tls(&mut bytes).unwrap();
                        self.client.process_new_packets().unwrap();
                    } else {
                        self.server.read_tls(&mut bytes).unwrap();
                        self.server.process_new_packets().unwrap();
                    }
                    let _ = (self.client.reader().read(&mut [0; 65536]), self.server.reader().read(&mut [0; 65536]));
                }
            }
            self.from_client.extend(up);
            self.from_server.extend(down);
        }
    }

    fn say(&mut self, from_client: bool, text: &str) {
        match from_client {
            true => self.client.writer().write_all(text.as_bytes()).unwrap(),
            false => self.server.writer().write_all(text.as_bytes()).unwrap(),
        }
        self.settle();
    }
}

#[test]
fn sessions_are_opened_in_every_suite_and_through_key_updates() {
    for &suite in aws_lc_rs::ALL_CIPHER_SUITES {
        // The certificate's key is of an elliptic curve.
        if format!("{:?}", suite.suite()).contains("RSA") {
            continue;
        }
        let log = Arc::new(Log::default());
        let (client, server) = pair(suite, &log);
        let mut wire = Wire { client, server, from_client: Vec::new(), from_server: Vec::new() };
        wire.settle();
        let newer = suite.tls13().is_some();
        for turn in 0..3 {
            let body = "0123456789".repeat(turn * 3000);
            wire.say(
                true,
                &format!("POST /{turn} HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: {}\r\n\r\n", body.len()),
            );
            if newer {
                wire.client.refresh_traffic_keys().unwrap();
            }
            wire.say(true, &body);
            wire.say(false, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
            if newer && turn == 1 {
                wire.server.refresh_traffic_keys().unwrap();
            }
            wire.say(false, "ok");
        }
        let keys = log.0.lock().unwrap().clone();
        let packets = sent(&wire.from_client, &wire.from_server, 700);
        for (inside, apart) in [(keys.as_bytes(), &b""[..]), (b"", keys.as_bytes())] {
            let (all, damages) = read_all(blocks(&packets, 8443, inside), apart);
            let told: Vec<String> = damages.iter().map(ToString::to_string).collect();
            assert_eq!(told, [""; 0], "{suite:?}");
            let lengths: Vec<usize> = all.iter().map(|one| one.request.body.len()).collect();
            assert_eq!(lengths, [0, 30_000, 60_000], "{suite:?}");
            assert!(all.iter().all(|one| one.secure && one.port == 8443 && one.host == "api.example.com"));
            assert!(all.iter().all(|one| one.response.as_ref().is_some_and(|answer| answer.body == "ok")));
        }
        // A record that is not as it was sent ends what is read, and is named.
        let mut broken = wire.from_client.clone();
        let last = broken.len() - 20;
        broken[last] ^= 1;
        let (all, damages) = read_all(blocks(&sent(&broken, &wire.from_server, 700), 8443, keys.as_bytes()), b"");
        assert_eq!(all.len(), 3, "{suite:?}");
        assert!(
            damages.iter().any(|one| one.lost && one.reason.starts_with("a record of the client cannot be decrypted"))
        );
        // Keys of another session.
        let other = keys.replace(' ', " 0").replace("0 0", " ");
        let (all, damages) = read_all(blocks(&packets, 8443, b""), other.as_bytes());
        assert_eq!((all.len(), damages.len()), (0, 1));
        assert!(damages[0].reason.contains("(to api.example.com)"), "{}", damages[0]);
    }
}
