//! Tokens signed by keys that are made for the test.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::json;

use super::*;

/// A provider with one EC key.
struct Provider(EcdsaKeyPair);

impl Provider {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn jwks(&self) -> String {
        // 0x04, then both coordinates (SEC 1, 2.3.3).
        let point = self.0.public_key().as_ref();
        let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..65]));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "alg": "ES256", "x": x, "y": y}]})
            .to_string()
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let random = aws_lc_rs::rand::SystemRandom::new();
        let signature = self.0.sign(&random, text.as_bytes()).unwrap();
        format!("{text}.{}", BASE64.encode(signature.as_ref()))
    }
}

fn tokens(text: &str) -> Result<Tokens, AccessError> {
    Tokens::new(JwtParts {
        file: "jwks.json",
        text,
        issuer: Some("https://id.example.com"),
        audience: Some("divulge"),
        groups: "groups",
        name: "sub",
    })
}

#[test]
fn a_token_is_taken_when_all_of_it_is_right() {
    let provider = Provider::new();
    let tokens = tokens(&provider.jwks()).unwrap();
    let now = jsonwebtoken::get_current_timestamp();
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": "k1"});
    let claims = json!({"sub": "ann", "groups": ["dev", "ops"], "iss": "https://id.example.com", "aud": "divulge", "exp": now + 300});

    let identity = tokens.check(&provider.sign(&header, &claims)).expect("a good token is taken");
    assert_eq!((&*identity.name, &*identity.groups[0], identity.groups.len()), ("ann", "dev", 2));

    let changed = |key: &str, value: Value| {
        let mut claims = claims.clone();
        claims[key] = value;
        provider.sign(&header, &claims)
    };
    let good = provider.sign(&header, &claims);
    let (signed, _) = good.rsplit_once('.').unwrap();
    let (_, signature) = good.rsplit_once('.').unwrap();
    let other_claims = BASE64.encode(claims.to_string().replace("ann", "eve"));
    let wrong = [
        ("expired", changed("exp", json!(now - 3600))),
        ("without an end", changed("exp", Value::Null)),
        ("of another issuer", changed("iss", json!("https://evil.example.com"))),
        ("for another audience", changed("aud", json!("other"))),
        ("not valid yet", changed("nbf", json!(now + 3600))),
        ("of nobody", changed("sub", Value::Null)),
        ("by an unknown key", provider.sign(&json!({"alg": "ES256", "kid": "k2"}), &claims)),
        ("by another provider", Provider::new().sign(&header, &claims)),
        ("without a signature", format!("{signed}.")),
        ("that was changed", format!("{}.{other_claims}.{signature}", BASE64.encode(header.to_string()))),
        ("signed by nothing", provider.sign(&json!({"alg": "none"}), &claims)),
        ("signed by a shared secret", provider.sign(&json!({"alg": "HS256", "kid": "k1"}), &claims)),
        ("that is none", "a.b.c".to_owned()),
    ];
    for (what, token) in wrong {
        assert!(tokens.check(&token).is_none(), "a token {what} was taken");
    }
}

#[test]
fn a_file_without_a_public_key_is_an_error() {
    let secret = json!({"keys": [{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}]}).to_string();
    assert!(tokens(&secret).err().unwrap().to_string().contains("no public key"));
    let broken = tokens("{\n\"keys\": 1}").err().unwrap().to_string();
    assert!(broken.contains("jwks.json: line 2"), "{broken}");
}
